"""What convolutions and their transposes have in common: arguments, shapes, refusals."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar, NamedTuple

from manual.arguments import whole_numbers
from manual.conv.strips import Windows
from manual.layer import Array, Arrays, Layer
from manual.padding.borders import MODES

__all__ = [
    "AXES",
    "ConvCache",
    "ConvolvingLayer",
    "Shape",
    "batched",
    "lifted",
    "stretched",
    "tuples",
    "unbatched",
]

Shape = tuple[int, ...]
Size = Any  # a number for every axis, or a tuple with one per axis
AXES = ("depth", "height", "width")  # a layer of fewer axes has the last ones


class ConvCache(NamedTuple):
    x: Array  # (N, C, *places), with its border unless that is zeros
    unbatched: bool


class ConvolvingLayer(Layer):
    """Arguments and parameters of a convolution, or of a transposed one, over `axes` axes."""

    axes: ClassVar[int]
    in_channels: int
    out_channels: int
    kernel_size: Shape
    stride: Shape
    padding: Any  # a tuple, or the name of one
    dilation: Shape
    groups: int
    padding_mode: str
    at: Windows  # where the kernel lies on what it reads, or writes
    params: Arrays

    def windows(self, before: Shape) -> Windows:
        """Return where the kernel lies, `before` being the zeros before the first element."""
        one, none = (1,) * (2 - self.axes), (0,) * (2 - self.axes)  # rows of sequences
        kernel, stride = one + self.kernel_size, one + self.stride
        return Windows(kernel, stride, one + self.dilation, none + before, self.groups)

    def add_bias(self, y: Array) -> None:
        """Add b to every channel of y (N, O, *places), which is ours."""
        if "bias" in self.params:
            y += self.params["bias"].reshape(-1, *(1,) * self.axes)

    def with_bias(self, grad_weight: Array, dy: Array) -> Arrays:
        """Return dW, and db = Σ dy over samples and places."""
        grads = {"weight": grad_weight.reshape(*self.params["weight"].shape)}
        if "bias" in self.params:
            n, o, *places = dy.shape
            grads["bias"] = dy.reshape(n, o, prod(places)).sum(axis=2).sum(axis=0)  # (O,)
        return grads

    # ── refusals ─────────────────────────────────────────────────────────────────────────────────
    def refuse_bad_arguments(self) -> None:
        name, (c, o, g) = type(self).__name__, (self.in_channels, self.out_channels, self.groups)
        if min(c, o, g, *self.kernel_size, *self.stride, *self.dilation) < 1:
            raise ValueError(
                f"{name}: in_channels, out_channels, kernel_size, stride, dilation and groups must "
                f"be at least 1, received in_channels={c}, out_channels={o}, "
                f"kernel_size={self.kernel_size}, stride={self.stride}, "
                f"dilation={self.dilation}, groups={g}."
            )
        if c % g or o % g:
            raise ValueError(
                f"{name}: groups = {g} must divide in_channels = {c} and out_channels = {o}."
            )
        if not isinstance(self.padding, str) and min(self.padding) < 0:
            raise ValueError(f"{name}: padding must be at least 0, received {self.padding}.")

    def refuse_bad_channels(self, x: Array) -> None:
        """Raise ValueError unless x is (N, C, *places) or (C, *places)."""
        at = -self.axes - 1
        if x.ndim not in (self.axes + 1, self.axes + 2) or x.shape[at] != self.in_channels:
            places = ", ".join(("D", "H", "W")[-self.axes :] if self.axes > 1 else ("L",))
            raise ValueError(
                f"{type(self).__name__}: the input must be (N, {self.in_channels}, {places}) or "
                f"({self.in_channels}, {places}), received shape {tuple(x.shape)}. Set in_channels "
                "to the input's, or move its channels before its places."
            )

    def variants(self, cache: Any) -> tuple[str, ...]:
        """Return whether channels are kept apart; the padding mode is found by its name."""
        return ("grouped",) if self.groups > 1 else ()

    def extra_repr(self) -> str:
        shown = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}",
            f"stride={self.stride}",
        ]
        usual = {"padding": 0, "dilation": 1, "output_padding": 0}
        for name, number in usual.items():
            value = getattr(self, name, number)
            if value not in (number, (number,) * self.axes):
                shown.append(f"{name}={value}")
        if self.groups != 1:
            shown.append(f"groups={self.groups}")
        if self.params.keys() == {"weight"}:
            shown.append("bias=False")
        if self.padding_mode != MODES[0]:
            shown.append(f"padding_mode={self.padding_mode}")
        return ", ".join(shown)


def batched(x: Array, alone: bool) -> Array:
    """Return a single sample as a batch of one."""
    return x.reshape(1, *x.shape) if alone else x


def unbatched(y: Array, alone: bool) -> Array:
    """Return a batch of one as a single sample."""
    return y.reshape(y.shape[1:]) if alone else y


def lifted(x: Array, axes: int) -> Array:
    """Return sequences (N, C, L) as images (N, C, 1, L); images and volumes as they are."""
    return x.reshape(*x.shape[:2], *(1,) * (2 - axes), *x.shape[2:])


def tuples(layer: Any, **sizes: Size) -> None:
    """Keep arguments as tuples of one number for each of a layer's axes, as torch does.

    Raises:
        ValueError: one has another length, or is no whole number.
    """
    for name, size in sizes.items():
        found = tuple(size) if isinstance(size, tuple | list) else (size,) * layer.axes
        if len(found) != layer.axes or not whole_numbers(found):
            raise ValueError(
                f"{type(layer).__name__}: {name} must be a number or {layer.axes} of them, "
                f"received {size!r}. Sizes are whole numbers."
            )
        setattr(layer, name, found)


def stretched(layer: Any, **sizes: Size) -> None:
    """As `tuples`; of more axes than one, a tuple of one number stands for all, as in torch."""
    alone = {k: s for k, s in sizes.items() if isinstance(s, tuple | list) and len(s) == 1}
    tuples(layer, **sizes | {name: (*size,) * layer.axes for name, size in alone.items()})
