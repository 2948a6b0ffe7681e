"""Gradient clipping beside torch's, on every side of the bound and where squares overflow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import ClassVar

import numpy as np

from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import Check, ExactCheck, Lift, exact

SHAPES = {"0.weight": (3, 4), "0.bias": (3,), "scale": (), "quiet": (2,)}  # the last: gradient 0


@dataclass(frozen=True)
class ClipCheck(Check):
    """A clipping function on gradients of one joint scale."""

    function: str
    bound: float
    scale: float

    @property
    def name(self) -> str:
        return f"{self.function}({self.bound}) of gradients around {self.scale:g}"

    def grads(self, seed: int) -> dict[str, np.ndarray]:
        drawn = {n: exact(self.draw(seed, s, n) * self.scale) for n, s in SHAPES.items()}
        return {**drawn, "quiet": np.zeros(SHAPES["quiet"])}

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        clip = getattr(import_module("manual"), self.function)
        found = clip({name: lift(g) for name, g in self.grads(seed).items()}, self.bound)
        grads, *norm = found if isinstance(found, tuple) else (found,)
        values = {Key(name, "clipped"): g for name, g in grads.items()}
        return values | ({Key("", "norm"): norm[0]} if norm else {})

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        from torch.nn import Parameter

        from evidence.mutation.battery.torch_side import tensor
        from torch_ref import optimizers
        from torch_ref.side import array_of

        params = {n: Parameter(tensor(g, dtype)) for n, g in self.grads(seed).items()}
        for name, p in params.items():
            p.grad = tensor(self.grads(seed)[name], dtype)
        norm = getattr(optimizers, self.function)(params.values(), self.bound)
        values = {
            Key(name, "clipped"): array_of(p.grad)
            for name, p in params.items()
            if p.grad is not None
        }
        return values if norm is None else values | {Key("", "norm"): array_of(norm)}


@dataclass(frozen=True)
class NegativeClipCheck(ClipCheck):
    """Gradients whose largest element is the smallest in size."""

    @property
    def name(self) -> str:
        return f"{super().name}, all negative"

    def grads(self, seed: int) -> dict[str, np.ndarray]:
        return {name: -np.abs(g) for name, g in super().grads(seed).items()}


@dataclass(frozen=True)
class ExtremeClipCheck(NegativeClipCheck):
    """Where squares leave float32: torch answers in float64, the hand-written side in float32."""

    dtypes: ClassVar[tuple[str, ...]] = ("float32",)

    def grads(self, seed: int) -> dict[str, np.ndarray]:
        """Every tensor holds a 0 as well."""
        grads = {name: np.array(grad) for name, grad in super().grads(seed).items()}
        for grad in grads.values():
            grad[(0,) * grad.ndim] = 0.0
        return grads

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        values = super().torch(np.dtype(np.float64), seed)
        return {key: np.asarray(value, dtype=dtype) for key, value in values.items()}


@dataclass(frozen=True)
class EmptyClipCheck(ClipCheck):
    """Gradients without elements, among others or alone."""

    shapes: tuple[tuple[int, ...], ...] = ()

    @property
    def name(self) -> str:
        return f"{super().name}, of shapes {self.shapes}"

    def grads(self, seed: int) -> dict[str, np.ndarray]:
        return {str(i): self.draw(seed, shape, i) for i, shape in enumerate(self.shapes)}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        """Of nothing torch's norm is a float32 zero, whatever the network's dtype."""
        return {key: np.asarray(v, dtype=dtype) for key, v in super().torch(dtype, seed).items()}


@dataclass(frozen=True)
class NothingClipCheck(EmptyClipCheck):
    """No gradients at all: nothing tells the norm's dtype."""

    dtypes: ClassVar[tuple[str, ...]] = ("float64",)


@dataclass(frozen=True)
class InfiniteClipCheck(ClipCheck, ExactCheck):
    """An infinite gradient: what is nan, infinite or 0 must be so on both sides."""

    @property
    def name(self) -> str:
        return f"{super().name}, one infinite"

    def grads(self, seed: int) -> dict[str, np.ndarray]:
        return super().grads(seed) | {"0.bias": np.array([np.inf, 1.0, -2.0])}

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        return _kinds(super().values(lift, dtype, seed))

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        return _kinds(super().torch(dtype, seed))


def _kinds(values: Values) -> Values:
    """Return 2 for nan, ±3 for the infinities, the sign of the rest."""
    arrays = {key: np.asarray(value, dtype=np.float64) for key, value in values.items()}
    return {
        key: np.where(np.isnan(a), 2.0, np.sign(a) * np.where(np.isinf(a), 3.0, 1.0))
        for key, a in arrays.items()
    }


@cache
def clip_checks() -> list[Check]:
    """Return both clipping functions at many scales."""
    checks: list[Check] = []
    for scale in (1e-8, 0.1, 1.0, 1e6, 0.0):
        checks += [
            ClipCheck("clip_grad_norm", 2.0, scale),
            ClipCheck("clip_grad_value", 0.5, scale),
        ]
    checks += [ClipCheck("clip_grad_norm", 0.0, 1.0), ClipCheck("clip_grad_norm", 1e-6, 1e-6)]
    checks += [ExtremeClipCheck("clip_grad_norm", 2.0, scale) for scale in (1e-30, 1e30)]
    checks += [NegativeClipCheck("clip_grad_norm", 2.0, 1.0)]
    shapes: tuple[tuple[tuple[int, ...], ...], ...] = (((0,),), ((0, 3), (2,)))
    checks += [EmptyClipCheck("clip_grad_norm", 0.5, 1.0, s) for s in shapes]
    checks += [NothingClipCheck("clip_grad_norm", 0.5, 1.0)]
    checks += [InfiniteClipCheck("clip_grad_norm", 2.0, 1.0)]
    return checks
