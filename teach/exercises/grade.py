"""Grade one submission: rules, its own process, the checker, and what each tensor is worth."""

from __future__ import annotations

import gc
import io
import re
import sys
import time
import tokenize
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from compare.description.reading import refuse_large
from compare.errors import UserError
from teach.exercises.definition import MARKER, Exercise, named
from teach.exercises.rules import MOST, broken_rules
from teach.exercises.tensor import Tensor
from teach.exercises.worker import Gone, RaisedError, Worker

TIMEOUT, MEMORY = 20.0, 2 * 2**30  # seconds of computing; bytes
RIGHT, WRONG, EMPTY, REFUSED = "right", "wrong", "not filled in", "not allowed"
FAILED, CRASHED, LATE, UNUSABLE = "error", "crashed", "timeout", "unusable"
HINTS = {"told": 1, "cause": 2, "kind": 2, "hint": 3}  # which --hint shows it


@dataclass(frozen=True)
class Grade:
    """The result of one submission."""

    file: str
    exercise: str
    status: str
    tensors: tuple[Tensor, ...] = ()
    message: str = ""
    error: str = ""
    printed: str = ""
    seconds: float = 0.0
    seed: int = 0

    @property
    def score(self) -> float:
        """The fraction of tensors that are right; 0 for what could not be judged."""
        if self.status not in (RIGHT, WRONG) or not self.tensors:
            return 0.0
        return sum(t.right for t in self.tensors) / len(self.tensors)

    def as_dict(self, hints: int = 3) -> dict[str, Any]:
        """Return the grade as JSON's types; of what is a hint, only as many steps as asked for."""
        hidden = [k for k, step in HINTS.items() if step > hints]
        tensors = [
            asdict(t) | {"symbol": t.symbol} | dict.fromkeys(hidden, "") for t in self.tensors
        ]
        return asdict(self) | {"score": self.score, "tensors": tensors}


def grade(
    path: Path,
    known: dict[str, Exercise],
    *,
    name: str | None = None,
    seed: int = 0,
    timeout: float = TIMEOUT,
    memory: int = MEMORY,
) -> Grade:
    """Grade a file. Whatever it does, a grade is returned.

    Args:
        path: the submission.
        known: the exercises it may belong to.
        name: which of them it is; by default its marker line says so.
        seed: of inputs and upstream gradients.
        timeout: seconds that it may compute.
        memory: bytes it may use, where the system can limit that.
    """
    try:
        source = source_of(path)
        exercise = belongs_to(source, known, name)
    except UserError as error:
        return Grade(str(path), name or "", UNUSABLE, message=str(error), seed=seed)
    return grade_source(source, exercise, str(path), seed=seed, timeout=timeout, memory=memory)


def source_of(path: Path) -> str:
    """Return a submission's text.

    Raises:
        UserError: it cannot be read, is too long, or no text.
    """
    refuse_large(path, str(path), MOST)
    try:
        data = path.read_bytes()
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return data.decode(encoding).replace("\r\n", "\n")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (UnicodeDecodeError, SyntaxError, LookupError) as error:
        raise UserError(f"{path} is no text: {error}. Save it as UTF-8.") from error


def belongs_to(source: str, known: dict[str, Exercise], name: str | None = None) -> Exercise:
    """Return the exercise that a submission is for: its marker, else the functions it defines.

    Raises:
        UserError: there is no telling, or no such exercise.
    """
    if name is not None:
        return named(name, known)
    marked = re.search(rf"^{re.escape(MARKER)}[ \t]*(\S+)", source, re.MULTILINE)
    if marked:
        return named(marked[1], known)
    defined = set(re.findall(r"^def (\w+)", source, re.MULTILINE))
    fits = [e for e in known.values() if e.about.backward in defined]
    if len(fits) == 1:
        return fits[0]
    raise UserError(
        f"Which exercise is it? The line '{MARKER} NAME', with which every stub begins, is gone: "
        "put it back, or use --exercise NAME."
    )


def grade_source(
    source: str, exercise: Exercise, file: str, *, seed: int, timeout: float, memory: int
) -> Grade:
    """Grade a submission's text."""
    began = time.perf_counter()
    status, tensors, *texts = _examined(source, exercise, seed, timeout, memory)
    tensors = [replace(t, told=printable(t.told), cause=printable(t.cause)) for t in tensors]
    message, error, printed = map(printable, texts)
    return Grade(
        file, exercise.name, status, tuple(tensors), message, error, printed,
        round(time.perf_counter() - began, 2), seed,
    )  # fmt: skip


def printable(text: str) -> str:
    """Return a text that can be shown: a submission's own may hold anything."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def _examined(
    source: str, exercise: Exercise, seed: int, timeout: float, memory: int
) -> tuple[str, Sequence[Tensor], str, str, str]:
    about = exercise.about
    try:
        broken = broken_rules(source, about.allowed_imports)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as failure:
        line = getattr(failure, "lineno", None)
        at = f" (line {line}: {(getattr(failure, 'text', '') or '').strip()[:80]})" if line else ""
        text = f"{type(failure).__name__}: {getattr(failure, 'msg', failure)}{at}"
        return FAILED, (), f"The file is no valid Python. {text}", text, ""
    if broken:
        more = [f"and {len(broken) - 3} more of them"] if len(broken) > 3 else []
        told = ", ".join([*broken[:3], *more])
        message = f"Not allowed: {told}. Imports: {_imports(about)}."
        return REFUSED, (), message, "", ""
    with Worker(timeout, memory) as worker:
        try:
            return *_judged(worker, source, exercise, seed), worker.printed
        except Gone as gone:
            return _over(gone, about, worker.printed)


def _over(gone: Gone, about: Any, printed: str) -> tuple[str, Sequence[Tensor], str, str, str]:
    if gone.why == "not allowed":
        message = f"Not allowed, tried while running: {gone.text}. Imports: {_imports(about)}."
        return REFUSED, (), message, "", printed
    endless = " Is there an endless loop?" if gone.why == "timeout" else ""
    return gone.why, (), f"The submission was not finished: {gone.text}.{endless}", "", printed


def _imports(about: Any) -> str:
    return ", ".join(n for n in about.allowed_imports if n != "__future__")


def _judged(
    worker: Worker, source: str, exercise: Exercise, seed: int
) -> tuple[str, Sequence[Tensor], str, str]:
    _load_torch()
    from teach.exercises.judging import crash_of, session_of, tensors_of
    from teach.exercises.remote import RemotePair, SubmissionError

    about = exercise.about
    worker.start()
    functions = (about.forward, about.backward)
    try:
        loaded = worker.ask(
            do="load", source=source, file=f"<{exercise.name}>", functions=functions,
            allowed=about.allowed_imports, memory=worker.memory, seconds=int(worker.timeout) + 2,
        )  # fmt: skip
    except RaisedError as error:
        return _failed(error, "The file fails when it is run")
    if loaded["missing"]:
        missing = " and ".join(f"function {n}" for n in loaded["missing"])
        message = f"The file has no {missing}: keep the names of the stub."
        return FAILED, (), message, ""
    candidate = RemotePair(worker, functions, tuple(exercise.inputs), exercise.gradients)
    session = session_of(exercise, candidate, seed)
    try:
        verdict = session.verdict()
    except UserError as error:
        if isinstance(error.__cause__, RaisedError):
            return _failed(error.__cause__, "The submission fails")
        if isinstance(error, SubmissionError):
            return FAILED, (), str(error), ""
        raise UserError(f"The exercise {exercise.name} itself is not sound: {error}") from error
    tensors = tensors_of(session, exercise, verdict)
    if verdict.agrees:
        return RIGHT, tensors, "", ""
    return WRONG, tensors, verdict.reason, crash_of(session)


def _load_torch() -> None:
    """Import torch with the garbage collector asleep.

    Its 300,000 objects stay until the end: to look through them again and again, as the collector
    does while they are made, once more at the end, takes a quarter of the import.
    """
    if "torch" in sys.modules or not gc.isenabled():
        return
    gc.disable()
    try:
        import torch  # noqa: F401
    finally:
        gc.freeze()
        gc.enable()


def _failed(error: RaisedError, what: str) -> tuple[str, Sequence[Tensor], str, str]:
    if error.stub:
        return EMPTY, (), "Nothing is filled in yet: backward still raises NotImplementedError.", ""
    text = f"{type(error).__name__}: {error}"
    return FAILED, (), f"{what}: {text}", text
