"""What optimisers are asked besides their steps, and Muon's roundings, bit by bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from compare.judge.judge import fixed
from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import Check, ExactCheck, FixedCheck, Lift
from evidence.mutation.battery.optimizers import OptimizerCheck

COEFFICIENTS = (3.4445, -4.775, 2.0315)


@dataclass(frozen=True)
class OrthogonalCheck(ExactCheck):
    """A matrix made orthogonal in bfloat16: small enough for sums in one order on both sides."""

    shape: tuple[int, int]

    @property
    def name(self) -> str:
        return f"orthogonalized {self.shape}"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        orthogonalized = import_module("manual.optimizers.muon").orthogonalized
        m = lift(self.draw(seed, self.shape, "m"))
        found = [orthogonalized(m, COEFFICIENTS, steps, 1e-7) for steps in range(6)]
        return {Key(f"{k} steps", "o"): o for k, o in enumerate(found)}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        from torch.optim._muon import _zeropower_via_newtonschulz as theirs

        from evidence.mutation.battery.torch_side import tensor

        m = tensor(self.draw(seed, self.shape, "m"), dtype)
        found = [theirs(m, COEFFICIENTS, steps, 1e-7) for steps in range(6)]
        return {Key(f"{k} steps", "o"): o.to(m).numpy() for k, o in enumerate(found)}


@dataclass(frozen=True)
class DefaultsCheck(FixedCheck, OptimizerCheck):
    """Muon as it stands: steps of 1e-3 vanish in what bfloat16 is allowed to be off by."""

    @property
    def name(self) -> str:
        return f"{super().name}, tiny gradients"

    def tolerances(self, theirs: Values, dtype: np.dtype, seed: int) -> dict[Key, Any]:
        return fixed(theirs, 0.0, 2e-5)  # a few roundings that fall to the other side

    def steps(self, seed: int) -> Iterator[tuple[dict[str, np.ndarray], float | None]]:
        """Gradients so small that the least norm counts."""
        for grads, lr in super().steps(seed):
            yield {name: g * 2.0**-20 for name, g in grads.items()}, lr


def _manual(name: str) -> Any:
    return import_module(f"manual.{name}")


def _refused(run: Callable[[], Any]) -> str:
    try:
        return repr(run())
    except ValueError as error:
        return str(error)


def _said() -> Any:
    found = []
    for name in ("Muon", "Rprop"):
        rule = getattr(_manual("optimizers"), name)()
        rule.moved({}, {})
        found.append((rule.matrices_only, rule.weight_decay, rule.maximize))
    return found


def _moved() -> Any:
    """Only parameters move, those with a gradient; what was given stays as it is."""
    sgd = _manual("optimizers").SGD(lr=1.0)
    params = {"a": np.ones(2), "b": np.zeros(1), "c": np.zeros(1)}
    grads = {"b": np.ones(1), "more": np.ones(3), "a": np.ones(2)}
    all_of_them = sgd.step(params, grads | {"c": np.ones(1)}, {})[0]
    some = sgd.step(params, {"a": np.ones(2), "b": None}, {})[0]
    return params, all_of_them, some, _refused(lambda: sgd.step(params, grads, {}))


def _endless() -> Any:
    """An infinite weight stays so: without decay it is not multiplied by 0."""
    w = {"w": np.array([np.inf, 1.0])}
    with np.errstate(invalid="ignore"):
        return np.isinf(_manual("optimizers").SGD(lr=1.0).step(w, {"w": np.ones(2)}, {})[0]["w"])


def _numbers() -> Any:
    single = _manual("optimizers.base").single
    return single(Fraction(1, 10)), single(0.1)


def _iterations() -> Any:
    def steps(n: int) -> int:
        return _manual("optimizers").Muon(ns_steps=n).ns_steps

    return [_refused(lambda: steps(99)), _refused(lambda: steps(100))]


class _Own:
    """An array class that answers itself."""

    __epsilon__ = 0.5

    def __bfloat16__(self) -> np.ndarray:
        return np.array([7.0])


def _rounded() -> Any:
    rounding = _manual("rounding")
    kinds = (TIES, TIES.astype(np.float64), np.array([Fraction(1, 3)]), _Own())
    of = (TIES, TIES.astype(np.float64), np.arange(2), _Own())
    return [rounding.bfloat16(x) for x in kinds], [rounding.machine_epsilon(x) for x in of]


def _cut(x: np.ndarray) -> np.ndarray:
    """Round to the upper half of a float32's bits; of two as near, to the even one."""
    bits = x.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


TIES = np.arange(0x3F7F0000, 0x3F850000, 0x1800, dtype=np.uint32).view(np.float32)
NAMES = (
    "SGD: 'c' would stay as it is, having no gradient, but there is a gradient of 'more', which "
    "is no parameter. Name it as its parameter."
)
STEPS = "Muon: ns_steps must be a whole number below 100, received 100."
RULES: dict[str, tuple[Callable[[], Any], Any]] = {
    "what an optimiser is": (_said, [(True, 0.1, False), (False, 0.0, False)]),
    "which parameters move": (
        _moved,
        (
            {"a": np.ones(2), "b": np.zeros(1), "c": np.zeros(1)},
            {"a": np.zeros(2), "b": -np.ones(1), "c": -np.ones(1)},
            {"a": np.zeros(2), "b": np.zeros(1), "c": np.zeros(1)}, NAMES,
        ),
    ),
    "an infinite weight": (_endless, np.array([True, False])),
    "a number in float32": (_numbers, (0.1, float(np.float32(0.1)))),
    "roundings": (
        _rounded, ([_cut(TIES), _cut(TIES), 1 / 3, 7.0], [2.0**-23, 2.0**-52, 2.0**-52, 0.5]),
    ),
    "too many iterations": (_iterations, ["99", STEPS]),
}  # fmt: skip


@cache
def rule_checks() -> list[Check]:
    """Return Muon's roundings, and Muon as it stands."""
    checks: list[Check] = [OrthogonalCheck(shape) for shape in ((3, 4), (4, 3), (3, 3), (1, 5))]
    return [*checks, DefaultsCheck("Muon", own_rate=True)]
