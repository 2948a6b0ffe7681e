"""One check: the hand-written code and torch on the same numbers, judged by the error gauge."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, NamedTuple

import numpy as np

from compare.gauge import Gauge, K, gauge, gauging
from compare.judge.judge import VERDICTS, fixed, gauged, judge
from compare.judge.quantities import Key, Values

Lift = Callable[[np.ndarray], Any]  # into the number system that the hand-written code runs in
PASSES = {"agree", "vacuous"}


class Kill(NamedTuple):
    """Why a mutant does not pass: the verdict or exception, and where it was seen first."""

    by: str
    check: str
    dtype: str
    place: str


@dataclass(frozen=True)
class Check(ABC):
    """Something that both sides compute; `values` of the hand-written side, `torch` of torch's.

    `seed` is of the data and of the upstream gradients, which are random and the same for both.
    """

    dtypes: ClassVar[tuple[str, ...]] = ("float64", "float32")

    @property
    @abstractmethod
    def name(self) -> str:
        """What the report calls the check; different for every check."""

    @abstractmethod
    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        """Run the hand-written code on lifted arrays; `dtype` is that of torch's side."""

    @abstractmethod
    def torch(self, dtype: np.dtype, seed: int) -> Values:
        """Run stock torch on the same arrays."""

    def tolerances(self, theirs: Values, dtype: np.dtype, seed: int) -> dict[Key, Any]:
        """Derive what each element may differ by: the same code on gauge arrays."""
        with gauging(dtype):
            values = self.values(gauge, dtype, seed)
        return gauged(values, dtype, K)

    def rng(self, seed: int, *what: Any) -> np.random.Generator:
        """Return a generator that depends on the check and on what it is for."""
        return np.random.default_rng([seed, zlib.crc32(repr((self.name, *what)).encode())])

    def draw(self, seed: int, shape: tuple[int, ...], *what: Any) -> np.ndarray:
        """Return normal numbers, exact in float32."""
        return exact(self.rng(seed, *what).normal(size=shape))


class ExactCheck(Check):
    """A check in which no bit may differ."""

    def tolerances(self, theirs: Values, dtype: np.dtype, seed: int) -> dict[Key, Any]:
        return {}


class FixedCheck(Check):
    """A check of plain numbers or of draws, judged by a fixed relative tolerance."""

    rtol: ClassVar[float] = 1e-9
    dtypes: ClassVar[tuple[str, ...]] = ("float64",)

    def tolerances(self, theirs: Values, dtype: np.dtype, seed: int) -> dict[Key, Any]:
        return fixed(theirs, self.rtol, self.rtol * 1e-3)


def exact(x: Any) -> np.ndarray:
    """Round to float32, so that both dtypes hold the same numbers."""
    return np.asarray(x, dtype=np.float32).astype(np.float64)


@cache
def torch_values(check: Check, dtype: np.dtype, seed: int) -> Values:
    """Return torch's side, computed once: no mutant changes it."""
    values = check.torch(dtype, seed)
    return {key: np.array(value) for key, value in values.items()}


def verdict(
    check: Check, dtype: np.dtype, seed: int, allowed: frozenset[Key] = frozenset()
) -> Kill | None:
    """Run one check on the `manual` that is loaded; None if it passes.

    A floating-point warning fails what agrees otherwise: the hand-written code promises none.
    `allowed` are the tensors that zeros would pass as well, for the right code too: any other that
    is vacuous shows a tolerance that lost its meaning.
    """
    kill, vacuous = judged(check, dtype, seed)
    new = sorted(vacuous - allowed)
    if kill is not None and kill.by != "warning":
        return kill
    return Kill("vacuous", check.name, dtype.name, _told(new[0])) if new else kill


def judged(check: Check, dtype: np.dtype, seed: int) -> tuple[Kill | None, frozenset[Key]]:
    """Return what is wrong by any check, and the tensors for which zeros would pass too."""
    theirs = torch_values(check, dtype, seed)
    warned: list[str] = []
    try:
        with (
            np.errstate(over="call", divide="call", invalid="call", under="ignore"),
            np.errstate(call=lambda what, _: warned.append(what)),
        ):
            mine = check.values(lambda a: frozen(a, dtype), dtype, seed)
        tolerances = check.tolerances(theirs, dtype, seed)
        mine = {key: np.asarray(_plain(value)) for key, value in mine.items()}
        for key, value in theirs.items():
            if key in mine and mine[key].dtype != value.dtype:
                return Kill("dtype", check.name, dtype.name, _told(key)), frozenset()
        rows = judge(list(theirs), mine, theirs, tolerances)
    except Exception as error:
        by = "timeout" if isinstance(error, TimeoutError) else type(error).__name__
        return Kill(by, check.name, dtype.name, ""), frozenset()
    verdicts = list(zip(rows.keys, VERDICTS[rows.verdicts], strict=True))
    vacuous = frozenset(key for key, v in verdicts if v == "vacuous")
    for key, v in verdicts:
        if v not in PASSES:
            return Kill(v, check.name, dtype.name, _told(key)), vacuous
    return Kill("warning", check.name, dtype.name, warned[0]) if warned else None, vacuous


def frozen(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Copy into the dtype (labels and masks keep theirs), read-only: arguments may not change."""
    floating = np.issubdtype(array.dtype, np.floating)
    copy = np.array(array, dtype=dtype if floating else None)
    copy.setflags(write=False)
    return copy


def lifted(lift: Lift, array: np.ndarray) -> Any:
    """Lift an array of numbers; labels and masks stay as they are."""
    return lift(array) if np.issubdtype(array.dtype, np.floating) else array


def _plain(value: Any) -> Any:
    return value.v if isinstance(value, Gauge) else value


def _told(key: Key) -> str:
    return " ".join(part for part in key if part)
