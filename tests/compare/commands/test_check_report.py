"""A check's report: the same files and pages as a run's, in the words of a check."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import compare
from compare.judge.ledger import COLUMNS
from compare.report.rendering.html import report_html
from compare.report.rendering.text import summary_markdown
from compare.report.rendering.verdict import verdict_dict
from tests.compare.pair.gradient_pairs import AFFINE, affine, affine_backward, affine_forward


def wrong_backward(dout, cache):
    """db_o = Σ_n dy_no."""
    dx, dw, db = affine_backward(dout, cache)
    return dx, dw, db / 4


@pytest.fixture(scope="module")
def wrong() -> compare.Report:
    return compare.check(affine_forward, wrong_backward, affine, AFFINE)


def test_the_table_has_the_same_columns_and_a_row_per_case_and_tensor(wrong) -> None:
    table = wrong.differences

    assert list(table.columns) == COLUMNS
    assert not table.duplicated(["layer", "quantity"]).any()
    assert wrong.steps == table.query("layer != 'contract'")["step"].nunique()
    assert int(wrong.ledger["elements"].sum()) == int(wrong.ledger["expected_elements"].sum())


def test_without_torch_nothing_is_called_torch(monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["handgrad"])
    report = compare.check(affine_forward, wrong_backward, None, AFFINE, shrink=False)
    page = re.sub(r"<style>.*?</style>|<script>.*?</script>", "", report_html(report), flags=re.S)
    page = page.partition('id="h-with"')[0]  # its version is among those of what ran
    verdict = verdict_dict(report)

    assert report.verdict == "disagree"
    assert verdict["theirs"] == "numeric"
    told = [
        page,
        str(report),
        summary_markdown(report).partition("date: ")[0],
        str(verdict["cause"]),
    ]
    told += [verdict["reason"], *verdict["notes"]]
    assert not [text for text in told if "torch" in text.casefold()]
    assert ", numeric " in str(report)
    assert "`return (dx, dw, db)` for `return (dx, dw, db / 4)`" in str(report)


def test_a_docstring_of_torchs_is_nobodys_derivation() -> None:
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, dy):
            return dy * ctx.saved_tensors[0]

    report = compare.check_torch(Square.apply, lambda x: x * x, {"x": (3,)}, shrink=False)

    assert report.first_divergence is not None
    assert (report.first_divergence.derivation, report.nodes[0].derivation) == ("", "")


def test_vacuous_tensors_are_not_counted_as_agreeing() -> None:
    report = compare.check(lambda x: (0 * x, x), lambda dy, x: 0 * dy, None, {"x": (3,)},
                           structural_zeros=["x"])  # fmt: skip
    empty = int((report.differences["verdict"] == "vacuous").sum())

    assert report.verdict == "agree"
    assert empty > 0
    total = len(report.differences)
    assert report.reason.startswith(f"{total - empty} of {total} tensors of ")
    assert f"the other {empty} are vacuous" in report.reason


def test_the_page_speaks_of_cases(wrong) -> None:
    page = report_html(wrong)

    assert "Case <code>random</code>" in page
    assert ">at step<" not in page
    assert "Budget used by every tensor in every case" in page
    assert "a check has cases, not steps" in page
    assert "affine_forward(x, w, b), wrong_backward(dout, cache)" in page
    assert "db_o = Σ_n dy_no." in page
    assert re.sub("`([^`]+)`", r"<code>\1</code>", wrong.cause.evidence) in page
    assert '<a href="replay.py">' in page


def test_text_markdown_and_notebook_name_the_case_and_the_cause(wrong) -> None:
    for text in (str(wrong), summary_markdown(wrong).replace("`", ""), wrong._repr_html_()):
        assert "random" in text
        assert "grad:b" in text
        assert "wrong factor" in text
        assert "steps" not in text


def test_notes_are_in_every_form() -> None:
    report = compare.check(
        lambda x: (np.maximum(x, 0), x), lambda d, x: d * (x >= 0), torch.relu, {"x": (4, 3)}
    )
    note = "Convention at ties differs from torch"

    assert note in str(report)
    assert note in summary_markdown(report)
    assert note in report_html(report)
    assert "a convention, not a mistake" in report_html(report)


def test_verdict_json_holds_the_check(wrong, tmp_path: Path) -> None:
    path = wrong.save(tmp_path / "r")
    verdict = json.loads((path / "verdict.json").read_text())

    assert verdict["mode"] == "check"
    assert verdict["config"]["check"]["inputs"] == {"x": [4, 3], "w": [3, 5], "b": [5]}
    assert verdict["cause"]["kind"] == wrong.cause.kind
    assert verdict["notes"] == list(wrong.notes)


def test_a_failure_without_numbers_is_reported_whole(tmp_path: Path) -> None:
    def crashes(dout, cache):
        if len(dout) == 1:
            raise ValueError("<b>one</b>")
        return affine_backward(dout, cache)

    report = compare.check(affine_forward, crashes, affine, AFFINE)
    path = report.save(tmp_path / "r")

    assert "ValueError: <b>one</b>" in str(report)
    assert "<b>one</b>" not in (path / "report.html").read_text()


def test_importing_compare_loads_neither_torch_nor_pandas() -> None:
    import subprocess
    import sys

    code = (
        "import sys, compare, compare.commands.check_cli, handgrad.plugin\n"
        "assert not {'torch', 'pandas'} & set(sys.modules)"
    )
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)


def test_a_missing_gradient_has_no_worst_element_to_show() -> None:
    def forward(x, w):
        return x @ w, (x, w)

    def backward(dout, cache):
        return dout @ cache[1].T, None

    report = compare.check(forward, backward, torch.matmul, {"x": (4, 3), "w": (3, 5)})

    assert report.verdict == "disagree"
    assert "<dt>Worst element</dt>" not in report_html(report)
