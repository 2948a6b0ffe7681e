"""Gates beside torch's operations: numbers, arrays, and shapes that broadcast."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from compare.judge.quantities import Values
from evidence.mutation.battery.base import Check, FixedCheck, Lift, lifted
from evidence.mutation.battery.data import Shape, make
from evidence.mutation.battery.decisions import PLACE, DecisionCheck
from evidence.mutation.battery.layers import ExactLayerCheck, LayerCheck, Sample, build

Shapes = tuple[tuple[Shape, ...], ...]
NUMBERS: tuple[Shape, ...] = ((), ())
PAIRS: Shapes = (
    NUMBERS, ((4, 3), (4, 3)), ((4, 3), (3,)), ((4, 1), (2, 4, 3)), ((), (2, 3)), ((2, 3), ()),
    ((1, 1), (3, 1)), ((1,), ()), ((4, 1), (4, 3)), ((2, 4, 3), (2, 4, 1)),
)  # fmt: skip
SINGLE: Shapes = (((),), ((4, 3),), ((2, 3, 2),))
PRODUCTS: Shapes = (
    ((4, 3), (3, 2)), ((4, 3), (3,)), ((3,), (3, 2)), ((3,), (3,)), ((2, 4, 3), (3, 2)),
    ((4, 3), (2, 3, 5)), ((2, 4, 3), (2, 3, 2)), ((2, 4, 3), (3,)), ((3,), (2, 3, 5)),
    ((1, 1), (1, 1)), ((3, 3), (3, 3)),
)  # fmt: skip


@dataclass(frozen=True)
class GateCheck(LayerCheck):
    """A gate on numbers and arrays."""

    def samples(self, seed: int) -> Iterator[Sample]:
        return _samples(self, seed)


@dataclass(frozen=True)
class ExactGateCheck(ExactLayerCheck):
    """The same on whole numbers: not one bit may differ."""

    def samples(self, seed: int) -> Iterator[Sample]:
        return _samples(self, seed)


def _samples(check: LayerCheck, seed: int) -> Iterator[Sample]:
    """Yield inputs under names that tell all shapes."""
    for kind in check.kinds:
        for shapes in check.shapes:
            rng = check.rng(seed, kind, shapes)
            yield Sample(f"{kind} {shapes}", tuple(make(kind, rng, s) for s in shapes))


@dataclass(frozen=True)
class TriangleCheck(ExactLayerCheck):
    """A triangle whose first unknown is lost in rounding if its rows are exchanged."""

    type: str = "SolveGate"

    def samples(self, seed: int) -> Iterator[Sample]:
        a, b = np.array([[1.0, 0.0], [2.0, 2.0**20]]), np.array([[2.0**-60], [1.0]])
        left = dict(self.arguments)["left"]
        yield Sample("graded", (a, b) if left else (a.T, b.T))


@dataclass(frozen=True)
class WinnerCheck(DecisionCheck):
    """Which of two inputs the max gate takes, beside the slopes that torch gives them."""

    def inputs(self, seed: int) -> tuple[np.ndarray, ...]:
        rng = self.rng(seed, "data")
        return make("ties", rng, (40, 3)), make("ties", rng, (40, 3))

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        x, y = (lifted(lift, a) for a in self.inputs(seed))
        layer = build(self.type, ())
        found = layer.decisions(layer.forward(x, y)[1])
        return {PLACE: np.asarray(getattr(found, "v", found), dtype=np.float64)}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        from evidence.mutation.battery.torch_side import module, run_module

        twin = module(self.type, {}, dtype)
        _, (dx, dy), _ = run_module(twin, {}, self.inputs(seed), np.ones, dtype)
        return {PLACE: np.asarray(dx - dy, dtype=np.float64)}


@dataclass(frozen=True)
class ReductionCheck(FixedCheck):
    """What the equations of a reduction read, and what is nan without a warning."""

    @property
    def name(self) -> str:
        return "reductions: their axis, of nothing, and the slope of nan"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        cache_ = build("SumGate", (("dim", 1),)).forward(np.ones((2, 3, 4)))[1]
        nothing = [build(name, ()).forward(np.zeros(0))[0] for name in ("MeanGate", "MedianGate")]
        gate = build("AmaxGate", ())
        (slope,), _ = gate.backward(np.ones(()), gate.forward(np.array([np.nan, 1.0]))[1])
        return {PLACE: np.array([cache_.dim, cache_.elements, *np.isnan([*nothing, *slope])])}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        return {PLACE: np.array([1, 3, 1, 1, 1, 1])}


@cache
def gate_checks() -> list[Check]:
    """Return every gate that has inputs; constants are part of the expressions."""
    triangles = (
        TriangleCheck(arguments=(("left", left), ("triangle", part)))
        for left, part in ((True, "lower"), (False, "upper"))
    )
    others = WinnerCheck("MaxGate", "winner"), ReductionCheck()
    return [*_pairs(), *_single(), *_products(), *triangles, *others]


def _pairs() -> Iterator[Check]:
    for name in ("AddGate", "SubtractGate", "MultiplyGate", "MaxGate"):
        for kind in ("random", "large", "small"):
            yield GateCheck(name, (), PAIRS, (kind,))
        yield ExactGateCheck(name, (), PAIRS)
    yield GateCheck("DivideGate", (), PAIRS, ("random",))
    yield GateCheck("DivideGate", (), PAIRS, ("large",))


def _single() -> Iterator[Check]:
    names = ("NegateGate", "ExpGate", "TanhGate", "SigmoidGate", "SumGate", "SquaredNormGate")
    for name in (*names, "AbsGate", "SinGate", "CosGate", "MeanGate"):
        for kind in ("random", "small"):
            yield GateCheck(name, (), SINGLE, (kind,))
    for name in ("TanhGate", "SigmoidGate", "SumGate"):
        yield GateCheck(name, (), SINGLE, ("large",))
    for name in ("NegateGate", "SumGate"):
        yield ExactGateCheck(name, (), SINGLE)
    for name in ("ReciprocalGate", "LogGate"):
        yield GateCheck(name, (), SINGLE, ("positive",))
    yield GateCheck("ReciprocalGate", (), SINGLE, ("random",))
    for c in (0.75, -2.5, 3.0):
        given: Any = (("constant", c),)
        yield GateCheck("AddConstantGate", given, SINGLE)
        yield GateCheck("MultiplyConstantGate", given, SINGLE)
    for p in (0.0, 1.0, 2.0, 3.0, 0.5, -1.0, -0.5, 2.25):
        kinds = ("random",) if p == int(p) else ("positive",)
        yield GateCheck("PowerGate", (("exponent", p),), SINGLE, kinds)
    yield GateCheck("PowerGate", (("exponent", 1.0),), SINGLE, ("ties",))


def _products() -> Iterator[Check]:
    for kind in ("random", "large", "small"):
        yield GateCheck("MatMulGate", (), PRODUCTS, (kind,))
    yield ExactGateCheck("MatMulGate", (), PRODUCTS)
