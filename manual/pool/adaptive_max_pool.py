"""Adaptive max pooling: as many windows as asked for, of any size, and their largest elements."""

from __future__ import annotations

from typing import Any

import numpy as np

from manual.examples import Example
from manual.layer import Array, Arrays
from manual.pool.adaptive_avg_pool import output_sizes, spans
from manual.pool.equations import ADAPTIVE, most
from manual.pool.picks import PickCache, PickingPool

__all__ = ["AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AdaptiveMaxPool3d"]


class _AdaptiveMaxPool(PickingPool):
    """Adaptive max pooling of as many axes as its class says."""

    symbols = {**ADAPTIVE, "w": "decisions"}

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        self.output_size = output_sizes(type(self).__name__, output_size, self.axes)
        self._set_outputs(return_indices)

    def forward(self, x: Array) -> tuple[Any, PickCache]:  # type: ignore[override]
        """Return y (N, C, H', W'), or `(y, indices)`."""
        self._check_shape(x)
        starts = tuple(
            np.array([low for low, _ in spans(n, n if o is None else o)], dtype=int)
            for o, n in zip(self.output_size, x.shape[-self.axes :], strict=True)
        )
        return self._picked(x, starts)

    def backward(self, grad_output: Array, cache: PickCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = max over each window: each y is one element of x, its winner.

        Shapes: x and dx (N, C, H, W), y and dy (N, C, H', W'); the windows are AdaptiveAvgPool2d's.
        Index form:  y_ncuv = max_{a_u <= i < b_u, a_v <= j < b_v} x_ncij
            dx_ncij = Σ_{u,v: (i, j) won window (u, v)} dy_ncuv    (windows overlap: their sum)
        Matrix form: y = S x with one 1 in each row of S, so dx = Sᵀ dy, as in MaxPool2d.
        One axis or three: the same with as many indices as axes.
        Torch: nn.AdaptiveMaxPool1d to 3d; of equals the first wins, row by row; of several nan the
        last. The indices are whole numbers: their gradient is not read.
        Source: He, Zhang, Ren, Sun, Spatial Pyramid Pooling (2014), section 2.3.
        """
        return self._returned(grad_output, cache)

    def _rows(self, axis: int, starts: Array, size: int) -> list[np.ndarray]:
        """Return every window's rows; a shorter one has its last again."""
        ends = np.array([high for _, high in spans(size, len(starts))], dtype=int)
        longest = max(ends - starts)
        return [np.minimum(starts + k, ends - 1) for k in range(longest)]

    def extra_repr(self) -> str:
        shown = f"output_size={self.output_size}"
        return f"{shown}, return_indices=True" if self.return_indices else shown


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    r"""Largest elements of output_size windows that cover (N, C, L) or (C, L) evenly.

    Args:
        output_size: L', the length of the output.
        return_indices: whether forward returns `(output, indices)`.

    Raises:
        ValueError: output_size is below 1; the input has other axes or no elements.
    """

    axes = 1
    equations = most(1)
    examples = (
        Example({"output_size": 2}, ((2, 2, 5),), exact=True),
        Example({"output_size": (4,), "return_indices": True}, ((2, 3),), exact=True),
    )  # fmt: skip


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    r"""Largest elements of output_size windows that cover (N, C, H, W) or (C, H, W) evenly.

    Args:
        output_size: (H', W') of the output, or one number for both; None is the input's size.
        return_indices: whether forward returns `(output, indices)`; an index counts the elements of
            its channel's image row by row.

    Raises:
        ValueError: a size is below 1; the input has other axes or no elements.
    """

    axes = 2
    equations = most(2)
    examples = (
        Example({"output_size": (2, 3)}, ((2, 2, 5, 4),), exact=True),
        Example(
            {"output_size": (None, 2)}, ((2, 3, 4),), exact=True,
            kinks={"all equal": {"x": 1.0}, "ties along rows": {"x": [0.0, 1.0, 1.0, 1.0]}},
        ),
        Example({"output_size": (4, 1), "return_indices": True}, ((1, 1, 3, 2),), exact=True),
    )  # fmt: skip


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    r"""Largest elements of output_size windows that cover (N, C, D, H, W) or (C, D, H, W) evenly.

    Args:
        output_size: (D', H', W') of the output, or one number for all; None is the input's size.
        return_indices: as for AdaptiveMaxPool2d.

    Raises:
        ValueError: a size is below 1; the input has other axes or no elements.
    """

    axes = 3
    equations = most(3)
    examples = (
        Example({"output_size": (2, 1, 3)}, ((1, 2, 3, 2, 4),), exact=True),
        Example({"output_size": (None, 2, 2), "return_indices": True}, ((2, 2, 3, 2),), exact=True),
    )
