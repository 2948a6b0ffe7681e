"""The pytest plugin: a fixture that fails with a readable table, and reports on request."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

TESTS = """
import numpy as np

def forward(x, w):
    return x @ w, (x, w)

def right(dout, cache):
    x, w = cache
    return dout @ w.T, x.T @ dout

def wrong(dout, cache):
    x, w = cache
    return dout @ w.T, x.T @ dout / 4

def reference(x, w):
    return x @ w

INPUTS = {"x": (4, 3), "w": (3, 5)}

def test_right(assert_gradients_agree):
    report = assert_gradients_agree(forward, right, reference, INPUTS)
    assert report.agrees

def test_wrong(assert_gradients_agree):
    assert_gradients_agree(forward, wrong, reference, INPUTS)

def test_torch(assert_gradients_agree):
    assert_gradients_agree.torch(lambda x: x * 2, lambda x: x + x, {"x": (4, 3)}, dtype="float32")
    assert_gradients_agree.torch(lambda x: x * 2, lambda x: x + x, {"x": (4, 3)})
"""
FUNCTION = """
import torch

class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, grad):
        return 2 * grad

def test_double(assert_gradients_agree):
    assert_gradients_agree(Double.apply, inputs={"x": (4, 3)})
"""
LIGHT = """
import sys

def test_nothing_heavy_was_imported(pytestconfig):
    assert pytestconfig.pluginmanager.hasplugin("%s")
    assert not {"torch", "pandas", "numpy"} & set(sys.modules)
"""
ROOT = Path(__file__).parents[2]
INSTALLED = any(e.name == "handgrad" for e in entry_points(group="pytest11"))
NAME = "handgrad" if INSTALLED else "handgrad.plugin"


@pytest.fixture
def run(tmp_path: Path):
    """Run pytest by itself in an empty directory, with this plugin and no other."""

    def run(text: str, *arguments: str) -> tuple[int, str]:
        (tmp_path / "test_it.py").write_text(text)
        own = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        command = [sys.executable, "-m", "pytest", "-q", "-p", NAME, "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, *arguments], cwd=tmp_path, env={**os.environ, **own}, capture_output=True,
            text=True,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    return run


def test_the_fixture_fails_with_the_table_and_the_cause_and_saves_reports(
    run, tmp_path: Path
) -> None:
    status, out = run(TESTS, "--handgrad-report=found")

    assert status == 1
    assert "1 failed, 2 passed" in out
    assert "AssertionError: DISAGREE: forward" in out
    assert "First divergence: case random, grad:w (wrong)" in out
    assert "`return (dout @ w.T, x.T @ dout)`" in out  # the change that mends it
    assert "Report: " in out
    assert "plugin.py" not in out.replace(NAME, "")  # the test's own line is shown, not ours
    saved = {p.name for p in (tmp_path / "found").iterdir()}
    assert saved == {"test_it.py--test_right", "test_it.py--test_wrong", "test_it.py--test_torch",
                     "test_it.py--test_torch-2"}  # fmt: skip
    assert (tmp_path / "found" / "test_it.py--test_wrong" / "report.html").exists()


def test_a_torch_function_is_told_where_it_is_checked_and_nothing_else(run) -> None:
    status, out = run(FUNCTION)

    assert status == 1
    assert "assert_gradients_agree.torch(MyFunction.apply, …)" in out
    assert "During handling" not in out


def test_pytest_starts_without_torch(run) -> None:
    status, out = run(LIGHT % NAME)

    assert status == 0, out


def test_the_plugin_is_declared_for_pytest() -> None:
    text = (ROOT / "pyproject.toml").read_text()

    assert '[project.entry-points.pytest11]\nhandgrad = "handgrad.plugin"' in text
