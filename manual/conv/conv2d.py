"""Conv2d: every output element is one window of the input, weighed with a small shared kernel."""

from __future__ import annotations

from math import prod
from typing import NamedTuple, cast

import numpy as np

from manual.bilinear import bilinear
from manual.blocks import blocks, joined
from manual.conv.borders import MODES, Margin, fold_back, pad, refuse_too_wide
from manual.conv.equations import EQUATIONS, SYMBOLS
from manual.conv.examples import EXAMPLES
from manual.conv.strips import correlate, folded, kernel_rows, output_size, row_slices, strips, tall
from manual.layer import Array, Arrays, Layer

__all__ = ["Conv2d"]

Pair = tuple[int, int]


class ConvCache(NamedTuple):
    x: Array  # (N, C, H, W), with its border unless that is zeros
    unbatched: bool


class Conv2d(Layer):
    r"""Cross-correlation of images with learned kernels: y_o = b_o + Σ_c x_c ⋆ W_oc.

    Args:
        in_channels: C, the channels of the input (N, C, H, W); (C, H, W) is one image.
        out_channels: O, the channels of the output (N, O, H', W').
        kernel_size: (KH, KW), or one number for both; so with every pair below.
        stride: how far the window moves from one output element to the next.
        padding: rows and columns added on either side; "same" adds as many as keep the size (one
            more below and on the right for an even kernel), "valid" none.
        dilation: how far apart the kernel's elements lie.
        groups: G; output channels of one group see only the input channels of that group.
            G = C is a depthwise convolution.
        bias: whether each output channel adds a number b_o.
        padding_mode: what lies beyond the border: "zeros", "reflect", "replicate" or "circular".

    Parameters, in torch's layout: `weight` W (O, C/G, KH, KW), `bias` b (O,). Zero until set.

    Raises:
        ValueError: channels that groups do not divide, a size below 1, an unknown padding or mode,
            "same" with a stride; an input of other channels, or smaller than the kernel.
    """

    equations = EQUATIONS
    symbols = SYMBOLS
    examples = EXAMPLES

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair | str = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
    ) -> None:
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride = _pair(kernel_size), _pair(stride)
        self.dilation, self.padding_mode = _pair(dilation), padding_mode
        self.padding = padding if isinstance(padding, str) else _pair(padding)
        self._refuse_bad_arguments()
        self.margins = self._margins()
        self.before = (self.margins[0][0], self.margins[1][0])  # above, on the left
        self.params = {"weight": np.zeros((out_channels, in_channels // groups, *self.kernel_size))}
        if bias:
            self.params["bias"] = np.zeros(out_channels)

    def forward(self, x: Array) -> tuple[Array, ConvCache]:  # type: ignore[override]
        """Return y, shape (N, O, H', W'), with H' = ⌊(H + padding - d (KH - 1) - 1) / s⌋ + 1."""
        self._refuse_bad_input(x)
        unbatched = x.ndim == 3
        if unbatched:
            x = x.reshape(1, *x.shape)
        if self._explicit:
            x = pad(x, self.margins, self.padding_mode)
        y = outputs(x, self.params["weight"], self)
        if "bias" in self.params:
            y += self.params["bias"].reshape(-1, 1, 1)  # y is ours: fresh from the product
        return y[0] if unbatched else y, ConvCache(x, unbatched)

    def backward(self, grad_output: Array, cache: ConvCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = b + x ⋆ W, in which every weight is used at every position.

        Shapes: x (N, C, H, W), W (O, C, KH, KW), b (O,), y and dy (N, O, H', W').
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
        Where the border is not zeros, dx of the padded image is folded back onto its sources.
        Torch: nn.Conv2d, same layout; it too computes a correlation, without turning the kernel.
        Source: Goodfellow, Bengio, Courville, Deep Learning (2016), section 9.5; Dumoulin, Visin,
        A guide to convolution arithmetic (2016), chapter 4.
        """
        dy = self._batched(grad_output, cache)
        dx = input_gradients(dy, self.params["weight"], self, cache.x.shape)
        if self._explicit:
            dx = fold_back(dx, self.margins, self.padding_mode)
        return (dx[0] if cache.unbatched else dx,), self._grads(dy, cache.x)

    def grad_params(self, grad_output: Array, cache: ConvCache) -> Arrays:
        """Return dW_k = Σ_n dY X_kᵀ and db = Σ dY."""
        return self._grads(self._batched(grad_output, cache), cache.x)

    # ── the products ─────────────────────────────────────────────────────────────────────────────
    def correlated(self, x: Array, weight: Array) -> Array:
        """Return Σ_k W_k X_k, (N, O, H', W')."""
        out = self._out(x.shape)
        kernel = kernel_rows(weight, self.groups)  # (KH, G, O/G, C/G·KW)
        parts = [
            correlate(self._strips(x[block], out[1]), kernel, self._slices(out))
            for block in self._blocks(x.shape)
        ]
        return joined(parts).reshape(len(x), self.out_channels, *out)  # of (n, G, O/G, H'W')

    def _grads(self, dy: Array, x: Array) -> Arrays:
        grads = {"weight": weight_gradients(dy, x, self)}
        if "bias" in self.params:
            n, o, height, width = dy.shape
            grads["bias"] = dy.reshape(n, o, height * width).sum(axis=2).sum(axis=0)  # (O,)
        return grads

    def grad_weight(self, dy: Array, x: Array) -> Array:
        """Return dW_k = Σ_n dY X_kᵀ, (O, C/G, KH, KW)."""
        dW: Array | float = 0.0
        for block in self._blocks(x.shape):
            X = self._strips(x[block], dy.shape[3])  # (n, G, C/G·KW, s, H̄W')
            dyT = self._by_group(dy[block]).swapaxes(2, 3).copy()  # (n, G, H'W', O/G)
            rows = [(X[at] @ dyT).sum(axis=0) for at in self._slices(dy.shape[2:])]
            dW = dW + np.stack(rows)  # (KH, G, C/G·KW, O/G)
        return self._weight_of(cast(Array, dW))

    def grad_input(self, dy: Array, weight: Array, shape: tuple[int, ...]) -> Array:
        """Return dx by whichever copies less: turned kernels over dy, or products folded back."""
        (rows, columns), ((top, _), (left, _)) = self._reach, self._implicit
        few = self.in_channels >= self.out_channels or max(self.kernel_size) == 1
        if few and self.stride == (1, 1) and rows >= top and columns >= left:
            turned = (rows - top, rows), (columns - left, columns)
            return self._grad_by_turned_kernel(dy, weight, shape, turned)
        return self._grad_by_folding(dy, weight, shape)

    def _grad_by_turned_kernel(
        self, dy: Array, weight: Array, shape: tuple[int, ...], margins: tuple[Margin, Margin]
    ) -> Array:
        (rows, columns), g, c = self.kernel_size, self.groups, self.in_channels
        w = weight.reshape(g, -1, c // g, rows, columns)[..., ::-1, ::-1]  # (G, O/G, C/G, KH, KW)
        w = w.swapaxes(1, 2).reshape(c, -1, rows, columns)  # O and C change places
        kernel = kernel_rows(w, g)  # (KH, G, C/G, O/G·KW)
        slices = list(row_slices(rows, shape[2:], 1, self.dilation[0]))
        parts = []
        for block in self._blocks(dy.shape):
            D = strips(dy[block], g, columns, shape[3], (1, 1), margins, self.dilation)
            parts.append(correlate(D, kernel, slices))
        return joined(parts).reshape(*shape)

    def _grad_by_folding(self, dy: Array, weight: Array, shape: tuple[int, ...]) -> Array:
        transposed = kernel_rows(weight, self.groups).swapaxes(2, 3).copy()  # (KH, G, C/G·KW, O/G)
        area = tall(shape[2], self.stride[0], self._implicit[0]) * dy.shape[3]
        parts = []
        for block in self._blocks(shape):
            dY = self._by_group(dy[block])  # (n, G, O/G, H'W')
            size = (len(dY), *transposed.shape[1:3], self.stride[0], area)
            dX = np.zeros(size, dtype=np.result_type(dY, weight))
            for w, at in zip(transposed, self._slices(dy.shape[2:]), strict=True):
                dX[at] += w @ dY  # W_kᵀ dY: (n, G, C/G·KW, H'W')
            parts.append(folded(dX, shape, dy.shape[3], self.stride, self._implicit, self.dilation))
        return joined(parts)

    # ── shapes ───────────────────────────────────────────────────────────────────────────────────
    @property
    def _explicit(self) -> bool:
        """Whether the border is laid out before the convolution."""
        return self.padding_mode != "zeros"

    @property
    def _implicit(self) -> tuple[Margin, Margin]:
        """The zeros that the strips leave around the image."""
        return ((0, 0), (0, 0)) if self._explicit else self.margins

    @property
    def _reach(self) -> Pair:
        """How many elements lie between a window's first and last one, by axis."""
        (d, e), (rows, columns) = self.dilation, self.kernel_size
        return d * (rows - 1), e * (columns - 1)

    def _strips(self, x: Array, out_width: int) -> Array:
        columns = self.kernel_size[1]
        return strips(
            x, self.groups, columns, out_width, self.stride, self._implicit, self.dilation
        )

    def _slices(self, out: tuple[int, ...]) -> list[tuple]:
        return list(row_slices(self.kernel_size[0], out, self.stride[0], self.dilation[0]))

    def _blocks(self, shape: tuple[int, ...]) -> list[slice]:
        """Cut a batch by how much is laid out of it: KW - 1 copies."""
        return blocks(shape[0], (self.kernel_size[1] - 1) * prod(shape[1:]))

    def _by_group(self, dy: Array) -> Array:
        n, o, height, width = dy.shape
        return dy.reshape(n, self.groups, o // self.groups, height * width)

    def _batched(self, grad_output: Array, cache: ConvCache) -> Array:
        return grad_output.reshape(1, *grad_output.shape) if cache.unbatched else grad_output

    def _weight_of(self, dw: Array) -> Array:
        """Return torch's layout of dW: (KH, G, C/G·KW, O/G) -> (O, C/G, KH, KW)."""
        (rows, columns), g, o = self.kernel_size, self.groups, self.out_channels
        dw = dw.reshape(rows, g, -1, columns, o // g).transpose(1, 4, 2, 0, 3)
        return dw.reshape(*self.params["weight"].shape)

    def _out(self, shape: tuple[int, ...]) -> Pair:
        height, width = (
            output_size(size, k, s, margin, d)
            for size, k, s, margin, d in zip(
                shape[2:], self.kernel_size, self.stride, self._implicit, self.dilation, strict=True
            )
        )
        return height, width

    def _margins(self) -> tuple[Margin, Margin]:
        if self.padding == "valid":
            return (0, 0), (0, 0)
        if self.padding == "same":
            rows, columns = ((r // 2, r - r // 2) for r in self._reach)  # the odd one after
            return rows, columns
        above, left = cast(Pair, self.padding)
        return (above, above), (left, left)

    # ── refusals ─────────────────────────────────────────────────────────────────────────────────
    def _refuse_bad_arguments(self) -> None:
        c, o, g = self.in_channels, self.out_channels, self.groups
        if min(c, o, g, *self.kernel_size, *self.stride, *self.dilation) < 1:
            raise ValueError(
                "Conv2d: in_channels, out_channels, kernel_size, stride, dilation and groups must "
                f"be at least 1, received {self!r}."
            )
        if c % g or o % g:
            raise ValueError(
                f"Conv2d: groups = {g} must divide in_channels = {c} and out_channels = {o}."
            )
        if self.padding_mode not in MODES:
            raise ValueError(
                f"Conv2d: padding_mode must be one of {', '.join(MODES)}, received "
                f"{self.padding_mode!r}."
            )
        self._refuse_bad_padding()

    def _refuse_bad_padding(self) -> None:
        if isinstance(self.padding, str):
            if self.padding not in ("same", "valid"):
                raise ValueError(
                    "Conv2d: padding must be a number, a pair of them, 'same' or 'valid', received "
                    f"{self.padding!r}."
                )
            if self.padding == "same" and self.stride != (1, 1):
                raise ValueError(
                    f"Conv2d: padding 'same' keeps the size, stride {self.stride} does not. Give "
                    "the padding as numbers."
                )
        elif min(self.padding) < 0:
            raise ValueError(f"Conv2d: padding must be at least 0, received {self.padding}.")

    def _refuse_bad_input(self, x: Array) -> None:
        if x.ndim not in (3, 4) or x.shape[-3] != self.in_channels:
            raise ValueError(
                f"Conv2d: the input must be (N, {self.in_channels}, H, W) or "
                f"({self.in_channels}, H, W), received shape {tuple(x.shape)}. Set in_channels to "
                "the input's, or move its channels before height and width."
            )
        if self._explicit:
            refuse_too_wide("Conv2d", x.shape[-2:], self.margins, self.padding_mode)
        for axis, size, k, d, margin in zip(
            ("height", "width"), x.shape[-2:], self.kernel_size, self.dilation, self.margins,
            strict=True,
        ):  # fmt: skip
            if size + sum(margin) < d * (k - 1) + 1:
                raise ValueError(
                    f"Conv2d: the kernel spans {d * (k - 1) + 1} elements, the padded {axis} has "
                    f"{size + sum(margin)} (input shape {tuple(x.shape)}). Use a larger padding "
                    "or input, or a smaller kernel or dilation."
                )

    def variants(self, cache: ConvCache) -> tuple[str, ...]:
        """Return whether channels are kept apart; the padding mode is found by its name."""
        return ("grouped",) if self.groups > 1 else ()

    def extra_repr(self) -> str:
        shown = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}",
            f"stride={self.stride}",
        ]
        for name, usual in {"padding": (0, 0), "dilation": (1, 1), "groups": 1}.items():
            if getattr(self, name) != usual:
                shown.append(f"{name}={getattr(self, name)}")
        if self.params.keys() == {"weight"}:
            shown.append("bias=False")
        if self._explicit:
            shown.append(f"padding_mode={self.padding_mode}")
        return ", ".join(shown)


# Each is linear in both of its arrays, which an array class that follows errors may make use of.
@bilinear(terms=lambda x, weight, layer: weight[0].size)
def outputs(x: Array, weight: Array, layer: Conv2d) -> Array:
    """Return x ⋆ W without its bias."""
    return layer.correlated(x, weight)


@bilinear(terms=lambda dy, x, layer: dy[:, 0].size)
def weight_gradients(dy: Array, x: Array, layer: Conv2d) -> Array:
    """Return dW."""
    return layer.grad_weight(dy, x)


@bilinear(terms=lambda dy, weight, layer, shape: weight[:, 0].size // layer.groups)
def input_gradients(dy: Array, weight: Array, layer: Conv2d, shape: tuple[int, ...]) -> Array:
    """Return dx of the image as it went in, with its border unless that is zeros."""
    return layer.grad_input(dy, weight, shape)


def _pair(value: int | Pair) -> Pair:
    height, width = value if isinstance(value, tuple | list) else (value, value)
    return height, width
