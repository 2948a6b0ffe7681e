"""Local response normalisation: its neighbours' squares damp a channel at the same place."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import ClassVar, NamedTuple

import numpy as np

from manual.examples import Example
from manual.layer import Array, Arrays, Layer
from manual.norm.channels import axes_variant

__all__ = ["CrossMapLRN2d", "LocalResponseNorm"]


SCALE = """
where s[n,c,AT] = k + alpha / N * sum(j, 0 <= j - c + N // 2 < N, x[n,j,AT]**2)"""
PULLED = (
    "dy[n,c,AT] / s[n,c,AT]**beta - 2 * alpha * beta / N * x[n,c,AT] * "
    "sum(j, 0 <= c - j + N // 2 < N, dy[n,j,AT] * x[n,j,AT] / s[n,j,AT]**(beta + 1))"
)


class ResponseCache(NamedTuple):
    x: Array  # (N, C, L)
    scale: Array  # s = k + α/n Σ x², (N, C, L)
    damping: Array  # s^-β
    axes: int  # behind the channels


class _ResponseNorm(Layer):
    """y = x s^-β: its class says what s sums, and what the gradient does."""

    symbols: ClassVar[Mapping[str, str]] = {"N": "size"}
    least = 1  # size

    def __init__(self, size: int, alpha: float, beta: float, k: float) -> None:
        if size < self.least:
            raise ValueError(
                f"{type(self).__name__}: size is how many channels are summed and must be at least "
                f"{self.least}, received {size}."
            )
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Array) -> tuple[Array, ResponseCache]:  # type: ignore[override]
        """Return x / (k + α/n Σ x²)^β, of x's shape."""
        self._check(tuple(x.shape))
        rows = x.reshape(*x.shape[:2], prod(x.shape[2:]))
        scale = self._summed(rows * rows) * (self.alpha / self.size) + self.k
        damping = scale**-self.beta
        return (rows * damping).reshape(*x.shape), ResponseCache(rows, scale, damping, x.ndim - 2)

    def _pulled(self, grad_output: Array, cache: ResponseCache, before: int, after: int) -> Array:
        """Return dy s^-β - 2 α β/n x Σ (dy x s^-β / s) over the channels before and after."""
        x, scale, damping, _ = cache
        dy = grad_output.reshape(*x.shape) * damping
        shared = self._band(dy * x / scale, before, after)
        dx = dy - x * shared * (2 * (self.alpha / self.size)) * self.beta  # as forward rounds them
        return dx.reshape(*grad_output.shape)

    def _band(self, a: Array, before: int, after: int) -> Array:
        return banded(a, before, after)

    def _summed(self, squares: Array) -> Array:
        raise NotImplementedError

    def _check(self, shape: tuple[int, ...]) -> None:
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


def banded(a: Array, before: int, after: int) -> Array:
    """Return Σ_j a_nj, j from c - before to c + after, in place of every a_nc."""
    channels = a.shape[1]
    total = np.zeros_like(a)
    for step in range(-min(before, channels), min(after, channels) + 1):
        low, high = max(0, -step), min(channels, channels - step)
        total[:, low:high] += a[:, low + step : high + step]
    return total


def running(a: Array, before: int, after: int, first: int = 0) -> Array:
    """Return the same as running sums, from which channels before `first` are not dropped again."""
    total = [a[:, : after + 1].sum(axis=1)]
    for c in range(1, a.shape[1]):
        s, gone = total[-1], c - 1 - before
        s = s + a[:, c + after] if c + after < a.shape[1] else s
        total.append(s - a[:, gone] if gone >= first else s)
    return np.stack(total, axis=1)


class LocalResponseNorm(_ResponseNorm):
    r"""Local response normalisation of (N, C, …): y_c = x_c / (k + α/n Σ_j x_j²)^β over n channels.

    Args:
        size: n, how many channels are summed: from c - ⌊n/2⌋ to c + ⌊(n - 1)/2⌋, as far as there
            are any; the sum is divided by n all the same.
        alpha: α.
        beta: β.
        k: added to the mean square.

    Raises:
        ValueError: size is below 1; the input has fewer than three axes.
    """

    equations = {
        f"{role}{variant}": f"{left}{right.replace('AT', at)}"
        for variant, at in (("", "h,w"), ("/1 axes", "l"), ("/3 axes", "d,h,w"))
        for role, left, right in (
            ("output", f"y[n,c,{at}] = ", f"x[n,c,AT] / s[n,c,AT]**beta{SCALE}"),
            ("grad_input", f"dx[n,c,{at}] = ", f"{PULLED}{SCALE}"),
        )
    }
    examples = (
        Example({"size": 2}, ((2, 3, 1, 2),)),
        Example({"size": 3, "alpha": 0.5, "beta": 0.5, "k": 2.0}, ((1, 4, 2, 1),)),
        Example({"size": 4, "alpha": 2.0}, ((2, 5, 2),)),
        Example({"size": 9, "alpha": 1.5, "beta": 1.0}, ((1, 3, 1, 1, 2),)),
        Example({"size": 1, "alpha": 0.5}, ((1, 2, 2),)),
    )

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__(size, alpha, beta, k)

    def backward(self, grad_output: Array, cache: ResponseCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y_c = x_c s_c^-β, s_c = k + α/n Σ_{j in W(c)} x_j².

        Shapes: x, s, y, dy, dx (N, C, L); places do not mix, and n and l are left out. W(c) holds
        the channels from c - ⌊n/2⌋ to c + ⌊(n - 1)/2⌋.
            ∂y_j/∂x_c = [j = c] s_c^-β - β x_j s_j^(-β-1) ∂s_j/∂x_c
            ∂s_j/∂x_c = 2 α/n x_c [c in W(j)]
            dx_c = dy_c s_c^-β - 2 α β/n x_c Σ_{j: c in W(j)} dy_j x_j s_j^(-β-1)
        Matrix form: with B_cj = [j in W(c)], s = k + α/n B x², and the sum is Bᵀ (dy x s^(-β-1)):
        the band the other way round, from c - ⌊(n - 1)/2⌋ to c + ⌊n/2⌋.
        Torch: nn.LocalResponseNorm: divides by n at the border too. Caffe and the paper's α is
        torch's α / n.
        Source: Krizhevsky, Sutskever, Hinton, ImageNet Classification (2012), section 3.3.
        """
        return (self._pulled(grad_output, cache, (self.size - 1) // 2, self.size // 2),), {}

    def variants(self, cache: ResponseCache) -> tuple[str, ...]:
        """Return how many axes stand behind the channels; two is the usual case."""
        return axes_variant(cache.axes, 2)

    def _summed(self, squares: Array) -> Array:
        return banded(squares, self.size // 2, (self.size - 1) // 2)

    def _check(self, shape: tuple[int, ...]) -> None:
        if len(shape) < 3:
            raise ValueError(
                f"LocalResponseNorm: the input must be (N, C, …) with at least three axes, "
                f"received shape {shape}. Add the axes that are missing."
            )


class CrossMapLRN2d(_ResponseNorm):
    r"""Local response normalisation as torch's Python port has it; its gradient is no derivative.

    Use LocalResponseNorm instead. Torch's sums and its gradient over channels are both off, see
    `backward`; they are reproduced here so that networks that hold the class can be compared.

    Args:
        size: n, how many channels are summed; at least 2, as torch has no gradient for 1.
        alpha: α.
        beta: β.
        k: added to the mean square.

    Raises:
        ValueError: size is below 2; the input is not (N, C, H, W).
    """

    equations = {
        role: f"{text}\nwhere s[n,c,h,w] = k + alpha / N * (cases(c >= P, x[n,0,h,w]**2, 0) + "
        "sum(j, 0 < j - c + P < 2 * P, x[n,j,h,w]**2))\nwhere P = (N + 1) // 2"
        for role, text in {
            "output": "y[n,c,h,w] = x[n,c,h,w] / s[n,c,h,w]**beta",
            "grad_input": (
                "dx[n,c,h,w] = dy[n,c,h,w] / s[n,c,h,w]**beta - 2 * alpha * beta / N * "
                "x[n,c,h,w] * sum(j, 0 <= j - c + P < N, "
                "dy[n,j,h,w] * x[n,j,h,w] / s[n,j,h,w]**(beta + 1))"
            ),
        }.items()
    }
    examples = (
        Example({"size": 5, "alpha": 2.0}, ((2, 1, 2, 3),)),
        Example({"size": 3, "alpha": 0.5, "beta": 0.5, "k": 2.0}, ((2, 2, 1, 3),), convention=True),
        Example({"size": 3, "alpha": 1.5}, ((2, 5, 1, 2),), convention=True),
        Example({"size": 4, "alpha": 1.5, "k": 1.5}, ((1, 6, 1, 2),), convention=True),
        Example({"size": 5, "alpha": 1.5}, ((1, 6, 2, 1),), convention=True),
        Example({"size": 2}, ((1, 3, 2, 1),), convention=True),
    )
    least = 2

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1) -> None:
        super().__init__(size, alpha, beta, k)

    def backward(self, grad_output: Array, cache: ResponseCache) -> tuple[tuple[Array], Arrays]:
        r"""Torch's gradient of y_c = x_c s_c^-β, s_c = k + α/n Σ_j x_j²: not the derivative.

        Shapes: x, s, y, dy, dx (N, C, L); places do not mix. LocalResponseNorm has the derivation:
            dx_c = dy_c s_c^-β - 2 α β/n x_c Σ_{j: c in W(j)} dy_j x_j s_j^(-β-1)
        With P = ⌊(n + 1) / 2⌋ torch's s_c sums the channels from c - P + 1 to c + P - 1 (n - 1 of
        them for an even n), and channel 0 besides for c >= P, which its running sum forgets to
        drop. Its gradient sums j from c - P to c - P + n - 1: for an odd n the right number of
        channels, one too far down. So it is the derivative for one channel alone (and, for an even
        n, for at most n / 2). Torch's own test has α β = 5e-6, where none of it shows. Its sums run
        along the channels, what leaves is subtracted, and its digits are lost with it: so here.
        Matrix form: B x² and A (dy x s^(-β-1)) with A and B as said, where Bᵀ should be A.
        Source: torch/nn/modules/_functions.py, a port of Torch7's SpatialCrossMapLRN, which counts
        channels from 1; Krizhevsky, Sutskever, Hinton (2012), section 3.3.
        """
        half = (self.size + 1) // 2
        return (self._pulled(grad_output, cache, half, self.size - 1 - half),), {}

    def _summed(self, squares: Array) -> Array:
        half = (self.size + 1) // 2
        return running(squares, half - 1, half - 1, 1)  # channel 0 is never dropped

    def _band(self, a: Array, before: int, after: int) -> Array:
        return running(a, before, after)

    def _check(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 4 or not shape[1]:
            raise ValueError(
                f"CrossMapLRN2d: the input must be (N, C, H, W), with channels, received shape "
                f"{shape}."
            )
