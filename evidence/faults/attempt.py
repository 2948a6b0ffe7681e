"""Run the command line once, in a forked process with a limit on time and memory."""

from __future__ import annotations

import gc
import os
import resource
import runpy
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

MEMORY = 3 * 2**30  # bytes beside what is loaded
LOADED = ("torch", "torch._dynamo", "matplotlib.figure", "matplotlib.backends.backend_svg",
          "sklearn.datasets", "teach.exercises.cli", "compare.commands.check.check",
          "compare.commands.run", "compare.commands.runner", "compare.diagnose.locate",
          "compare.explaining.rows", "compare.report.rendering.html", "compare.running.experiment",
          "handgrad.cli", "latex2mathml.converter", "jinja2")  # fmt: skip
SLICE = 0.01  # seconds between two looks


class Ended(NamedTuple):
    """How a run ended; status None if it was stopped by the limit on time."""

    status: int | None
    said: str
    seconds: float


def preload() -> None:
    """Load what runs need, once, before the first fork."""
    for name in LOADED:
        import_module(name)
    gc.freeze()  # a forked process need not look through all of this


def started(arguments: Sequence[str], folder: Path, log: Path) -> int:
    """Start the command line in a folder, in a group of its own; return its process."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        os.setsid()
        _prepared(folder, log)
        sys.argv = ["handgrad", *arguments]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            runpy.run_module("handgrad", run_name="__main__", alter_sys=False)
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


def _prepared(folder: Path, log: Path) -> None:
    os.chdir(folder)
    nowhere, out = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_CREAT)
    for here, there in ((nowhere, 0), (out, 1), (out, 2)):
        os.dup2(here, there)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.default_int_handler)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def attempt(arguments: Sequence[str], folder: Path, log: Path, limit: float) -> Ended:
    """Run the command line to its end, or to the limit."""
    began = time.monotonic()
    process = started(arguments, folder, log)
    status = ended(process, limit)
    said = log.read_text("utf-8", "replace")
    return Ended(status, said, time.monotonic() - began)


def ended(process: int, limit: float) -> int | None:
    """Wait for a process; kill it and its group after the limit. Return its status, or None."""
    until = time.monotonic() + limit
    while time.monotonic() < until:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(SLICE)
    kill(process)
    return None


def kill(process: int) -> None:
    try:
        os.killpg(process, signal.SIGKILL)
    except ProcessLookupError:  # it has not made its group yet, or is gone
        os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
