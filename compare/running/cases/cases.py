"""The inputs that break derivations: other sizes, ties, zeros, magnitudes and strides."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from compare.pair.inputs import Inputs, Specification
from compare.running.cases.sizes import (
    Group,
    Lengths,
    distinct,
    independent,
    neighbours,
    other,
    tied_axes,
)

BASE = "random"
AGAIN = "repeated indices"
OTHER = 11  # the stream of numbers for other sizes
SPREAD = (1e-1, 1e2)  # magnitudes of the wide case: what lies between tiny, random and large
LEFT_OUT = (20.0, 40.0)  # torch's softplus leaves its curve at 20, which float64 sees up to 37


@dataclass(frozen=True)
class Case:
    """One set of inputs.

    Attributes:
        name: what is special about it.
        values: the inputs, floats in float64.
        layout: how the arrays lie in memory, a key of LAYOUTS; contiguous rows by default.
        resized: whether shapes are other than the user's.
        untied: whether axes differ that the user gave one length.
        wide: whether the upstream gradient is of very different magnitudes, as the inputs are.
    """

    name: str
    values: Inputs
    layout: str = ""
    resized: bool = False
    untied: bool = False
    wide: bool = False

    @property
    def own(self) -> bool:
        """True for the user's own inputs: neither side may refuse them."""
        return self.name in (BASE, "given")


class Cases:
    """Draws the cases of one check.

    Args:
        specification: the inputs.
        accepts: tells whether both sides can run forward on given inputs; it is how axes that are
            equally long only by chance are told from axes that must be.
        seed: where the numbers come from.
        magnitudes: factors for the large and the tiny case.
        fixed: lengths that no case changes: the candidate was made for them.
        resize: whether any length is changed.
    """

    def __init__(
        self,
        specification: Specification,
        accepts: Callable[[Inputs], bool],
        seed: int,
        magnitudes: tuple[float, float] = (1e3, 1e-6),
        fixed: Collection[int] = (),
        *,
        resize: bool = True,
    ) -> None:
        self.specification, self.accepts, self.seed = specification, accepts, seed
        self.large, self.tiny = magnitudes
        self.base = specification.draw(self.rng(0))
        lengths = {n for shape in specification.shapes.values() for n in shape}
        self.tied = tied_axes(specification, fixed if resize else lengths)
        self.sizes = independent(self.tied, self.takes, specification.names)

    def rng(self, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, stream])

    def keep_tied(self) -> None:
        """Never separate axes that were given one length: they belong together by definition."""
        self.sizes = self.tied

    def all(self) -> Iterator[Case]:
        """Yield every case, the user's own inputs first."""
        yield Case(BASE if self.specification.shapes else "given", self.base)
        yield from self._sizes()
        if single := self.specification.single():
            yield Case("ties", self._each(tied, 20, single))
        if len(self._alike()) > 1:
            yield Case("ties between inputs", self._shared())
        if again := self._again():
            yield Case(AGAIN, {**self.base, **again})
        if around := self._around_zero():
            yield Case("zeros", self._each(with_zeros, 21, around))
            yield Case("one zero per row", self._each(one_zero, 23, around))
        if self._free():
            yield Case(f"large (×{self.large:g})", self._scaled(self.large))
            yield Case(f"tiny (×{self.tiny:g})", self._scaled(self.tiny))
            low, high = SPREAD
            values = self._each(spread, 24, self._free())
            yield Case(f"wide ({low:g} to {high:g})", values, wide=True)
        columns = any(np.ndim(value) > 1 for value in self.base.values())
        for layout in LAYOUTS if columns else ("non-contiguous",):
            yield Case(layout, self.base, layout=layout)
        yield from self._others()

    def _each(self, change: Callable, stream: int, names: Collection[str] | None = None) -> Inputs:
        """Change the differentiable inputs, or those of them that are named."""
        rng = self.rng(stream)
        floats = [n for n in self.specification.differentiable if names is None or n in names]
        return {n: change(v, rng) if n in floats else v for n, v in self.base.items()}

    def _free(self) -> list[str]:
        """Return the inputs that may take any number: drawn ones without a domain of their own."""
        return [n for n in self.specification.shapes if n not in self.specification.domains]

    def _around_zero(self) -> list[str]:
        """Return the inputs of which zero is an ordinary value."""
        arrays = {n: self.base[n] for n in self.specification.differentiable}
        given = (n for n, a in arrays.items() if n not in self.specification.shapes and a.size)
        return self._free() + [n for n in given if arrays[n].min() <= 0 <= arrays[n].max()]

    def _alike(self) -> list[str]:
        """Return the first differentiable inputs that have one shape, if there are several."""
        shapes: dict[tuple[int, ...], list[str]] = {}
        for name in self.specification.single():
            shapes.setdefault(np.shape(self.base[name]), []).append(name)
        return next((names for names in shapes.values() if len(names) > 1), [])

    def _shared(self) -> Inputs:
        """Let inputs of one shape hold the first one's number in half of their elements."""
        first, *others = self._alike()
        rng, values = self.rng(22), dict(self.base)
        for name in others:
            same = rng.random(np.shape(values[name])) < 0.5
            values[name] = np.where(same, values[first], values[name])
        return values

    def _again(self) -> Inputs:
        """Let integers repeat in inputs that hold each of theirs once, if both sides take that."""
        again = {name: repeated(v) for name, v in self.base.items() if _is_each_once(v)}
        return again if again and self.accepts({**self.base, **again}) else {}

    def _scaled(self, factor: float) -> Inputs:
        return self._each(lambda v, _: np.float64(np.float32(v * factor)), 0, self._free())

    def _sizes(self) -> Iterator[Case]:
        apart = distinct(self.sizes)
        if apart != self.sizes.lengths:
            yield self._case("non-square", apart)
        for group in self.sizes.groups:
            if self._resizable(group):
                yield self._case(self._shrunk_name(group), {**self.sizes.lengths, group: 1})

    def _others(self) -> Iterator[Case]:
        """Yield every axis at another length; axes that the user gave one length stay equal."""
        lengths = other(self.tied, lambda n: self.takes(n, OTHER))
        if lengths != self.tied.lengths:
            yield Case("other sizes", self.resized(lengths, OTHER), resized=True)

    def _resizable(self, group: Group) -> bool:
        """Return whether the group may change by itself: length 1 could pass by broadcasting."""
        lengths = self.sizes.lengths
        return all(self.takes({**lengths, group: n}) for n in neighbours(lengths[group]))

    def _case(self, name: str, lengths: Lengths) -> Case:
        by_axis = {axis: n for group, n in lengths.items() for axis in group}
        untied = any(len({by_axis[a] for a in group}) > 1 for group in self.tied.groups)
        return Case(name, self.resized(lengths), resized=True, untied=untied)

    def _shrunk_name(self, group: Group) -> str:
        first = self.specification.names[0]
        if (first, 0) in group:
            return "batch of 1"
        order = self.specification.names
        name, axis = min(group, key=lambda a: (order.index(a[0]), a[1]))
        return f"{name} axis {axis} = 1"

    def takes(self, lengths: Lengths, stream: int = 10) -> bool:
        """Return whether there are inputs of these lengths, and both sides run on them."""
        fit = self.specification.has(self._shapes(lengths))
        return fit and self.accepts(self.resized(lengths, stream))

    def _shapes(self, lengths: Lengths) -> dict[str, tuple[int, ...]]:
        new = {axis: n for group, n in lengths.items() for axis in group}
        return {
            name: tuple(new.get((name, i), n) for i, n in enumerate(shape))
            for name, shape in self.specification.shapes.items()
        }

    def resized(self, lengths: Lengths, stream: int = 10) -> Inputs:
        """Return inputs with these lengths: drawn anew; those that were given, cut or repeated."""
        values = self.specification.draw(self.rng(stream), self._shapes(lengths))
        for group, length in lengths.items():
            for name, axis in group:
                if name in self.specification.given:
                    values[name] = cut(values[name], axis, length)
        return values


def cut(array: np.ndarray, axis: int, length: int) -> np.ndarray:
    """Return the first `length` slices along an axis, repeating them if there are not enough."""
    return np.take(array, np.arange(length) % array.shape[axis], axis=axis)


def _is_each_once(value: Any) -> bool:
    """Return whether this is an array of several integers, all different."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iu":
        return False
    return 1 < value.size == len(np.unique(value))


def repeated(array: np.ndarray) -> np.ndarray:
    """Let every second element be the one before; what was sorted stays so."""
    flat = array.ravel().copy()
    flat[1::2] = flat[:-1:2]
    return flat.reshape(array.shape)


def tied(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Replace every element by one of three of the array's own values."""
    ordered = np.sort(array, axis=None)
    few = ordered[[ordered.size // 6, ordered.size // 2, 5 * ordered.size // 6]]
    return rng.choice(few, size=array.shape)


def with_zeros(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Set about half of the elements to zero, and the whole first row."""
    zeroed = np.where(rng.random(array.shape) < 0.5, 0.0, array)
    if array.ndim >= 2 and array.shape[0] > 1:
        zeroed[0] = 0.0
    return zeroed


def one_zero(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Set one element of every row, column and slice to zero, as nearly as the shape allows it."""
    zeroed = np.array(array)
    if zeroed.size > 1:
        places = sum(np.indices(zeroed.shape)) + rng.integers(max(zeroed.shape))
        zeroed[places % max(zeroed.shape) == 0] = 0.0
    return zeroed


def spread(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return magnitudes that are evenly spaced on a logarithmic scale, with alternating signs."""
    (low, high), (end, begin) = np.log(SPREAD), np.log(LEFT_OUT)
    places = (np.arange(array.size) + rng.random(array.size)) / max(array.size, 1)
    signs = np.where((np.arange(array.size) + rng.integers(2)) % 2, -1.0, 1.0)
    exponents = low + (end - low + high - begin) * places
    exponents += np.where(exponents > end, begin - end, 0.0)
    values = np.float32(signs * np.exp(exponents))
    return rng.permutation(np.float64(values)).reshape(array.shape)


def strided(array: np.ndarray) -> np.ndarray:
    """Return an equal array with gaps and a negative stride: a longer one, read backwards."""
    view = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)[..., ::-2]
    view[...] = array
    return view


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "non-contiguous": strided,
    "Fortran order": np.asfortranarray,
}


def laid_out(array: Any, layout: str) -> Any:
    """Return an equal array that lies in memory as a key of LAYOUTS says; scalars as they are."""
    if not layout or not isinstance(array, np.ndarray) or array.ndim == 0:
        return array
    return LAYOUTS[layout](array)
