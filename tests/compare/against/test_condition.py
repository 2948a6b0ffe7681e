"""What `--against` takes, and what it says of anything else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import compare
from compare.running.against.condition import parse


def test_words_hold_together() -> None:
    found = parse(["compile:aot_eager", "threads=3", "deterministic", "mkldnn=off", "env:A=b=c"])

    assert found.python == sys.executable
    assert found.env == (("A", "b=c"),)
    assert found.settings(1) == {
        "compile": "aot_eager",
        "threads": 3,
        "deterministic": True,
        "mkldnn": False,
    }


@pytest.mark.parametrize(
    ("words", "threads"), [("deterministic", 2), ("env:OMP_NUM_THREADS=4", None)]
)
def test_threads_are_the_runs_unless_the_environment_says(words: str, threads: int | None) -> None:
    assert parse(words).settings(2)["threads"] == threads


def test_an_interpreter_is_found_by_its_path_and_not_resolved(tmp_path: Path) -> None:
    link = tmp_path / "python"  # as in a virtual environment, which its link is known by
    link.symlink_to(sys.executable)

    assert parse(link).python == str(link)
    assert parse([str(link), "compile"]).compile == "inductor"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", "names no other torch"),
        ("nowhere/python", "there is no such interpreter"),
        ("threads=0", "whole number from 1 on"),
        ("threads=two", "whole number from 1 on"),
        ("mkldnn=on", "takes off"),
        ("env:MKL_CBWR", "env:NAME=VALUE"),
        (["threads=2", "threads=3"], "threads twice"),
        (["env:A=1", "env:A=2"], "names A twice"),
        ([sys.executable, sys.executable], "an interpreter twice"),
    ],
)
def test_anything_else_is_a_users_mistake(words: str | list[str], told: str) -> None:
    with pytest.raises(compare.UserError, match=told):
        parse(words)


def test_a_directory_and_a_file_are_no_interpreters(tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").touch()

    with pytest.raises(compare.UserError, match=r"Did you mean .*bin/python"):
        parse(environment)
    with pytest.raises(compare.UserError, match="cannot be executed"):
        parse(environment / "bin" / "python")
