"""What a point found, as rows: one of the run, one of each tensor."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from compare.commands.sweep.file import Sweep

if TYPE_CHECKING:
    import pyarrow as pa

    from compare.diagnose.causes import Cause
    from compare.report.report import Report

AGREE, DISAGREE, INCOMPLETE = "agree", "disagree", "incomplete"  # the job's own
ERROR, DEAD = "error", "died"
VERDICTS = (AGREE, DISAGREE, INCOMPLETE, ERROR, DEAD)
FOUND = ("verdict", "cause", "layer", "quantity", "budget_used", "last_loss", "seconds", "reason",
         "replay", "versions")  # fmt: skip

FAILED = ("missing", "non-finite", "disagree")  # of a tensor
MOST = 40  # values of an axis that are told apart in a report
FAILURES = 200  # that it lists


class Tensor(NamedTuple):
    """One tensor of a run over all its steps: its worst numbers, its gravest verdict."""

    layer: str
    quantity: str
    budget_used: float
    max_abs_diff: float
    verdict: str


class Found(NamedTuple):
    """What a point found: `layer`, `quantity` and `budget_used` are those of its worst tensor.

    `budget_used` is ∞ for a failure without a number, NaN where nothing was judged.
    """

    verdict: str
    reason: str = ""
    cause: str = ""
    last_loss: float = math.nan
    tensors: Sequence[Tensor] = ()

    @property
    def worst(self) -> Tensor:
        """The tensor that used most of its budget."""
        none = Tensor("", "", math.nan, math.nan, "")
        return max(self.tensors, key=lambda t: (t.budget_used == t.budget_used, t.budget_used),
                   default=none)  # fmt: skip


def found_in(report: Report) -> Found:
    """Return what a report says.

    Raises:
        KeyboardInterrupt: it was cut short; half a run is no row.
    """
    from compare.report.rendering.facts import per_tensor

    if report.interrupted:
        raise KeyboardInterrupt
    rows = [
        (row.layer, row.quantity, row.budget_used, row.max_abs_diff, row.verdict)
        for row in per_tensor(report.differences)
    ]
    losses = report.losses["manual"]
    last = float(losses.iloc[-1]) if len(losses) else math.nan
    return found(report.verdict, report.reason, report.cause, last, rows)


def found(
    verdict: str, reason: str, cause: Cause | None, last_loss: float,
    rows: Iterable[tuple[str, str, float, float, str]],
) -> Found:  # fmt: skip
    """Return what a run found; of each tensor name, budget used, difference and verdict are given.

    A failure without a number used ∞.
    """
    tensors = [
        Tensor(layer, quantity, math.inf if what in FAILED and not used > 1 else used, diff, what)
        for layer, quantity, used, diff, what in rows
    ]
    return Found(verdict, reason, cause.kind if cause else "", last_loss, tensors)


def run_row(
    point: Any, axes: Sequence[str], found: Found, seconds: float, versions: str,
    replay: Callable[[], str],
) -> dict:  # fmt: skip
    """Return the row of a point; `replay` is asked for the command of a failure alone."""
    worst = found.worst
    return {
        "key": point.key, "point": point.number,
        **{axis: cell(point.values[axis]) for axis in axes},
        "verdict": found.verdict, "cause": found.cause, "layer": worst.layer,
        "quantity": worst.quantity, "budget_used": worst.budget_used,
        "last_loss": found.last_loss, "seconds": seconds, "reason": found.reason[:2000],
        "replay": "" if found.verdict == AGREE else replay(), "versions": versions,
    }  # fmt: skip


def tensor_rows(point: Any, found: Found) -> list[dict]:
    """Return a row of each tensor."""
    return [{"key": point.key, "point": point.number, **t._asdict()} for t in found.tensors]


def cell(value: Any) -> Any:
    """Return a value as a column holds it: a number, a truth value or a text."""
    return value if isinstance(value, bool | int | float | str) else json.dumps(value)


def schemas(sweep: Sweep) -> tuple[pa.Schema, pa.Schema]:
    """Return the columns of runs and of tensors."""
    import pyarrow as pa

    text, number = pa.dictionary(pa.int32(), pa.string()), pa.float64()
    where = [("key", pa.string()), ("point", pa.int64())]
    axes = [(axis, _type(values)) for axis, values in _values(sweep).items()]
    kinds = {"budget_used": number, "last_loss": number, "seconds": number}
    runs = [*where, *axes, *((name, kinds.get(name, text)) for name in FOUND)]
    tensors = [*where, ("layer", text), ("quantity", text), ("budget_used", number),
               ("max_abs_diff", number), ("verdict", text)]  # fmt: skip
    return pa.schema(runs), pa.schema(tensors)


def _values(sweep: Sweep) -> dict[str, list[Any]]:
    drawn = {key: next(iter(given.items())) for key, given in sweep.random.keys.items()}
    ends = {
        key: list(map(float, numbers)) if name in ("uniform", "log_uniform") else numbers
        for key, (name, numbers) in drawn.items()
    }
    return {**sweep.grid, **ends}


def _type(values: Sequence[Any]) -> Any:
    """Return the narrowest type that holds all values of an axis; texts hold them all."""
    import pyarrow as pa

    kinds = {type(cell(value)) for value in values}
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int} and all(abs(value) < 2**63 for value in values):
        return pa.int64()
    return pa.float64() if kinds and kinds <= {float} else pa.string()
