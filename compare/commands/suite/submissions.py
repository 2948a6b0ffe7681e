"""Who has handed in what: submissions, the functions that their files define, what is to be run."""

from __future__ import annotations

import ast
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from compare.commands.suite.row import ERROR, MISSING, Row
from compare.commands.suite.suite import Function
from compare.errors import UserError
from compare.pair.loading import Named

LARGEST = 2 * 2**20  # bytes of a file that is read
NOT_THEIRS = {"site-packages", "venv", "env", "node_modules"}


def python_files(folder: Path) -> list[Path]:
    """Return the Python files below a folder, sorted; hidden folders and caches are left out."""
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(
            f for f in folders if not f.startswith((".", "__")) and f not in NOT_THEIRS
        )
        found += [Path(root) / f for f in files if f.endswith(".py") and not f.startswith(".")]
    return sorted(found, key=lambda p: p.relative_to(folder).parts)


@dataclass(frozen=True)
class File:
    """One file: the names that it defines at its top, or why it cannot be read."""

    path: Path
    names: frozenset[str] = frozenset()
    text: str = field(default="", repr=False)
    broken: str = ""

    def speaks_of(self, name: str) -> bool:
        """Return whether a file that cannot be read seems to define a name."""
        return bool(self.broken and re.search(rf"(?m)^\s*(def|class)\s+{re.escape(name)}\b",
                                              self.text))  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One function of one submission; `files` has the file of each name."""

    function: Function
    names: tuple[Named, ...]
    files: tuple[Path, ...]

    @property
    def told(self) -> str:
        return ", ".join(name.name for name in self.names)


@dataclass(frozen=True)
class Submission:
    """What one person has handed in: a file, or a folder of them."""

    name: str
    path: Path

    @property
    def root(self) -> Path:
        return self.path if self.path.is_dir() else self.path.parent

    @cached_property
    def files(self) -> list[File]:
        paths = python_files(self.path) if self.path.is_dir() else [self.path]
        return [read(path) for path in paths]

    def jobs(self, functions: Iterable[Function]) -> Iterator[Job | Row]:
        """Yield what is to be run, and rows for what cannot be."""
        for function in functions:
            found = [job for names in function.spellings for job in self._jobs(function, names)]
            yield from found
            if not found:
                yield self._absent(function)

    def _jobs(self, function: Function, names: tuple[Named, ...]) -> Iterator[Job]:
        """Yield a job for each file that defines all the names; else one for several files."""
        wanted = [name.name.partition(".")[0] for name in names]
        whole = [f.path for f in self.files if f.names.issuperset(wanted)]
        for path in whole:
            yield Job(function, names, (path,) * len(names))
        first = [next((f.path for f in self.files if n in f.names), None) for n in wanted]
        if not whole and all(first):
            yield Job(function, names, tuple(path for path in first if path))

    def _absent(self, function: Function) -> Row:
        wanted = [name.name for names in function.spellings for name in names]
        for file in self.files:
            if any(map(file.speaks_of, wanted)):
                return self.row(function, ERROR, file.broken, file.path)
        defined = {n: f.path for f in self.files for n in wanted if n in f.names}
        lost = [n.name for n in function.spellings[0] if n.name not in defined]
        reason = f"{' and '.join(lost or wanted)} cannot be found"
        if defined:
            name, path = next(iter(defined.items()))
            return self.row(function, MISSING, f"{reason}, but {name}", path)
        broken = [f"{self.shown(f.path)}: {f.broken}" for f in self.files if f.broken]
        return self.row(function, MISSING, "; ".join([reason, *broken[:2]]))

    def row(self, function: Function, verdict: str, reason: str, file: Path | None = None) -> Row:
        return Row(self.name, function.name, verdict, reason=reason,
                   file=self.shown(file) if file else "")  # fmt: skip

    def shown(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def submissions(folder: Path) -> list[Submission]:
    """Return one submission for each Python file and each folder with some in a folder, sorted.

    Raises:
        UserError: there is no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise UserError(f"--all {folder}: there is no such folder.")
    found = [
        Submission(path.name, path)
        for path in sorted(folder.iterdir())
        if not path.name.startswith((".", "__"))
        and (any(python_files(path)) if path.is_dir() else path.suffix == ".py")
    ]
    if not found:
        raise UserError(
            f"{folder} holds no submission: each is a Python file, or a folder with Python files."
        )
    return found


def read(path: Path) -> File:
    """Return a file's names; whatever it is, no exception."""
    text = ""
    try:
        if not stat.S_ISREG(path.stat().st_mode) or path.stat().st_size > LARGEST:
            return File(path, broken=f"no file of at most {LARGEST:,} bytes")
        data = path.read_bytes()
        text = data.decode("utf-8", "replace")
        return File(path, frozenset(_names(ast.parse(data).body)))
    except SyntaxError as error:
        line = f"line {error.lineno}: " if error.lineno else ""
        told = f"{line}{type(error).__name__}: {error.msg}: {(error.text or '').strip()[:80]}"
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        told = f"{type(error).__name__}: {error}"
    return File(path, text=text, broken=told)


def _names(body: list[ast.stmt]) -> Iterator[str]:
    """Yield what statements define, in branches too."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (t.id for t in node.targets if isinstance(t, ast.Name))
        elif isinstance(node, ast.If | ast.Try):
            yield from _names(node.body)
            yield from _names(node.orelse)
