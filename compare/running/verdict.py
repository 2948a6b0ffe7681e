"""What a run has found, for its verdict: from its rows, in sentences."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np

from compare.errors import UserError, nearest
from compare.judge.judge import DISAGREE, INACCURATE, MISSING, NON_FINITE, VACUOUS
from compare.judge.ledger import Table
from compare.judge.measure import Measures
from compare.judge.quantities import Key, asked_once
from compare.judge.verdict import Evidence

if TYPE_CHECKING:
    import pandas as pd

    from compare.description.config import Config


@dataclass
class RunEvidence(Evidence):
    """What a run has found.

    Attributes:
        table: the run's rows.
        config: for what is allowed to be zero by name, and whether the run was free.
        done, planned: steps.
        interrupted: whether Ctrl-C ended the run, perhaps after its last step.
        refusal: what torch raised in a step, which ended the run.
        shortfall: why all that agrees is not what was asked for.
        torch_with_torch: rows that compare torch with torch, and are no evidence of anything.
        inaccurate: rows that cannot be judged because torch itself lost digits, and where it did.
    """

    table: Table
    config: Config
    done: int
    planned: int
    interrupted: bool
    refusal: str = ""
    shortfall: str = ""
    torch_with_torch: int = 0
    inaccurate: tuple[int, str] = (0, "")

    def __post_init__(self) -> None:
        counts = self.table.counts()
        self.total, self.vacuous = int(counts.sum()), int(counts[VACUOUS])
        self.bad = int(counts[[DISAGREE, MISSING, NON_FINITE]].sum())
        self.lost = int(counts[INACCURATE])
        rows, where = self.inaccurate
        self.rows = rows
        self.told = _inaccurate(self.config.train.dtype, where) if where else ""

    def excused(self) -> str:
        undefined = _undefined(self.table)
        if self.bad == undefined:
            return (
                f"Torch's side holds NaN or infinity in {undefined:,} of {self.total:,} compared "
                f"tensors, where nothing can be judged: {overflow_text(self.config)} All else "
                "agrees."
            )
        if self.rows and self.bad == self.rows + undefined:
            other = self.config.train.dtype != "float64"
            return (
                f"{self.told} {self.bad:,} of {self.total:,} compared tensors cannot be judged "
                "because of that; all else agrees." + ' Run it with dtype = "float64".' * other
            )
        return ""

    def disagreeing(self) -> str:
        bad = f"{self.bad:,} of {self.total:,} compared tensors do not agree. {self.told}"
        return bad.rstrip()

    def unfinished(self) -> str:
        if self.interrupted:
            return f"Stopped after {self.done:,} of {self.planned:,} steps; all agree so far."
        if self.refusal:
            return (
                f"Torch cannot go on after {self.done:,} of {self.planned:,} steps "
                f"({self.refusal}); all agree so far. NaN or infinity has reached it: a smaller "
                "learning rate may keep it finite."
            )
        if self.shortfall:
            return self.shortfall
        if self.config.train.mode == "free":
            return "A free run is a diagnostic: its first step agrees, later steps are not judged."
        return ""

    def unchecked(self) -> str:
        if unchecked := never_checked(self.table, self.config.compare.structural_zeros):
            named = ", ".join(f"{layer}.{quantity}" for layer, quantity in unchecked[:5])
            advice = _advice(self.table.frame(), unchecked, self.config.train.dtype)
            return (
                f"{self.told and self.told + ' '}{len(unchecked)} tensors were never really "
                "checked, because zeros would have passed at every step, or for a parameter no "
                f"update at all: {named}. {advice}"
            )
        if self.vacuous == self.total:
            return "Zeros would have passed in every tensor: nothing was checked."
        return ""

    def agreeing(self) -> str:
        same, real = "", self.total - self.lost
        if self.torch_with_torch:
            same = f"; {self.torch_with_torch:,} of these {self.total:,} compare torch with torch"
        if self.lost:
            same += (
                f". {self.told} That is {self.lost:,} more; all else agrees with torch's numbers "
                "passed on"
            )
        steps = f"{self.done:,} step{'s' if self.done != 1 else ''}"
        if self.vacuous:
            zeros = _zeros(self.table, self.vacuous, self.config)
            return f"{real - self.vacuous:,} tensors of {steps} agree; {zeros}{same}."
        every = f"{real:,}" if self.lost else f"All {self.total:,}"
        return f"{every} tensors of {steps} agree{same}."


def _zeros(table: Table, count: int, config: Config) -> str:
    """Say how many tensors that agree are zero, which, and why that is no harm."""
    names = [f"{layer}.{quantity}" for layer, quantity in table.ever(VACUOUS)]
    named = ", ".join(names[:3]) + ", …" * (len(names) > 3)
    one = count == 1
    why = ("" if one else "each ") + "checked at another step or allowed by name"
    if "*" in config.compare.structural_zeros:
        why = f"which says nothing of {'it' if one else 'them'}"
    are = "is zero within its" if one else "are zero within their"
    return f"{count:,} more {are} tolerance ({named}), {why}"


def _inaccurate(dtype: str, where: str) -> str:
    return f"Reference inaccurate: torch's {dtype} loses digits in {where}. {_whom(dtype)}"


def _whom(dtype: str) -> str:
    """Say who contradicts torch."""
    if dtype in ("float16", "bfloat16"):
        return (
            f"On the same numbers both sides agree in float64, and {dtype} is further off than the "
            "roundings that are known of it."
        )
    if dtype == "float32":
        return (
            "On the same numbers its own float64 agrees with the hand-written float32 there, and "
            "not with torch's."
        )
    return (
        "There the slope of the forward pass, which both sides share, was measured: it is the "
        "hand-written gradient."
    )


def overflow_text(config: Config) -> str:
    """Say what makes numbers infinite, and what helps."""
    train = config.train
    if train.dtype != "float16":
        return (
            "the run overflowed or diverged. A smaller learning rate or scaled data may keep it "
            "finite."
        )
    if train.autocast:
        return (
            "float16 ends at 65,504, and something in the step is beyond it. With scaler = true in "
            "[train] such a step is skipped and the loss scaled by less; bfloat16 reaches as far "
            "as float32."
        )
    return (
        "float16 ends at 65,504 and below 6e-8 there is nothing: a sum may overflow, and an eps of "
        "1e-8 is 0. autocast = true in [train] keeps parameters, "
        "optimiser and loss in float32; bfloat16 reaches as far as float32."
    )


def _undefined(table: Table) -> int:
    """Return how many tensors are not finite on torch's side: they say nothing of a formula.

    What a step computes after torch's first infinity follows from it: a sigmoid makes 0 of it.
    """
    total = 0
    for codes, measures in zip(table.verdicts, table.measures, strict=True):
        bad = np.flatnonzero(codes == NON_FINITE)
        theirs = ~np.isfinite(Measures(*measures).scale[bad])
        total += bad.size if theirs[:1].any() else int(np.count_nonzero(theirs))
    return total


def _advice(frame: pd.DataFrame, unchecked: list[tuple[str, str]], dtype: str) -> str:
    """Say what to do about tensors that were never checked: they are small, or they are zero."""
    named = "name them in [compare] structural_zeros."
    wanted = {(layer, what.replace("param:", "grad:")) for layer, what in unchecked}
    hit = [pair in wanted for pair in zip(frame["layer"], frame["quantity"], strict=True)]
    if not frame.loc[hit, "norm"].gt(0).any():
        return f"If they are zero by construction, {named}"
    remedy = "judge in float64, or use" if dtype == "float32" else "use"
    return (
        "Their values, or updates, are smaller than what rounding may do. In deep, saturated "
        f"networks {remedy} fewer layers. A bias before a batch norm has no effect: set bias = "
        f"false there. Only if they are zero by construction, {named}"
    )


def refuse_unknown_zeros(keys: Iterable[Key], allowed: tuple[str, ...]) -> None:
    """Raise a UserError for a pattern of structural_zeros that names no tensor of the run."""
    names = [f"{layer}.{quantity}" for layer, quantity in keys]
    for pattern in allowed:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UserError(
                f"[compare] structural_zeros: '{pattern}' matches no tensor of this run. "
                f"{nearest(pattern, names, what='Tensors')}"
            )


def never_checked(table: Table, allowed: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return each (layer, quantity) that is vacuous in every row and not allowed by name.

    What is asked once, aside from training, may be vacuous in that one step.
    """
    return [
        (layer, quantity)
        for layer, quantity in table.always(VACUOUS)
        if not asked_once(layer, quantity)
        and not any(fnmatchcase(f"{layer}.{quantity}", pattern) for pattern in allowed)
    ]
