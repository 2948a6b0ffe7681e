"""Work one element of a quantity by its formula, and hold it against what both sides have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from compare.explaining import format as fmt
from compare.explaining.equations import Equation, symbols
from compare.explaining.evaluate import DIGITS, MORE, Env, bind, head, mp
from compare.explaining.language import brackets, names, parse
from compare.explaining.local import Shaken, local_tolerance
from compare.explaining.pieces import Piece, UnexplainedError, pieces_of
from compare.explaining.render import Numbers, Plain, index_text, short
from compare.explaining.source_lines import Listing, listings
from compare.judge.quantities import Key
from compare.running.alone import Moment

INSTANCES = 2  # of each defined name, worked below the sum


@dataclass(frozen=True)
class Formula:
    """One formula as it is shown: lines of Unicode and of LaTeX, and what its names mean."""

    title: str
    plain: tuple[str, ...]
    latex: tuple[str, ...]
    matrix: str
    means: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Worked:
    """One element of one quantity, worked from the hand-written side's own numbers.

    Attributes:
        by: who computes the quantity.
        formulas, listings: its equations, and the NumPy lines that do it.
        arithmetic: the formula with the numbers put in, line by line, and what its names are.
        total: what the arithmetic gives; `manual` and `torch` what the two sides have.
        tolerance: how far the two sides may be apart.
        local: how far rounding in this formula alone may take it; NaN unless `blind`.
        blind: whether zero would be within the tolerance too, so that nothing follows from it.
        holds: whether total and manual are within it; None if that is unknown.
        agrees: whether manual and torch are; `settled` whether that says anything.
        kink: whether the sides took different pieces of this function within rounding.
        problem: why the element could not be worked; "" if it was.
    """

    step: int
    layer: str
    quantity: str
    index: tuple[int, ...]
    by: str
    verdict: str
    manual: float
    torch: float
    tolerance: float
    formulas: tuple[Formula, ...] = ()
    listings: tuple[Listing, ...] = ()
    arithmetic: tuple[str, ...] = ()
    total: float = float("nan")
    digits: str = ""
    local: float = float("nan")
    torch_module: str = ""
    grad_fn: str = ""
    kink: bool = False  # an element of this layer was judged with torch's piece of the function
    problem: str = ""

    @property
    def difference(self) -> float:
        return abs(self.manual - self.torch)

    @property
    def share(self) -> float:
        """How much of the tolerance the two sides' difference uses."""
        return _share(self.difference, self.tolerance)

    @property
    def blind(self) -> bool:
        return _blind(self.verdict, self.tolerance, self.total)

    @property
    def holds(self) -> bool | None:
        if self.problem or not np.isfinite(self.tolerance):
            return None
        if not _close(self.total, self.manual, self.tolerance):
            return False
        return not self.blind or _close(self.total, self.manual, self.local) or None

    @property
    def agrees(self) -> bool:
        return _close(self.manual, self.torch, self.tolerance)

    @property
    def settled(self) -> bool:
        return not self.blind or _close(self.manual, self.torch, self.local)

    @property
    def finding(self) -> str:
        """Say in a sentence what the three numbers show."""
        if self.problem:
            return f"Not worked: {self.problem}."
        if np.isnan(self.manual) and np.isfinite(self.total):
            return "The hand-written side has no such number, and the formula gives one."
        if self.holds is None and not np.isfinite(self.tolerance):
            return "No tolerance is known here, so nothing is concluded."
        if self.holds is None:
            return (
                "Nothing is concluded: rounding may take this number so far that zeros would pass "
                "too, and the worked sum differs from the hand-written value by "
                f"{fmt.short(abs(self.total - self.manual))}, more than rounding in this formula "
                f"alone explains ({fmt.short(self.local)})."
            )
        if self.holds is False and self.agrees and self.kink:
            return (
                "The two sides took different pieces of this function, within rounding of the "
                "border: the values are those of torch's piece, the sum that of the other."
            )
        if self.holds is False and self.agrees:
            return (
                "The formula and the hand-written value differ, though both sides agree: the "
                "formula shown is not what the code computes. Please report it."
            )
        if self.holds is False:
            return (
                "The worked sum and the hand-written value differ: the code does not compute this "
                "formula from these numbers. The mistake is here."
            )
        if not self.agrees:
            return (
                "The worked sum gives the hand-written value, and torch has another: this step is "
                "right, and the numbers that went into it are wrong."
            )
        if not self.settled:
            return (
                "The worked sum gives the hand-written value. That torch's agrees says nothing: "
                "rounding may take this number so far that zeros would pass too."
            )
        return "The worked sum, the hand-written value and torch's agree within the tolerance."


def work(moment: Moment, key: Key, at: tuple[int, ...], verdict: str) -> Worked:
    """Work one element; what prevents it becomes the record's `problem`."""
    manual, torch = (_at(side.get(key), at) for side in (moment.manual, moment.torch))
    tolerance = _at(moment.tolerances.get(key, np.nan), at, broadcast=True)
    record: dict[str, Any] = {}
    by = ""
    try:
        pieces = pieces_of(moment, key)
        by = " + ".join(described(piece) for piece in pieces)
        record |= {
            "formulas": tuple(map(formula_of, pieces)),
            "listings": listings(p for p in pieces if not p.by_torch),
        }
        total, lines = arithmetic(pieces, key, at)
        if not _close(float(total), manual, tolerance):  # numbers may have cancelled
            total = arithmetic(pieces, key, at, MORE)[0]
        record |= {"arithmetic": lines, "total": float(total), "digits": mp().nstr(total, 18)}
        if _blind(verdict, tolerance, float(total)):
            record["local"] = local_tolerance(
                pieces, lambda some, rng: arithmetic(some, key, at, DIGITS, rng)[0], moment
            )
    except UnexplainedError as error:
        record["problem"] = str(error)
    except Exception as error:  # code with a mistake in it may leave whatever it likes
        record["problem"] = f"{type(error).__name__}: {error}"
    return Worked(
        moment.number, *key, at, by, verdict, manual, torch, tolerance, **record
    )  # fmt: skip


def arithmetic(
    pieces: list[Piece], key: Key, at: tuple[int, ...], digits: int | None = None, rng: Any = None
) -> tuple[Any, tuple[str, ...]]:
    """Return the sum of the pieces at an element, and the lines that show it.

    Args:
        pieces, key, at: what adds up to which element.
        digits: to how many; there are no lines then.
        rng: a source of roundings, one after each operation.
    """
    context = mp()
    before = context.dps
    context.dps = digits or before
    try:
        worked = [_piece(piece, at, digits is None, rng) for piece in pieces]
        total = context.fsum(value for value, _ in worked)
    finally:
        context.dps = before
    lines = [line for _, own in worked for line in own]
    if len(worked) > 1:
        sums = " + ".join(short(value) for value, _ in worked)
        lines.append(f"together {sums} = {short(total)}")
    return total, tuple(lines)


def _piece(piece: Piece, at: tuple[int, ...], show: bool, rng: Any) -> tuple[Any, list[str]]:
    bound, formula = piece.bound, piece.equation
    inner = bound.at(at)
    given = (bound.arrays, bound.scalars, formula.definitions, bound.fold)
    env = Env(*given) if rng is None else Shaken(rng, *given)
    left, right = parse(formula.left), parse(formula.right)
    scope = bind(head(formula.left)[1], inner)
    value = env.value(right, scope)
    if not show:
        return value, []
    plain, numbers = Plain(symbols()), Numbers(symbols(), env)
    text = numbers.text(right, scope)
    terms = f"   ({' and '.join(map(str, numbers.counts))} terms)" if numbers.counts else ""
    lines = [
        f"{plain.text(left, scope)} = {plain.text(right, scope)}",
        f"  = {text}{terms}",
        f"  = {mp().nstr(value, 17)}",
    ]
    return value, lines + _instances(formula, env, numbers)


def _instances(formula: Equation, env: Env, numbers: Numbers) -> list[str]:
    """Work the defined names that the sum used, the first few of each."""
    lines: list[str] = []
    done: dict[str, int] = {}
    queue = list(numbers.used)
    while queue:
        name, at = queue.pop(0)
        done[name] = done.get(name, 0) + 1
        if done[name] > INSTANCES:
            continue
        indices, right = env.definitions[name]
        inner = Numbers(symbols(), env)
        left = inner.symbols.get(name, {}).get("plain", name)
        scope = dict(zip(indices, at, strict=True))
        where = f"[{','.join(index_text(i) for i in at)}]" if at else ""
        result = short(env.element(name, at))
        text = inner.text(right, scope)
        lines.append(f"where {left}{where} = {text}" + ("" if text == result else f" = {result}"))
        queue += [used for used in inner.used if used not in queue]
    return lines


def formula_of(piece: Piece) -> Formula:
    """Return a piece's formula as it is shown."""
    formula, means = piece.equation, piece.bound.means
    texts = (formula.right, *formula.where)
    used = {n for text in texts for n in names(parse(_right(text)))}
    used |= {f for f in ("fold", "Phi", "phi") if any(f"{f}(" in text for text in texts)}
    plain = Plain(symbols())
    legend = [(plain.name(n, {})[0], text) for n, text in means.items() if n in used]
    if any(brackets(parse(_right(text))) for text in texts):
        legend.append(("[…]", "1 where it holds, else 0"))
    return Formula(
        described(piece),
        tuple(formula.plain()),
        tuple(formula.latex()),
        formula.matrix,
        tuple(legend),
    )


def _right(text: str) -> str:
    return text.partition(" = ")[2] or text


def described(piece: Piece) -> str:
    """Say whose formula this is."""
    owner = type(piece.owner).__name__
    if piece.by_torch:
        return f"torch's {owner} on both sides, node {piece.place}"
    method = f"{owner}.{piece.method}"
    if piece.place == "optimizer":
        return method
    if piece.place == "loss":
        return f"{method}, the loss"
    if piece.place.endswith("penalty"):
        return f"{method}, {piece.place}"
    return f"{method} of node {piece.place}"


def _at(value: Any, at: tuple[int, ...], *, broadcast: bool = False) -> float:
    if value is None:
        return float("nan")
    array = np.asarray(value)
    if broadcast and array.ndim == 0:
        return float(array)
    try:
        return float(array[at])
    except (IndexError, TypeError, ValueError):
        return float("nan")


def _close(a: float, b: float, tolerance: float) -> bool:
    return bool(abs(a - b) <= tolerance) or a == b


def _blind(verdict: str, tolerance: float, total: float) -> bool:
    return verdict == "vacuous" or tolerance >= abs(total)


def _share(difference: float, tolerance: float) -> float:
    if difference == 0:
        return 0.0
    return difference / tolerance if tolerance else float("inf")
