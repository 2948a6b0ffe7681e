"""The inputs of a check: arrays as given, shapes to draw from, and what merely passes through."""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from compare.errors import UserError, nearest

Inputs = dict[str, Any]  # by argument name, in the order of the arguments


@dataclass(frozen=True)
class Labels:
    """Class labels to be drawn: integers from 0 to below `below`, an axis's length."""

    shape: tuple[int, ...]
    below: int


@dataclass(frozen=True)
class Specification:
    """What a user said of the inputs.

    `given` holds arrays and everything that passes through; `shapes` those to be drawn;
    `differentiable` names the float arrays, in order: the ones that must get a gradient. `labels`
    are drawn as integers: their last number in `shapes` is no axis, but what they are below.
    `scales` are standard deviations other than 1. `constant` are those of the given ones that were
    drawn once: shapes in `no_grad`.
    """

    names: tuple[str, ...]
    given: Inputs
    shapes: dict[str, tuple[int, ...]]
    differentiable: tuple[str, ...]
    labels: frozenset[str] = frozenset()
    domains: Mapping[str, str] = field(default_factory=dict)
    scales: Mapping[str, float] = field(default_factory=dict)
    constant: frozenset[str] = frozenset()

    def draw(self, rng: np.random.Generator, shapes: Mapping[str, tuple] | None = None) -> Inputs:
        """Return all inputs; drawn ones are random normal and exact in float32, or labels.

        Args:
            rng: where the numbers come from.
            shapes: other shapes for the drawn inputs.
        """
        shapes = self.shapes if shapes is None else shapes
        return {
            name: self._drawn(rng, name, shapes[name]) if name in shapes else self.given[name]
            for name in self.names
        }

    def _drawn(self, rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name in self.labels:
            return classes(rng, shape)
        drawn = normal(rng, shape) * self.scales.get(name, 1.0)
        return inside(self.domains[name], drawn) if name in self.domains else drawn

    def with_drawn(self, like: Mapping[str, Any]) -> Specification:
        """Return a specification with further inputs at the end, drawn as large as these arrays."""
        return replace(
            self,
            names=(*self.names, *like),
            shapes=self.shapes | {name: np.shape(value) for name, value in like.items()},
            differentiable=(*self.differentiable, *like),
            scales={**self.scales, **{name: scale(value) for name, value in like.items()}},
        )

    def with_values(self, values: Mapping[str, np.ndarray]) -> Specification:
        """Return a specification with further inputs at the end, of these values."""
        return replace(
            self,
            names=(*self.names, *values),
            given={**self.given, **values},
            differentiable=(*self.differentiable, *values),
        )

    def within(self, domains: Mapping[str, str] | None) -> Specification:
        """Return a specification whose drawn inputs lie in these domains.

        Raises:
            UserError: a domain is not known, or of an input that is not drawn.
        """
        shapes = {n: s for n, s in self.shapes.items() if n not in self.labels}
        shapes |= {n: np.shape(self.given[n]) for n in self.constant}
        for name, domain in (domains or {}).items():
            if name not in shapes:
                raise UserError(
                    f"domain names '{name}', which is not drawn. {nearest(name, shapes)}"
                )
            if domain not in DOMAINS:
                raise UserError(f"domain['{name}']: '{domain}'. {nearest(domain, DOMAINS)}")
            if domain == "spd" and not _is_square(shapes[name]):
                raise UserError(f"domain['{name}']: no matrix of shape {shapes[name]} is spd.")
        now = {
            n: inside(d, self.given[n]) for n, d in (domains or {}).items() if n in self.constant
        }
        varied = {n: d for n, d in (domains or {}).items() if n not in self.constant}
        return replace(self, given={**self.given, **now}, domains=varied)

    def has(self, shapes: Mapping[str, tuple]) -> bool:
        """Return whether there are inputs of these shapes: an spd matrix is square."""
        return all(_is_square(shapes[n]) for n, domain in self.domains.items() if domain == "spd")

    def single(self) -> list[str]:
        """Return the differentiable inputs whose numbers may be changed one by one."""
        return [n for n in self.differentiable if self.domains.get(n) not in BOUND]


BOUND = ("simplex", "spd")  # in which one number depends on the others
DOMAINS = ("probability", "positive", *BOUND)


def _is_square(shape: tuple[int, ...]) -> bool:
    return len(shape) > 1 and shape[-1] == shape[-2]


def inside(domain: str, z: np.ndarray) -> np.ndarray:
    """Return random normal numbers taken into a domain, exact in float32.

    A simplex lies along the last axis; spd matrices (symmetric, positive definite) in the last two.
    """
    with np.errstate(all="ignore"):
        if domain == "probability":
            found = 0.02 + 0.96 / (1 + np.exp(-z))
        elif domain == "positive":
            found = np.exp(z)
        elif domain == "simplex":
            e = np.exp(z)
            found = e / e.sum(axis=-1, keepdims=True)
        else:
            n = z.shape[-1]
            found = z @ z.swapaxes(-1, -2) / n + np.eye(n)
    return found.astype(np.float32).astype(np.float64)


def specify(inputs: Mapping[str, Any] | None, no_grad: Collection[str] = ()) -> Specification:
    """Sort a user's inputs.

    Raises:
        UserError: there are none, one is of a kind that cannot be used, none is differentiable, or
            `no_grad` names one that is not there.
    """
    if not inputs or not isinstance(inputs, Mapping):
        raise UserError(
            "A check needs inputs by name: pass inputs={'x': (4, 3), …}, in the order of the "
            "arguments, each an array or a shape from which one is drawn."
        )
    for name in no_grad:
        if name not in inputs:
            raise UserError(f"no_grad names '{name}', which is no input. {nearest(name, inputs)}")
    given: Inputs = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for name, value in inputs.items():
        if not isinstance(name, str) or not name.isprintable():  # a lone surrogate is not, either
            raise UserError(f"An input's name must be text that can be printed; received {name!r}.")
        if isinstance(value, Labels):
            shapes[name] = _checked(name, (*value.shape, value.below))
        elif is_shape(value):
            shapes[name] = _checked(name, value)
        else:
            given[name] = _plain(name, value)
    labels = frozenset(n for n, value in inputs.items() if isinstance(value, Labels))
    drawn = {name: shapes.pop(name) for name in no_grad if name in shapes and name not in labels}
    rng = np.random.default_rng([0, 0, 1])  # no stream of the cases: a target is not its input
    given |= {name: normal(rng, shape) for name, shape in drawn.items()}
    arrays = [n for n in inputs if n not in labels]
    floats = [n for n in arrays if n in shapes or (is_float(given[n]) and n not in no_grad)]
    constant = frozenset(drawn)
    return Specification(tuple(inputs), given, shapes, tuple(floats), labels, constant=constant)


def is_shape(value: Any) -> bool:
    return isinstance(value, tuple) and all(type(n) is int for n in value)


def is_float(value: Any) -> bool:
    """Return whether this is a float array: what a gradient is taken of.

    Arithmetic turns arrays without axes into NumPy's scalars.
    """
    return isinstance(value, np.ndarray | np.floating) and value.dtype.kind == "f"


def as_float(value: Any) -> np.ndarray:
    return np.asarray(value, dtype=np.float64)


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return random normal numbers, none of them near zero, exact in float32, stored in float64."""
    drawn = np.asarray(rng.standard_normal(shape))
    return (drawn + np.copysign(0.05, drawn)).astype(np.float32).astype(np.float64)


def scale(array: np.ndarray) -> float:
    """Return the power of two nearest to an array's root mean square; 1 for zeros."""
    with np.errstate(all="ignore"):
        size = np.sqrt(np.mean(np.square(as_float(array))))
    return float(2.0 ** np.rint(np.log2(size))) if 0 < size < np.inf else 1.0


def classes(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return random integers of shape[:-1], from 0 to below shape[-1].

    Of several one is the highest: labels for more classes than there are never fit by chance. One
    alone is a lower one: the number of classes cannot be read off it.
    """
    count = shape[-1]
    if math.prod(shape[:-1]) == 1:
        return rng.integers(0, max(count - 1, 1), shape[:-1])
    drawn = rng.integers(0, count, shape[:-1])
    drawn[np.unravel_index(rng.integers(drawn.size), drawn.shape)] = count - 1
    return drawn


def fresh(values: Inputs, dtype: Any = np.float64) -> Inputs:
    """Return copies for one run, float arrays in `dtype`: nobody may change the originals."""
    return {
        name: np.array(value, dtype) if is_float(value) else copy.deepcopy(value)
        for name, value in values.items()
    }


def _checked(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if any(n < 1 for n in shape):
        raise UserError(f"Input '{name}': a shape's numbers must be at least 1; received {shape}.")
    return shape


def _plain(name: str, value: Any) -> Any:
    """Return NumPy arrays in place of lists and tensors; refuse what has no float64 form."""
    if hasattr(value, "detach"):  # a torch tensor
        value = value.detach().cpu()
        value = (value.double() if value.is_floating_point() else value).numpy()
    if isinstance(value, list):
        value = np.array(value)
    if isinstance(value, np.floating):
        value = np.asarray(value)
    if not isinstance(value, np.ndarray):
        return value
    if isinstance(value, np.matrix | np.ma.MaskedArray):
        raise UserError(
            f"Input '{name}' is a {type(value).__name__}, whose rules of arithmetic are its own: a "
            "check takes plain arrays. Give np.asarray(x), and write products as x @ y."
        )
    value = np.asarray(value)  # a memory map is a file on disk
    if value.dtype == object or np.issubdtype(value.dtype, np.complexfloating):
        raise UserError(
            f"Input '{name}' is an array of {value.dtype}; a check takes real floats, integers and "
            "booleans."
        )
    if value.size == 0:
        raise UserError(f"Input '{name}' is empty: there is nothing to compare.")
    return value.astype(np.float64) if np.issubdtype(value.dtype, np.floating) else value


def representable(values: Inputs, dtype: str) -> Inputs:
    """Return the inputs with floats rounded to what `dtype` can hold, stored in float64."""
    return {n: rounded(v, dtype) if is_float(v) else v for n, v in values.items()}


def rounded(array: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "bfloat16":
        import torch

        return torch.from_numpy(np.array(array, np.float64)).bfloat16().double().numpy()
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(array).astype(dtype).astype(np.float64)
