"""The other torch's process: started, asked, and always ended."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError
from threading import Timer
from types import TracebackType
from typing import Any

import torch_ref
from compare.description.reading import one_line
from compare.errors import UserError
from compare.running.against.condition import Condition
from compare.running.refusal import TorchRefusedError
from torch_ref.pipe import receive, send
from torch_ref.worker import mark

STARTING = 180.0  # seconds until it must have said which torch it has
ANSWERING = 600.0  # seconds for one answer; the first step of torch.compile takes longest
LEAST = (2, 4)  # torch, as in pyproject.toml
NOISE = 10_000  # lines that may be printed before the first answer

# Only torch_ref is made known there: nothing else of this environment, which may not fit that one.
START = """
import sys, types
if sys.path and sys.path[0] == "":
    del sys.path[0]
package = types.ModuleType("torch_ref")
package.__path__ = [sys.argv[1]]
sys.modules["torch_ref"] = package
from torch_ref.worker import main
main(sys.argv[2], int(sys.argv[3]))
"""

__all__ = ["OtherEndedError", "OtherProcess"]


class OtherEndedError(TorchRefusedError):
    """The other torch's process died, or did not answer in time."""


class OtherProcess:
    """A torch side in another process; a context, at whose end the process has ended.

    Raises:
        UserError: it cannot be started, or has no torch that is new enough.
    """

    def __init__(self, condition: Condition) -> None:
        self.condition = condition
        self.versions: dict[str, str] = {}
        self.late = False
        self.word = secrets.token_hex(8)
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self.process = subprocess.Popen(
                [condition.python, "-c", START, str(Path(torch_ref.__file__).parent), self.word,
                 str(os.getpid())],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                env=_environment(condition), start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            self.errors.close()
            reason = error.strerror or str(error)
            raise UserError(f"--against {condition.python} cannot be started: {reason}.") from None

    def __enter__(self) -> OtherProcess:
        try:
            self.versions = self._within(STARTING, self._greeting)
            self._check_version()
        except OtherEndedError as error:
            self.end()
            raise UserError(
                f"--against {self.condition.python} cannot run torch's side: {error}. It needs "
                f"torch {'.'.join(map(str, LEAST))} or newer and numpy; handgrad need not be "
                "installed there."
            ) from None
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.end()

    def ask(self, name: str, /, **arguments: Any) -> Any:
        """Return what a method of `torch_ref.worker.Worker` gives there.

        Raises:
            TorchRefusedError: something was raised there.
            OtherEndedError: it died, or took too long.
        """
        answer = self._within(ANSWERING, lambda: self._exchanged((name, arguments)))
        if "error" in answer:
            kind, text = answer["error"]
            raise TorchRefusedError(one_line(f"{kind}: {text}"))
        return answer["found"]

    def end(self) -> None:
        """End the process and what it started; once is enough, more does no harm."""
        self._kill()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            with suppress(OSError):
                stream.close()  # type: ignore[union-attr]
        self.process.wait()

    def _exchanged(self, request: Any) -> Any:
        send(self.process.stdin, request)  # type: ignore[arg-type]
        return receive(self.process.stdout)  # type: ignore[arg-type]

    def _greeting(self) -> dict[str, str]:
        """Read past what was printed at its start, to which versions it has."""
        stream = self.process.stdout
        for _ in range(NOISE):
            line = stream.readline(NOISE)  # type: ignore[union-attr]
            if not line:
                raise EOFError
            if line == mark(self.word).lstrip():
                return receive(stream)  # type: ignore[arg-type]
        raise EOFError

    def _within(self, seconds: float, act: Any) -> Any:
        """Do something with the pipes; when time is over the process is killed, which ends it."""
        timer = Timer(seconds, self._give_up)
        timer.daemon = True
        timer.start()
        try:
            return act()
        except (OSError, EOFError, ValueError):
            raise OtherEndedError(self._why(seconds)) from None
        except (UnpicklingError, MemoryError, AttributeError, ImportError) as error:
            raise OtherEndedError(f"its answer cannot be read ({one_line(error)})") from None
        finally:
            timer.cancel()

    def _give_up(self) -> None:
        self.late = True
        self._kill()

    def _kill(self) -> None:
        if self.process.poll() is not None:
            return
        with suppress(OSError):
            if os.name == "posix":
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()

    def _why(self, seconds: float) -> str:
        """Say how it ended, with the last line that it wrote."""
        if self.late:
            return f"no answer within {seconds:g} s, and it was ended"
        self._kill()
        status = self.process.wait()
        self.errors.seek(0)
        lines = self.errors.read().decode("utf-8", "replace").strip().splitlines()
        if lines:
            return one_line(lines[-1])
        if status < 0:
            return f"it was ended by {signal.Signals(-status).name}"
        return f"it ended with status {status} and said nothing"

    def _check_version(self) -> None:
        found = self.versions["torch"]
        numbers = tuple(int(n) for n in found.split("+")[0].split(".")[:2] if n.isdecimal())
        if numbers < LEAST:
            raise UserError(
                f"--against {self.condition.python} has torch {found}; "
                f"{'.'.join(map(str, LEAST))} or newer is needed."
            )


def _environment(condition: Condition) -> Mapping[str, str]:
    """Return this environment with the condition's; compiling starts no processes of its own.

    What says where this interpreter finds modules, such as its torch, is not told to another.
    """
    own = dict(os.environ)
    if condition.python != sys.executable:
        for name in ("PYTHONPATH", "PYTHONHOME", "__PYVENV_LAUNCHER__"):
            own.pop(name, None)
    own.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    own.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    return own | dict(condition.env)
