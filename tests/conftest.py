"""Small runs that many tests look at; computed once each."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

import compare
from compare.report.report import Report

os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch's: each test process has a core of its own
os.environ["LANGUAGE"] = "en"  # whatever the reader speaks: what is printed is compared
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # under nohup: processes would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@cache
def _run(name: str, overrides: tuple[tuple[str, Any], ...]) -> Report:
    return compare.run(name, **dict(overrides))


@pytest.fixture(scope="session")
def run() -> Callable[..., Report]:
    """Run a preset with overrides, once per distinct call."""
    return lambda name, **overrides: _run(name, tuple(sorted(overrides.items())))


@pytest.fixture
def verdict_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work no formulas and look for no cause, for a report that nobody reads."""
    from compare.commands.runner import Runner

    monkeypatch.setattr(Runner, "works", False)
    for search in ("named", "of_numbers"):
        monkeypatch.setattr(f"compare.diagnose.cases.first.{search}", lambda *_: None)


def pytest_collection_finish() -> None:
    """Let the garbage collector look seldom through millions of objects that stay to the end."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(700, 10, 200)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    import torch

    if item.get_closest_marker("cuda") and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
