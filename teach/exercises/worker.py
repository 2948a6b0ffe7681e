"""The grader's end of a submission's process: requests, replies, a time limit, and the kill."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from compare.pair import limited
from teach.exercises.child import receive, send

CHILD = Path(__file__).with_name("child.py")
STARTUP = 120.0  # seconds for Python and NumPy to load, on a busy machine
MATMUL = re.compile(
    r"matmul: Input operand 1 has a mismatch.*\(size (\d+) is different from (\d+)\)"
)
LARGEST = 64 * 2**20  # bytes of a reply


INHERITED = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG",
             "SYSTEMROOT", "TEMP", "TMP")  # fmt: skip
ONE = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def environment() -> dict[str, str]:
    """Return what a submission's process gets: what Python needs to start, no tokens of anybody."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return kept | dict.fromkeys(ONE, "1") | {"PYTHONWARNINGS": "ignore", "PYTHONUTF8": "1"}


class RaisedError(Exception):
    """What a submission raised; each is made in a class named as its own."""

    stub = False


class Gone(BaseException):
    """The process is gone, or was stopped: no `except Exception` of the checker may go on."""

    def __init__(self, why: str, text: str) -> None:
        super().__init__(text)
        self.why, self.text = why, text


class Worker:
    """One submission's process.

    Args:
        timeout: seconds that it may compute, over all requests.
        memory: bytes of address space, where the system can limit it.
    """

    def __init__(self, timeout: float, memory: int) -> None:
        self.timeout, self.memory = timeout, memory
        self.spent, self._since = 0.0, 0.0
        self.broken = self.printed = ""
        self.lines: list[str] = []  # of the submission
        self._timed_out = False
        self.folder = tempfile.mkdtemp(prefix="handgrad-")
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-B", str(CHILD), limited.__file__],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=environment(), cwd=self.folder, start_new_session=os.name == "posix",
        )  # fmt: skip
        self._leave_no_folder()  # it stays there, in a folder that is no more
        self._limit = STARTUP
        self._closed = threading.Event()
        self._watch = threading.Thread(target=self._watchdog, daemon=True)
        self._watch.start()

    def _leave_no_folder(self) -> None:
        with suppress(OSError):  # Windows, while the process is in it; or removed already
            os.rmdir(self.folder)

    def start(self) -> None:
        """Wait until the process is ready; from now on its time counts."""
        self._since = time.monotonic()
        try:
            receive(self.process.stdout, LARGEST)  # type: ignore[arg-type]
        except (EOFError, OSError, ValueError):
            raise Gone("crashed", "the process for the submission did not start") from None
        finally:
            self._since = 0.0
        self._limit = self.timeout

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request; return the reply.

        Raises:
            RaisedError: the submission raised something.
            Gone: it is over time, has ended its process, or did what is not allowed.
        """
        self.lines = str(request.get("source", "")).splitlines() or self.lines
        self._since = time.monotonic()
        try:
            send(self.process.stdin, request)  # type: ignore[arg-type]
            reply = receive(self.process.stdout, LARGEST)  # type: ignore[arg-type]
        except (EOFError, OSError, ValueError, RecursionError) as error:
            raise self._gone(error) from None
        finally:
            self.spent += time.monotonic() - self._since
            self._since = 0.0
        self.printed = self.printed or str(reply.get("printed", ""))
        self.broken = self.broken or str(reply.get("broken", ""))
        if self.broken:
            raise Gone("not allowed", self.broken)
        if "error" in reply:
            raise _raised(reply["error"], self.lines)
        return reply

    def _gone(self, error: Exception) -> Gone:
        if self._timed_out:
            return Gone("timeout", f"stopped after {self.timeout:g} s")
        if isinstance(error, ValueError | RecursionError):
            return Gone("crashed", "the process answered with something that is no answer")
        try:
            status = self.process.wait(5)
        except subprocess.TimeoutExpired:
            return Gone("crashed", "the process closed its end")
        if os.name == "posix" and -status == signal.SIGXCPU:
            return Gone("timeout", f"stopped after {self.timeout:g} s of processor time")
        return Gone("crashed", f"the process ended by itself, with status {status}")

    def _watchdog(self) -> None:
        while not self._closed.wait(0.05):
            since = self._since
            used = 0.0 if self._limit == STARTUP else self.spent
            if since and used + time.monotonic() - since > self._limit:
                self._timed_out = True
                self._kill()
                return

    def _kill(self) -> None:
        """End the process and whatever it has started."""
        if os.name == "posix":
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                self.process.kill()
        else:
            kill = ["taskkill", "/F", "/T", "/PID", str(self.process.pid)]
            subprocess.run(kill, capture_output=True, check=False)
            self.process.kill()

    def close(self) -> None:
        """End the process; safe to call twice."""
        self._closed.set()
        self._kill()
        self._watch.join()
        self.process.wait()
        self._leave_no_folder()
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                pipe.close()  # type: ignore[union-attr]
            except OSError:  # unsent bytes for a process that is gone
                continue

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _shapes(error: dict[str, Any], line: str) -> str:
    """Return the shapes of the arrays that a line names."""
    known = error.get("shapes")
    if not isinstance(known, dict):
        return ""
    names = [n for n in dict.fromkeys(re.findall(r"\w+", line)) if isinstance(known.get(n), list)]
    told = ", ".join(f"{n} {tuple(known[n])}" for n in names[:6])
    return f"; shapes: {told}" if told else ""


def _summed(found: re.Match[str]) -> str:
    a, b = found[2], found[1]
    return f"matmul: the summed axes must be equally long; here they are {a} and {b}"


def _raised(error: dict[str, Any], lines: list[str]) -> RaisedError:
    """Return an exception of the same name, with the submission's line in its text."""
    said, line = MATMUL.sub(_summed, str(error.get("said"))), error.get("line")
    if isinstance(line, int) and 0 < line <= len(lines):
        text = lines[line - 1].strip()
        said = f"{said} (line {line}: {text[:80]}{_shapes(error, text)})".strip()
    made = type(str(error.get("type")), (RaisedError,), {})(said)
    made.stub = bool(error.get("stub"))
    return made
