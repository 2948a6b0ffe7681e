"""Losses and penalties beside torch's, under an upstream gradient that is not 1."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np

from compare.judge.quantities import Key, Values
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
from evidence.mutation.battery.examples import examples
from evidence.mutation.battery.layers import Arguments, build, keyed
from manual.examples import Draw


class Sample(NamedTuple):
    name: str
    inputs: tuple[np.ndarray, ...]  # the input, and the target if there is one


@dataclass(frozen=True)
class LossCheck(Check):
    """One loss with the arguments of some of its examples, on inputs and targets as they say.

    Args:
        type, arguments: the class on both sides, and what it is built with.
        examples: their numbers in the class.
        kinds: of numbers that the input is made of.
        coarse: the hand-written loss is given its target in float32, of the same numbers.
        of_input: the target's gradient is left out (at p = 0 it is infinite).
    """

    type: str
    arguments: Arguments = ()
    examples: tuple[int, ...] = (0,)
    kinds: tuple[str, ...] = ("random", "small")
    coarse: bool = False
    of_input: bool = False

    @property
    def name(self) -> str:
        shown = ", ".join(f"{key}={value}" for key, value in self.arguments)
        coarse = " in float32" if self.coarse else ""
        return f"{self.type}({shown}) on {'/'.join(self.kinds)} {self.examples}{coarse}"

    def samples(self, seed: int) -> Iterator[Sample]:
        for kind in self.kinds:
            for number in self.examples:
                rng = self.rng(seed, kind, number)
                specs = examples(self.type)[number].inputs
                yield Sample(f"{kind} #{number}", self.inputs(kind, rng, specs))

    def inputs(self, kind: str, rng: np.random.Generator, specs: Any) -> tuple[np.ndarray, ...]:
        x, *targets = specs
        score = _score(kind, rng, _draw(x))
        return score, *(self.target(kind, rng, spec, score) for spec in targets)

    def target(self, kind: str, rng: np.random.Generator, spec: Any, x: np.ndarray) -> np.ndarray:
        if isinstance(spec, np.ndarray) or _draw(spec).kind == "integers":
            return spec if isinstance(spec, np.ndarray) else spec(rng)
        if _draw(spec).kind != "normal" and not is_probability(spec):
            return exact(spec(rng))
        if is_probability(spec):
            y = _certain(rng, x.shape if kind == "grid" else _draw(spec).shape)
            return np.round(y * 64) / 64 if self.coarse else exact(y)  # 1 - y is exact as well
        shape = x.shape if kind == "grid" else _draw(spec).shape
        return make("ties" if kind in ("ties", "grid") else "random", rng, shape)

    def upstream(self, sample: Sample, shape: Shape) -> np.ndarray:
        rng = np.random.default_rng(zlib.crc32(sample.name.encode()))
        return exact(rng.uniform(0.3, 0.9, shape))

    def params(self, seed: int, shapes: dict[str, Shape]) -> dict[str, np.ndarray]:
        return {key: self.draw(seed, shape, key) for key, shape in shapes.items()}

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        loss = build(self.type, self.arguments)
        shapes = {key: p.shape for key, p in loss.params.items()}
        loss = loss.with_params({k: lift(p) for k, p in self.params(seed, shapes).items()})
        samples = list(self.samples(seed))
        if self.coarse:
            single = [tuple(frozen(t, np.dtype(np.float32)) for t in s.inputs[1:]) for s in samples]
            inputs = [[lift(s.inputs[0]), *t] for s, t in zip(samples, single, strict=True)]
        else:
            inputs = [[lifted(lift, x) for x in s.inputs] for s in samples]
        runs = [loss.forward(*x) for x in inputs]
        values: Values = {}
        for sample, (y, cache_) in zip(samples, runs, strict=True):
            dy = lift(self.upstream(sample, np.shape(y)))
            for again in ("", " again"):
                grads, own = loss.backward(dy, cache_)
                shown = grads[:1] if self.of_input else [g for g in grads if g is not None]
                values |= keyed(sample.name + again, y, shown, own)
                values[Key(sample.name + again, "gradients")] = np.float64(len(shown))
        return values

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        from evidence.mutation.battery.torch_side import module, run_module, tensor

        loss = module(self.type, dict(self.arguments), dtype)
        params = self.params(seed, {k: tuple(p.shape) for k, p in loss.named_parameters()})
        values: Values = {}
        for sample in self.samples(seed):
            places = [i for i, x in enumerate(sample.inputs) if x.dtype.kind == "f"]
            places = places[:1] if self.of_input else places
            real = [sample.inputs[i] for i in places]
            places += [i for i in range(len(sample.inputs)) if i not in places]
            rest = [tensor(sample.inputs[i], dtype) for i in places[len(real) :]]
            upstream = partial(self.upstream, sample)
            y, grads, own = run_module(loss, params, real, upstream, dtype, rest, places)
            for again in ("", " again"):
                values |= keyed(sample.name + again, y, grads, own)
                values[Key(sample.name + again, "gradients")] = np.float64(len(grads))
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

    def inputs(self, kind: str, rng: np.random.Generator, specs: Any) -> tuple[np.ndarray, ...]:
        x, labels = super().inputs(kind, rng, specs)
        x[np.arange(len(x)), (labels + 1) % x.shape[1]] = -np.inf
        return x, labels


@dataclass(frozen=True)
class ExactLossCheck(LossCheck, ExactCheck):
    """The same on whole numbers and a power of two of elements: not one bit may differ."""

    kinds: tuple[str, ...] = ("ties",)

    @property
    def name(self) -> str:
        return f"{super().name}, bit for bit"

    def upstream(self, sample: Sample, shape: Shape) -> np.ndarray:
        return np.full(shape, 0.5)


@dataclass(frozen=True)
class EndsCheck(ExactLossCheck):
    """Where the target's gradient is infinite, and of which sign."""

    kinds: tuple[str, ...] = ("grid",)

    @property
    def name(self) -> str:
        return f"{super().name}, where infinite"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        return _ends(super().values(lift, dtype, seed))

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        return _ends(super().torch(dtype, seed))


def _ends(values: Values) -> Values:
    found = {k: np.asarray(v) for k, v in values.items() if k.quantity == "grad_input#1"}
    return {k: np.where(np.isinf(v), np.sign(v), 0) for k, v in found.items()}


def _draw(spec: Any) -> Draw:
    return spec if isinstance(spec, Draw) else Draw(tuple(spec))


def is_probability(spec: Any) -> bool:
    """Whether an example draws an input from 0 to 1."""
    return isinstance(spec, Draw) and spec.kind == "uniform" and 0 <= spec.low < spec.high <= 1


def _score(kind: str, rng: np.random.Generator, spec: Draw) -> np.ndarray:
    if spec.kind == "uniform" and not is_probability(spec):
        return exact(spec(rng))
    if spec.kind == "uniform":
        return _probabilities(kind, rng, make("random", rng, spec.shape))
    return make(kind, rng, spec.shape)


def _certain(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Targets in [0, 1], many of them 0 or 1."""
    y = rng.random(shape)
    return np.where(rng.random(shape) < 0.5, np.round(y), y)


def _probabilities(kind: str, rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """Probabilities; a `grid` holds the awkward ones.

    `large` has logarithms beyond -100, of numbers that float32 holds as subnormal ones only.
    """
    if kind == "large":
        return np.where(rng.random(x.shape) < 0.5, 2.0**-149, 2.0**-146)
    if kind == "grid":
        edges = exact([0.0, 1e-30, 1e-13, 1e-12, 1e-6, 0.5, 1 - 2.0**-24, 1.0])
        return np.tile(edges[:, None], (1, 12))
    return exact(1 / (1 + np.exp(-np.clip(x, -15, 15))))
