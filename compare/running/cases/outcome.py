"""What one case showed, and how its failures are told."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from compare.errors import UserError
from compare.judge.judge import Rows
from compare.judge.quantities import Key
from compare.pair.inputs import Inputs, is_float
from compare.pair.tolerance import Judged
from compare.running.cases.cases import Case
from compare.running.cases.raised import located


@dataclass
class Outcome:
    """One case, run and judged.

    Attributes:
        case: the case; `values` are its inputs as the candidate's dtype can hold them.
        rows: the judged rows; None if the case was skipped.
        manual, expected: both sides' numbers, by quantity.
        upstreams: the upstream gradient of every output.
        judged: the candidate's rounding error.
        tolerances: what each element may differ by.
        conventions: per quantity: elements excused because the function has no derivative there.
        unjudged: per quantity: which elements were left out or excused.
        blind: per quantity: how many elements rounding could have moved by more than 1 %.
        unstable: per quantity: how many times the reference's rounding error the candidate's is,
            where that is far more and leaves few digits.
        remarks: per quantity: what is wrong, where numbers do not say it.
        promoted: quantities whose numbers are right in another dtype than they must have.
        left_out: elements at which the reference is not finite.
        crashed: why the candidate failed; `failing` is the function that did.
        skipped: why the case could not be run.
    """

    case: Case
    values: Inputs
    rows: Rows | None = None
    manual: dict[str, np.ndarray] = field(default_factory=dict)
    expected: dict[str, np.ndarray] = field(default_factory=dict)
    upstreams: tuple[np.ndarray, ...] = ()
    judged: Judged | None = None
    tolerances: Mapping[Key, Any] = field(default_factory=dict)
    conventions: dict[str, int] = field(default_factory=dict)
    unjudged: dict[str, Any] = field(default_factory=dict)
    blind: dict[str, int] = field(default_factory=dict)
    unstable: dict[str, float] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    promoted: set[str] = field(default_factory=set)
    left_out: int = 0
    crashed: str = ""
    failing: str = ""
    skipped: str = ""

    @property
    def bad(self) -> list[str]:
        """The quantities that do not agree."""
        return [] if self.rows is None else [self.rows.keys[i].quantity for i in self.rows.bad]

    def key(self, quantity: str) -> Key:
        return Key(self.case.name, quantity)

    def pair(self, quantity: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Return both sides of a quantity, if there are both and they have one shape."""
        mine, theirs = self.manual.get(quantity), self.expected.get(quantity)
        if mine is None or theirs is None or mine.shape != theirs.shape:
            return None
        return mine, theirs


@contextmanager
def quiet() -> Iterator[None]:
    """Silence floating-point warnings: extreme inputs are made on purpose."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def shapes_text(arrays: Sequence[Any]) -> str:
    return ", ".join(str(np.shape(a)) for a in arrays) or "nothing"


def unusable(who: str, values: Inputs, error: Exception) -> UserError:
    """Return the message for a side that fails on the user's own inputs."""
    if isinstance(error, UserError):
        return error
    return UserError(f"{who} fails on the inputs {inputs_text(values)}: {located(error)}")


def inputs_text(values: Inputs) -> str:
    return ", ".join(f"{n} {v.shape}" if is_float(v) else n for n, v in values.items())
