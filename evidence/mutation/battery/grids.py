"""Images read at the places of a grid: every way of reading, where it jumps, and far beyond.

On whole and half places all numbers are exact, so that not one bit may differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np

from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import Check, FixedCheck, Lift
from evidence.mutation.battery.layers import build
from manual.examples import Example

MODES, PADDINGS = ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection")
WAYS = tuple(product(MODES, PADDINGS, (False, True)))
STEPS = np.arange(-12, 17) / 2  # along an axis of four or five elements, on both sides of it
SIZES = {False: (4, 1, 2), True: (5, 1, 3)}  # powers of two, and one more: every place is exact
STEP, NEAR = 2.0**-60, 1e-9


def whole_ways() -> tuple[Example, ...]:
    """Return images and volumes read in every way, as exact examples of GridSample.

    In the last the places are whole but for their rounding, which tells torch's own reflection.
    """
    exact = (
        _whole(*way, SIZES[way[-1]][:axes])
        for way, axes in product(WAYS, (2, 3))
        if axes == 2 or way[0] != "bicubic"
    )
    return *exact, _whole("bilinear", "reflection", True, (4, 1))._replace(exact=False)


def _whole(mode: str, padding: str, aligned: bool, sizes: tuple[int, ...]) -> Example:
    axes = len(sizes)
    x = (np.arange(2 * np.prod(sizes)) ** 2 % 7 - 3.0).reshape(1, 2, *sizes)  # no line
    lines = [_line(np.roll(STEPS, 5 * a), n, aligned) for a, n in enumerate(sizes)]
    grid = np.stack(lines[::-1], axis=-1).reshape(1, *[1] * (axes - 1), -1, axes)
    arguments = {"mode": mode, "padding_mode": padding, "align_corners": aligned}
    return Example(arguments, (x, grid), exact=True)


def _line(p: np.ndarray, n: int, aligned: bool) -> np.ndarray:
    """Return the places that lie at p on an axis of n elements."""
    return 2 * p / max(n - 1, 1) - 1 if aligned else (2 * p + 1) / n - 1


def _built(way: tuple[str, str, bool]) -> Any:
    names = ("mode", "padding_mode", "align_corners")
    return build("GridSample", tuple(zip(names, way, strict=True)))


@dataclass(frozen=True)
class JumpCheck(FixedCheck):
    """Decisions change between two places if torch's value or slope jumps there, and only then."""

    way: tuple[str, str, bool]

    @property
    def name(self) -> str:
        mode, padding, aligned = self.way
        return f"decisions of GridSample({mode}, {padding}, {aligned})"

    def arrays(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Return an image of one column, and places just before and behind every sixth of a step.

        Bicubic reading has other elements behind a whole place, but neither value nor slope jumps.
        """
        mode, _, aligned = self.way
        n = SIZES[aligned][0]
        p = np.array([k / 6 for k in range(-36, 55) if k % 6 or mode != "bicubic"])
        sides = _line(np.stack((p - NEAR, p + NEAR)), n, aligned)
        grid = np.stack((np.zeros_like(sides), sides), axis=-1)
        return self.draw(seed, (1, 1, n, 1), "x"), grid[None]

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        layer = _built(self.way)
        found = layer.decisions(layer.forward(*self.arrays(seed))[1])
        changes = (found[..., 0, :] != found[..., 1, :]).any(axis=(0, 1, 2))
        return {Key("", "changes"): changes.astype(float)}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch

        image, grid = map(torch.tensor, self.arrays(seed))
        y = torch.nn.functional.grid_sample(image, grid.requires_grad_(), *self.way)
        (slope,) = torch.autograd.grad(y.sum(), grid)
        jumps = (y[0, 0].diff(dim=0).abs() > 1e-4) | (slope[0, :, :, 1].diff(dim=0).abs() > 1e-4)
        return {Key("", "changes"): jumps[0].numpy().astype(float)}


@dataclass(frozen=True)
class GridStepCheck(FixedCheck):
    """A complex step along the grid beside torch's gradient."""

    way: tuple[str, str, bool]

    @property
    def name(self) -> str:
        mode, padding, aligned = self.way
        return f"a complex step through GridSample({mode}, {padding}, {aligned})"

    def arrays(self, seed: int) -> list[np.ndarray]:
        shapes = {"image": (1, 1, 3, 4), "grid": (1, 2, 5, 2), "towards": (1, 2, 5, 2)}
        return [self.draw(seed, shape, what) for what, shape in shapes.items()]

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        image, grid, towards = self.arrays(seed)
        y = _built(self.way).forward(image, grid + 1j * STEP * towards)[0]
        return {Key("", "slope"): np.float64(np.imag(y).sum() / STEP)}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch

        image, grid, towards = map(torch.tensor, self.arrays(seed))
        y = torch.nn.functional.grid_sample(image, grid.requires_grad_(), *self.way)
        (slope,) = torch.autograd.grad(y.sum(), grid)
        return {Key("", "slope"): np.float64((slope * towards).sum())}


@dataclass(frozen=True)
class BothKindsCheck(Check):
    """One AffineGrid on maps of float32 and of float64 before either goes backward."""

    dtypes: ClassVar[tuple[str, ...]] = ("float64",)
    kinds: ClassVar[tuple[str, ...]] = ("float32", "float64")

    @property
    def name(self) -> str:
        return "AffineGrid on both kinds of numbers"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        layer = build("AffineGrid", (("size", (1, 1, 3, 5)),))
        theta = self.draw(seed, (1, 2, 3), "theta")
        runs = {kind: layer.forward(theta.astype(kind)) for kind in self.kinds}
        values: Values = {}
        for kind, (y, cache_) in runs.items():
            dy = self.draw(seed, y.shape, "dy").astype(kind)
            values |= {Key(kind, "output"): y, Key(kind, "grad"): layer.backward(dy, cache_)[0][0]}
        return values

    def tolerances(self, theirs: Values, dtype: np.dtype, seed: int) -> dict[Key, np.ndarray]:
        return {key: 64 * np.finfo(v.dtype).eps * np.ones(v.shape) for key, v in theirs.items()}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch

        values: Values = {}
        for kind in self.kinds:
            theta = torch.tensor(self.draw(seed, (1, 2, 3), "theta").astype(kind))
            y = torch.nn.functional.affine_grid(theta.requires_grad_(), [1, 1, 3, 5], False)
            dy = self.draw(seed, tuple(y.shape), "dy").astype(kind)
            (grad,) = torch.autograd.grad(y, theta, torch.tensor(dy))
            values |= {Key(kind, "output"): y.detach().numpy(), Key(kind, "grad"): grad.numpy()}
        return values


def grid_checks() -> list[Check]:
    """Return them all; the whole ways are among the examples of GridSample."""
    return [BothKindsCheck(), *map(JumpCheck, WAYS), *map(GridStepCheck, WAYS)]
