"""GridSample: an image read at any places, and AffineGrid, which says where they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import Any, ClassVar, NamedTuple

import numpy as np

from manual.examples import Draw, Example
from manual.layer import Array, Arrays, Layer
from manual.pool.picks import gathered, scattered
from manual.resampling.places import Places, places
from manual.rounding import computed_in

__all__ = ["AffineGrid", "GridSample"]

MODES, PADDINGS = ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection")
BOTH = "sum(k, sum(l, {} * x[n,c,I[k,n,u,v],J[l,n,u,v]]))"
ALL = "sum(k, sum(l, sum(m, {} * x[n,c,I[k,n,t,u,v],J[l,n,t,u,v],Q[m,n,t,u,v]])))"
WIDE = Draw((1, 2, 3, 2), "uniform", -1.5, 1.5)  # a grid that looks beyond the image


class GridCache(NamedTuple):
    x: Array  # (N, C, *places)
    axes: tuple[Places, ...]  # of every axis of x's places, in x's order


# ── reading ──────────────────────────────────────────────────────────────────────────────────────
class GridSample(Layer):
    """Images read at the places of a grid: (N, C, H, W) and (N, H', W', 2) -> (N, C, H', W').

    The grid's last axis holds x (along W) and y (along H), each from -1 to 1 over the image;
    volumes (N, C, D, H, W) have z as well. How weights follow: manual/resampling/places.

    Args:
        mode: `bilinear` (of volumes trilinear), `nearest`, or `bicubic` of images.
        padding_mode: what lies beyond the image: `zeros`, its `border`, or its `reflection`.
        align_corners: whether -1 and 1 are the middles of the outer elements, not their edges.

    Raises:
        ValueError: an unknown mode or padding_mode; an input and a grid that do not fit; bicubic
            volumes.
    """

    equations: ClassVar = {
        "output": f"y[n,c,u,v] = {BOTH.format('A[k,n,u,v] * B[l,n,u,v]')}",
        "output/volumes": (
            "y[n,c,t,u,v] = " + ALL.format("A[k,n,t,u,v] * B[l,n,t,u,v] * D[m,n,t,u,v]")
        ),
        "grad_input": "dx[n,c,i,j] = sum(u, sum(v, sum(k, sum(l, (I[k,n,u,v] == i) * "
        "(J[l,n,u,v] == j) * A[k,n,u,v] * B[l,n,u,v] * dy[n,c,u,v]))))",
        "grad_input/volumes": "dx[n,c,h,i,j] = sum(t, sum(u, sum(v, sum(k, sum(l, sum(m, "
        "(I[k,n,t,u,v] == h) * (J[l,n,t,u,v] == i) * (Q[m,n,t,u,v] == j) * A[k,n,t,u,v] * "
        "B[l,n,t,u,v] * D[m,n,t,u,v] * dy[n,c,t,u,v]))))))",
        "grad_grid": "dg[n,u,v,a] = sum(c, dy[n,c,u,v] * "
        + BOTH.format("cases(a < 1, A[k,n,u,v] * S[l,n,u,v], R[k,n,u,v] * B[l,n,u,v])")
        + ")",
        "grad_grid/volumes": "dg[n,t,u,v,a] = sum(c, dy[n,c,t,u,v] * "
        + ALL.format(
            "cases(a < 1, A[k,n,t,u,v] * B[l,n,t,u,v] * T[m,n,t,u,v], cases(a < 2, "
            "A[k,n,t,u,v] * S[l,n,t,u,v] * D[m,n,t,u,v], "
            "R[k,n,t,u,v] * B[l,n,t,u,v] * D[m,n,t,u,v]))"
        )
        + ")",
    }
    symbols: ClassVar = {
        "A": "cache.axes.0.weight", "B": "cache.axes.1.weight", "D": "cache.axes.2.weight",
        "R": "cache.axes.0.slope", "S": "cache.axes.1.slope", "T": "cache.axes.2.slope",
        "I": "cache.axes.0.index", "J": "cache.axes.1.index", "Q": "cache.axes.2.index",
        "x": "input",
    }  # fmt: skip
    examples: ClassVar = (
        Example({}, ((1, 2, 2, 3), WIDE)),
        Example({"mode": "bicubic", "padding_mode": "reflection"}, ((1, 2, 2, 3), WIDE)),
        Example(
            {"mode": "nearest", "padding_mode": "border", "align_corners": True},
            ((1, 2, 2, 3), WIDE),
        ),
        Example(
            {"padding_mode": "reflection"},
            ((1, 1, 2, 1, 3), Draw((1, 2, 1, 1, 3), "uniform", -2, 2)),
        ),
        Example({"padding_mode": "reflection", "align_corners": True}, ((1, 1, 2, 4), WIDE)),
        Example({"mode": "bicubic", "padding_mode": "border"}, ((1, 2, 2, 3), WIDE)),
    )

    def __init__(
        self,
        mode: str = "bilinear",
        padding_mode: str = "zeros",
        align_corners: bool | None = None,
    ) -> None:
        for name, value, known in (
            ("mode", mode, MODES), ("padding_mode", padding_mode, PADDINGS),
        ):  # fmt: skip
            if value not in known:
                raise ValueError(
                    f"GridSample: {name} must be one of {', '.join(map(repr, known))}, received "
                    f"{value!r}."
                )
        self.mode, self.padding_mode = mode, padding_mode
        self.align_corners = bool(align_corners)

    def forward(self, input: Array, grid: Array) -> tuple[Array, GridCache]:  # type: ignore[override]
        """Return y (N, C, *the grid's places)."""
        self._check(input, grid)
        sizes = input.shape[2:]
        axes = tuple(
            places(grid[..., -1 - a], n, self.mode, self.padding_mode, self.align_corners)
            for a, n in enumerate(sizes)
        )
        cache = GridCache(input, axes)
        return sum(value * weight for _, value, weight in _elements(cache)), cache  # type: ignore[return-value]

    def backward(self, grad_output: Array, cache: GridCache) -> tuple[tuple[Array, Array], Arrays]:
        r"""Chain rule through y_ncuv = Σ_kl A_knuv B_lnuv x_nc,I_knuv,J_lnuv.

        Shapes: x (N, C, H, W), g (N, H', W', 2), y and dy (N, C, H', W'); I and J (K, N, H', W')
        the rows and columns that are read, A and B their weights; volumes have a third of each.
        y is linear in x, and depends on g through the weights alone: A of g's y, B of its x.
            dx_ncij = Σ_uv Σ_kl [I_knuv = i] [J_lnuv = j] A_knuv B_lnuv dy_ncuv
            dg_nuv,0 = Σ_c dy_ncuv Σ_kl A_knuv B′_lnuv x_nc,I,J
            dg_nuv,1 = Σ_c dy_ncuv Σ_kl A′_knuv B_lnuv x_nc,I,J
        With p = (g + 1)/2 (n - 1), or ((g + 1) n - 1)/2, dp/dg is (n - 1)/2 or n/2 (its sign turned
        by every reflection, 0 where p is held at a border), and by p
            bilinear   (1 - w, w)′ = (-1, 1)
            bicubic    the derivative of Keys's kernel at each of the four distances
            nearest    0: the gradient of the grid vanishes
        At p = ⌊p⌋ exactly, where the slope jumps, it is that to the right.
        Torch: F.grid_sample; torch.nn has no such class.
        Source: Jaderberg et al., Spatial Transformer Networks (2015), section 3.3.
        """
        count = len(cache.axes)
        total: list[Any] = [0] * count
        dy = grad_output
        flat, values = [], []
        for at, value, weight in _elements(cache):
            index, _ = _index(cache, at)
            flat.append(np.broadcast_to(index[:, None], dy.shape))
            values.append(dy * weight)
            read = (dy * value).sum(axis=1)  # (N, *places)
            for a in range(count):
                total[a] = total[a] + read * _weight(cache, at, a)
        every = np.stack(flat, axis=-1), np.stack(values, axis=-1)
        n, c, *own = dy.shape
        index, moved = (e.reshape(n, c, *own[:-1], own[-1] * e.shape[-1]) for e in every)
        dx = scattered(moved, index, tuple(cache.x.shape), count)
        return (dx, np.stack(total[::-1], axis=-1)), {}

    def decisions(self, cache: GridCache) -> Array:
        """Return which elements each place reads (-1: none), and if linearly to which side."""
        found = [np.where(axis.inside, axis.index, -1) for axis in cache.axes]
        if self.mode == "bilinear":  # 0 where it is held, turned around by reflections
            found += [axis.slope for axis in cache.axes]
        return np.stack(found)

    def variants(self, cache: GridCache) -> tuple[str, ...]:
        return ("volumes",) if len(cache.axes) == 3 else ()

    def _check(self, input: Array, grid: Array) -> None:
        axes = input.ndim - 2
        fits = axes in (2, 3) and grid.ndim == input.ndim
        if not fits or grid.shape[-1] != axes or len(grid) != len(input) or 0 in input.shape[1:]:
            raise ValueError(
                "GridSample: the input must be (N, C, H, W) with a grid (N, H', W', 2), or "
                f"(N, C, D, H, W) with (N, D', H', W', 3), received {tuple(input.shape)} and "
                f"{tuple(grid.shape)}."
            )
        if axes == 3 and self.mode == "bicubic":
            raise ValueError(
                "GridSample: bicubic is for images, (N, C, H, W), received an input of shape "
                f"{tuple(input.shape)}. Use mode='bilinear'."
            )

    def extra_repr(self) -> str:
        return (
            f"mode={self.mode!r}, padding_mode={self.padding_mode!r}, "
            f"align_corners={self.align_corners}"
        )


At = tuple[int, ...]  # which of the K elements, axis by axis


def _elements(cache: GridCache) -> Iterator[tuple[At, Array, Array]]:
    """Yield every element that is read: which, its value (N, C, *places) and its weight."""
    n, c = cache.x.shape[:2]
    for at in product(*(range(len(axis.index)) for axis in cache.axes)):
        index, inside = _index(cache, at)
        shape = (n, c, *index.shape[1:])
        value = gathered(cache.x, np.broadcast_to(index[:, None], shape), len(cache.axes))
        yield at, np.where(inside[:, None], value, 0), _weight(cache, at)[:, None]


def _index(cache: GridCache, at: At) -> tuple[Array, Array]:
    """Return an element's index into its image, (N, *places), and whether it is in it."""
    pairs = list(zip(at, cache.axes, strict=True))
    index = np.ravel_multi_index([axis.index[k] for k, axis in pairs], cache.x.shape[2:])
    return index, np.all([axis.inside[k] for k, axis in pairs], axis=0)


def _weight(cache: GridCache, at: At, by: int | None = None) -> Array:
    """Return the weight of an element, (N, *places), or its slope by the place on one axis."""
    parts = [
        axis.slope[k] if a == by else axis.weight[k]
        for a, (k, axis) in enumerate(zip(at, cache.axes, strict=True))
    ]
    return prod(parts[1:], start=parts[0])


# ── where to read ────────────────────────────────────────────────────────────────────────────────
class AffineCache(NamedTuple):
    base: np.ndarray  # (H' W', 3)


class AffineGrid(Layer):
    """The grid of an affine map: (N, 2, 3) -> (N, H, W, 2), or (N, 3, 4) -> (N, D, H, W, 3).

    Args:
        size: of the images that are to be read, (N, C, H, W) or (N, C, D, H, W).
        align_corners: as of GridSample.

    Raises:
        ValueError: a size of other numbers, or below 1; maps of another shape.
    """

    equations: ClassVar = {
        "output": "g[n,u,v,a] = sum(i, B[u * W + v,i] * x[n,a,i])",
        "output/volumes": "g[n,t,u,v,a] = sum(i, B[(t * V + u) * Z + v,i] * x[n,a,i])",
        "grad_input": "dx[n,a,i] = sum(u, sum(v, dy[n,u,v,a] * B[u * W + v,i]))",
        "grad_input/volumes": (
            "dx[n,a,i] = sum(t, sum(u, sum(v, dy[n,t,u,v,a] * B[(t * V + u) * Z + v,i])))"
        ),
    }
    symbols: ClassVar = {
        "B": "cache.base",
        "x": "theta",
        "W": "size.3",
        "V": "size.3",
        "Z": "size.4",
    }
    examples: ClassVar = (
        Example({"size": (2, 1, 1, 3)}, ((2, 2, 3),)),
        Example({"size": (1, 1, 2, 3, 4), "align_corners": True}, ((1, 3, 4),)),
    )

    def __init__(self, size: Sequence[int], align_corners: bool | None = None) -> None:
        self.size, self.align_corners = tuple(size), bool(align_corners)
        if len(self.size) not in (4, 5) or min(self.size) < 1:
            raise ValueError(
                "AffineGrid: size must be (N, C, H, W) or (N, C, D, H, W), each at least 1, "
                f"received {self.size}."
            )

    def forward(self, theta: Array) -> tuple[Array, AffineCache]:  # type: ignore[override]
        """Return the places (N, *size[2:], 2 or 3), x first."""
        axes = len(self.size) - 2
        if tuple(theta.shape) != (self.size[0], axes, axes + 1):
            raise ValueError(
                f"AffineGrid: the maps must be ({self.size[0]}, {axes}, {axes + 1}) for size "
                f"{self.size}, received shape {tuple(theta.shape)}."
            )
        lines = [_line(n, self.align_corners) for n in self.size[2:]]
        mesh = np.meshgrid(*lines, indexing="ij")[::-1]  # x, y(, z)
        base = np.ones((prod(self.size[2:]), axes + 1), dtype=computed_in(theta))
        base[:, :axes] = np.stack(mesh, axis=-1).reshape(-1, axes)
        y = base @ theta.swapaxes(1, 2)  # (N, H W, 2)
        return y.reshape(len(theta), *self.size[2:], axes), AffineCache(base)

    def backward(self, grad_output: Array, cache: AffineCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through g = B θᵀ, B the places (x, y, 1) of an untouched grid.

        Shapes: θ (N, 2, 3), B (H W, 3), g and dg (N, H, W, 2), places in one axis here; volumes
        (N, 3, 4), (D H W, 4).
        Index form:  g_npa = Σ_i B_pi θ_nai   ->   dθ_nai = Σ_p dg_npa B_pi
        Matrix form: g = B θᵀ   ->   dθ = dgᵀ B
        B's places go from -1 to 1; unless corners are aligned, by (n - 1)/n less: to the middles
        of the outer elements. An axis of one element has 0.
        Torch: F.affine_grid; torch.nn has no such class.
        Source: Jaderberg et al., Spatial Transformer Networks (2015), section 3.2.
        """
        n, axes = len(grad_output), grad_output.shape[-1]
        return (grad_output.reshape(n, -1, axes).swapaxes(1, 2) @ cache.base,), {}

    def variants(self, cache: AffineCache) -> tuple[str, ...]:
        return ("volumes",) if len(self.size) == 5 else ()

    def extra_repr(self) -> str:
        return f"size={self.size}, align_corners={self.align_corners}"


def _line(n: int, aligned: bool) -> np.ndarray:
    """Return the places of n elements."""
    return (2 * np.arange(n) - (n - 1)) / (max(n - 1, 1) if aligned else n)
