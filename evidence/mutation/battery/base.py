"""One check: the hand-written code and torch on the same numbers, judged by the error gauge."""

from __future__ import annotations

import hashlib
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

    def prepare(self) -> None:  # noqa: B027  # most have nothing to do
        """Make ready in a process what no mutant may touch."""

    def tolerances(self, theirs: Values, dtype: np.dtype, seed: int) -> dict[Key, Any]:
        """Derive what each element may differ by: the same code on gauge arrays."""
        with gauging(dtype):
            values = self.values(gauge, dtype, seed)
        return gauged(values, dtype, K)

    def rng(self, seed: int, *what: Any) -> np.random.Generator:
        """Return a generator that depends on the check and on what it is for."""
        return np.random.default_rng([seed, zlib.crc32(repr((self.name, *what)).encode())])

    @cache  # noqa: B019  # checks live as long as the program
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


class Judged(NamedTuple):
    """What one check found: what is wrong by any check, the tensors that zeros would pass too."""

    kill: Kill | None
    vacuous: frozenset[Key] = frozenset()
    told: str = ""  # the values, bit by bit, in a few characters


def verdict(
    check: Check, dtype: np.dtype, seed: int, allowed: frozenset[Key] = frozenset(), right: str = ""
) -> Kill | None:
    """Run one check on the `manual` that is loaded; None if it passes.

    A floating-point warning fails what agrees otherwise: the hand-written code promises none.
    `allowed` are the tensors that zeros would pass as well, for the right code too: any other that
    is vacuous shows a tolerance that lost its meaning. Values that equal the right code's bit by
    bit (`right` tells them) pass without a tolerance of their own: those were judged before.
    """
    kill, vacuous, _ = judged(check, dtype, seed, right)
    new = sorted(vacuous - allowed)
    if kill is not None and kill.by != "warning":
        return kill
    return Kill("vacuous", check.name, dtype.name, _told(new[0])) if new else kill


def judged(check: Check, dtype: np.dtype, seed: int, right: str = "") -> Judged:
    """Run and judge one check; values that `right` tells are not judged again."""
    theirs = torch_values(check, dtype, seed)
    warned: list[str] = []
    try:
        with (
            np.errstate(over="call", divide="call", invalid="call", under="ignore"),
            np.errstate(call=lambda what, _: warned.append(what)),
        ):
            mine = check.values(lambda a: frozen(a, dtype), dtype, seed)
        mine = {key: np.asarray(_plain(value)) for key, value in mine.items()}
        told = digest(mine)
        if told == right and not warned:
            return Judged(None)
        tolerances = check.tolerances(theirs, dtype, seed)
        for key, value in theirs.items():
            if key in mine and mine[key].dtype != value.dtype:
                return Judged(Kill("dtype", check.name, dtype.name, _told(key)))
        rows = judge(list(theirs), mine, theirs, tolerances)
    except Exception as error:
        by = "timeout" if isinstance(error, TimeoutError) else type(error).__name__
        return Judged(Kill(by, check.name, dtype.name, ""))
    verdicts = list(zip(rows.keys, VERDICTS[rows.verdicts], strict=True))
    vacuous = frozenset(key for key, v in verdicts if v == "vacuous")
    for key, v in verdicts:
        if v not in PASSES:
            return Judged(Kill(v, check.name, dtype.name, _told(key)), vacuous)
    warning = Kill("warning", check.name, dtype.name, warned[0]) if warned else None
    return Judged(warning, vacuous, told)


def digest(values: Values) -> str:
    """Return a few characters that only these names, dtypes, shapes and bits have."""
    found = hashlib.blake2b(digest_size=16)
    for key, value in values.items():
        found.update(repr((key, value.dtype.str, value.shape)).encode() + value.tobytes())
    return found.hexdigest()


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
