"""Gates that make one number of many, over all elements or along some axes: sum, mean, norm, …"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import numpy as np

from manual.examples import Example
from manual.layer import Array, Arrays, Layer

__all__ = [
    "AmaxGate",
    "AminGate",
    "AminmaxGate",
    "LogSumExpGate",
    "MeanGate",
    "MedianGate",
    "NanMeanGate",
    "NanSumGate",
    "ProdGate",
    "SumGate",
]

Axes = tuple[int, ...]
Dim = int | tuple[int, ...] | None
SYMBOLS = {"j": "cache.dim", "N": "cache.elements"}
ROW, KEPT = Example({"dim": 0}, ((3, 2),)), Example({"dim": -1, "keepdim": True}, ((2, 3),))
EXAMPLES = (Example({}, ((2, 3),)), ROW, KEPT)
KINKS = {"tied": {"x": 1.0}}
TIED = tuple(e._replace(kinks=KINKS) for e in EXAMPLES)


class Reduced(NamedTuple):
    x: Array
    y: Array  # with the reduced axes, 1 long
    axes: Axes
    aside: Any = None  # what else backward needs

    @property
    def dim(self) -> int:
        """The one axis that is reduced, for the equations."""
        return self.axes[0]

    @property
    def elements(self) -> int:
        """How many elements are made one."""
        return math.prod(self.x.shape[axis] for axis in self.axes)


class Reduction(Layer):
    """A function of all elements, or of those along some axes.

    Args:
        dim: the axis, or several; None (or none) for all.
        keepdim: whether they stay, 1 long.
    """

    symbols = SYMBOLS
    examples: ClassVar[tuple[Example, ...]] = EXAMPLES

    def __init__(self, dim: Dim = None, keepdim: bool = False) -> None:
        self.dim, self.keepdim = dim, keepdim

    @abstractmethod
    def reduce(self, x: Array, axes: Axes) -> Array:
        """Return the result, with the reduced axes 1 long."""

    @abstractmethod
    def slope(self, cache: Reduced) -> Array:
        """Return ∂y/∂x of each element by the result that it is in, to be stretched to x."""

    def forward(self, x: Array) -> tuple[Array, Reduced]:  # type: ignore[override]
        axes = axes_of(self, x)
        y = self.reduce(x, axes)
        return self._leaving(y, axes), Reduced(x, y, axes)

    def backward(self, grad_output: Array, cache: Reduced) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y_n = f(x_n1 … x_nK): the elements along the axes give one number.

        Each x_nj is in one y_n only   ->   dx_nj = dy_n ∂f/∂x_nj: dy is copied along the axes.
        The slope is in the equation; of ties, all get the same share.
        Torch: the function of this name.
        Source: the sum gate distributes; what else happens is the slope.
        """
        return (self._stretched(grad_output, cache) * self.slope(cache),), {}

    def variants(self, cache: Reduced) -> tuple[str, ...]:
        if len(cache.axes) == np.ndim(cache.x):
            return () if self.keepdim else ("all",)
        return ("one axis",) if len(cache.axes) == 1 else ()

    def _leaving(self, y: Array, axes: Axes) -> Array:
        if self.keepdim:
            return y
        return y.reshape(tuple(n for i, n in enumerate(y.shape) if i not in axes))

    def _stretched(self, dy: Array, cache: Reduced) -> Array:
        """Return dy with the axes that it lost."""
        return np.reshape(dy, np.shape(cache.y))

    def extra_repr(self) -> str:
        return f"dim={self.dim}, keepdim={self.keepdim}"


def axes_of(layer: Any, x: Array) -> Axes:
    """Return the axes that are meant, counted from the front.

    Raises:
        ValueError: the input has no such axis.
    """
    ndim, dim = np.ndim(x), layer.dim
    if dim is None or dim == () or dim == []:
        return tuple(range(ndim))
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    for axis in dims:
        if not -max(ndim, 1) <= axis < max(ndim, 1):
            raise ValueError(
                f"{type(layer).__name__}: dim = {axis} is no axis of an input of shape "
                f"{tuple(np.shape(x))}."
            )
    return tuple(axis % ndim for axis in dims) if ndim else ()


def equations(value: str, slope: str) -> dict[str, str]:
    """Return the equations of a reduction: along one axis, with that axis kept, and of all.

    The texts speak of x[n,j], along one axis of rows n; they may end in `where` lines.
    """
    first, *where = slope.split("\n")
    lines = "".join(f"\n{line}" for line in where)
    rows = {
        "output/one axis": f"y[n] = {value}",
        "output/one axis, keepdim": f"y[n,j] = {value}",
        "grad_input/one axis": f"dx[n,j] = dy[n] * {first}{lines}",
        "grad_input/one axis, keepdim": f"dx[n,j] = dy[n,0] * {first}{lines}",
    }
    whole = {
        f"{role}/all": rows[f"{role}/one axis"].replace("[n]", "").replace("[n,", "[")
        for role in ("output", "grad_input")
    }
    return rows | {key: text.replace("j", "i") for key, text in whole.items()}


class SumGate(Reduction):
    """y = Σ x, of all elements or along axes."""

    equations = equations("sum(j, x[n,j])", "1")

    def reduce(self, x: Array, axes: Axes) -> Array:
        return x.sum(axis=axes, keepdims=True)

    def slope(self, cache: Reduced) -> Array:
        return np.ones_like(cache.x)


class MeanGate(Reduction):
    """y = the mean, of all elements or along axes."""

    equations = equations("mean(j, x[n,j])", "1 / N")

    def reduce(self, x: Array, axes: Axes) -> Array:
        return x.sum(axis=axes, keepdims=True) / number(x, axes)

    def slope(self, cache: Reduced) -> Array:
        return np.ones_like(cache.x) / cache.elements


def number(x: Array, axes: Axes) -> Any:
    """Return how many elements are made one; nan for none, whose mean is nan."""
    return math.prod(x.shape[axis] for axis in axes) or math.nan


class NanSumGate(Reduction):
    """y = Σ x, with nan counted as 0."""

    equations = equations("sum(j, x[n,j])", "1")

    def reduce(self, x: Array, axes: Axes) -> Array:
        return np.where(x == x, x, 0).sum(axis=axes, keepdims=True)

    def slope(self, cache: Reduced) -> Array:
        return known(cache.x)


class NanMeanGate(NanSumGate):
    """y = the mean of what is not nan."""

    equations = equations("mean(j, x[n,j])", "1 / N")

    def reduce(self, x: Array, axes: Axes) -> Array:
        return super().reduce(x, axes) / known(x).sum(axis=axes, keepdims=True)

    def slope(self, cache: Reduced) -> Array:
        mask = known(cache.x)
        return mask / mask.sum(axis=cache.axes, keepdims=True)


def known(x: Array) -> Array:
    """Return 1 where x is a number, 0 where it is nan."""
    return np.where(x == x, np.ones_like(x), 0)


class ProdGate(Reduction):
    """y = Π x, of all elements or along an axis."""

    equations = equations("prod(j, x[n,j])", "prod(k, k != j, x[n,k])")

    def reduce(self, x: Array, axes: Axes) -> Array:
        return x.prod(axis=axes, keepdims=True)

    def slope(self, cache: Reduced) -> Array:
        """Return Π_(k≠j) x_k, of what is before j times what is after: y / x_j fails at 0."""
        x = flattened(cache.x, cache.axes)
        one = np.ones_like(x[..., :1])
        before = np.cumprod(np.concatenate([one, x[..., :-1]], axis=-1), axis=-1)
        after = np.cumprod(np.concatenate([one, x[..., :0:-1]], axis=-1), axis=-1)[..., ::-1]
        return restored(before * after, cache.x.shape, cache.axes)


def flattened(x: Array, axes: Axes) -> Array:
    """Return x with the reduced axes last, as one."""
    last = tuple(range(x.ndim - len(axes), x.ndim))
    x = np.moveaxis(x, axes, last)
    kept = x.shape[: x.ndim - len(axes)]
    return x.reshape((*kept, math.prod(x.shape[len(kept) :])))


def restored(x: Array, shape: Axes, axes: Axes) -> Array:
    """Return what `flattened` made of this shape as it was."""
    kept = tuple(n for axis, n in enumerate(shape) if axis not in axes)
    x = x.reshape((*kept, *(shape[axis] for axis in axes)))
    return np.moveaxis(x, tuple(range(len(kept), len(shape))), axes)


class Shared(Reduction):
    """One of the elements; all that are equal to it share its gradient."""

    examples = TIED

    def slope(self, cache: Reduced) -> Array:
        mask = self.chosen(cache) * np.ones_like(cache.x)
        count = mask.sum(axis=cache.axes, keepdims=True)
        return mask / np.where(count == 0, np.nan, count)

    def chosen(self, cache: Reduced) -> Array:
        """Return where x is y."""
        nan = (cache.y != cache.y) & (cache.x != cache.x)
        return (cache.x == cache.y) | nan

    def decisions(self, cache: Reduced) -> Array:
        return self.chosen(cache)


class Extreme(Shared):
    """The largest or the smallest: a nan among them is y, and every slope there."""

    def chosen(self, cache: Reduced) -> Array:
        return cache.x == cache.y


def sharing(sign: str) -> dict[str, str]:
    """Return the equations of the largest element (sign ""), or of the smallest ("-")."""
    beyond = "<=" if sign else ">="
    return equations(
        f"{sign}largest(j, {sign}x[n,j])",
        f"(x[n,j] {beyond} m[n]) / sum(k, (x[n,k] {beyond} m[n]))\n"
        f"where m[n] = {sign}largest(k, {sign}x[n,k])",
    )


class AmaxGate(Extreme):
    """y = the largest; equals share its gradient."""

    equations = sharing("")

    def reduce(self, x: Array, axes: Axes) -> Array:
        return x.max(axis=axes, keepdims=True)


class AminGate(Extreme):
    """y = the smallest; equals share its gradient."""

    equations = sharing("-")

    def reduce(self, x: Array, axes: Axes) -> Array:
        return x.min(axis=axes, keepdims=True)


class AminmaxGate(Reduction):
    """The smallest and the largest; equals share each one's gradient."""

    outputs = ("min", "max")
    equations = {}
    examples = EXAMPLES[1:]

    def reduce(self, x: Array, axes: Axes) -> Array:
        return x.min(axis=axes, keepdims=True)

    def slope(self, cache: Reduced) -> Array:
        return Extreme.slope(self, cache)  # type: ignore[arg-type]

    def chosen(self, cache: Reduced) -> Array:
        return Extreme.chosen(self, cache)  # type: ignore[arg-type]

    def forward(self, x: Array) -> tuple[Any, Reduced]:  # type: ignore[override]
        least, cache = super().forward(x)
        most = x.max(axis=cache.axes, keepdims=True)
        return (least, self._leaving(most, cache.axes)), cache._replace(aside=most)

    def backward(self, grad_output: Any, cache: Reduced) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through both: dx is what amin hands back and what amax does, added.

        Torch: torch.aminmax.
        Source: the gates of both, whose input branches.
        """
        (low,), _ = super().backward(grad_output[0], cache)
        (high,), _ = super().backward(grad_output[1], cache._replace(y=cache.aside))
        return (low + high,), {}

    def decisions(self, cache: Reduced) -> Array:
        return np.stack([self.chosen(cache), self.chosen(cache._replace(y=cache.aside))])


class MedianGate(Shared):
    """y = the median of all elements, the lower of two; equals share its gradient.

    Args:
        skips_nan: whether nan counts for nothing; else it makes the median nan.
    """

    equations = {}
    examples = (Example({}, ((2, 3),)), Example({"skips_nan": True}, ((2, 2),)))

    def __init__(self, skips_nan: bool = False) -> None:
        super().__init__()
        self.skips_nan = skips_nan

    def reduce(self, x: Array, axes: Axes) -> Array:
        row = np.sort(x.reshape(math.prod(x.shape)))  # nan comes last
        known = int((row == row).sum())
        if not known or (known < len(row) and not self.skips_nan):
            return np.full_like(x, math.nan, shape=(1,) * x.ndim)
        place = (known - 1) // 2
        return row[place : place + 1].reshape((1,) * x.ndim)

    def extra_repr(self) -> str:
        return f"skips_nan={self.skips_nan}"


class LogSumExpGate(Reduction):
    """y = log Σ eˣ."""

    equations = equations("log(sum(j, exp(x[n,j])))", "exp(x[n,j]) / sum(k, exp(x[n,k]))")
    examples = TIED

    def reduce(self, x: Array, axes: Axes) -> Array:
        m = x.max(axis=axes, keepdims=True, initial=-math.inf)
        m = np.where(np.isfinite(m), m, 0)
        return m + np.log(np.exp(x - m).sum(axis=axes, keepdims=True))

    def slope(self, cache: Reduced) -> Array:
        """Return e^(x - y) = softmax x; nan where all are -∞, as torch has it."""
        return np.exp(cache.x - cache.y)
