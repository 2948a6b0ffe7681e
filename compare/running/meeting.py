"""What torch had at each piece of a step in half precision, and the piece that is given it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import numpy as np

from compare.gauge import FORMATS, Format, Gauge, adding_in_half, gauge, rounding_as, setting
from compare.gauge.smooth import rounded as rounding
from compare.judge.quantities import Key, Values
from compare.pair.inputs import rounded
from compare.pair.manual_side import ManualSide
from compare.pair.wrapped import Wrapped
from manual.embedding import Embedding, EmbeddingBag
from manual.layer import Array, Arrays, Layer
from manual.memory import MemoryAdd, MemoryErase
from manual.norm import LayerNorm
from manual.optimizers import Optimizer
from manual.recurrent.stack import Recurrent
from manual.scaling import LossScaler

SCALE, TRACKER, FOUND = (Key("scaler", q) for q in ("scale", "growth_tracker", "found_inf"))


class Met(NamedTuple):
    """What torch had at one piece.

    Args:
        inputs: forward's arguments; None is taken as it comes (integers, what is left out).
        upstream: the gradient of its outputs, built as they are; None: the one that comes.
        format: what its roundings are.
        serial: the share of a sum's terms that torch adds in the half itself.
        rounded: which inputs are rounded to the half before use.
        casts: whether the parameters are.
        returned: which gradients of inputs are rounded to the half after all.
    """

    inputs: tuple[Any, ...]
    upstream: Any
    format: Format
    serial: float = 0.0
    rounded: tuple[bool, ...] = ()
    casts: bool = False
    returned: tuple[bool, ...] = ()


class Meeting(Wrapped):
    """A layer that is given what torch had, in place of what arrives."""

    def __init__(self, layer: Layer, met: Met) -> None:
        super().__init__(layer)
        self.met = met

    def forward(self, *inputs: Array, **noise: Any) -> tuple[Any, Any]:
        given = [
            ours if theirs is None else _as(ours, theirs)
            for ours, theirs in zip(inputs, self.met.inputs, strict=False)
        ]
        given += inputs[len(given) :]  # the loss's target
        with self._counted():
            for i, cast in enumerate(self.met.rounded):
                given[i] = _cast(given[i]) if cast else given[i]
            output, cache = self.layer.forward(*given, **noise)
            return _each(self._stored, output), cache

    def backward(self, grad_output: Array, cache: Any) -> tuple[tuple[Array, ...], Arrays]:
        with self._counted():
            grads, own = self.layer.backward(self._upstream(grad_output), cache)
        returned = self.met.returned
        found = [_cast(g) if i < len(returned) and returned[i] else g for i, g in enumerate(grads)]
        return tuple(found), own

    def grad_params(self, grad_output: Array, cache: Any) -> Arrays:
        with self._counted():
            return self.layer.grad_params(self._upstream(grad_output), cache)

    def _stored(self, y: Any) -> Any:
        """Allow for what is written as it stands, and is no number of the format: a constant."""
        if not isinstance(y, Gauge):
            return y
        lost = (y.v - rounded(y.v, self.met.format.name)) / setting().roundoff
        return Gauge(y.v, np.maximum(y.e2, np.square(lost)))

    def _upstream(self, ours: Any) -> Any:
        theirs = self.met.upstream
        if theirs is None:
            return ours
        if isinstance(theirs, tuple):
            return tuple(_as(a, b) for a, b in zip(ours, theirs, strict=True))
        return _as(ours, theirs)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with rounding_as(self.met.format):
            if self.met.serial and self.met.format.half:
                with adding_in_half(self.met.serial):
                    yield
            else:
                yield

    def with_params(self, params: Arrays) -> Self:
        cast = {k: _cast(p) for k, p in params.items()} if self.met.casts else params
        return super().with_params(cast)


class AddingInHalf(Wrapped):
    """A piece of a composed layer, a share of whose sums torch adds up in the half itself."""

    def __init__(self, layer: Layer, share: float) -> None:
        super().__init__(layer)
        self.share = share

    def forward(self, *inputs: Any, **noise: Any) -> tuple[Any, Any]:
        with adding_in_half(self.share):
            return super().forward(*inputs, **noise)

    def backward(self, grad_output: Any, cache: Any) -> tuple[tuple[Array, ...], Arrays]:
        with adding_in_half(self.share):
            return super().backward(grad_output, cache)

    def grad_params(self, grad_output: Any, cache: Any) -> Arrays:
        with adding_in_half(self.share):
            return super().grad_params(grad_output, cache)


def _each(function: Callable, arrays: Any) -> Any:
    return tuple(map(function, arrays)) if isinstance(arrays, tuple) else function(arrays)


def _as(ours: Any, theirs: Any) -> Any:
    """Return torch's numbers in the number system of ours."""
    return gauge(theirs) if isinstance(ours, Gauge) and not isinstance(theirs, Gauge) else theirs


def _cast(x: Any) -> Any:
    """Add the error of rounding to the half, where the numbers carry errors."""
    return rounding(x.v, x.e2) if isinstance(x, Gauge) else x


class Told(np.ndarray):
    """Numbers in float64 for code that asks what they were computed in (`manual.rounding`)."""

    __epsilon__: float


TOLD: dict[str, type[Told]] = {
    name: type(name, (Told,), {"__epsilon__": 2 * format.unit}) for name, format in FORMATS.items()
}


class MetOptimizer(Optimizer):
    """The update from torch's gradients: unscaled, clipped, and taken or left out.

    Args:
        side: whose rule and clipping are used.
        grads: torch's, as backward left them.
        format: what its roundings are.
        scaler: of the loss; None if that is not scaled.
    """

    def __init__(
        self, side: ManualSide, grads: Arrays, format: Format, scaler: LossScaler | None
    ) -> None:
        self.side, self.grads, self.format, self.scaler = side, grads, format, scaler
        self.lr = side.optimizer.lr
        self.found: Values = {}  # the scaler after it

    def rule_for(self, name: str) -> Optimizer:
        return self.side.optimizer.rule_for(name)

    def update(self, param: Array, grad: Array, state: dict, lr: float) -> tuple[Array, dict]:
        return self.side.optimizer.update(param, grad, state, lr)

    def step(self, params: Any, grads: Any, states: Any, lr: Any = None) -> Any:
        given = {name: _as(grad, self.grads.get(name, grad)) for name, grad in grads.items()}
        if not any(isinstance(p, Gauge) for p in params.values()):
            params = {k: p.view(TOLD[self.format.name]) for k, p in params.items()}
        with rounding_as(self.format):
            if self.scaler is None:
                return self.side.update(params, given, states, lr)
            given, found = self.scaler.unscale(given)
            after = self.scaler.after(found)
            self.found = {
                SCALE: np.asarray(after.scale), TRACKER: np.asarray(after.tracker),
                FOUND: np.asarray(int(found)),
            }  # fmt: skip
            return (params, states) if found else self.side.update(params, given, states, lr)


def added_in_half(layer: Layer, inputs: Sequence[Any] = ()) -> float:
    """Return the share of its sums' terms that torch's CPU kernels add up in the half itself.

    Found by experiment (docs/half-precision.md): look-ups add the gradients of a row one by one,
    LayerNorm those of its parameters row by row, recurrent layers those of theirs step by step; a
    memory's w aᵀ is a product element by element there, and its gradients are.
    """
    if isinstance(layer, Embedding | EmbeddingBag | LayerNorm):
        return 1.0
    if not inputs:
        return 0.0
    if isinstance(layer, MemoryAdd | MemoryErase):  # every product is rounded, and then added
        return 1 / min(inputs[0].shape[-2:])
    if isinstance(layer, Recurrent):
        x = inputs[0]
        return x.shape[0 if layer.batch_first or x.ndim == 2 else 1] ** -1 if x.ndim == 3 else 1.0
    return 0.0
