"""The documented file runs, names every setting, and its defaults are the real ones."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import compare
from compare.description.config.described import InitConfig, LossConfig, OptimizerConfig
from compare.description.config.settings import (
    CompareConfig,
    DataConfig,
    ParallelConfig,
    TrainConfig,
)

TEXT = (Path(__file__).parents[3] / "docs/configuration.md").read_text(encoding="utf-8")
FILE = TEXT.split("```toml\n")[1].split("```")[0]
ROWS = "x,y,colour,label\n" + "".join(
    f"{i},{(i * 7) % 11},{'red' if i % 3 else 'blue'},{'yes' if i % 2 else 'no'}\n"
    for i in range(24)
)


def test_the_documented_file_runs_and_agrees(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(ROWS)
    (tmp_path / "example.toml").write_text(FILE)

    report = compare.run(tmp_path / "example.toml")

    assert report.verdict == "agree", str(report)
    assert report.steps == 6


@pytest.mark.parametrize(
    ("table", "model", "elsewhere"),
    [
        ("data", DataConfig, {"dataset", "inputs", "args", "target_kind"}),
        ("train", TrainConfig, {"steps"}),
        ("compare", CompareConfig, {"tolerance"}),
        ("loss", LossConfig, set()),
        ("optimizer", OptimizerConfig, {"clip_value"}),
        ("init", InitConfig, {"file"}),
    ],
)
def test_every_setting_is_there(table: str, model: type, elsewhere: set) -> None:
    fields = set(model.model_fields) - {"args"}  # type: ignore[attr-defined]
    written = set(tomllib.loads(FILE)[table])

    assert fields - written <= elsewhere
    assert all(name in TEXT for name in elsewhere - {"args", "target_kind"})


def test_values_without_a_mark_are_the_defaults() -> None:
    tables, compared = tomllib.loads(FILE), 0
    for table, model in (("train", TrainConfig), ("compare", CompareConfig)):
        section = FILE.split(f"[{table}]\n")[1].split("\n[")[0]
        for line in section.splitlines():
            if (match := re.match(r"(\w+) = .*#(?!.*(e\.g\.|default))", line)) is not None:
                name = match[1]
                default = model.model_fields[name].default
                compared += 1
                assert (
                    list(default) == tables[table][name]
                    if default == ()
                    else (default == tables[table][name])
                ), name
    assert compared >= 12


def test_every_setting_of_several_workers_is_there_with_its_default() -> None:
    section = TEXT.split("[parallel]\n")[1].split("```")[0]
    fields = ParallelConfig.model_fields

    for line in section.splitlines():
        name, value = line.lstrip("# ").split(" #")[0].split(" = ", 1)
        assert name in fields
        if "e.g." not in line and name != "split":
            assert tomllib.loads(f"v = {value}")["v"] == fields[name].default, name
    assert all(f"{name} = " in section for name in fields)
