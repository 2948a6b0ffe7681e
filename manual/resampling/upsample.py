"""Upsample: every axis of an input made longer or shorter, in each of torch's modes."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np

from manual.examples import Example
from manual.layer import Array, Arrays, Layer
from manual.resampling.axes import matrix, resampled
from manual.rounding import computed_in

__all__ = ["Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d"]

EVERY = (1, 2, 3)
MODES = {  # what is done to each axis, and to how many
    "nearest": ("nearest", EVERY), "nearest-exact": ("nearest-exact", EVERY),
    "area": ("area", EVERY), "linear": ("linear", (1,)), "bilinear": ("linear", (2,)),
    "trilinear": ("linear", (3,)), "bicubic": ("cubic", (2,)),
}  # fmt: skip
SMALL = 128  # rows and columns of an image in which torch looks for the nearest in float32
ALIGNING = ("linear", "bilinear", "trilinear", "bicubic")


class UpsampleCache(NamedTuple):
    matrices: tuple[np.ndarray, ...]  # A (m, n) of every axis of places


class Upsample(Layer):
    """Resampled places: (N, C, *places) with other places, picked or interpolated, axis by axis.

    Args:
        size: the new places, a number for every axis or one per axis.
        scale_factor: instead, how many times as many places, likewise.
        mode: `nearest`, `nearest-exact` or `area`, of one to three axes; `linear` of one,
            `bilinear` or `bicubic` of two, `trilinear` of three.
        align_corners: whether the outermost places stay where they are; of the last four modes.
        recompute_scale_factor: whether places are counted by the sizes and not by scale_factor,
            which differ where a size is rounded.

    Raises:
        ValueError: neither or both of size and scale_factor; an unknown mode; align_corners of a
            mode that has none; an input of other axes than the mode's.
    """

    equations: ClassVar = {
        "output": "y[n,c,u,v] = sum(i, sum(j, A[u,i] * B[v,j] * x[n,c,i,j]))",
        "output/one axis": "y[n,c,u] = sum(i, A[u,i] * x[n,c,i])",
        "output/three axes": (
            "y[n,c,u,v,w] = sum(i, sum(j, sum(k, A[u,i] * B[v,j] * D[w,k] * x[n,c,i,j,k])))"
        ),
        "grad_input": "dx[n,c,i,j] = sum(u, sum(v, A[u,i] * B[v,j] * dy[n,c,u,v]))",
        "grad_input/one axis": "dx[n,c,i] = sum(u, A[u,i] * dy[n,c,u])",
        "grad_input/three axes": (
            "dx[n,c,i,j,k] = sum(u, sum(v, sum(w, A[u,i] * B[v,j] * D[w,k] * dy[n,c,u,v,w])))"
        ),
    }
    symbols: ClassVar = {
        "A": "cache.matrices.0", "B": "cache.matrices.1", "D": "cache.matrices.2",
    }  # fmt: skip
    examples: ClassVar[tuple[Example, ...]] = (
        Example({"scale_factor": (1.2, 2.3)}, ((2, 1, 3, 3),)),  # as many places, and twice as many
        Example({"size": 5}, ((1, 2, 3),)),
        Example({"scale_factor": (1.6, 0.7), "mode": "nearest-exact"}, ((1, 2, 3, 4),)),
        Example({"size": 5, "mode": "nearest-exact"}, ((1, 1, 3),)),
        Example({"scale_factor": (1.2,), "mode": "linear"}, ((1, 2, 3),)),  # as many places
        Example({"size": 3, "mode": "area"}, ((2, 2, 5),)),
        Example({"scale_factor": (1.7,), "mode": "linear"}, ((2, 2, 4),)),
        Example({"size": 5, "mode": "linear", "align_corners": True}, ((2, 1, 3),)),
        Example({"size": (5, 2), "mode": "bilinear"}, ((1, 2, 3, 4),)),
        Example(
            {"scale_factor": (1.6, 2.4), "mode": "bilinear", "recompute_scale_factor": True},
            ((1, 1, 3, 2),),
        ),
        Example({"scale_factor": (1.6, 0.7), "mode": "bicubic"}, ((1, 1, 3, 5),)),
        Example({"size": (1, 2), "mode": "bicubic", "align_corners": True}, ((2, 1, 2, 3),)),
        Example({"size": (2, 3, 1), "mode": "trilinear"}, ((1, 1, 3, 2, 2),)),
        Example({"scale_factor": (1.5, 2.0, 1.0)}, ((1, 1, 2, 1, 2),)),
    )

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        self.size, self.mode, self.align_corners = size, mode, align_corners
        self.scale_factor = _floats(scale_factor)
        self.recompute_scale_factor = recompute_scale_factor
        self._refuse_bad_arguments()

    def forward(self, x: Array) -> tuple[Array, UpsampleCache]:  # type: ignore[override]
        """Return y (N, C, *new places)."""
        axes = x.ndim - 2
        self._refuse_bad_input(x, axes)
        sizes, scales = self._asked(x.shape[2:], axes)
        way, aligned = MODES[self.mode][0], self.align_corners
        small = axes == 2 and sum(sizes) <= SMALL
        cache = UpsampleCache(
            tuple(
                matrix(way, n, m, scale, aligned, computed_in(x), small)
                for n, m, scale in zip(x.shape[2:], sizes, scales, strict=True)
            )
        )
        for axis, A in enumerate(cache.matrices, 2):
            x = resampled(A, x, axis)
        return x, cache

    def backward(self, grad_output: Array, cache: UpsampleCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = (A ⊗ B) x, one matrix for each axis.

        Shapes: x and dx (N, C, n, n'), y and dy (N, C, m, m'), A (m, n), B (m', n'); for one axis
        without B, for three with a D.
        Index form:  y_ncuv = Σ_ij A_ui B_vj x_ncij
            dx_ncij = Σ_uv A_ui B_vj dy_ncuv
        Matrix form: Y = A X Bᵀ for each channel, so dX = Aᵀ dY B. The rows of A: a single 1
        (nearest), two weights 1 - w and w (linear), four of a cubic, or 1 / count (area); they are
        constants, made of the sizes alone, so x gets its gradient through the product only.
        Torch: nn.Upsample, F.interpolate. Places beyond the border are those at it (linear, cubic);
        `nearest` counts places in float32 for float64 inputs, too.
        Source: Keys, Cubic Convolution Interpolation for Digital Image Processing (1981);
        Odena, Dumoulin, Olah, Deconvolution and Checkerboard Artifacts (2016).
        """
        dx = grad_output
        for axis, A in enumerate(cache.matrices, 2):
            dx = resampled(A.T, dx, axis)
        return (dx,), {}

    def variants(self, cache: UpsampleCache) -> tuple[str, ...]:
        """Return how many axes there are, unless it is two."""
        return {1: ("one axis",), 3: ("three axes",)}.get(len(cache.matrices), ())

    def _asked(self, places: tuple[int, ...], axes: int) -> tuple[Any, Any]:
        """Return the new sizes, and the factors by which places are counted."""
        if self.size is not None:
            return _each(self.size, axes), (None,) * axes
        factors = _each(self.scale_factor, axes)
        sizes = tuple(int(n * f) for n, f in zip(places, factors, strict=True))
        return sizes, (None,) * axes if self.recompute_scale_factor else factors

    # ── refusals ─────────────────────────────────────────────────────────────────────────────────
    def _refuse_bad_arguments(self) -> None:
        name = type(self).__name__
        if self.mode not in MODES:
            raise ValueError(
                f"{name}: mode must be one of {', '.join(MODES)}, received {self.mode!r}."
            )
        if self.align_corners is not None and self.mode not in ALIGNING:
            raise ValueError(
                f"{name}: align_corners is for the modes {', '.join(ALIGNING)}, not for "
                f"'{self.mode}'. Leave it out."
            )
        if (self.size is None) == (self.scale_factor is None):
            raise ValueError(
                f"{name}: give size or scale_factor, and not both; received size={self.size} and "
                f"scale_factor={self.scale_factor}."
            )
        if self.recompute_scale_factor and self.size is not None:
            raise ValueError(
                f"{name}: recompute_scale_factor is for a scale_factor, received size={self.size}."
            )

    def _refuse_bad_input(self, x: Array, axes: int) -> None:
        name, fits = type(self).__name__, MODES[self.mode][1]
        wanted = self.size if self.size is not None else self.scale_factor
        if axes not in fits or (isinstance(wanted, tuple | list) and len(wanted) != axes):
            of = " or ".join(map(str, fits))
            raise ValueError(
                f"{name}: mode '{self.mode}' takes (N, C, *places) with {of} axes of places, as "
                f"many as {wanted} has numbers, received shape {tuple(x.shape)}."
            )
        sizes = self._asked(x.shape[2:], axes)[0]
        if min(*x.shape[1:], *sizes) < (self.mode != "area"):
            raise ValueError(
                f"{name}: input and output must have places, received shape {tuple(x.shape)} for "
                f"an output of {sizes}."
            )

    def extra_repr(self) -> str:
        size = f"size={self.size}" if self.size is not None else f"scale_factor={self.scale_factor}"
        return f"{size}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Images resampled to the nearest places: (N, C, H, W) -> (N, C, *size).

    Args:
        size, scale_factor: as of Upsample. Derivation: Upsample's.
    """

    examples: ClassVar[tuple[Example, ...]] = (
        Example({"scale_factor": 1.6}, ((1, 2, 2, 3),)),
        Example({"size": (2, 5)}, ((2, 1, 3, 2),)),
    )  # fmt: skip
    equations: ClassVar = {role: Upsample.equations[role] for role in ("output", "grad_input")}

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """Images interpolated with aligned corners: (N, C, H, W) -> (N, C, *size).

    Args:
        size, scale_factor: as of Upsample. Derivation: Upsample's.
    """

    examples: ClassVar[tuple[Example, ...]] = (
        Example({"scale_factor": (1.5, 1.5)}, ((1, 2, 2, 3),)),
        Example({"size": (4, 1)}, ((2, 1, 3, 2),)),
    )  # fmt: skip
    equations: ClassVar = {role: Upsample.equations[role] for role in ("output", "grad_input")}

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)


def _each(value: Any, axes: int) -> tuple:
    return tuple(value) if isinstance(value, tuple | list) else (value,) * axes


def _floats(scale: Any) -> Any:
    """Return scale_factor as torch keeps it; 0 counts as none."""
    if isinstance(scale, tuple | list):
        return tuple(float(s) for s in scale)
    return float(scale) if scale else None
