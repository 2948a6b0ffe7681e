"""Power-average pooling: the p-norm of each window."""

from __future__ import annotations

from math import copysign
from typing import Any, ClassVar, NamedTuple

import numpy as np

from manual.examples import Draw, Example
from manual.layer import Array, Arrays
from manual.pool.avg_pool import AveragingPool
from manual.pool.equations import powers
from manual.pool.max_pool import MaxPool1d, MaxPool2d, MaxPool3d, PoolCache

__all__ = ["LPPool1d", "LPPool2d", "LPPool3d"]

INF = float("inf")


class LPPoolCache(NamedTuple):
    x: Array  # (N, C, H, W)
    power: Array  # z = K Σ x^p / f, (N, C, H', W')
    y: Array  # z^(1/p)
    divisor: np.ndarray  # f, (H', W')


class LargestCache(NamedTuple):
    x: Array
    inner: PoolCache  # of ± |x|


class _LPPool(AveragingPool):
    """Power-average pooling of as many axes as its class says."""

    inner: ClassVar[type]
    symbols = {
        "K": "kernel_size", "s": "stride", "p": "padding", "f": "cache.divisor",
        "q": "norm_type", "d": "dilation", "w": "decisions",
    }  # fmt: skip

    def __init__(
        self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
    ) -> None:
        if norm_type == 0:
            raise ValueError(
                f"{type(self).__name__}: norm_type is the p of the p-norm and must not be 0."
            )
        self.norm_type = float(norm_type)
        self._set_windows(kernel_size, stride, 0, 1, ceil_mode)

    @property
    def volume(self) -> int:
        """K, the elements of a whole window."""
        return int(np.prod(self.kernel_size))

    def forward(self, x: Array) -> tuple[Array, Any]:  # type: ignore[override]
        """Return y (N, C, H', W')."""
        self._refuse_bad_input(x)
        if abs(self.norm_type) == INF:
            return self._largest(x)
        means, divisor = self.means(x**self.norm_type)
        power = means * self.volume
        y = power ** (1 / self.norm_type)
        return y, LPPoolCache(x, power, y, divisor)

    def backward(self, grad_output: Array, cache: Any) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = z^(1/p), z = K Σ x^p / f over each window.

        Shapes: x and dx (N, C, H, W), z, y and dy (N, C, H', W'), f (H', W').
        Index form:  z_ncuv = K Σ_{(i, j) in V(u, v)} x_ncij^p / f_uv,   y = z^(1/p)
            dz = dy z^(1/p - 1) / p = dy y / (p z)
            dx_ncij = p x_ncij^(p-1) K Σ_{(u, v): (i, j) in V(u, v)} dz_ncuv / f_uv
        Matrix form: AvgPool2d's S: z = K D⁻¹ S x^p, so dx = p x^(p-1) ∘ K Sᵀ D⁻¹ dz.
        p = ∞: y = max |x|, p = -∞: y = min |x|; dx = sign(x) times MaxPool2d's gradient of ± |x|.
        One axis or three: the same with as many indices as axes.
        Torch: nn.LPPool1d to 3d. K counts the whole kernel and f what is inside, so that a window
        that sticks out (ceil_mode) gets more than its sum. Powers of x itself, not of |x|: an odd p
        gives nan for a negative sum. Where z = 0 the gradient is 0, for p = 1 as well.
        Source: Gulcehre, Cho, Pascanu, Bengio, Learned-Norm Pooling (2014), section 2.
        """
        if abs(self.norm_type) == INF:
            return self._to_largest(grad_output, cache)
        p, z = self.norm_type, cache.power
        dz = grad_output * cache.y / (z + (z == 0)) * (1 / p)
        shared = self.shared(dz * self.volume, cache.divisor, cache.x.shape)
        return (cache.x ** (p - 1) * p * shared,), {}

    def decisions(self, cache: Any) -> Array | None:
        """Return an infinite p's winners: i W + j + 1 with the sign of what won, 0 for a zero."""
        if not isinstance(cache, LargestCache):
            return None
        winner = self._maxima.decisions(cache.inner)
        x = cache.x.reshape(*cache.x.shape[: -self.axes], -1)
        won = np.take_along_axis(x, winner.reshape(*x.shape[:-1], -1), axis=-1)
        signs = np.where(won > 0, 1, np.where(won < 0, -1, 0)).reshape(winner.shape)
        return signs * (winner + 1)

    @property
    def _maxima(self) -> Any:
        return self.inner(self.kernel_size, self.stride, ceil_mode=self.ceil_mode)

    def _largest(self, x: Array) -> tuple[Array, LargestCache]:
        sign = copysign(1, self.norm_type)
        y, inner = self._maxima.forward(sign * np.abs(x))
        return sign * y, LargestCache(x, inner)

    def _to_largest(self, dy: Array, cache: LargestCache) -> tuple[tuple[Array], Arrays]:
        ((dx,), _) = self._maxima.backward(dy, cache.inner)
        return (dx * np.sign(cache.x),), {}

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


POSITIVE = ("uniform", 0.25, 2.0)  # odd and broken powers of a negative sum are nan


class LPPool1d(_LPPool):
    r"""p-norm of every window of (N, C, L) or (C, L): y_ncu = (Σ x^p)^(1/p) over the window.

    Arguments are LPPool2d's, with one size for the one axis.

    Raises:
        ValueError: as LPPool2d.
    """

    axes = 1
    inner = MaxPool1d
    equations = powers(1)
    examples = (
        Example({"norm_type": 2, "kernel_size": 3, "stride": 2}, ((2, 2, 6),)),
        Example(
            {"norm_type": 1.5, "kernel_size": 2, "ceil_mode": True}, (Draw((2, 5), *POSITIVE),)
        ),
        Example(
            {"norm_type": 1, "kernel_size": 2}, (np.array([[1.0, -1.0, 2.0, -0.5]]),),
            convention=True,
        ),
        Example({"norm_type": float("inf"), "kernel_size": 2, "stride": 1}, ((1, 2, 4),)),
        Example({"norm_type": -float("inf"), "kernel_size": 3}, ((2, 4),)),
    )  # fmt: skip


class LPPool2d(_LPPool):
    r"""p-norm of every window of (N, C, H, W) or (C, H, W): (Σ x^p)^(1/p) over the window.

    Args:
        norm_type: p, which may be broken, negative or infinite.
        kernel_size: (KH, KW) of the window, or one number for both; so with every pair below.
        stride: how far the window moves; None means `kernel_size`.
        ceil_mode: whether a last window that sticks out counts.

    Raises:
        ValueError: p is 0, a size is below 1, or the input is not (N, C, H, W) or (C, H, W), or
            smaller than the window.
    """

    axes = 2
    inner = MaxPool2d
    equations = powers(2)
    examples = (
        Example({"norm_type": 2, "kernel_size": (2, 3), "stride": (1, 2)}, ((1, 2, 3, 5),)),
        Example(
            {"norm_type": 3, "kernel_size": 2, "ceil_mode": True},
            (Draw((2, 3, 3), *POSITIVE),),
        ),
        Example(
            {"norm_type": float("inf"), "kernel_size": (1, 2), "ceil_mode": True}, ((1, 2, 3),)
        ),
        Example({"norm_type": -float("inf"), "kernel_size": 2, "stride": (1, 2)}, ((1, 3, 2),)),
    )  # fmt: skip


class LPPool3d(_LPPool):
    r"""p-norm of every window of (N, C, D, H, W) or (C, D, H, W): (Σ x^p)^(1/p) over the window.

    Arguments are LPPool2d's, with three sizes: (KD, KH, KW).

    Raises:
        ValueError: as LPPool2d.
    """

    axes = 3
    inner = MaxPool3d
    equations = powers(3)
    examples = (
        Example({"norm_type": 2, "kernel_size": (1, 2, 2), "stride": 1}, ((2, 1, 2, 3, 2),)),
        Example(
            {"norm_type": -1, "kernel_size": (2, 1, 2), "ceil_mode": True},
            (Draw((1, 3, 1, 3), *POSITIVE),),
        ),
        Example({"norm_type": float("inf"), "kernel_size": (1, 2, 1)}, ((1, 1, 2, 2),)),
        Example({"norm_type": -float("inf"), "kernel_size": (1, 1, 2)}, ((1, 1, 2, 2),)),
    )  # fmt: skip
