"""What a class says about how to try it: arguments, inputs, kinks. No layer computes with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Draw", "Example"]


class Draw(NamedTuple):
    """What an example's input is made of: a shape, and numbers of one kind.

    `kind` is `normal` (times `high`), `uniform` or `integers` (low <= x < high), `bool`,
    `simplex` (rows that sum to 1), or `increasing` (distinct, sorted along the last axis).
    """

    shape: tuple[int, ...]
    kind: str = "normal"
    low: float = 0
    high: float = 1

    def __call__(self, rng: np.random.Generator) -> np.ndarray:
        """Return the array, in float64 if it holds real numbers."""
        if self.kind == "normal":
            return self.high * rng.standard_normal(self.shape)
        if self.kind == "uniform":
            return rng.uniform(self.low, self.high, self.shape)
        if self.kind == "integers":
            return rng.integers(int(self.low), int(self.high), self.shape)
        if self.kind == "bool":
            return rng.random(self.shape) < 0.5
        if self.kind == "simplex":
            return rng.dirichlet(np.ones(self.shape[-1]), self.shape[:-1])
        if self.kind == "increasing":
            return np.sort(rng.standard_normal(self.shape), axis=-1)
        raise ValueError(f"Draw: no kind of numbers is called {self.kind!r}.")


class Example(NamedTuple):
    """One way to try a layer: its constructor's arguments, its inputs, and its kinks.

    Args:
        arguments: of the constructor, by name.
        inputs: of `forward`, in its order: a shape (of normal numbers), a `Draw`, a fixed array, or
            None for an optional input that is left out.
        kinks: points at which a derivative may break or a branch is taken, by label: values by the
            name of an input (forward's argument) or parameter, broadcast to its shape.
        training: the mode in which it is tried.
        noise: whether a random layer draws.
        fixed: names of float inputs that have no gradient (masks, targets that are data).
        exact: the layer only moves, adds or picks: integer data give bitwise equal results.
        convention: backward is torch's convention here, and not the derivative of forward: nobody
            who differentiates forward can confirm it.
        note: what whoever reads a result must know.
    """

    arguments: Mapping[str, Any] = {}
    inputs: tuple[Any, ...] = ((3, 4),)
    kinks: Mapping[str, Mapping[str, Any]] = {}
    training: bool = True
    noise: bool = True
    fixed: tuple[str, ...] = ()
    exact: bool = False
    convention: bool = False
    note: str = ""

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray | None, ...]:
        """Return one set of inputs."""
        return tuple(_drawn(spec, rng) for spec in self.inputs)


def _drawn(spec: Any, rng: np.random.Generator) -> np.ndarray | None:
    if spec is None or isinstance(spec, np.ndarray):
        return spec
    return (spec if isinstance(spec, Draw) else Draw(tuple(spec)))(rng)
