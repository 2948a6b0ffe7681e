"""Fractional max pooling: windows at random distances, so that a size may shrink by any ratio."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from manual.examples import Example
from manual.layer import Array, Arrays
from manual.pool.equations import START, fractional
from manual.pool.picks import PickCache, PickingPool
from manual.pool.windows import Sizes

__all__ = ["FractionalMaxPool2d", "FractionalMaxPool3d"]


class _FractionalMaxPool(PickingPool):
    """Fractional max pooling of as many axes as its class says."""

    symbols = {
        "K": "kernel_size", "w": "decisions",
        **{name: f"cache.starts.{i}" for i, name in enumerate(START)},
    }  # fmt: skip
    order: ClassVar[Sizes]  # by axis, which of a sample's numbers is its own
    spare = 0  # elements that an axis must have beyond those that the windows need

    def __init__(
        self,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Any = None,
    ) -> None:
        name = type(self).__name__
        self.kernel_size = self._sizes("kernel_size", kernel_size)
        if (output_size is None) == (output_ratio is None):
            raise ValueError(
                f"{name}: give one of output_size and output_ratio, received {output_size} and "
                f"{output_ratio}."
            )
        self.output_size: Sizes | None = None
        self.output_ratio: tuple[float, ...] | None = None
        if output_size is not None:
            self.output_size = self._sizes("output_size", output_size)
        else:
            self.output_ratio = self._sizes("output_ratio", output_ratio)
        self._refuse_bad_sizes()
        self._set_outputs(return_indices)
        self.stochastic = _random_samples is None
        self.buffers = {}
        if _random_samples is not None:
            self.buffers = {"_random_samples": np.asarray(_random_samples, dtype=float)}

    def numbers_shape(self, shape: Sizes) -> Sizes:
        """Return the shape of the random numbers for an input of this shape."""
        return (*(1, *shape)[-self.axes - 2 : -self.axes], self.axes)

    def draw(self, x: Array, *, rng: np.random.Generator) -> Array:  # type: ignore[override]
        """Return one number from 0 to 1 for every image and axis, (N, C, 2): N = 1 without N."""
        numbers = rng.random(self.numbers_shape(x.shape), dtype=np.float32)  # every dtype holds it
        return numbers.astype(x.dtype if x.dtype.kind == "f" else float)

    def forward(  # type: ignore[override]
        self, x: Array, *, noise: Array | None = None
    ) -> tuple[Any, PickCache]:
        """Return y (N, C, H', W'), or `(y, indices)`; noise (N, C, 2) says where windows start."""
        self._check_shape(x)
        samples = self._samples(x, self.buffers.get("_random_samples", noise))
        sizes = x.shape[-self.axes :]
        starts = tuple(
            _starts(samples[..., place], n, o, k)
            for place, n, o, k in zip(
                self.order, sizes, self._out(sizes), self.kernel_size, strict=True
            )
        )
        return self._picked(x, starts)

    def backward(self, grad_output: Array, cache: PickCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = max over each window: each y is one element of x, its winner.

        Shapes: x and dx (N, C, H, W), y and dy (N, C, H', W'), z (N, C).
        Along an axis of H elements H' windows of K rows start at
            a_u = ⌊(u + z) α⌋ - ⌊z α⌋ for u < H' - 1,   a_{H'-1} = H - K,   α = (H - K) / (H' - 1)
        z is random, from 0 to 1, and the image's own: a constant of this pass.
        Index form:  y_ncuv = max_{0 <= k < K_0, 0 <= l < K_1} x_n,c,a_u+k,a_v+l
            dx_ncij = Σ_{u,v: (i, j) won window (u, v)} dy_ncuv    (windows overlap: their sum)
        Matrix form: y = S x with one 1 in each row of S, so dx = Sᵀ dy, as in MaxPool2d.
        Three axes: the same with as many indices.
        Torch: nn.FractionalMaxPool2d and 3d. It draws in evaluation too. The last window's place is
        fixed, so the first step may be longer than the paper's. In two axes the first random number
        is the columns', in three it is the first axis's. Of equals the first wins, of nan the last.
        Source: Graham, Fractional Max-Pooling (2014), section 2.
        """
        return self._returned(grad_output, cache)

    def _rows(self, axis: int, starts: Array, size: int) -> list[np.ndarray]:
        return [starts + k for k in range(self.kernel_size[axis])]

    def _out(self, sizes: Sizes) -> Sizes:
        """Return H', W'.

        Raises:
            ValueError: the windows do not fit.
        """
        shares = zip(sizes, self.output_ratio or (), strict=True)
        out = self.output_size or tuple(int(n * r) for n, r in shares)
        for n, o, k in zip(sizes, out, self.kernel_size, strict=True):
            if o + k + self.spare > n + 1:
                raise ValueError(
                    f"{type(self).__name__}: {o} windows of {k} elements need at least "
                    f"{o + k + self.spare - 1} of them, the input has {n}. Use a smaller "
                    "kernel, or fewer windows."
                )
        return out

    def _samples(self, x: Array, given: Array | None) -> Array:
        """Return the random numbers of this pass, (…, 2) with x's leading axes."""
        n, c = (1, *x.shape)[-self.axes - 2 : -self.axes]
        name, shape = type(self).__name__, () if given is None else tuple(np.shape(given))
        if given is None:
            raise ValueError(
                f"{name}: where the windows start is random, also in evaluation. Give the noise of "
                f"{name}.draw(x, rng=rng), or _random_samples to the constructor."
            )
        if len(shape) != 3 or shape[0] < n or shape[1:] != (c, self.axes):
            raise ValueError(
                f"{name}: the random numbers must have shape ({n}, {c}, {self.axes}), one for "
                f"every image and axis; received {shape}."
            )
        return given[:n].reshape(*x.shape[: -self.axes], self.axes)

    def _refuse_bad_sizes(self) -> None:
        ratio = self.output_ratio or ()
        fits = min(self.kernel_size) >= 1 and min(self.output_size or (0,)) >= 0
        if not (fits and all(0 < r < 1 for r in ratio)):
            raise ValueError(
                f"{type(self).__name__}: kernel_size must be at least 1, output_size not negative "
                f"and output_ratio between 0 and 1, received {self.extra_repr()}."
            )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, output_size={self.output_size}, "
            f"output_ratio={self.output_ratio}"
        )


def _starts(z: Array, size: int, out: int, kernel: int) -> np.ndarray:
    """Return where the windows along an axis start, (…, out), computed in z's own precision."""
    last = np.full((*z.shape, min(out, 1)), size - kernel)
    if out < 2:
        return last
    alpha = (size - kernel) / (out - 1)
    steps = ((np.arange(out - 1).astype(z.dtype) + z[..., None]) * alpha).astype(int)
    first = (z * alpha).astype(int)[..., None]
    return np.concatenate([steps - first, last], axis=-1)


class FractionalMaxPool2d(_FractionalMaxPool):
    r"""Largest elements of windows of (N, C, H, W) or (C, H, W) at random distances.

    Args:
        kernel_size: (KH, KW) of the window, or one number for both; so with every pair below.
        output_size: (H', W') of the output; or, in its place,
        output_ratio: the output's size as a share of the input's, between 0 and 1.
        return_indices: whether forward returns `(output, indices)`; an index counts the elements of
            its channel's image row by row.
        _random_samples: the random numbers (N, C, 2) of every pass; then nothing is drawn.

    Buffers: `_random_samples`, if they are given.

    Raises:
        ValueError: both or none of output_size and output_ratio, a size or ratio out of range;
            windows that do not fit into the input; random numbers of another shape, or none.
    """

    axes = 2
    order = (1, 0)
    equations = fractional(2)
    examples = (
        Example(
            {"kernel_size": 2, "output_size": (3, 2),
             "_random_samples": [[[0.75, 0.5], [0.25, 0.875]]]},
            ((1, 2, 6, 5),), exact=True, kinks={"all equal": {"x": 1.0}},
        ),
        Example(
            {"kernel_size": (1, 2), "output_ratio": (0.5, 0.75), "return_indices": True,
             "_random_samples": [[[0.625, 0.125], [0.125, 0.625]]]},
            ((2, 4, 6),), exact=True,
        ),
        Example({"kernel_size": (3, 2), "output_size": (2, 3)}, ((1, 2, 5, 6),), exact=True),
        Example(
            {"kernel_size": 2, "output_size": 1, "_random_samples": [[[0.5, 0.5]]] * 3},
            ((2, 1, 3, 3),), exact=True,
        ),
    )  # fmt: skip


class FractionalMaxPool3d(_FractionalMaxPool):
    r"""Largest elements of windows of (N, C, D, H, W) or (C, D, H, W) at random distances.

    Arguments are FractionalMaxPool2d's, with three sizes (KD, KH, KW) and three random numbers.

    Raises:
        ValueError: as FractionalMaxPool2d.
    """

    axes = 3
    order = (0, 1, 2)
    spare = 1  # torch asks for it
    equations = fractional(3)
    examples = (
        Example(
            {"kernel_size": (1, 2, 2), "output_size": (2, 3, 2),
             "_random_samples": [[[0.25, 0.5, 0.75]]]},
            ((1, 1, 3, 5, 4),), exact=True,
        ),
        Example(
            {"kernel_size": 2, "output_ratio": (0.5, 0.6, 0.7)}, ((1, 4, 4, 5),), exact=True
        ),
    )  # fmt: skip
