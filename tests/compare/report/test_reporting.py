"""A saved report: complete, deterministic, exact, and written whole or not at all."""

from __future__ import annotations

import csv
import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy

import compare
from compare.errors import UserError
from compare.report.rendering import check_writable, directory, save
from compare.report.rendering.tables import latex_escape, latex_tables
from compare.report.rendering.verdict import plain, verdict_dict, verdict_json
from compare.report.report import Report
from tests.compare.report.report_factory import (
    KINDS,
    agreeing,
    disagreeing,
    free,
    hostile,
    tiny,
    troubled,
)

FILES = {
    "report.html",
    "summary.md",
    "differences.csv",
    "verdict.json",
    "initial_weights.safetensors",
    "config.toml",
}


def small() -> Report:
    return agreeing(steps=2)


def contents(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_report_is_saved_complete(kind: str, tmp_path: Path) -> None:
    path = KINDS[kind]().save(tmp_path / "a" / "b")

    assert path == tmp_path / "a" / "b"
    assert set(contents(path)) >= FILES
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]  # nothing is left beside it
    for drawing in path.glob("plots/*.svg"):
        ElementTree.parse(drawing)


def test_a_digits_report_has_its_plots_and_stays_small(tmp_path: Path) -> None:
    path = save(agreeing(), tmp_path / "digits")

    plots = {p.stem for p in (path / "plots").iterdir()}
    assert plots == {"budget_map", "budget_per_step", "loss", "ulps", "gradient_norms"}
    assert (path / "report.html").stat().st_size < 600_000
    assert not (path / "tables").exists()


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    first = contents(save(disagreeing(steps=20), tmp_path / "one", latex=True))
    second = contents(save(disagreeing(steps=20), tmp_path / "two", latex=True))

    assert first == second


def test_an_older_report_is_replaced_as_a_whole(tmp_path: Path) -> None:
    save(small(), tmp_path / "r", latex=True)
    save(tiny(), tmp_path / "r")

    assert contents(tmp_path / "r") == contents(save(tiny(), tmp_path / "other"))


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_report_that_cannot_be_finished_leaves_the_old_one(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> NoReturn:
        raise error

    before = contents(save(tiny(), tmp_path / "r"))
    monkeypatch.setattr("compare.report.rendering.tables.write_csv", fail)
    with pytest.raises((UserError, KeyboardInterrupt)):
        save(small(), tmp_path / "r")

    assert contents(tmp_path / "r") == before
    assert [p.name for p in tmp_path.iterdir()] == ["r"]


def test_a_rename_that_fails_brings_the_old_report_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(save(tiny(), tmp_path / "r"))
    rename = Path.rename

    def fail_for_the_new(self: Path, target: Path) -> Path:
        if self.name.endswith(".new"):
            raise OSError(16, "Device or resource busy")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_for_the_new)
    with pytest.raises(UserError, match="busy"):
        save(small(), tmp_path / "r")

    assert contents(tmp_path / "r") == before
    assert [p.name for p in tmp_path.iterdir()] == ["r"]


def occupied(root: Path, case: str) -> tuple[Path, str]:
    """Return a directory that must be refused, and what the message says."""
    target = root / "out"
    if case == "a file":
        target.write_text("mine")
        return target, "is a file"
    if case == "below a file":
        target.write_text("mine")
        return target / "report", "cannot be written"
    target.mkdir()
    (target / "thesis.tex").write_text("mine")
    if case == "a report with something else in it":
        (target / "verdict.json").write_text("{}")
        return target, r"thesis\.tex"
    return target, "is not a report"


@pytest.mark.parametrize(
    "case", ["a file", "below a file", "another directory", "a report with something else in it"]
)
def test_what_is_not_a_report_is_never_replaced(case: str, tmp_path: Path) -> None:
    target, message = occupied(tmp_path, case)
    before = contents(tmp_path)
    with pytest.raises(UserError, match=message):
        check_writable(target)
    with pytest.raises(UserError, match=message):
        save(tiny(), target)

    assert contents(tmp_path) == before


def test_check_writable_accepts_what_save_can_write_and_leaves_no_trace(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "seen").mkdir()
    (tmp_path / "seen" / ".DS_Store").write_text("")
    save(tiny(), tmp_path / "report")
    before = sorted(tmp_path.rglob("*"))
    for name in ("empty", "seen", "report", "new", "new/deep"):
        check_writable(tmp_path / name)

    assert sorted(tmp_path.rglob("*")) == before
    for name in ("empty", "seen", "report", "new/deep"):
        assert "report.html" in contents(save(tiny(), tmp_path / name))


def test_check_writable_refuses_a_parent_without_permission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object, **__: object) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(directory.tempfile, "TemporaryFile", denied)
    with pytest.raises(UserError, match="Permission denied"):
        check_writable(tmp_path / "r")


def test_a_link_to_a_report_is_followed(tmp_path: Path) -> None:
    save(tiny(), tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")

    assert save(small(), tmp_path / "link") == tmp_path / "real"
    assert (tmp_path / "link").is_symlink()


def test_the_csv_gives_every_float_back_exactly(tmp_path: Path) -> None:
    report = troubled()
    path = save(report, tmp_path / "r")
    with (path / "differences.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    assert list(rows[0]) == list(report.differences.columns)
    for column, values in report.differences.items():
        told = [row[str(column)] for row in rows]
        if values.dtype.kind == "f":
            np.testing.assert_array_equal(np.array(told, dtype=float), values)
        else:
            assert told == values.astype(str).tolist()


def test_the_csv_holds_no_formula(tmp_path: Path) -> None:
    report = tiny()
    frame = report.differences.copy()
    frame["layer"] = "=HYPERLINK(1)"
    path = save(replace(report, differences=frame), tmp_path / "r")

    assert set(pd.read_csv(path / "differences.csv")["layer"]) == {"'=HYPERLINK(1)"}


def test_weights_and_configuration_can_be_read_back(tmp_path: Path) -> None:
    report = small()
    path = save(report, tmp_path / "r")
    weights = safetensors.numpy.load_file(path / "initial_weights.safetensors")

    assert weights.keys() == report.initial_weights.keys()
    for name, value in weights.items():
        np.testing.assert_array_equal(value, report.initial_weights[name])
    assert tomllib.loads((path / "config.toml").read_text("utf-8")) == report.config


def test_weights_need_not_be_contiguous_or_have_axes(tmp_path: Path) -> None:
    report = tiny()
    report.initial_weights.update({"t": np.arange(6.0).reshape(2, 3).T, "scale": np.array(2.0)})
    path = save(report, tmp_path / "r")
    weights = safetensors.numpy.load_file(path / "initial_weights.safetensors")

    np.testing.assert_array_equal(weights["t"], report.initial_weights["t"])
    assert weights["scale"].shape == ()


PROMISED = {
    *("verdict", "reason", "compared_tensors", "compared_elements", "steps", "worst"),
    *("first_divergence", "planted", "tolerance", "mode", "config", "environment"),
}


def strict(text: str) -> dict[str, Any]:
    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("kind", KINDS)
def test_verdict_json_is_strict_and_has_the_promised_keys(kind: str) -> None:
    report = KINDS[kind]()
    found = strict(verdict_json(report))

    assert found.keys() >= PROMISED
    assert found["verdict"] == report.verdict
    assert found == verdict_dict(report)


def test_verdict_json_counts_and_names_the_worst() -> None:
    found = verdict_dict(disagreeing())
    table = disagreeing().differences

    assert found["compared_tensors"] == len(table)
    assert found["verdicts"]["disagree"] == (table["verdict"] == "disagree").sum()
    assert found["worst"].keys() == {"step", "layer", "quantity", "budget_used"}
    assert found["worst"]["budget_used"] == table["budget_used"].max()
    first = found["first_divergence"]
    assert (first["step"], first["layer"], first["quantity"]) == (0, "3", "grad:weight")
    assert first["own_or_inherited"] == "own"
    assert first["max_abs_diff"] > 0


def test_verdict_json_does_not_count_a_missing_tensor_as_compared() -> None:
    found = verdict_dict(troubled())

    assert found["compared_tensors"] == len(troubled().differences) - 1
    assert found["compared_elements"] < found["expected_elements"]
    assert float(found["first_divergence"]["max_abs_diff"]) == np.inf
    assert np.isnan(float(found["first_divergence"]["manual"]))


def test_nothing_judged_means_no_worst_row() -> None:
    assert verdict_dict(free())["worst"] is None


def test_plain_turns_numpy_and_paths_into_json() -> None:
    value = {"a": np.float32(0.5), "b": (np.int64(3), Path("x/y")), "c": np.array([1.0, np.nan])}

    assert plain(value) == {"a": 0.5, "b": [3, "x/y"], "c": [1.0, "nan"]}


def test_a_configuration_key_without_value_is_left_out_of_the_toml(tmp_path: Path) -> None:
    path = save(hostile(), tmp_path / "r")

    assert tomllib.loads((path / "config.toml").read_text("utf-8")).keys() == {"data"}


def test_latex_tables_are_escaped_and_rectangular() -> None:
    tables = latex_tables(hostile("50%_of $x & \\y"))

    assert tables.keys() == {"ledger.tex", "tensors.tex", "worst.tex"}
    for text in tables.values():
        rows = [line for line in text.splitlines() if line.endswith(r"\\")]
        widths = {line.replace(r"\&", "").count("&") for line in rows}
        assert len(rows) > 1
        assert len(widths) == 1
    assert r"50\%\_of \$x \& \textbackslash{}y" in tables["worst.tex"]


def test_latex_escape_leaves_no_active_character() -> None:
    assert latex_escape("a_b^c~{}#") == r"a\_b\textasciicircum{}c\textasciitilde{}\{\}\#"


def test_a_report_shows_itself() -> None:
    report = agreeing()

    assert str(report).startswith("AGREE")
    assert "AGREE" in report._repr_html_()
    with pytest.raises(AssertionError, match="First divergence: step 0, layer 3, grad:weight"):
        disagreeing().assert_agrees()


def test_a_saved_description_finds_its_data_from_the_report(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "rows.csv").write_text("a,b,label\n" + "1,2,x\n3,4,y\n5,7,x\n2,9,y\n" * 3)
    (tmp_path / "mine.toml").write_text(
        """
[data]
file = "rows.csv"
target = "label"
[[layers]]
type = "Linear"
in_features = 2
out_features = 2
[train]
steps = 1
batch_size = 4
"""
    )
    monkeypatch.chdir(tmp_path)
    first = compare.run("mine.toml")
    first.save("reports/mine")

    again = compare.run("reports/mine/config.toml")

    assert again.verdict == first.verdict == "agree"
    np.testing.assert_array_equal(again.differences["torch"], first.differences["torch"])


def test_of_two_reports_written_at_once_both_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (replace(small(), name=name) for name in ("first", "second"))
    write = directory._write

    def late(report: Any, path: Path, *, latex: bool) -> None:
        write(report, path, latex=latex)
        if report is second and not (tmp_path / "r").exists():
            first.save(tmp_path / "r")

    monkeypatch.setattr(directory, "_write", late)

    assert second.save(tmp_path / "r") == tmp_path / "r-2"
    names = [json.loads((tmp_path / r / "verdict.json").read_text())["name"] for r in ("r", "r-2")]
    assert names == ["first", "second"]
