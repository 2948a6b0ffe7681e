"""What a command leaves: reports that stay, what they are evidence of, verdicts in any place."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import compare
from compare.errors import UserError
from compare.report.provenance import command_line, commit_of, hash_of
from handgrad.cli import app

ROOT = Path(__file__).parents[3]
AFFINE = ROOT / "examples" / "coursework" / "affine"
SHAPES = ["--shape", "x=4,3", "--shape", "w=3,5", "--shape", "b=5"]
THREE = ["run", "three-rows", "--steps", "2"]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in ("right", "wrong", "reference"):
        shutil.copy(AFFINE / f"{name}.py", tmp_path)

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["/usr/bin/handgrad", *arguments])
        result = CliRunner().invoke(app, [*arguments])
        if isinstance(result.exception, UserError):
            return 2, str(result.exception)
        return result.exit_code, result.output

    return run


def checked(version: str, *more: str) -> list[str]:
    target = f"{version}.py:affine_forward,affine_backward"
    return ["check", target, "--reference", "reference.py:affine", *SHAPES, *more]


def verdict(directory: str) -> dict:
    return json.loads(Path(directory, "verdict.json").read_text("utf-8"))


def test_a_run_never_replaces_a_report_unless_it_is_told_to(call) -> None:
    call(*THREE, "-q")
    status, out = call(*THREE, "--seed", "1")
    call(*THREE, "--seed", "2", "-q", "--force")

    assert status == 0
    assert "Report: reports/three-rows-2/report.html (reports/three-rows stays; --force" in out
    seeds = [verdict(f"reports/three-rows{n}")["environment"]["seed"] for n in ("", "-2")]
    assert seeds == ["2", "1"]


def test_a_verdict_without_a_report_leaves_no_files(call, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    statuses = [call(*THREE, "--no-report")[0], call(*checked("wrong", "--no-report"))[0]]

    assert statuses == [0, 1]
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(("arguments", "status"), [(THREE, 0), (checked("wrong"), 1)])
def test_where_nothing_can_be_written_the_verdict_stands(call, arguments, status: int) -> None:
    Path("reports").write_text("no directory")
    found, out = call(*arguments)

    assert found == status
    assert ("\nAGREE: three-rows\n" if status == 0 else "DISAGREE: affine_forward\n") in out
    assert "the verdict stands, but without a report" in out
    assert call(*arguments, "--out", "reports/x")[0] == 2  # that was asked for


def test_a_report_says_by_what_of_what_and_when_it_was_found(call) -> None:
    call(*checked("wrong", "--out", "r", "-q"))
    found = verdict("r")["provenance"]
    page, summary = (Path("r", name).read_text("utf-8") for name in ("report.html", "summary.md"))

    assert found["command"].startswith("handgrad check wrong.py:affine_forward,affine_backward")
    digest = hashlib.sha256(Path("wrong.py").read_bytes()).hexdigest()
    assert [(e["name"], e["sha256"]) for e in found["code"]] == [
        ("affine_forward", digest), ("affine_backward", digest),
    ]  # fmt: skip
    assert found["reference"][0]["name"] == "affine"
    assert set(found["data"]) == {"x", "w", "b"}
    assert found["commit"] is None
    for text in (page, summary):
        assert found["date"] in text
        assert digest[:12] in text
        assert "not in a git repository" in text
    assert "mutation" not in page  # nothing about our own score


def test_the_commit_of_the_code_and_changes_since_are_told(call, tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(
            ["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "all")
    entry = {"code": [{"name": "f", "file": str(tmp_path / "right.py"), "sha256": ""}]}
    clean = commit_of(entry)
    (tmp_path / "right.py").write_text("changed")

    assert clean == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    assert commit_of(entry) == {**clean, "dirty": True}


def test_hashes_tell_numbers_dtypes_and_shapes_apart() -> None:
    arrays = [np.zeros(4), np.zeros(4, np.float32), np.zeros((2, 2)), np.ones(4), "0"]

    assert len({hash_of(array) for array in arrays}) == len(arrays)
    assert hash_of(np.zeros((3, 2)).T) == hash_of(np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["/x/bin/handgrad", "run", "a b"], "handgrad run 'a b'"),
        (["/x/handgrad/__main__.py", "list"], "handgrad list"),
        ([""], ""),
        (["/x/ipykernel_launcher.py", "-f", "k.json"], ""),
    ],
)
def test_the_command_line_is_told_as_it_was_typed(monkeypatch, argv, told: str) -> None:
    monkeypatch.setattr(sys, "argv", argv)

    assert command_line() == told


def test_a_check_is_replayed_from_its_report(call, tmp_path: Path, monkeypatch) -> None:
    call(*checked("wrong", "--seed", "3", "--out", "r", "-q"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    status, out = call("check", "--replay", "../r", "--json")
    shutil.copy(tmp_path / "right.py", tmp_path / "wrong.py")
    mended, told = subprocess_call("check", "--replay", "../r", "--no-report", cwd=elsewhere)

    first, second = verdict("../r"), verdict("../r-2")
    assert status == 1
    assert json.loads(out) == second
    same = ("verdict", "reason", "worst", "first_divergence", "config", "environment")
    assert [first[key] for key in same] == [second[key] for key in same]
    assert mended == 0
    assert f"{tmp_path / 'wrong.py'} has changed since that report." in told


def subprocess_call(*arguments: str, cwd: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", "from handgrad.cli import main; main()", *arguments],
        cwd=cwd, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_what_holds_no_arguments_is_not_replayed(call, tmp_path: Path) -> None:
    compare.run("three-rows", steps=1).save(tmp_path / "r")

    assert call("check", "--replay", "r")[1].startswith("--replay r: this report does not hold")
    assert "no report is there" in call("check", "--replay", "nowhere")[1]
    assert "give FILE.py:FORWARD,BACKWARD" in call("check")[1]


def test_a_saved_report_stays_in_python_too(tmp_path: Path) -> None:
    report = compare.run("three-rows", steps=1)
    paths = [report.save(tmp_path / "r").name for _ in range(3)]

    assert paths == ["r", "r-2", "r-3"]
    assert report.save(tmp_path / "r", force=True) == tmp_path / "r"


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_reader_that_goes_away_changes_no_exit_status(more: list[str]) -> None:
    target = f"{AFFINE}/wrong.py:affine_forward,affine_backward"
    command = [sys.executable, "-m", "handgrad", "check", target, *SHAPES, "--no-report", *more]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        told = process.stderr.read() if process.stderr else b""

    assert (process.returncode, told) == (1, b"")
