"""Two torches beside one hand-written side: which of them moved, per tensor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from compare.judge.measure import measure
from compare.judge.quantities import asked_once

if TYPE_CHECKING:
    from compare.judge.judge import Rows
    from compare.judge.quantities import Values
    from compare.report.report import Report

COLUMNS = ["step", "layer", "quantity", "identical", "max_abs_diff", "budget_used"]
FINE = ("agree", "vacuous")
SAME, MOVED, FURTHER = "bit for bit", "moved", "moved further"
OTHER, THIS, HAND, ALL = "other torch off", "this torch off", "hand-written off", "all differ"
STATUSES = (ALL, HAND, THIS, OTHER, FURTHER, MOVED, SAME)  # gravest first
OFF = (ALL, HAND, THIS, OTHER)

__all__ = ["Against", "MovedTensor", "Moves"]


@dataclass(frozen=True, repr=False)
class Against:
    """What a second torch found in the same steps.

    Attributes:
        other: what `--against` named.
        here, there: what each torch computes with, by name.
        this, that: the reports of this torch and of the other one, each by itself beside the
            hand-written side.
        moves: one row per (step, layer, quantity) that both have: whether their numbers are
            `identical` bit for bit, `max_abs_diff` between them, and `budget_used`, the largest
            |this − other| in units of the tolerance.
    """

    other: str
    here: dict[str, str]
    there: dict[str, str]
    this: Report
    that: Report
    moves: pd.DataFrame = field(repr=False)

    @property
    def differing(self) -> dict[str, tuple[str, str]]:
        """What the two torches do not have in common: (this, other) by name."""
        names = dict.fromkeys([*self.here, *self.there])
        pairs = {name: (self.here.get(name, "–"), self.there.get(name, "–")) for name in names}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

    @property
    def frame(self) -> pd.DataFrame:
        """The three comparisons side by side, a row per (step, layer, quantity) of both."""
        keys, names = COLUMNS[:3], ["budget_used", "verdict"]
        one, other = self.this.differences, self.that.differences
        one, other = (a[a["step"].isin(b["step"])] for a, b in ((one, other), (other, one)))
        found = one[[*keys, "shape", *names]].merge(
            other[[*keys, *names]], "outer", keys, suffixes=("_this", "_other")
        )
        between = self.moves.rename(columns={"budget_used": "budget_between"})
        return found.merge(between, "left", keys)

    def tensors(self) -> list[MovedTensor]:
        """Return what moved, per tensor over all steps, in execution order.

        What is asked once beside the steps is here only where a torch is off.
        """
        frame = self.frame
        order = dict.fromkeys(
            zip(self.this.differences["layer"], self.this.differences["quantity"], strict=True)
        )
        grouped = dict(list(frame.groupby(["layer", "quantity"], sort=False)))
        keys = [*(key for key in order if key in grouped), *(k for k in grouped if k not in order)]
        found = [_summed(layer, quantity, grouped[layer, quantity]) for layer, quantity in keys]
        return [t for t in found if t.status in OFF or not asked_once(t.layer, t.quantity)]


class MovedTensor(NamedTuple):
    """One tensor over all steps: three largest shares of its tolerance, and who moved.

    `this` and `other` are those of the two torches against the hand-written side, `between` that of
    one torch against the other; NaN where nothing was judged. `same` counts the steps in which the
    torches have the same bits, of `steps`.
    """

    layer: str
    quantity: str
    this: float
    other: float
    between: float
    same: int
    steps: int
    status: str


class Moves:
    """Collects, step by step, how far one torch's numbers are from the other's."""

    def __init__(self) -> None:
        self.rows: list[tuple] = []

    def add(self, number: int, rows: Rows, this: Values, other: Values, tolerances: object) -> None:
        """Take in one step.

        Args:
            rows: this torch's, for their keys in execution order.
            this, other: both torches' values.
            tolerances: by key, those by which this torch was judged.
        """
        keys = [
            k for k in rows.keys
            if k in this and k in other and np.shape(this[k]) == np.shape(other[k])
        ]  # fmt: skip
        known: list = [tolerances.get(k, 0.0) for k in keys]  # type: ignore[attr-defined]
        ours, theirs = [this[k] for k in keys], [other[k] for k in keys]
        found = measure(ours, theirs, known)
        same = [_identical(a, b) for a, b in zip(ours, theirs, strict=True)]
        used = np.where(same, 0.0, found.budget)
        self.rows += zip(
            [number] * len(keys), *zip(*keys, strict=True), same, found.max_abs, used, strict=True
        )

    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows, columns=COLUMNS)


def _identical(a: np.ndarray, b: np.ndarray) -> bool:
    """Return whether two arrays are equal bit for bit, save the sign of a zero."""
    return a.dtype == b.dtype and bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


def _summed(layer: str, quantity: str, rows: pd.DataFrame) -> MovedTensor:
    def most(column: str) -> float:
        return float(np.fmax.reduce(rows[column].to_numpy(dtype=float), initial=np.nan))

    this, other = (~rows[f"verdict_{side}"].isin(FINE) for side in ("this", "other"))
    compared = rows["identical"].notna()
    same = int(rows["identical"].eq(True).sum())  # NaN where not compared
    between = most("budget_between")
    if this.any() and other.any():
        status = HAND if _together(rows[this | other]) else ALL
    elif this.any() or other.any():
        status = THIS if this.any() else OTHER
    elif same == len(rows):
        status = SAME
    else:
        status = MOVED if between <= 1 else FURTHER
    return MovedTensor(
        layer, quantity, most("budget_used_this"), most("budget_used_other"),
        between if compared.any() else float("nan"), same, len(rows), status,
    )  # fmt: skip


def _together(rows: pd.DataFrame) -> bool:
    """Return whether the two torches agree with each other in all of these rows."""
    return bool((rows["budget_between"].to_numpy(dtype=float) <= 1).all())
