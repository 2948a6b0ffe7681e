"""The workers of a data-parallel run: local processes, asked together, and always ended."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any, Self

__all__ = ["Workers", "WorkersError", "kept", "started"]

STARTUP = 120.0  # seconds until they must have found each other, on a busy machine
LAST_WORDS = 3  # lines of what a worker wrote to stderr


class WorkersError(Exception):
    """A worker ended, or did not answer in time; all of them have been ended."""


class RefusedError(RuntimeError):
    """Torch raised in a worker; all of them have been ended."""


class Workers:
    """So many processes that hold one gloo process group; a context manager, which ends them.

    They find each other by a file, not by a port, and end by themselves if this process ends.

    Args:
        count: how many.
        seconds: how long they may take to answer.

    Raises:
        WorkersError: they did not start.
    """

    def __init__(self, count: int, seconds: float) -> None:
        self.count, self.seconds = count, seconds
        self.folder = tempfile.TemporaryDirectory(prefix="handgrad-workers-")
        place = Path(self.folder.name)
        root = str(Path(__file__).parents[1])
        path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        self.words = [place / f"worker{rank}" for rank in range(count)]
        self.processes: list[subprocess.Popen] = []
        self.connections: list[Connection] = []
        try:
            for rank, words in enumerate(self.words):
                mine, theirs = Pipe()  # no standard stream: whatever a worker prints is words
                self.connections.append(mine)
                with words.open("wb") as printed, theirs:
                    self.processes.append(subprocess.Popen(
                        [sys.executable, "-m", "torch_ref.replica", str(theirs.fileno()),
                         str(rank), str(count), str(place / "store"), str(max(seconds, STARTUP))],
                        stdin=subprocess.DEVNULL, stdout=printed, stderr=printed,
                        env={**os.environ, "PYTHONPATH": path}, pass_fds=[theirs.fileno()],
                    ))  # fmt: skip
            self._answers("start", STARTUP)
        except BaseException:
            self.close()
            raise

    def ask(self, what: str, arguments: Sequence[tuple]) -> list[Any]:
        """Call one method of every replica at the same time, each with its own arguments.

        Raises:
            RefusedError: torch raised in one.
            WorkersError: one ended, or one did not answer in time.
        """
        try:
            for connection, own in zip(self.connections, arguments, strict=True):
                with suppress(BrokenPipeError, ConnectionResetError):
                    connection.send_bytes(pickle.dumps((what, own)))
            return self._answers(what, self.seconds)
        except BaseException:
            self.close()
            raise

    def _answers(self, what: str, seconds: float) -> list[Any]:
        """Wait for all; who ended comes before who only noticed that somebody did."""
        ranks = {id(connection): rank for rank, connection in enumerate(self.connections)}
        waiting, found, refused = list(self.connections), [None] * self.count, ""
        deadline = time.monotonic() + seconds
        while waiting:
            ready: list[Any] = wait(waiting, max(0.0, deadline - time.monotonic()))
            if not ready:
                break
            for connection in ready:
                rank = ranks[id(connection)]
                try:
                    fine, answer = connection.recv()
                except (EOFError, ConnectionResetError):
                    raise WorkersError(self._ended(rank, what)) from None
                waiting.remove(connection)
                if fine:
                    found[rank] = answer
                elif not refused:
                    refused = f"worker {rank}: {answer}"
                    deadline = min(deadline, time.monotonic() + 1)  # the others wait in vain
        if refused:
            raise RefusedError(refused)
        if waiting:
            late = ", ".join(str(ranks[id(connection)]) for connection in waiting)
            raise WorkersError(
                f"Worker {late} of {self.count} did not answer in {seconds:g} s ({what}); all of "
                "them were ended. On a busy machine give them longer: [parallel] timeout."
            )
        return found

    def _ended(self, rank: int, what: str) -> str:
        with suppress(subprocess.TimeoutExpired):
            self.processes[rank].wait(5)
        lines = self.words[rank].read_text("utf-8", "replace").strip().splitlines()
        words = f" Its last words: {' / '.join(lines[-LAST_WORDS:])}" if lines else ""
        return (
            f"Worker {rank} of {self.count} ended with exit status "
            f"{self.processes[rank].poll()} ({what}); the others were ended with it.{words}"
        )

    def close(self) -> None:
        """End all processes, whatever they are doing."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
        for connection in self.connections:
            connection.close()
        self.folder.cleanup()

    @property
    def alive(self) -> bool:
        return all(process.poll() is None for process in self.processes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_kept: dict[int, Workers] | None = None


@contextmanager
def kept() -> Iterator[None]:
    """Let the runs inside share processes: those of a number of workers are started once."""
    global _kept
    before, _kept = _kept, {}
    try:
        yield
    finally:
        mine, _kept = _kept, before
        for workers in (mine or {}).values():
            workers.close()


@contextmanager
def started(count: int, seconds: float) -> Iterator[Workers]:
    """Start workers for one run, or take those that are kept."""
    if _kept is None:
        with Workers(count, seconds) as workers:
            yield workers
        return
    if count not in _kept or not _kept[count].alive:
        _kept[count] = Workers(count, seconds)
    _kept[count].seconds = seconds
    yield _kept[count]
