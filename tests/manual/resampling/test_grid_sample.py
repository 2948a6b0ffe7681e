"""GridSample and AffineGrid: torch's functionals on whole places and far ones, refusals."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from manual.resampling.grid_sample import AffineGrid, GridSample
from tests.helpers import draw

WAYS = list(product(("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection"), (0, 1)))


def whole_places(axes: int, n: int, aligned: int) -> np.ndarray:
    """Return places at and halfway between the elements of an axis, far beyond it on both sides."""
    steps = np.arange(-3 * n, 4 * n + 1) / 2
    line = 2 * steps / max(n - 1, 1) - 1 if aligned else (2 * steps + 1) / n - 1
    return np.stack([line] * axes, axis=-1).reshape(1, *[1] * (axes - 1), -1, axes)


@pytest.mark.parametrize(("mode", "padding", "aligned"), WAYS)
def test_on_whole_places_and_beyond_it_is_torchs(mode: str, padding: str, aligned: int) -> None:
    """Powers of two: places are exact. Torch takes another way through its code for one channel."""
    for axes, n in product((2, 3), (1, 3, 4)):
        if axes == 3 and mode == "bicubic":
            continue
        places = whole_places(axes, n, aligned)
        x = draw(1, (1, 2, *[n] * axes))
        layer = GridSample(mode, padding, bool(aligned))
        y, cache = layer.forward(x, places)
        dy = draw(2, y.shape)
        leaves = [torch.tensor(v, requires_grad=True) for v in (x, places)]
        expected = functional.grid_sample(*leaves, mode, padding, bool(aligned))
        grads = torch.autograd.grad(expected, leaves, torch.tensor(dy))

        np.testing.assert_allclose(y, expected.detach(), rtol=1e-12, atol=1e-12)
        for own, grad in zip(layer.backward(dy, cache)[0], grads, strict=True):
            np.testing.assert_allclose(own, grad, rtol=1e-11, atol=1e-11)
        assert not np.allclose(y * 1.0001, expected.detach(), rtol=1e-5, atol=1e-12) or not y.any()


def test_what_lies_beyond_is_not_read() -> None:
    x = np.full((1, 1, 2, 2), np.inf)
    grid = np.full((1, 1, 1, 2), 9.0)
    layer = GridSample()
    y, cache = layer.forward(x, grid)
    (dx, dg), _ = layer.backward(np.ones_like(y), cache)

    assert not y.any()
    assert not dx.any()
    assert not dg.any()


def test_infinitely_far_places_are_held_at_the_border() -> None:
    x, grid = draw(1, (1, 1, 3, 4)), np.array([[[[np.inf, -np.inf], [0.0, np.inf]]]])
    for mode in ("bilinear", "nearest"):
        layer = GridSample(mode, "border", align_corners=True)
        expected = functional.grid_sample(*map(torch.tensor, (x, grid)), mode, "border", True)

        np.testing.assert_allclose(layer.forward(x, grid)[0], expected)


@pytest.mark.parametrize(
    ("layer", "kink"),
    [
        (GridSample("nearest"), -1.0),  # the edge, beyond which is nothing
        (GridSample(), -1.25),
        (GridSample(padding_mode="border"), -0.75),  # the middle of the first element
        (GridSample(padding_mode="reflection", align_corners=True), -1.0),
    ],
)
def test_decisions_change_where_the_slope_jumps(layer: GridSample, kink: float) -> None:
    """Where rounding alone decides, the harness asks them whether it did."""
    x = draw(1, (1, 1, 4, 4))

    def decided(y: float) -> np.ndarray:
        return layer.decisions(layer.forward(x, np.array([[[[0.1, y]]]]))[1])

    assert (decided(kink - 1e-9) != decided(kink + 1e-9)).any()
    assert (decided(kink + 1e-9) == decided(kink + 2e-9)).all()


@pytest.mark.parametrize("aligned", [False, True, None])
def test_the_grid_of_a_map_is_torchs(aligned: bool | None) -> None:
    theta = draw(3, (2, 2, 3))
    for dtype in (np.float32, np.float64):
        layer = AffineGrid((2, 1, 4, 5), aligned)
        found = layer.forward(theta.astype(dtype))[0]
        expected = functional.affine_grid(
            torch.tensor(theta.astype(dtype)), [2, 1, 4, 5], bool(aligned)
        )

        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, rtol=1e-5 if dtype == np.float32 else 1e-14)


VOLUME = np.zeros((1, 1, 2, 2, 2))
IMAGE, GRID = np.zeros((2, 1, 3, 3)), np.zeros((2, 2, 2, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: GridSample("linear"), "mode must be one of 'bilinear'.*received 'linear'"),
        (lambda: GridSample(padding_mode="wrap"), "padding_mode must be one of .*'wrap'"),
        (lambda: GridSample().forward(IMAGE, GRID[:1]), "GridSample: the input must be"),
        (lambda: GridSample().forward(IMAGE, GRID[..., :1]), "the input must be"),
        (lambda: GridSample().forward(IMAGE[0], GRID[0]), "the input must be"),
        (lambda: GridSample().forward(IMAGE[..., :0], GRID), "the input must be"),
        (lambda: GridSample().forward(IMAGE[None], GRID), "the input must be"),
        (lambda: GridSample("bicubic").forward(VOLUME, np.zeros((1, 1, 1, 1, 3))),
         "bicubic is for images"),
        (lambda: AffineGrid((1, 2, 3)), r"size must be \(N, C, H, W\)"),
        (lambda: AffineGrid((1, 2, 3, 0)), "each at least 1"),
        (lambda: AffineGrid((1, 1, 2, 2)).forward(np.zeros((2, 2, 3))), r"must be \(1, 2, 3\)"),
        (lambda: AffineGrid((1, 1, 2, 2, 2)).forward(np.zeros((1, 2, 3))), r"must be \(1, 3, 4\)"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
