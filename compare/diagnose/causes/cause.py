"""What a mistake looks like: the cause, and what is known about the tensor it is looked for in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

BATCH, CLASSES = "the batch size", "the number of classes"  # keys of `Context.sizes`


@dataclass(frozen=True)
class Cause:
    """What explains a whole tensor's difference.

    Attributes:
        kind: a name from docs/causes.md, such as `sign` or `transpose`.
        evidence: one line with the fitted numbers.
        advice: one line: what to look for.
        also: other kinds that give the same numbers here, and so cannot be told apart.
    """

    kind: str
    evidence: str
    advice: str
    also: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind}: {self.evidence} {self.advice}"


class Alternative(NamedTuple):
    """What one known mistake would have computed; `value` has the candidate's shape."""

    kind: str
    what: str  # continues "manual is exactly …"
    advice: str
    value: Any


class Tensors(NamedTuple):
    """A candidate, its reference, and how far rounding may take each element."""

    candidate: np.ndarray
    reference: np.ndarray
    tolerance: Any

    @property
    def agree(self) -> bool:
        """Whether the two sides agree within the tolerance."""
        m, t, tolerance = self
        return m.shape == t.shape and bool((np.abs(m - t) <= tolerance).all())


@dataclass(frozen=True)
class Context:
    """What is known about the disagreeing tensor; every field may be left out.

    Attributes:
        sizes: lengths that a factor may come from, such as `{BATCH: 64, CLASSES: 10}`.
        constants: other numbers that a factor may come from, such as `{"the learning rate": .1}`.
        batch_axis: the tensor's axis of samples; None for a parameter's.
        upstream: the gradient that backward was given.
        slope: f′(x), for a layer that works element by element.
        places: tensors of the tensor's shape by which a region may be described: the layer's
            input x, its output y, a residual.
        masks: regions by name, such as the entries of the true class.
        terms: tensors that add up to the reference, by name: branches, a penalty's gradient.
        others: tensors that may have been returned or added by mistake, by name.
        origin: where an optimiser's step started; then the steps are compared as well.
        factors: further tensors whose products a term may be, by symbol.
        samples: returns each sample's own contribution to the reference, stacked along axis 0.
        alternatives: returns what known mistakes would have computed.
        settings: returns the numbers among torch's arguments: name, value, and a function from
            another value to what torch gives with it (None if it refuses).
        double: returns the same three tensors computed in float64, for a float32 disagreement.
        dtype: what candidate and reference were computed in.
    """

    sizes: Mapping[str, int] = field(default_factory=dict)
    constants: Mapping[str, float] = field(default_factory=dict)
    batch_axis: int | None = None
    upstream: np.ndarray | None = None
    slope: np.ndarray | None = None
    places: Mapping[str, np.ndarray] = field(default_factory=dict)
    masks: Mapping[str, np.ndarray] = field(default_factory=dict)
    terms: Mapping[str, np.ndarray] = field(default_factory=dict)
    others: Mapping[str, np.ndarray] = field(default_factory=dict)
    origin: np.ndarray | None = None
    factors: Mapping[str, np.ndarray] = field(default_factory=dict)
    samples: Callable[[], np.ndarray | None] | None = None
    alternatives: Callable[[], Iterable[Alternative]] | None = None
    settings: Callable[[], Iterable[tuple[str, float, Callable[[float], Any]]]] | None = None
    double: Callable[[], Tensors] | None = None
    dtype: str = "float64"
