"""Conv1d, Conv2d, Conv3d: each output is one window of the input, weighed with a shared kernel."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from manual.conv.base import (
    AXES,
    ConvCache,
    ConvolvingLayer,
    Shape,
    batched,
    lifted,
    stretched,
    tuples,
    unbatched,
)
from manual.conv.correlation import correlated, input_gradients, weight_gradients
from manual.conv.equations import SYMBOLS, convolution
from manual.conv.examples import CONV1D, CONV2D, CONV3D
from manual.conv.strips import output_size
from manual.layer import Array, Arrays
from manual.padding.borders import MODES, Margin, fold_back, pad, refuse_too_wide

__all__ = ["Conv1d", "Conv2d", "Conv3d"]


class Convolution(ConvolvingLayer):
    r"""Cross-correlation with learned kernels: y_o = b_o + Σ_c x_c ⋆ W_oc, over `axes` axes.

    Args:
        in_channels: C, the channels of the input (N, C, *places); (C, *places) is one sample.
        out_channels: O, the channels of the output.
        kernel_size: one number for every axis, or one per axis; so with every size below.
        stride: how far the window moves from one output element to the next.
        padding: elements added on either side; "same" adds as many as keep the size (one more
            after than before for an even kernel), "valid" none.
        dilation: how far apart the kernel's elements lie.
        groups: G; output channels of one group see only the input channels of that group.
            G = C is a depthwise convolution.
        bias: whether each output channel adds a number b_o.
        padding_mode: what lies beyond the border: "zeros", "reflect", "replicate" or "circular".

    Parameters, in torch's layout: `weight` W (O, C/G, *kernel_size), `bias` b (O,). Zero until set.

    Raises:
        ValueError: channels that groups do not divide, a size below 1, an unknown padding or mode,
            "same" with a stride; an input of other channels, or smaller than the kernel.
    """

    symbols = SYMBOLS

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
    ) -> None:
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.padding, self.padding_mode = padding, padding_mode
        tuples(self, kernel_size=kernel_size)
        stretched(self, stride=stride, dilation=dilation)
        if not isinstance(padding, str):
            stretched(self, padding=padding)
        self._check_border(padding, dilation)
        self._refuse_bad_padding()
        self.refuse_bad_arguments()
        self.margins = self._margins()
        self.before = tuple(before for before, _ in self.margins)
        self.at = self.windows((0,) * self.axes if self._explicit else self.before)
        self.params = {"weight": np.zeros((out_channels, in_channels // groups, *self.kernel_size))}
        if bias:
            self.params["bias"] = np.zeros(out_channels)

    def forward(self, x: Array) -> tuple[Array, ConvCache]:  # type: ignore[override]
        """Return y (N, O, *places), each axis of length ⌊(H + padding - d (K - 1) - 1) / s⌋ + 1."""
        self._refuse_bad_input(x)
        alone = x.ndim == self.axes + 1
        x = batched(x, alone)
        if self._explicit:
            x = pad(x, self.margins, self.padding_mode)
        out = self._out(x.shape[2:])
        places = (1,) * (2 - self.axes) + out
        y = correlated(lifted(x, self.axes), self._weight, self.at, places)
        y = y.reshape(*y.shape[:2], *out)
        self.add_bias(y)  # y is ours: fresh from the product
        return unbatched(y, alone), ConvCache(x, alone)

    def backward(self, grad_output: Array, cache: ConvCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = b + x ⋆ W, in which every weight is used at every position.

        Shapes: x (N, C, H, W), W (O, C, KH, KW), b (O,), y and dy (N, O, H', W'); Conv1d and Conv3d
        have one index of places less, or one more: u, k, i and r stand once per axis.
        Write r(u,k) = s u + d k - p for the row of x that row k of the kernel meets at output row
        u, and q(v,l) likewise for columns; x is 0 (or continued) outside.
        Index form:  y_nouv = b_o + Σ_ckl W_ockl x_n,c,r(u,k),q(v,l)
            dW_ockl = Σ_nuv dy_nouv x_n,c,r(u,k),q(v,l)     (the same reads, summed over n, u, v)
            dx_ncij = Σ_okl Σ_{u: r(u,k) = i} Σ_{v: q(v,l) = j} dy_nouv W_ockl
            db_o    = Σ_nuv dy_nouv
        With s = 1 the condition has one solution, u = i + p - d k:
            dx_ncij = Σ_okl W_ockl dy_n,o,i+p-dk,j+p-dl
        a correlation again, of dy with the kernel turned by 180° (k counts backwards) and its
        channels swapped, padded with d (K - 1) - p zeros.
        Matrix form: let X_k (C·KW, H'W') hold what kernel row k meets, and W_k (O, C·KW) be that
        row. Then   Y = Σ_k W_k X_k + b,   dX_k = W_kᵀ dY,   dW_k = Σ_n dY X_kᵀ   as in Linear,
        and dx adds up the elements of dX_k where X_k read them. Groups: one such product each.
        In three dimensions k counts the planes of the kernel too: Y is a sum over them.
        Where the border is not zeros, dx of the padded input is folded back onto its sources.
        Torch: nn.Conv1d, Conv2d, Conv3d, same layout; it too computes a correlation, without
        turning the kernel.
        Source: Goodfellow, Bengio, Courville, Deep Learning (2016), section 9.5; Dumoulin, Visin,
        A guide to convolution arithmetic (2016), chapter 4.
        """
        dy, size = batched(grad_output, cache.unbatched), cache.x.shape
        full = lifted(cache.x, self.axes).shape[2:]
        dx = input_gradients(lifted(dy, self.axes), self._weight, self.at, full).reshape(*size)
        if self._explicit:
            dx = fold_back(dx, self.margins, self.padding_mode)
        return (unbatched(dx, cache.unbatched),), self._grads(dy, cache.x)

    def grad_params(self, grad_output: Array, cache: ConvCache) -> Arrays:
        """Return dW_k = Σ_n dY X_kᵀ and db = Σ dY."""
        return self._grads(batched(grad_output, cache.unbatched), cache.x)

    def _grads(self, dy: Array, x: Array) -> Arrays:
        dW = weight_gradients(lifted(dy, self.axes), lifted(x, self.axes), self.at)
        return self.with_bias(dW, dy)

    # ── shapes ───────────────────────────────────────────────────────────────────────────────────
    def _check_border(self, padding: Any, dilation: Any) -> None:
        """Raise ValueError unless a border that is laid out has a number for each axis."""
        if self._explicit:
            tuples(self, dilation=dilation)
            if not isinstance(padding, str):
                tuples(self, padding=padding)

    @property
    def _explicit(self) -> bool:
        """Whether the border is laid out before the convolution."""
        return self.padding_mode != "zeros"

    @property
    def _weight(self) -> Array:
        return lifted(self.params["weight"], self.axes)

    def _out(self, places: Shape) -> Shape:
        none = ((0, 0),) * self.axes
        return tuple(
            output_size(size, k, s, margin, d)
            for size, k, s, margin, d in zip(
                places, self.kernel_size, self.stride, none if self._explicit else self.margins,
                self.dilation, strict=True,
            )
        )  # fmt: skip

    def _margins(self) -> tuple[Margin, ...]:
        if self.padding == "valid":
            return ((0, 0),) * self.axes
        if self.padding == "same":
            reach = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
            return tuple((r // 2, r - r // 2) for r in reach)  # the odd one after
        return tuple((p, p) for p in self.padding)

    # ── refusals ─────────────────────────────────────────────────────────────────────────────────
    def _refuse_bad_padding(self) -> None:
        name = type(self).__name__
        if self.padding_mode not in MODES:
            raise ValueError(
                f"{name}: padding_mode must be one of {', '.join(MODES)}, received "
                f"{self.padding_mode!r}."
            )
        if isinstance(self.padding, str) and self.padding not in ("same", "valid"):
            raise ValueError(
                f"{name}: padding must be a number, one per axis, 'same' or 'valid', received "
                f"{self.padding!r}."
            )
        if self.padding == "same" and max(self.stride) != 1:
            raise ValueError(
                f"{name}: padding 'same' keeps the size, stride {self.stride} does not. Give "
                "the padding as numbers."
            )

    def _refuse_bad_input(self, x: Array) -> None:
        self.refuse_bad_channels(x)
        name, places = type(self).__name__, x.shape[-self.axes :]
        if self._explicit:
            refuse_too_wide(name, places, self.margins, self.padding_mode)
        for axis, size, k, d, margin in zip(
            AXES[-self.axes :], places, self.kernel_size, self.dilation, self.margins, strict=True
        ):
            if size + sum(margin) < d * (k - 1) + 1:
                raise ValueError(
                    f"{name}: the kernel spans {d * (k - 1) + 1} elements, the padded {axis} has "
                    f"{size + sum(margin)} (input shape {tuple(x.shape)}). Use a larger padding "
                    "or input, or a smaller kernel or dilation."
                )


class Conv1d(Convolution):
    """Cross-correlation of sequences (N, C, L) with learned kernels: y_o = b_o + Σ_c x_c ⋆ W_oc.

    Arguments and derivation: Convolution's, with one axis.
    """

    axes: ClassVar[int] = 1
    equations = convolution(1)
    examples = CONV1D


class Conv2d(Convolution):
    """Cross-correlation of images (N, C, H, W) with learned kernels: y_o = b_o + Σ_c x_c ⋆ W_oc.

    Arguments and derivation: Convolution's, with two axes.
    """

    axes: ClassVar[int] = 2
    equations = convolution(2)
    examples = CONV2D


class Conv3d(Convolution):
    """Cross-correlation of volumes (N, C, D, H, W) with kernels: y_o = b_o + Σ_c x_c ⋆ W_oc.

    Arguments and derivation: Convolution's, with three axes.
    """

    axes: ClassVar[int] = 3
    equations = convolution(3)
    examples = CONV3D
