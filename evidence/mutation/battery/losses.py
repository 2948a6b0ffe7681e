"""Losses and penalties beside torch's, under an upstream gradient that is not 1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np

from compare.judge.quantities import Values
from evidence.mutation.battery.base import (
    Check,
    ExactCheck,
    FixedCheck,
    Lift,
    exact,
    frozen,
    lifted,
)
from evidence.mutation.battery.data import Shape, make
from evidence.mutation.battery.layers import Arguments, build, keyed

SCORES = {"CrossEntropyLoss", "MultiMarginLoss", "MulticlassHingeLoss", "NLLLoss"}
PROBABILITIES = {"BCELoss"}
PENALTIES = {"L1Penalty", "L2Penalty"}


class Sample(NamedTuple):
    name: str
    inputs: tuple[np.ndarray, ...]  # the input, and the target if there is one
    upstream: np.ndarray


@dataclass(frozen=True)
class LossCheck(Check):
    """One loss with its arguments, on several inputs and targets.

    Args:
        type, arguments: the class on both sides, and what it is built with.
        shapes, kinds: of the input.
        ignored: a label given to some samples, which the loss is to ignore.
        coarse: the hand-written loss is given its target in float32, of the same numbers.
    """

    type: str
    arguments: Arguments = ()
    shapes: tuple[Shape, ...] = ((4, 3), (1, 3))
    kinds: tuple[str, ...] = ("random", "small")
    ignored: int | None = None
    coarse: bool = False

    @property
    def name(self) -> str:
        shown = ", ".join(f"{key}={value}" for key, value in self.arguments)
        skip = "" if self.ignored is None else f" with labels {self.ignored}"
        coarse = " in float32" if self.coarse else ""
        return f"{self.type}({shown}) on {'/'.join(self.kinds)} {self.shapes[0]}{skip}{coarse}"

    def samples(self, seed: int) -> Iterator[Sample]:
        for kind in self.kinds:
            for shape in self.shapes:
                rng = self.rng(seed, kind, shape)
                x = make(kind, rng, shape)
                upstream = exact(rng.uniform(0.3, 0.9))
                yield Sample(f"{kind} {shape}", self.inputs(kind, rng, x), upstream)

    def inputs(self, kind: str, rng: np.random.Generator, x: np.ndarray) -> tuple[np.ndarray, ...]:
        if self.type in PENALTIES:
            return (x,)
        if self.type in SCORES:
            return self.scores(rng, x)
        if self.type in PROBABILITIES:
            return _probabilities(kind, rng, x)
        if self.type == "BCEWithLogitsLoss":
            y = _certain(rng, x.shape)
            return x, np.round(y * 64) / 64 if self.coarse else exact(y)  # 1 - y is exact as well
        near = (
            make("ties", rng, x.shape) if kind in ("ties", "grid") else make("random", rng, x.shape)
        )
        return x, near

    def scores(self, rng: np.random.Generator, x: np.ndarray) -> tuple[np.ndarray, ...]:
        labels = rng.integers(0, x.shape[1], len(x))
        if self.ignored is not None:
            labels[rng.random(len(x)) < 0.4] = self.ignored
            labels[-1] = self.ignored
        labels[0] = 0 if self.ignored == 2 else 2  # a class whose weight is not 0 in any case
        labels = np.minimum(labels, max(x.shape[1] - 1, self.ignored or 0))
        if self.type == "NLLLoss":
            x = exact(x - np.log(np.exp(x - x.max()).sum(axis=1, keepdims=True)) - x.max())
        return x, labels

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        loss = build(self.type, self.arguments)
        samples = list(self.samples(seed))
        if self.coarse:
            single = [tuple(frozen(t, np.dtype(np.float32)) for t in s.inputs[1:]) for s in samples]
            inputs = [[lift(s.inputs[0]), *t] for s, t in zip(samples, single, strict=True)]
        else:
            inputs = [[lifted(lift, x) for x in s.inputs] for s in samples]
        runs = [loss.forward(*x) for x in inputs]
        values: Values = {}
        for sample, (y, cache_) in zip(samples, runs, strict=True):
            for again in ("", " again"):
                (grad, *_), own = loss.backward(lift(sample.upstream), cache_)
                values |= keyed(sample.name + again, y, (grad,), own)
        return values

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        from evidence.mutation.battery.torch_side import module, run_module, tensor

        loss = module(self.type, dict(self.arguments), dtype)
        values: Values = {}
        for sample in self.samples(seed):
            x, *target = sample.inputs
            of_input = partial(_swapped, loss, [tensor(t, dtype) for t in target])
            upstream = partial(_constant, sample.upstream)
            y, grads, own = run_module(of_input, {}, (x,), upstream, dtype)
            for again in ("", " again"):
                values |= keyed(sample.name + again, y, grads, own)
        return values


@dataclass(frozen=True)
class Float64LossCheck(LossCheck):
    """For numbers that float32 does not hold with all its digits."""

    dtypes: ClassVar[tuple[str, ...]] = ("float64",)


@dataclass(frozen=True)
class MaskedLossCheck(FixedCheck, LossCheck):
    """Scores of which some are -inf, so that their classes cannot be: beyond the gauge."""

    @property
    def name(self) -> str:
        return f"{super().name}, some -inf"

    def scores(self, rng: np.random.Generator, x: np.ndarray) -> tuple[np.ndarray, ...]:
        x, labels = super().scores(rng, x)
        x[np.arange(len(x)), (labels + 1) % x.shape[1]] = -np.inf
        return x, labels


@dataclass(frozen=True)
class ExactLossCheck(LossCheck, ExactCheck):
    """The same on whole numbers and a power of two of elements: not one bit may differ."""

    kinds: tuple[str, ...] = ("ties",)
    shapes: tuple[Shape, ...] = ((8, 4), (1, 4))

    @property
    def name(self) -> str:
        return f"{super().name}, bit for bit"

    def samples(self, seed: int) -> Iterator[Sample]:
        for sample in super().samples(seed):
            yield sample._replace(upstream=np.array(0.5))


def _swapped(loss: Any, targets: list, x: Any) -> Any:
    return loss(x, *targets)


def _constant(value: np.ndarray, shape: Shape) -> np.ndarray:
    return value


def _certain(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Targets in [0, 1], many of them 0 or 1."""
    y = rng.random(shape)
    return np.where(rng.random(shape) < 0.5, np.round(y), y)


def _probabilities(
    kind: str, rng: np.random.Generator, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and targets; a `grid` holds every pair of the awkward ones.

    `large` has logarithms beyond -100, of numbers that float32 holds as subnormal ones only.
    """
    if kind == "large":
        x = np.where(rng.random(x.shape) < 0.5, 2.0**-149, 2.0**-146)
        return x, exact(_certain(rng, x.shape))
    if kind == "grid":
        edges = exact([0.0, 1e-30, 1e-13, 1e-12, 1e-6, 0.5, 1 - 2.0**-24, 1.0])
        p, y = np.meshgrid(edges, [0.0, 0.25, 1.0])
        return p, y
    return exact(1 / (1 + np.exp(-np.clip(x, -15, 15)))), exact(_certain(rng, x.shape))
