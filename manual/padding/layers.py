"""Layers that continue an input beyond its border: with a constant, or with its own elements."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import numpy as np

from manual.arguments import whole_numbers
from manual.layer import Array, Arrays, Layer
from manual.padding.borders import Margin, core, fold_back, pad, refuse_too_wide
from manual.padding.equations import constant, copied
from manual.padding.examples import examples

__all__ = [
    "CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d",
    "ConstantPad3d", "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d",
    "ReplicationPad2d", "ReplicationPad3d", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d",
]  # fmt: skip


class PadCache(NamedTuple):
    """Nothing: the gradient depends on the margins alone."""


class Padding(Layer):
    """The last `axes` axes of an input, continued beyond their borders.

    Args:
        padding: how many elements to add on either side of every axis; or 2 · axes numbers, before
            and after, of the last axis first. A negative number cuts elements off.

    Raises:
        ValueError: padding of another length; an input of other axes, or too small to be continued
            or cut that far.
    """

    axes: ClassVar[int]
    mode: ClassVar[str]
    symbols = {"p": "padding"}

    def __init__(self, padding: Any) -> None:
        self.padding = _padding(type(self).__name__, padding, self.axes)
        pairs = zip(self.padding[::2], self.padding[1::2], strict=True)
        self.margins: tuple[Margin, ...] = tuple(pairs)[::-1]  # of the first axis first

    def forward(self, x: Array) -> tuple[Array, PadCache]:  # type: ignore[override]
        """Return y, whose last axes are longer by both margins."""
        self._refuse_bad_input(x)
        return self._continued(x), PadCache()

    def backward(self, grad_output: Array, cache: PadCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through copies: y_u = x_r(u), where r(u) is what stands at place u.

        Shapes: x (N, C, *places), y and dy longer by both margins; one index u, r and i per axis.
        Let i' = u - p be the place counted from x's first element, n the elements of the axis.
            reflection   r(u) = n - 1 - |n - 1 - |i'||     the border itself is not repeated
            replication  r(u) = min(max(i', 0), n - 1)
            circular     r(u) = i' mod n, of what a negative margin leaves
            constant     y_u = x_i' where 0 <= i' < n, and a constant elsewhere
        Index form:  dx_i = Σ_{u: r(u) = i} dy_u           (an element gets the sum over its copies)
        Matrix form: y = R x with one 1 in each row of R, so dx = Rᵀ dy, axis by axis: R is the
        Kronecker product of its axes'. A constant has no gradient; what is cut off gets 0.
        Torch: nn.ReflectionPad, ReplicationPad, CircularPad, ConstantPad, ZeroPad; negative
        numbers cut off, too.
        Source: Goodfellow, Bengio, Courville, Deep Learning (2016), section 9.5.
        """
        return (self._folded(grad_output),), {}

    @abstractmethod
    def _continued(self, x: Array) -> Array:
        """Return R x."""

    @abstractmethod
    def _folded(self, dy: Array) -> Array:
        """Return Rᵀ dy."""

    def _refuse_bad_input(self, x: Array) -> None:
        places = x.shape[-self.axes :]
        if not self._fits(x.ndim) or not self._leaves(places):
            raise ValueError(
                f"{type(self).__name__}: the input must be {self._wanted()} with something left "
                f"after padding {self.padding}, received shape {tuple(x.shape)}."
            )
        refuse_too_wide(type(self).__name__, places, self.margins, self.mode)

    def _fits(self, ndim: int) -> bool:
        return ndim in (self.axes + 1, self.axes + 2)

    def _leaves(self, places: tuple[int, ...]) -> bool:
        """Whether something is left of every axis, if only nothing of what there is to copy."""
        sizes = [n + sum(margin) for n, margin in zip(places, self.margins, strict=True)]
        return min(places) > 0 and min(sizes) >= 0 and max(sizes) > 0

    def _wanted(self) -> str:
        places = ", ".join(("D", "H", "W")[-self.axes :])
        return f"(N, C, {places}) or (C, {places})"

    def extra_repr(self) -> str:
        return str(self.padding)


class ConstantPadding(Padding):
    """The last axes continued with one number.

    Args:
        padding: as of every padding.
        value: what stands beyond the border.
    """

    mode = "zeros"
    symbols = Padding.symbols | {"z": "value"}

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def _continued(self, x: Array) -> Array:
        sizes = [n + sum(m) for n, m in zip(x.shape[-self.axes :], self.margins, strict=True)]
        y = np.full_like(x, self.value, shape=(*x.shape[: -self.axes], *sizes))
        places, own = self._cores(y.shape)
        y[places] = x[own]
        return y

    def _folded(self, dy: Array) -> Array:
        sizes = [n - sum(m) for n, m in zip(dy.shape[-self.axes :], self.margins, strict=True)]
        dx = np.zeros_like(dy, shape=(*dy.shape[: -self.axes], *sizes))
        places, own = self._cores(dy.shape)
        dx[own] = dy[places]
        return dx

    def _cores(self, shape: tuple[int, ...]) -> tuple[tuple, tuple]:
        """Return where y has elements of x, and which."""
        pairs = [core(m, n) for m, n in zip(self.margins, shape[-self.axes :], strict=True)]
        return (..., *(place for place, _ in pairs)), (..., *(own for _, own in pairs))

    def _fits(self, ndim: int) -> bool:
        return ndim >= self.axes

    def _leaves(self, places: tuple[int, ...]) -> bool:
        cuts = (sum(min(0, m) for m in margin) for margin in self.margins)
        return all(n + cut >= 0 for n, cut in zip(places, cuts, strict=True))

    def _wanted(self) -> str:
        return f"of {self.axes} axes or more,"

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ZeroPadding(ConstantPadding):
    """The last axes continued with zeros.

    Args:
        padding: as of every padding.
    """

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return str(self.padding)


class CopyPadding(Padding):
    """The last axes continued with copies of their own elements."""

    def _continued(self, x: Array) -> Array:
        return pad(x, self.margins, self.mode)

    def _folded(self, dy: Array) -> Array:
        return fold_back(dy, self.margins, self.mode)


class ReflectionPadding(CopyPadding):
    """The last axes continued with their mirror images, the border itself not repeated."""

    mode = "reflect"


class ReplicationPadding(CopyPadding):
    """The last axes continued with the elements at their borders."""

    mode = "replicate"


class CircularPadding(CopyPadding):
    """The last axes continued from their other ends."""

    mode = "circular"

    def _leaves(self, places: tuple[int, ...]) -> bool:
        sizes = [n + sum(margin) for n, margin in zip(places, self.margins, strict=True)]
        return min(places) > 0 and min(sizes) >= 0


def _padding(owner: str, padding: Any, axes: int) -> tuple[int, ...]:
    found = tuple(padding) if isinstance(padding, tuple | list) else (padding,) * (2 * axes)
    if len(found) != 2 * axes or not whole_numbers(found):
        raise ValueError(
            f"{owner}: padding must be a number or {2 * axes} of them, before and after of the "
            f"last axis first, received {padding!r}. Widths are whole numbers."
        )
    return found


class ZeroPad1d(ZeroPadding):
    """Sequences (N, C, L), continued beyond their borders with zeros.

    Arguments and derivation: Padding's.
    """

    axes = 1
    equations = constant(1, "0")
    examples = examples(1)


class ZeroPad2d(ZeroPadding):
    """Images (N, C, H, W), continued beyond their borders with zeros.

    Arguments and derivation: Padding's.
    """

    axes = 2
    equations = constant(2, "0")
    examples = examples(2)


class ZeroPad3d(ZeroPadding):
    """Volumes (N, C, D, H, W), continued beyond their borders with zeros.

    Arguments and derivation: Padding's.
    """

    axes = 3
    equations = constant(3, "0")
    examples = examples(3)


class ConstantPad1d(ConstantPadding):
    """Sequences (N, C, L), continued beyond their borders with one number.

    Arguments and derivation: Padding's.
    """

    axes = 1
    equations = constant(1, "z")
    examples = examples(1, value=-1.5)


class ConstantPad2d(ConstantPadding):
    """Images (N, C, H, W), continued beyond their borders with one number.

    Arguments and derivation: Padding's.
    """

    axes = 2
    equations = constant(2, "z")
    examples = examples(2, value=-1.5)


class ConstantPad3d(ConstantPadding):
    """Volumes (N, C, D, H, W), continued beyond their borders with one number.

    Arguments and derivation: Padding's.
    """

    axes = 3
    equations = constant(3, "z")
    examples = examples(3, value=-1.5)


class ReflectionPad1d(ReflectionPadding):
    """Sequences (N, C, L), continued beyond their borders with their mirror images.

    Arguments and derivation: Padding's.
    """

    axes = 1
    equations = copied(1, "reflect")
    examples = examples(1)


class ReflectionPad2d(ReflectionPadding):
    """Images (N, C, H, W), continued beyond their borders with their mirror images.

    Arguments and derivation: Padding's.
    """

    axes = 2
    equations = copied(2, "reflect")
    examples = examples(2)


class ReflectionPad3d(ReflectionPadding):
    """Volumes (N, C, D, H, W), continued beyond their borders with their mirror images.

    Arguments and derivation: Padding's.
    """

    axes = 3
    equations = copied(3, "reflect")
    examples = examples(3)


class ReplicationPad1d(ReplicationPadding):
    """Sequences (N, C, L), continued beyond their borders with the elements at their borders.

    Arguments and derivation: Padding's.
    """

    axes = 1
    equations = copied(1, "replicate")
    examples = examples(1, further=[((-3, 3), (1, 2)), ((3, -2), (1, 1))])  # beyond all there is


class ReplicationPad2d(ReplicationPadding):
    """Images (N, C, H, W), continued beyond their borders with the elements at their borders.

    Arguments and derivation: Padding's.
    """

    axes = 2
    equations = copied(2, "replicate")
    examples = examples(2)


class ReplicationPad3d(ReplicationPadding):
    """Volumes (N, C, D, H, W), continued beyond their borders with the elements at their borders.

    Arguments and derivation: Padding's.
    """

    axes = 3
    equations = copied(3, "replicate")
    examples = examples(3)


class CircularPad1d(CircularPadding):
    """Sequences (N, C, L), continued beyond their borders with what stands at their other ends.

    Arguments and derivation: Padding's.
    """

    axes = 1
    equations = copied(1, "circular")
    examples = examples(1)


class CircularPad2d(CircularPadding):
    """Images (N, C, H, W), continued beyond their borders with what stands at their other ends.

    Arguments and derivation: Padding's.
    """

    axes = 2
    equations = copied(2, "circular")
    examples = examples(2)


class CircularPad3d(CircularPadding):
    """Volumes (N, C, D, H, W), continued beyond their borders with what stands at their other ends.

    Arguments and derivation: Padding's.
    """

    axes = 3
    equations = copied(3, "circular")
    examples = examples(3)
