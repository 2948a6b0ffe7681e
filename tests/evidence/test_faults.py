"""Nonsense and kills, a few of each; `handgrad faults` has them all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from evidence.faults.attempt import Ended
from evidence.faults.cases import CASES
from evidence.faults.hunt import WHOLE, left_over, wrong

ROOT = Path(__file__).parents[2]


def test_nonsense_is_told_in_a_sentence() -> None:
    found = faults("configurations", "files", "lines", count=6)

    assert found == "0 faults in 6 configurations, 6 files, 6 lines."


def test_killed_runs_lose_no_report_and_leave_nothing() -> None:
    assert faults("kills", count=3) == "0 faults in 3 kills."


def faults(*kinds: str, count: int) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "handgrad", "faults", *kinds, "--count", str(count)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip() or done.stderr


@pytest.mark.parametrize("kind", CASES)
def test_a_case_is_the_same_again(kind: str, tmp_path: Path) -> None:
    made = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        arguments = CASES[kind][0](Random("3"), folder)
        made.append((arguments, sorted(p.name for p in folder.iterdir())))

    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("done", "what"),
    [
        (Ended(None, "", 9.0), "no end after 9 s"),
        (Ended(-9, "", 0.0), "exit status -9"),
        (Ended(1, "Traceback (most recent call last):\n  x\nKeyError: 1", 0.0), "KeyError: 1"),
        (Ended(0, "AGREE", 0.0), ""),
    ],
)
def test_the_hunt_notices(done: Ended, what: str) -> None:
    assert what in "".join(wrong(done))
    assert bool(list(wrong(done))) == bool(what)


def test_half_a_report_and_temporary_names_are_noticed(tmp_path: Path) -> None:
    for name in WHOLE:
        (tmp_path / "whole").mkdir(exist_ok=True)
        (tmp_path / "whole" / name).touch()
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "report.html").touch()
    (tmp_path / ".r.0123abcd.old").mkdir()

    assert sorted(left_over(tmp_path)) == ["left over: .r.0123abcd.old", "partial report: half"]
