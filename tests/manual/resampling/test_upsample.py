"""Upsample: torch's places in every mode, where torch's own backward parts from it, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compare.gauge import gauge, gauging
from manual.resampling.upsample import MODES, Upsample, UpsamplingBilinear2d, UpsamplingNearest2d
from tests.helpers import DTYPES, F32, SEEDS, draw


def beside_torch(arguments: dict[str, Any], x: np.ndarray) -> tuple[tuple, tuple]:
    """Return the output and dx of both sides."""
    leaf, layer = torch.tensor(x, requires_grad=True), Upsample(**arguments)
    y, cache = layer.forward(x)
    theirs = torch.nn.Upsample(**arguments)(leaf)
    assert y.shape == tuple(theirs.shape)
    dy = draw(3, y.shape, x.dtype)
    grad = torch.autograd.grad(theirs, leaf, torch.tensor(dy))[0]
    return (y, layer.backward(dy, cache)[0][0]), (theirs.detach().numpy(), grad.numpy())


@pytest.mark.parametrize("mode", MODES)
@given(
    data=st.data(), dtype=DTYPES, seed=SEEDS, batch=st.integers(0, 2), aligned=st.booleans(),
    sized=st.booleans(), recomputed=st.booleans(),
)  # fmt: skip
@settings(derandomize=True, deadline=None, max_examples=40)
def test_any_sizes_agree_with_torch(
    mode, data, dtype, seed, batch, aligned, sized, recomputed
) -> None:
    axes = data.draw(st.sampled_from(MODES[mode][1]))
    places = data.draw(st.lists(st.integers(1, 7), min_size=axes, max_size=axes))
    arguments: dict[str, Any] = {"mode": mode}
    if mode in ("linear", "bilinear", "trilinear", "bicubic"):
        arguments["align_corners"] = aligned
    if sized:
        whole = st.lists(st.integers(1, 9), min_size=axes, max_size=axes)
        arguments["size"] = tuple(data.draw(whole))
    else:
        factors = st.sampled_from([0.4, 0.7, 1.0, 1.2, 1.5, 2.0, 2.3, 3.1])
        arguments["scale_factor"] = tuple(
            data.draw(st.lists(factors, min_size=axes, max_size=axes))
        )
        arguments["recompute_scale_factor"] = recomputed
        new = [int(n * f) for n, f in zip(places, arguments["scale_factor"], strict=True)]
        assume(min(new) > 0)
        rounded = [
            n * f != m for n, m, f in zip(places, new, arguments["scale_factor"], strict=True)
        ]
        assume(recomputed or mode not in PARTING or not any(rounded))
    (y, dx), (theirs, grad) = beside_torch(arguments, draw(seed, (batch, 2, *places), dtype))

    tolerance = 1e-5 if dtype == F32 else 1e-12
    np.testing.assert_allclose(y, theirs, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(dx, grad, rtol=tolerance, atol=3 * tolerance)
    assert y.dtype == dx.dtype == dtype


PARTING = ("nearest", "bicubic")  # torch's backward leaves out a scale that does not change a size


@pytest.mark.parametrize(
    ("mode", "scale", "shape"),
    [
        ("nearest", 1.3, (1, 1, 3)), ("nearest", 2.3, (1, 1, 3)), ("nearest", 1.2, (1, 1, 3, 1, 1)),
        ("bicubic", 1.2, (1, 1, 3, 4)),
    ],
)  # fmt: skip
def test_the_output_is_torchs_where_its_gradient_is_not_the_derivative(
    mode: str, scale: float, shape: tuple
) -> None:
    x = draw(1, shape)
    scales = (scale,) + (1.0,) * (len(shape) - 3)
    (y, dx), (theirs, grad) = beside_torch({"scale_factor": scales, "mode": mode}, x)
    step, dy = np.zeros(shape), draw(3, y.shape)
    step.flat[0] = 1.0  # y is linear in x
    slope = torch.nn.Upsample(scale_factor=scales, mode=mode)(torch.tensor(step)).numpy()

    np.testing.assert_allclose(y, theirs, rtol=1e-12)
    np.testing.assert_allclose(dx.flat[0], np.sum(slope * dy), rtol=1e-12)
    assert not np.allclose(grad, dx)


@pytest.mark.parametrize(("n", "m"), [(4, 218), (28, 92), (50, 135)])
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_nearest_of_many_places_are_torchs(n, m, axes, mode, dtype) -> None:
    places = (1,) * (axes - 1)
    x = np.arange(n, dtype=dtype).reshape(1, 1, *places, n)
    size = (*places, m)
    theirs = torch.nn.Upsample(size, mode=mode)(torch.tensor(x)).numpy()

    assert np.array_equal(Upsample(size, mode=mode).forward(x)[0], theirs)


def test_corners_that_are_not_aligned_are_rejected() -> None:
    x = draw(1, (1, 1, 3, 4))
    theirs = torch.nn.Upsample(6, mode="bilinear", align_corners=True)(torch.tensor(x)).numpy()

    np.testing.assert_allclose(UpsamplingBilinear2d(6).forward(x)[0], theirs, rtol=1e-12)
    assert not np.allclose(Upsample(6, mode="bilinear").forward(x)[0], theirs)
    assert UpsamplingNearest2d(scale_factor=2).mode == "nearest"


@pytest.mark.parametrize(
    ("arguments", "shape", "message"),
    [
        ({}, None, r"give size or scale_factor, and not both"),
        ({"size": 2, "scale_factor": 2}, None, r"received size=2 and scale_factor=2.0"),
        ({"size": 2, "mode": "cubic"}, None, r"mode must be one of nearest, .*received 'cubic'"),
        ({"size": 2, "align_corners": True}, None, r"align_corners is for the modes linear, bil"),
        ({"size": 2, "recompute_scale_factor": True}, None, r"is for a scale_factor"),
        ({"size": 2, "mode": "linear"}, (1, 1, 2, 2), r"'linear' takes .* with 1 axes of places"),
        ({"size": 2, "mode": "bicubic"}, (1, 1, 2), r"with 2 axes of places"),
        ({"size": (2, 2)}, (1, 1, 2), r"as many as \(2, 2\) has numbers"),
        ({"size": 2}, (2, 2), r"with 1 or 2 or 3 axes"),
        ({"size": 0}, (1, 1, 2), r"must have places, .* for an output of \(0,\)"),
        ({"scale_factor": 0.3}, (1, 1, 2), r"for an output of \(0,\)"),
        ({"size": 2}, (1, 0, 2), r"must have places, received shape \(1, 0, 2\)"),
    ],
)
def test_what_torch_refuses_is_refused(arguments: dict, shape: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"Upsample: .*{message}"):
        Upsample(**arguments).forward(np.ones(shape or (1, 1, 2)))
    with pytest.raises((ValueError, RuntimeError, NotImplementedError)):
        torch.nn.Upsample(**arguments)(torch.ones(shape or (1, 1, 2)))


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("n", [63, 224, 225])
def test_gauged_in_float32_it_counts_places_in_float32(mode: str, n: int) -> None:
    x = np.zeros((1, 1, 8, 8), np.float32)
    x[..., 1::2] = 1.0  # beside zeros a weight's own error shows
    layer = Upsample(size=(n, n), mode=mode)
    y, _ = layer.forward(x)

    with gauging(F32):
        gauged, _ = layer.forward(gauge(x))

    off = np.abs(gauged.v - y) / gauged.tolerance(F32)
    assert off.max() < 0.1
    assert y.dtype == np.float32
