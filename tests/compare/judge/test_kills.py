"""The kill row: what it says is what the judge would have said of the corrupted tensor."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from compare.judge.judge import AGREE, VACUOUS, judge
from compare.judge.kills import CORRUPTIONS, counted, empty, kill_table, kills
from compare.judge.quantities import Key
from compare.report.rendering.html import report_html
from compare.report.rendering.text import summary_markdown
from compare.report.rendering.verdict import verdict_dict
from compare.report.report import Report
from tests.compare.report.report_factory import HOSTILE, agreeing

Run = Callable[..., Report]
T = np.random.default_rng(0).standard_normal((6, 6))
CORRUPTED = {
    "zeros": 0 * T,
    "negated": -T,
    "times_batch": 6 * T,
    "over_batch": T / 6,
    "transposed": T.T,
    "sample_dropped": T * (np.arange(6) != 2).reshape(-1, 1),
}


def noticed(corrupted: np.ndarray, tolerance: float) -> bool:
    key = Key("0", "output")
    with np.errstate(all="ignore"):
        rows = judge([key], {key: corrupted}, {key: T}, {key: tolerance})
    return rows.verdicts[0] not in (AGREE, VACUOUS)


@pytest.mark.parametrize("tolerance", [1e-9, 0.7, 1.5, 3.0, 8.0, 100.0])
@pytest.mark.parametrize("name", ["zeros", "negated", "times_batch", "over_batch", "transposed"])
def test_the_kill_row_says_what_the_judge_would_say(name: str, tolerance: float) -> None:
    row = dict(zip(CORRUPTIONS, kills(T, tolerance, 6, True), strict=True))

    assert row[name] == noticed(CORRUPTED[name], tolerance)


def test_a_tight_tolerance_notices_everything_and_a_loose_one_nothing() -> None:
    assert kills(T, 1e-9, 6, True) == (True,) * 7
    assert kills(T, 1e9, 6, True) == (False,) * 7


def test_a_dropped_sample_and_one_per_cent_are_noticed_by_half_of_the_tensor() -> None:
    t = np.array([[10.0], [10.0], [0.1], [0.0]])

    assert kills(t, 1.0, 4, True)[5] is True  # 2 of the 3 samples that are not zero
    assert kills(t, 0.05, 4, True)[6] is True
    assert kills(t, 20.0, 4, True)[5] is False
    assert kills(t, 0.2, 4, True)[6] is False


@pytest.mark.parametrize(
    ("tensor", "batch", "per_sample", "missing"),
    [
        (T, None, True, {"times_batch", "over_batch", "sample_dropped"}),
        (T, 1, True, {"times_batch", "over_batch", "sample_dropped"}),
        (T[:, :4], 6, True, {"transposed"}),
        (T, 6, False, {"sample_dropped"}),
        (np.array(3.0), 6, False, {"transposed", "sample_dropped"}),
    ],
)
def test_what_does_not_apply_is_none(
    tensor: np.ndarray, batch: int | None, per_sample: bool, missing: set[str]
) -> None:
    row = dict(zip(CORRUPTIONS, kills(tensor, 1e-9, batch, per_sample), strict=True))

    assert {name for name, value in row.items() if value is None} == missing


def test_a_symmetric_matrix_transposed_and_a_zero_tensor_go_unnoticed() -> None:
    assert kills(T + T.T, 1e-9, 6, True)[4] is False
    assert not any(kills(0 * T, 1e-9, 6, True))


def test_every_compared_tensor_of_a_run_has_a_row(run: Run) -> None:
    report = run("digits", steps=1, drift=False)
    first = report.differences[report.differences["step"] == 0]
    first = first[~first["quantity"].str.startswith("other upstream")]  # no tensor of a step

    assert list(report.kills["layer"]) == list(first["layer"])
    assert list(report.kills["quantity"]) == list(first["quantity"])
    assert list(report.kills.columns) == ["layer", "quantity", *CORRUPTIONS]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_digits_run_notices_every_corruption(run: Run, dtype: str) -> None:
    count = counted(run("digits", steps=1, drift=False, dtype=dtype).kills)

    assert count["tried"] > 100
    assert count["noticed"] == count["tried"]


def test_a_tolerance_of_the_users_own_that_notices_nothing_is_told(run: Run) -> None:
    report = run("digits", steps=1, tolerance=(0.0, 1e6), drift=False)

    assert counted(report.kills)["noticed"] == 0


def test_without_tensors_there_are_no_rows() -> None:
    assert len(kill_table([], {}, {}, 4)) == len(empty()) == 0
    assert counted(empty()) == {"tried": 0, "noticed": 0}


# ── in the report ────────────────────────────────────────────────────────────────────────────────
def with_kills(report: Report, *rows: tuple[str, str, tuple[bool | None, ...]]) -> Report:
    import pandas as pd

    columns = ["layer", "quantity", *CORRUPTIONS]
    table = pd.DataFrame([(a, b, *c) for a, b, c in rows], columns=columns, dtype=object)
    return replace(report, kills=table)


ALL, NO_ZEROS = (True,) * 7, (False, True, True, True, None, None, True)


def test_the_report_counts_the_corruptions_and_names_the_unnoticed() -> None:
    report = with_kills(agreeing(steps=2), ("0", "output", ALL), ("2", "grad:bias", NO_ZEROS))
    written = json.loads(json.dumps(verdict_dict(report)))["kills"]

    assert written == {"tried": 12, "noticed": 11, "unnoticed": ["2.grad:bias: zeros"]}
    assert "Of 12 corrupted tensors" in str(report)
    assert "noticed 11" in summary_markdown(report)
    page = report_html(report)
    assert "Would the check have noticed?" in page
    assert page.count(">unnoticed</span>") == 2  # among the weak rows, and among all


def test_a_report_without_kill_rows_does_not_speak_of_them() -> None:
    report = agreeing(steps=2)

    assert "corrupted" not in str(report)
    assert "Would the check have noticed?" not in report_html(report)


def test_hostile_names_in_kill_rows_are_escaped() -> None:
    report = with_kills(agreeing(steps=2), (HOSTILE, f"grad:{HOSTILE}", NO_ZEROS))

    assert HOSTILE not in report_html(report)
    assert HOSTILE not in summary_markdown(report)
