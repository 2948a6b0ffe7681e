"""ConvTranspose1d, 2d, 3d: the transpose of a convolution, which makes places from places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from manual.conv.base import (
    ConvolvingLayer,
    Shape,
    batched,
    lifted,
    stretched,
    tuples,
    unbatched,
)
from manual.conv.correlation import correlated, input_gradients, weight_gradients
from manual.conv.equations import SYMBOLS, transposed
from manual.conv.examples import TRANSPOSED1D, TRANSPOSED2D, TRANSPOSED3D
from manual.layer import Array, Arrays

__all__ = ["ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]


class TransposedCache(NamedTuple):
    x: Array  # (N, C, *places)
    unbatched: bool


class TransposedConvolution(ConvolvingLayer):
    r"""Transpose of a convolution: every input element adds its kernel, scaled, to the output.

    Args:
        in_channels: C, the channels of the input (N, C, *places); (C, *places) is one sample.
        out_channels: O, the channels of the output.
        kernel_size: one number for every axis, or one per axis; so with every size below.
        stride: how far apart the kernels of neighbouring input elements start.
        padding: how many elements of the output are cut off on either side.
        output_padding: how many are added after, which a stride leaves open; less than the stride
            or the dilation.
        groups: G; output channels of one group see only the input channels of that group.
        bias: whether each output channel adds a number b_o.
        dilation: how far apart the kernel's elements lie.
        padding_mode: "zeros", as in torch.

    Parameters, in torch's layout: `weight` W (C, O/G, *kernel_size), `bias` b (O,). Zero until set.

    Raises:
        ValueError: channels that groups do not divide, a size below 1, an output_padding that is
            too large; an input of other channels, or one whose output is empty.
    """

    symbols = SYMBOLS

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
    ) -> None:
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.padding_mode = padding_mode
        tuples(self, kernel_size=kernel_size)
        stretched(
            self, stride=stride, padding=padding, dilation=dilation, output_padding=output_padding
        )
        self._refuse_bad_mode()
        self.refuse_bad_arguments()
        self.before = self.padding
        self.at = self.windows(self.before)
        self.params = {"weight": np.zeros((in_channels, out_channels // groups, *self.kernel_size))}
        if bias:
            self.params["bias"] = np.zeros(out_channels)

    output_padding: Shape

    def forward(  # type: ignore[override]
        self, x: Array, *, output_size: Sequence[int] | None = None
    ) -> tuple[Array, TransposedCache]:
        """Return y (N, O, *places), of length (L - 1) s - 2 p + d (K - 1) + 1 + output_padding.

        `output_size` (by name) asks for a size, of those that a stride leaves open, instead of
        output_padding.
        """
        self.refuse_bad_channels(x)
        alone = x.ndim == self.axes + 1
        x = batched(x, alone)
        out = self._out(x.shape[2:], output_size)
        places = (1,) * (2 - self.axes) + out
        y = input_gradients(lifted(x, self.axes), self._weight, self.at, places)
        y = y.reshape(*y.shape[:2], *out)
        self.add_bias(y)  # y is ours: fresh from the product
        return unbatched(y, alone), TransposedCache(x, alone)

    def backward(self, grad_output: Array, cache: TransposedCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = Cᵀ x + b, C being the convolution with the same weight.

        Shapes: x (N, C, H, W), W (C, O, KH, KW), b (O,), y and dy (N, O, H', W'); the other
        dimensions have one index of places less, or one more: u, k, i and r stand once per axis.
        Write r(u,k) = s u + d k - p for the row of y that x's row u adds its kernel's row k to, and
        q(v,l) likewise for columns; what falls outside y is cut off.
        Index form:  y_noij = b_o + Σ_ckl Σ_{u: r(u,k) = i} Σ_{v: q(v,l) = j} x_ncuv W_cokl
            dx_ncuv = Σ_okl W_cokl dy_n,o,r(u,k),q(v,l)     (dy is 0 outside)
            dW_cokl = Σ_nuv x_ncuv dy_n,o,r(u,k),q(v,l)
            db_o    = Σ_nij dy_noij
        Matrix form: a convolution is y = C x with C(W) linear in W, its backward dx = Cᵀ dy. Here
        y = Cᵀ x, so dx = C dy: the convolution of dy; and x · C(W) dy is the same sum as in a
        convolution with x and dy in each other's place, so dW is its weight gradient, swapped.
        Torch: nn.ConvTranspose1d, 2d, 3d: W has the input's channels first, and is not turned.
        Source: Zeiler et al., Deconvolutional Networks (2010); Dumoulin, Visin, A guide to
        convolution arithmetic (2016), chapter 4.
        """
        dy, size = batched(grad_output, cache.unbatched), cache.x.shape
        full = lifted(cache.x, self.axes).shape[2:]
        dx = correlated(lifted(dy, self.axes), self._weight, self.at, full).reshape(*size)
        return (unbatched(dx, cache.unbatched),), self._grads(dy, cache.x)

    def grad_params(self, grad_output: Array, cache: TransposedCache) -> Arrays:
        """Return dW and db = Σ dy."""
        return self._grads(batched(grad_output, cache.unbatched), cache.x)

    def _grads(self, dy: Array, x: Array) -> Arrays:
        dW = weight_gradients(lifted(x, self.axes), lifted(dy, self.axes), self.at)
        return self.with_bias(dW, dy)

    # ── shapes ───────────────────────────────────────────────────────────────────────────────────
    @property
    def _weight(self) -> Array:
        return lifted(self.params["weight"], self.axes)

    def _out(self, places: Shape, wanted: Sequence[int] | None) -> Shape:
        """Return the size of y, and refuse one that does not follow from x's."""
        reach = self.at.reach[-self.axes :]
        least = tuple(
            (size - 1) * s - 2 * p + r + 1
            for size, s, p, r in zip(places, self.stride, self.padding, reach, strict=True)
        )
        more = self.output_padding if wanted is None else self._asked(least, tuple(wanted))
        self._refuse_bad_output_padding(more)
        out = tuple(n + extra for n, extra in zip(least, more, strict=True))
        if min(out) < 1 or min(places) < 1:
            raise ValueError(
                f"{type(self).__name__}: an input of {places} has no output: it would be {out}. "
                "Use a larger input, or a smaller padding."
            )
        return out

    def _asked(self, least: Shape, wanted: Shape) -> Shape:
        """Return the output_padding that makes the output as large as is asked for."""
        places = wanted[-self.axes :]
        most = tuple(n + s - 1 for n, s in zip(least, self.stride, strict=True))
        fits = [low <= n <= high for low, n, high in zip(least, places, most, strict=False)]
        if len(wanted) not in (self.axes, self.axes + 2) or not all(fits):
            raise ValueError(
                f"{type(self).__name__}: output_size must have {self.axes} numbers from {least} "
                f"to {most} for this input, received {wanted}."
            )
        return tuple(n - low for n, low in zip(places, least, strict=True))

    # ── refusals ─────────────────────────────────────────────────────────────────────────────────
    def _refuse_bad_mode(self) -> None:
        if self.padding_mode != "zeros":
            raise ValueError(
                f"{type(self).__name__}: padding_mode must be 'zeros', received "
                f"{self.padding_mode!r}."
            )

    def _refuse_bad_output_padding(self, more: Shape) -> None:
        for extra, s, d in zip(more, self.stride, self.dilation, strict=True):
            if not 0 <= extra < max(s, d):
                raise ValueError(
                    f"{type(self).__name__}: output_padding must be at least 0 and less than the "
                    f"stride or the dilation, received {more} with stride {self.stride} and "
                    f"dilation {self.dilation}."
                )


class ConvTranspose1d(TransposedConvolution):
    """Transpose of Conv1d: each element of a sequence (N, C, L) adds its kernel to the output.

    Arguments and derivation: TransposedConvolution's, with one axis.
    """

    axes: ClassVar[int] = 1
    equations = transposed(1)
    examples = TRANSPOSED1D


class ConvTranspose2d(TransposedConvolution):
    """Transpose of Conv2d: each element of an image (N, C, H, W) adds its kernel to the output.

    Arguments and derivation: TransposedConvolution's, with two axes.
    """

    axes: ClassVar[int] = 2
    equations = transposed(2)
    examples = TRANSPOSED2D


class ConvTranspose3d(TransposedConvolution):
    """Transpose of Conv3d: each element of a volume (N, C, D, H, W) adds its kernel to the output.

    Arguments and derivation: TransposedConvolution's, with three axes.
    """

    axes: ClassVar[int] = 3
    equations = transposed(3)
    examples = TRANSPOSED3D
