"""Processes for other people's code: started quickly, watched, and ended with all they started."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

SLICE = 0.2  # seconds between two looks at the clock
STARTUP = 120.0  # seconds until a process must have said something, on a busy machine


def context(*preloaded: str) -> Any:
    """Return how processes start: where it is safe, from one that has loaded these modules."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(list(preloaded))
    return found


class EndedError(Exception):
    """A process was stopped, or ended by itself; `why` is `timeout` or `crashed`."""

    def __init__(self, why: str, text: str) -> None:
        super().__init__(text)
        self.why = why


class Process:
    """One process that sends messages; a context manager, which ends it.

    Args:
        start: how it starts (see `context`).
        target: runs in it, as `target(connection, *arguments)`.
        stop: set from outside when all is to end.
    """

    def __init__(
        self, start: Any, target: Callable, arguments: tuple, stop: threading.Event
    ) -> None:
        self.stop = stop
        self.connection, theirs = start.Pipe(duplex=False)
        self.process = start.Process(target=target, args=(theirs, *arguments), daemon=True)
        self.process.start()
        theirs.close()

    def messages(self, timeout: float) -> Iterator[Any]:
        """Yield what it sends, until it has ended in good order.

        Args:
            timeout: seconds from one message to the next.

        Raises:
            EndedError: it took longer, or ended before it closed its end.
        """
        allowed = STARTUP
        while True:
            self._await(allowed)
            try:
                message = self.connection.recv()
            except Exception as error:  # it has ended, or has sent what is no message
                raise EndedError("crashed", self._status()) from error
            if message is None:
                return
            allowed = timeout
            yield message

    def _await(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.connection.poll(min(SLICE, max(0.0, until - time.monotonic()))):
            if self.stop.is_set():
                raise EndedError("crashed", "stopped")
            if time.monotonic() >= until:
                raise EndedError("timeout", f"stopped after {seconds:g} s")

    def _status(self) -> str:
        self.process.join(5)
        code = self.process.exitcode
        if code is None:
            return "the process closed its end"
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            return f"the process was ended by {name}"
        return f"the process ended by itself, with status {code}"

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.pid is not None and hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):  # `alone` has made it a group
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()
        self.connection.close()


def alone(memory: int, seconds: float) -> None:
    """Make this process the head of a group; limit it; let nothing be read or printed.

    Args:
        memory: bytes that it may use beside what is loaded, where the system can limit that.
        seconds: of computing, so that it ends if whoever started it was killed.
    """
    if hasattr(os, "setsid"):
        os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
    with suppress(ImportError, OSError, ValueError):  # not every system has these
        import resource

        with open("/proc/self/statm", encoding="ascii") as file:
            loaded = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (loaded + memory, loaded + memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(seconds), math.ceil(seconds)))
