"""Layers that move elements between channels and places: PixelShuffle, ChannelShuffle."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from manual.examples import Example
from manual.layer import Array, Arrays, Layer

__all__ = ["ChannelShuffle", "PixelShuffle", "PixelUnshuffle"]

APART = "[n,c * r * r + (i - i // r * r) * r + j - j // r * r,i // r,j // r]"
TOGETHER = (
    "[n,c // (r * r),i * r + c // r - c // (r * r) * r,j * r + c - c // r * r]"  # of c (r, r)
)


class ShuffleCache(NamedTuple):
    """Nothing: the gradient is moved back."""


def spread(x: Array, r: int) -> Array:
    """Return (*, C r², H, W) as (*, C, H r, W r): r² channels become a square of places."""
    *lead, c, h, w = x.shape
    y = x.reshape(*lead, c // (r * r), r, r, h, w)
    axes = [len(lead) + k for k in (0, 3, 1, 4, 2)]  # C, H, r, W, r
    y = y.transpose(*range(len(lead)), *axes)
    return y.reshape(*lead, c // (r * r), h * r, w * r)


def gathered(x: Array, r: int) -> Array:
    """Return (*, C, H r, W r) as (*, C r², H, W): the other way round."""
    *lead, c, h, w = x.shape
    y = x.reshape(*lead, c, h // r, r, w // r, r)
    axes = [len(lead) + k for k in (0, 2, 4, 1, 3)]  # C, r, r, H, W
    y = y.transpose(*range(len(lead)), *axes)
    return y.reshape(*lead, c * r * r, h // r, w // r)


class PixelShuffle(Layer):
    """Channels made into places: (*, C r², H, W) -> (*, C, H r, W r).

    Args:
        upscale_factor: r.

    Raises:
        ValueError: r below 1; an input of less than three axes, or whose channels r² does not
            divide.
    """

    equations: ClassVar = {
        "output": f"y[n,c,i,j] = x{APART}", "grad_input": f"dx[n,c,i,j] = dy{TOGETHER}",
    }  # fmt: skip
    symbols: ClassVar = {"r": "upscale_factor"}
    examples = (
        Example({"upscale_factor": 2}, ((2, 8, 2, 3),), exact=True),
        Example({"upscale_factor": 3}, ((9, 1, 2),), exact=True),
    )

    def __init__(self, upscale_factor: int) -> None:
        self.upscale_factor = upscale_factor

    def forward(self, x: Array) -> tuple[Array, ShuffleCache]:  # type: ignore[override]
        """Return y (*, C, H r, W r)."""
        r = _at_least_1("PixelShuffle", "upscale_factor", self.upscale_factor)
        if x.ndim < 3 or x.shape[-3] % (r * r):
            raise ValueError(
                f"PixelShuffle: the input must be (*, C · {r * r}, H, W), received shape "
                f"{tuple(x.shape)}."
            )
        return spread(x, r), ShuffleCache()

    def backward(self, grad_output: Array, cache: ShuffleCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through a renaming of indices.

        Shapes: x, dx (*, C r², H, W), y, dy (*, C, H r, W r); a and b count 0 … r - 1.
        Index form:  y_c,ir+a,jr+b = x_(c,a,b),i,j   ->   dx_(c,a,b),i,j = dy_c,ir+a,jr+b
        Matrix form: y = P x, P a permutation, so dx = Pᵀ dy = P⁻¹ dy: PixelUnshuffle.
        Torch: nn.PixelShuffle.
        Source: Shi et al., Real-Time Single Image and Video Super-Resolution (2016), section 3.2.
        """
        return (gathered(grad_output, self.upscale_factor),), {}

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Layer):
    """Places made into channels: (*, C, H r, W r) -> (*, C r², H, W).

    Args:
        downscale_factor: r.

    Raises:
        ValueError: r below 1; an input of less than three axes, or whose places r does not divide.
    """

    equations: ClassVar = {
        "output": f"y[n,c,i,j] = x{TOGETHER}", "grad_input": f"dx[n,c,i,j] = dy{APART}",
    }  # fmt: skip
    symbols: ClassVar = {"r": "downscale_factor"}
    examples = (
        Example({"downscale_factor": 2}, ((2, 2, 2, 4),), exact=True),
        Example({"downscale_factor": 3}, ((1, 3, 6),), exact=True),
    )

    def __init__(self, downscale_factor: int) -> None:
        self.downscale_factor = downscale_factor

    def forward(self, x: Array) -> tuple[Array, ShuffleCache]:  # type: ignore[override]
        """Return y (*, C r², H, W)."""
        r = _at_least_1("PixelUnshuffle", "downscale_factor", self.downscale_factor)
        if x.ndim < 3 or x.shape[-1] % r or x.shape[-2] % r:
            raise ValueError(
                f"PixelUnshuffle: the input must be (*, C, H · {r}, W · {r}), received shape "
                f"{tuple(x.shape)}."
            )
        return gathered(x, r), ShuffleCache()

    def backward(self, grad_output: Array, cache: ShuffleCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through a renaming of indices: that of PixelShuffle, the other way round.

        Shapes: x, dx (*, C, H r, W r), y, dy (*, C r², H, W); a and b count 0 … r - 1.
        Index form:  y_(c,a,b),i,j = x_c,ir+a,jr+b   ->   dx_c,ir+a,jr+b = dy_(c,a,b),i,j
        Torch: nn.PixelUnshuffle.
        Source: Shi et al., Real-Time Single Image and Video Super-Resolution (2016), section 3.2.
        """
        return (spread(grad_output, self.downscale_factor),), {}

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Layer):
    """Channels of all groups in turn: channel (g, c) of (N, C, *) becomes channel (c, g).

    Args:
        groups: G, which must divide the channels.

    Raises:
        ValueError: groups below 1; an input of less than three axes, or whose channels groups do
            not divide.
    """

    equations: ClassVar = {
        "output": "y[n,c,i] = x[n,c // G + (c - c // G * G) * (size(x, 1) // G),i]",
        "grad_input": (
            "dx[n,c,i] = dy[n,c // D + (c - c // D * D) * G,i]\nwhere D = size(x, 1) // G"
        ),
    }
    symbols: ClassVar = {"G": "groups"}
    examples = (
        Example({"groups": 3}, ((2, 6, 3),), exact=True),
        Example({"groups": 1}, ((1, 3, 2, 2),), exact=True),
    )

    def __init__(self, groups: int) -> None:
        self.groups = groups

    def forward(self, x: Array) -> tuple[Array, ShuffleCache]:  # type: ignore[override]
        """Return y, of x's shape."""
        g = _at_least_1("ChannelShuffle", "groups", self.groups)
        if x.ndim < 3 or x.shape[1] % g:
            raise ValueError(
                f"ChannelShuffle: the input must be (N, C, *) with channels that groups = {g} "
                f"divides, received shape {tuple(x.shape)}."
            )
        return _swapped(x, g, x.shape[1] // g), ShuffleCache()

    def backward(self, grad_output: Array, cache: ShuffleCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through a renaming of indices.

        Shapes: x, dx, y, dy (N, C, *); C = G D, g counts groups, c their channels.
        Index form:  y_(c,g) = x_(g,c)   ->   dx_(g,c) = dy_(c,g): the same layer with D groups
        Matrix form: y = P x, P a permutation, so dx = Pᵀ dy.
        Torch: nn.ChannelShuffle.
        Source: Zhang et al., ShuffleNet (2018), section 3.1.
        """
        each = grad_output.shape[1] // self.groups
        return (_swapped(grad_output, each, self.groups),), {}

    def extra_repr(self) -> str:
        return f"groups={self.groups}"


def _swapped(x: Array, groups: int, each: int) -> Array:
    n, _, *places = x.shape
    return x.reshape(n, groups, each, *places).swapaxes(1, 2).reshape(*x.shape)


def _at_least_1(owner: str, name: str, value: int) -> int:
    if value < 1:
        raise ValueError(f"{owner}: {name} must be at least 1, received {value}.")
    return value
