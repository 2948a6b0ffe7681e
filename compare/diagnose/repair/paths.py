"""Which path of forward is missing in a gradient: what is left out is taken as a constant.

One variable of forward, or one use of it, is held at its value while the inputs move. What central
differences then lose is that path's share of the gradient.
"""

from __future__ import annotations

import ast
import io
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from compare.diagnose.causes import Cause
from compare.diagnose.repair.code import Code, functions_of
from compare.diagnose.repair.edit import Edit, Place, parse, places
from compare.pair.inputs import as_float, fresh
from compare.running.cases.outcome import Outcome, quiet

if TYPE_CHECKING:
    from compare.commands.check.session import Session

HELD = "__held_for_a_path"
STEP, CLOSE, SEEN = 2e-3, 1e-6, 1e-4  # of the inputs; of the largest element
FEWEST, MOST, SECONDS = 4, 200, 2.0  # elements that must tell; at most differentiated; how long
TIMES = {-1: "is missing", -2: "has the wrong sign", 1: "is counted twice"}
ADVICE = "Every use of a variable is a path of its own: the gradient is the sum over all of them."


class Path(NamedTuple):
    """What is held: places in forward, and how to call them."""

    spots: tuple[tuple[Place, ast.stmt], ...]
    text: str


def missing_path(
    session: Session, run: list[Outcome], outcome: Outcome, quantity: str
) -> Cause | None:
    """Return which path of forward a gradient lacks, has twice, or has with the wrong sign."""
    found, name = _gap(outcome, quantity), quantity[5:]
    codes = functions_of(session.candidate.forward_code)[:1]
    if found is None or not codes or np.abs(found[0]).max() < SEEN * found[1]:
        return None
    gap, size = found
    forward = Forward(session, outcome, name, codes[0])
    with quiet(), redirect_stdout(io.StringIO()):
        whole = forward.gradient(())
        shares = [(path, whole - forward.gradient(path.spots)) for path in forward.paths()]
    for times, what in TIMES.items():  # missing is the simplest thing to be said of all of them
        for path, share in shares:
            if _fits(gap, times * share, size) and _confirmed(forward, run, path, times):
                return Cause("missing path", f"in manual, the path {path.text} {what}.", ADVICE)
    return None


def _gap(outcome: Outcome, quantity: str) -> tuple[np.ndarray, float] | None:
    """Return manual − torch and the largest number of torch's; None if that is not to be used."""
    pair = outcome.pair(quantity)
    if pair is None or quantity[:5] != "grad:" or not FEWEST <= pair[0].size <= MOST:
        return None
    gap = as_float(pair[0]) - pair[1]
    return (gap, float(np.abs(pair[1]).max())) if np.isfinite(gap).all() else None


def _confirmed(forward: Forward, run: list[Outcome], path: Path, times: int) -> bool:
    """Return whether a path explains other sizes, too: √4 is 2 by chance."""
    quantity = f"grad:{forward.name}"
    found = ((o, _gap(o, quantity)) for o in reversed(run) if o.case.resized)
    for other, pair in found:
        if other is forward.outcome or pair is None:
            continue
        there = Forward(forward.session, other, forward.name, forward.code)
        with quiet(), redirect_stdout(io.StringIO()):
            share = there.gradient(()) - there.gradient(path.spots)
        return _close(pair[0], times * share, pair[1])
    return True


def _fits(gap: np.ndarray, share: np.ndarray, size: float) -> bool:
    telling = int(np.count_nonzero(np.abs(gap) > SEEN * size))
    return telling >= FEWEST and _close(gap, share, size)


def _close(gap: np.ndarray, share: np.ndarray, size: float) -> bool:
    return bool(np.abs(gap - share).max() <= CLOSE * max(size, np.abs(share).max()))


class Forward:
    """The candidate's forward pass, with some of its values held."""

    def __init__(self, session: Session, outcome: Outcome, name: str, code: Code) -> None:
        self.session, self.outcome, self.name, self.code = session, outcome, name, code
        self.until = time.process_time() + SECONDS

    def paths(self) -> Iterator[Path]:
        """Yield variables, single uses of them, and two together, as long as there is time."""
        for path in self._every():
            if time.process_time() > self.until:
                return
            yield path

    def _every(self) -> Iterator[Path]:
        lines = [s for s in ast.walk(self.code.tree) if isinstance(s, ast.Assign | ast.Return)]
        stored = [p for s in lines if isinstance(s, ast.Assign) for p in self._stored(s)]
        yield from stored
        for statement in lines:
            yield from self._uses(statement)
        for a, b in combinations(stored, 2):
            yield Path(a.spots + b.spots, f"{a.text} and {b.text.removeprefix('through ')}")

    def _stored(self, s: ast.Assign) -> Iterator[Path]:
        if isinstance(s.targets[0], ast.Name | ast.Attribute):
            text = f"through `{ast.unparse(s.targets[0])}` (line {self.code.line(s)} of forward)"
            yield Path(((Place(s, "value", None), s),), text)

    def _uses(self, s: ast.stmt) -> Iterator[Path]:
        spots = [p for p in places(s) if _is_use(p)]
        by_name: dict[str, list[Place]] = {}
        for spot in spots:
            by_name.setdefault(ast.unparse(spot.node), []).append(spot)
        for name, every in by_name.items():
            if len(every) > 1:
                text = f"through `{name}` in line {self.code.line(s)} of forward"
                yield Path(tuple((spot, s) for spot in every), text)
        for spot in spots:
            name, inside = ast.unparse(spot.node), ast.unparse(spot.parent)
            text = f"through `{name}` in `{inside}` (line {self.code.line(s)} of forward)"
            yield Path(((spot, s),), text)

    def gradient(self, spots: Sequence[tuple[Place, ast.stmt]]) -> np.ndarray:
        """Return d Σ dy y / dx by central differences, what is at these places held."""
        changes = tuple((place, _held(i, place.node)) for i, (place, _) in enumerate(spots))
        x = np.array(self.outcome.values[self.name], dtype=np.float64)
        found = np.empty_like(x)
        edit = Edit(0, "", changes, self.code.tree)
        with edit.made(), self.code.running(), _holder(self.code) as held:
            self._value(x)
            held.replay = True
            for at in np.ndindex(x.shape):
                h = STEP * max(1.0, abs(float(x[at])))
                near = [self._moved(x, at, k * h, held) for k in (-2, -1, 1, 2)]
                found[at] = (near[0] - 8 * near[1] + 8 * near[2] - near[3]) / (12 * h)
        return found

    def _moved(self, x: np.ndarray, at: tuple[int, ...], by: float, held: Any) -> float:
        moved = x.copy()
        moved[at] += by
        held.start()
        return self._value(moved)

    def _value(self, x: np.ndarray) -> float:
        values = fresh({**self.outcome.values, self.name: x})
        outputs = self.session.candidate.start(values).outputs
        pairs = zip(outputs, self.outcome.upstreams, strict=True)
        return float(sum((as_float(y) * dy).sum() for y, dy in pairs))


def _is_use(place: Place) -> bool:
    node = place.node
    named = isinstance(node, ast.Name) or (
        isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self"
    )
    return (
        named
        and isinstance(node.ctx, ast.Load)
        and place.field != "func"
        and not isinstance(place.parent, ast.Attribute)
    )


def _held(number: int, node: Any) -> Any:
    call = parse(f"{HELD}({number}, 0)")
    call.args[1] = node
    return call


class Held:
    """Records what stands at each place, and hands it out again in the same order."""

    def __init__(self) -> None:
        self.replay, self.kept, self.next = False, {}, {}  # type: ignore[var-annotated]

    def start(self) -> None:
        self.next = {number: iter(values) for number, values in self.kept.items()}

    def __call__(self, number: int, value: Any) -> Any:
        if self.replay:
            return next(self.next[number])
        self.kept.setdefault(number, []).append(np.array(value) if np.ndim(value) else value)
        return value


@contextmanager
def _holder(code: Code) -> Iterator[Held]:
    held = Held()
    code.function.__globals__[HELD] = held
    try:
        yield held
    finally:
        del code.function.__globals__[HELD]
