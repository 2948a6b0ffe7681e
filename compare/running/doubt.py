"""Allows for either piece where rounding inside a layer decides: torch's decision is not known.

Where a layer's decision follows from its input (a rectifier), it follows from torch's input as
well (`compare.running.kinks`). A recurrent network with rectifiers, or a loss that compares two
distances, decides on numbers of its own, whose rounding nobody else sees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from typing import Any

import numpy as np

from compare.gauge import Doubts, as_far_as_allowed, doubting, gauge, gauging
from compare.judge.judge import gauged
from compare.judge.quantities import Values
from compare.pair.manual_side import ManualSide
from compare.pair.sources import unplanted
from compare.pair.wrapped import Wrapped
from compare.running.alone import F64, Call, Moment, apart
from manual.graph import Array, Arrays
from manual.layer import Layer

LOSS = "loss"


def in_doubt(
    side: ManualSide, nodes: Sequence[str], run: Callable[[ManualSide], Values],
    tolerances: Mapping[Any, Any], dtype: Any, k: float,
) -> tuple[Mapping[Any, Any], int]:  # fmt: skip
    """Return tolerances at which every answer in doubt may be the other one, and how many are.

    An answer that turns changes a number by c, and m of them change it by no more than
    Σ |c_i| ≤ sqrt(Σ (sqrt(m) c_i)²): so each has the error sqrt(m), m being counted in a run in
    which each has the error 1.

    Args:
        nodes: where there may be doubt.
        run: gauges the side that it is given.
    """
    error = 1.0
    while nodes:
        doubts = Doubts(error)
        try:
            with as_far_as_allowed():
                found = run(_with_doubts(side, nodes, doubts))
        except TypeError:  # code that does something else with answers than multiply and choose
            break
        if not doubts.count:  # nothing is allowed for
            break
        if sqrt(doubts.count) <= error:
            wider = gauged(found, dtype, k)
            wider = {key: np.fmax(t, wider.get(key, 0.0)) for key, t in tolerances.items()}
            return wider, doubts.count
        error = sqrt(doubts.count)
    return tolerances, 0


def deciding_inside(moment: Moment, dtype: np.dtype) -> tuple[str, ...]:
    """Return the nodes where rounding may turn an answer although the inputs are torch's."""
    torch, names = moment.experiment.torch, pieces(moment.experiment.manual)
    return tuple(n for n in names if torch.has(n) and decides(moment.at(n), dtype))


def pieces(side: ManualSide) -> tuple[str, ...]:
    """Return the nodes whose function has pieces; the loss may be one."""
    layers = {n.name: n.layer for n in side.graph.nodes} | {LOSS: side.loss}
    own = {name: type(unplanted(layer)).decisions for name, layer in layers.items()}
    return tuple(name for name, decisions in own.items() if decisions is not Layer.decisions)


def decides(call: Call, dtype: np.dtype) -> bool:
    """Run a piece alone on what it is given, which is exact: is any of its answers in doubt?"""
    doubts = Doubts(1.0)
    try:
        with gauging(dtype), doubting(doubts):
            call.by_hand(gauge)
    except Exception:  # see `in_doubt`; a mistake may raise whatever it likes
        return False
    return doubts.count > 0


def turned(call: Call, dtype: np.dtype, k: float) -> set[str]:
    """Return the roles in which a piece is off by nothing but answers that rounding turned.

    In float64 the same numbers are in no doubt. Where they are, there is nothing better to ask.
    """
    off = apart(call.beside(dtype, k))
    return off if not off or decides(call, F64) else off - apart(call.wide().beside(F64, k))


class Doubtful(Wrapped):
    """A layer whose comparisons may be in doubt."""

    def __init__(self, layer: Layer, doubts: Doubts) -> None:
        super().__init__(layer)
        self.doubts = doubts

    def forward(self, *inputs: Any, **noise: Any) -> tuple[Any, Any]:
        with doubting(self.doubts):
            return super().forward(*inputs, **noise)

    def backward(self, grad_output: Any, cache: Any) -> tuple[tuple[Array, ...], Arrays]:
        with doubting(self.doubts):
            return super().backward(grad_output, cache)

    def grad_params(self, grad_output: Any, cache: Any) -> Arrays:
        with doubting(self.doubts):
            return super().grad_params(grad_output, cache)


def _with_doubts(side: ManualSide, names: Sequence[str], doubts: Doubts) -> ManualSide:
    layers = {n.name: Doubtful(n.layer, doubts) for n in side.graph.nodes if n.name in names}
    loss = Doubtful(side.loss, doubts) if LOSS in names else side.loss
    return side._replace(graph=side.graph.with_layers(layers), loss=loss)
