"""What `--against` names: another interpreter, or this one under another condition."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from compare.errors import UserError

FORMS = (
    "the path of a Python interpreter, compile or compile:BACKEND, threads=N, deterministic, "
    "mkldnn=off, or env:NAME=VALUE"
)
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

__all__ = ["Condition", "parse"]


class Condition(NamedTuple):
    """Another torch: who runs it, and what differs from this one.

    `threads` None: as many as the run's, unless the environment says how many.
    """

    text: str
    python: str
    compile: str | None = None  # the backend
    threads: int | None = None
    deterministic: bool = False
    mkldnn: bool = True
    env: tuple[tuple[str, str], ...] = ()

    def settings(self, threads: int) -> dict[str, object]:
        """Return what the worker is told, in a run of so many threads."""
        by_environment = any(name in THREADS for name, _ in self.env)
        return {
            "compile": self.compile,
            "threads": self.threads or (None if by_environment else threads),
            "deterministic": self.deterministic,
            "mkldnn": self.mkldnn,
        }


def parse(against: str | Path | Sequence[str | Path]) -> Condition:
    """Read one word, or several that hold together.

    Raises:
        UserError: a word is none of the known forms, contradicts another, or names no interpreter.
    """
    several = isinstance(against, Sequence) and not isinstance(against, str)
    words = [str(word).strip() for word in (against if several else (against,))]  # type: ignore[union-attr]
    if not any(words):
        raise UserError(f"--against names no other torch. It takes {FORMS}.")
    found = Condition(" ".join(words), sys.executable)
    taken: set[str] = set()
    for word in words:
        name, change = _read(word)
        if name in taken:
            raise UserError(
                f"--against names {name.removeprefix('env:')} twice: one other torch has one. "
                "Run twice to compare with two."
            )
        taken.add(name)
        env = found.env + change.pop("env", ())  # type: ignore[operator]
        found = found._replace(**change, env=env)  # type: ignore[arg-type]
    return found


def _read(word: str) -> tuple[str, dict[str, object]]:
    name, _, value = word.partition("=")
    if word.partition(":")[0] == "compile":
        return "compile", {"compile": word.partition(":")[2] or "inductor"}
    if word == "deterministic":
        return word, {"deterministic": True}
    if name == "threads":
        return name, {"threads": _count(value)}
    if name == "mkldnn":
        if value != "off":
            raise UserError(f"--against mkldnn takes off; received '{value}'. It is on by itself.")
        return name, {"mkldnn": False}
    if word.startswith("env:"):
        key = name.removeprefix("env:")
        if not key or "=" not in word:
            raise UserError(
                f"--against {word}: give env:NAME=VALUE, such as env:MKL_CBWR=COMPATIBLE."
            )
        return name, {"env": ((key, value),)}
    return "an interpreter", {"python": _interpreter(word)}


def _count(value: str) -> int:
    if not value.isdecimal() or int(value) < 1:
        raise UserError(f"--against threads takes a whole number from 1 on; received '{value}'.")
    return int(value)


def _interpreter(word: str) -> str:
    path = Path(word).expanduser()
    found = shutil.which(str(path))
    if found is not None:
        return os.path.abspath(found)
    if path.is_dir():
        inside = [
            p for p in (path / "bin" / "python", path / "Scripts" / "python.exe") if p.exists()
        ]
        hint = f" Did you mean {inside[0]}?" if inside else ""
        raise UserError(f"--against {word} is a directory, not a Python interpreter.{hint}")
    if path.exists():
        raise UserError(f"--against {word} cannot be executed: it is no Python interpreter.")
    raise UserError(f"--against {word}: there is no such interpreter. It takes {FORMS}.")
