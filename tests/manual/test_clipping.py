"""Gradient clipping against torch.nn.utils, at any scale, with planted mistakes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compare.gauge import gauge, gauging
from manual.clipping import clip_grad_norm, clip_grad_value
from torch_ref import optimizers as torch_optimizers

DTYPES = [np.float64, np.float32]
SHAPES = {"0.weight": (4, 3), "0.bias": (4,), "2.weight": (2, 4)}
bound = st.sampled_from([1e-4, 0.1, 1.0, 30.0, 1e4])
many = settings(derandomize=True, deadline=None, max_examples=25)


def gradients(dtype: Any, seed: int, scale: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {k: (scale * rng.normal(size=s)).astype(dtype) for k, s in SHAPES.items()}


def torch_clipped(clip: Callable, grads: dict, limit: float) -> tuple[dict[str, np.ndarray], Any]:
    """Return what torch leaves in `.grad`, and what its function returns."""
    params = []
    for grad in grads.values():
        params.append(torch.nn.Parameter(torch.zeros(grad.shape, dtype=torch.tensor(grad).dtype)))
        params[-1].grad = torch.tensor(grad)
    returned = clip(params, limit)
    clipped = [p.grad.numpy() for p in params if p.grad is not None]
    return dict(zip(grads, clipped, strict=True)), returned


def agrees(ours: dict, theirs: dict) -> bool:
    """Whether every element differs by a few roundings at most."""
    return all(
        np.allclose(ours[k], g, rtol=32 * float(np.finfo(g.dtype).eps), atol=0)
        for k, g in theirs.items()
    )


@pytest.mark.parametrize("dtype", DTYPES)
@many
@given(seed=st.integers(0, 99), exponent=st.integers(-6, 2), limit=bound)
def test_clipping_by_norm_is_torchs(dtype: Any, seed: int, exponent: int, limit: float) -> None:
    grads = gradients(dtype, seed, 10.0**exponent)

    ours, norm = clip_grad_norm(grads, limit)

    theirs, their_norm = torch_clipped(torch_optimizers.clip_grad_norm, grads, limit)
    assert agrees(ours, theirs)
    assert norm == pytest.approx(their_norm.item(), rel=32 * float(np.finfo(dtype).eps))
    assert {g.dtype for g in ours.values()} == {norm.dtype} == {np.dtype(dtype)}


@pytest.mark.parametrize("dtype", DTYPES)
@many
@given(seed=st.integers(0, 99), exponent=st.integers(-6, 2), limit=bound)
def test_clipping_by_value_is_torchs_bitwise(
    dtype: Any, seed: int, exponent: int, limit: float
) -> None:
    grads = gradients(dtype, seed, 10.0**exponent)

    ours = clip_grad_value(grads, limit)

    theirs, _ = torch_clipped(torch_optimizers.clip_grad_value, grads, limit)
    assert {k: g.tobytes() for k, g in ours.items()} == {k: g.tobytes() for k, g in theirs.items()}


def each_norm(grads: dict, limit: float) -> dict:
    return {k: clip_grad_norm({k: g}, limit)[0][k] for k, g in grads.items()}


def norm_of(grads: dict) -> Any:
    return np.sqrt(sum(np.sum(g * g) for g in grads.values()))


NORM_MISTAKES: dict[str, Callable[[dict, float], dict]] = {
    "each tensor on its own": each_norm,
    "without the 1e-6": lambda g, m: {k: v * min(1, m / norm_of(g)) for k, v in g.items()},
    "not clamped at 1": lambda g, m: {k: v * (m / (norm_of(g) + 1e-6)) for k, v in g.items()},
    "squared norm": lambda g, m: {k: v * min(1, m / norm_of(g) ** 2) for k, v in g.items()},
    "sum of norms": lambda g, m: {
        k: v * min(1, m / sum(np.linalg.norm(w) for w in g.values())) for k, v in g.items()
    },
}


@pytest.mark.parametrize("mistake", NORM_MISTAKES)
def test_a_planted_mistake_in_clipping_by_norm_is_caught(mistake: str) -> None:
    grads = gradients(np.float64, 0, 1.0)
    caught = []
    for limit in (0.5, 100.0):
        theirs, _ = torch_clipped(torch_optimizers.clip_grad_norm, grads, limit)
        caught.append(not agrees(NORM_MISTAKES[mistake](grads, limit), theirs))

    assert any(caught)


def test_gradients_within_the_bound_stay_bitwise_and_longer_ones_keep_their_direction() -> None:
    grads = {"w": np.array([3.0, 4.0])}

    same, norm = clip_grad_norm(grads, 5.1)
    shorter, _ = clip_grad_norm(grads, 1.0)

    assert norm == 5.0
    assert same["w"].tolist() == [3.0, 4.0]
    assert shorter["w"] == pytest.approx([0.6, 0.8], rel=1e-6)
    assert shorter["w"][1] / shorter["w"][0] == pytest.approx(4 / 3, rel=1e-15)


@pytest.mark.parametrize(
    ("scale", "dtype"),
    [(1e30, np.float32), (1e-30, np.float32), (1e300, np.float64), (1e-300, np.float64)],
)
def test_the_norm_neither_overflows_nor_vanishes(scale: float, dtype: Any) -> None:
    grads = {
        "a": np.array([3.0, 0.0], dtype) * dtype(scale),
        "b": np.array([4.0], dtype) * dtype(scale),
    }

    _, norm = clip_grad_norm(grads, 1.0)

    assert norm == pytest.approx(5.0 * scale, rel=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_non_finite_gradient_gives_what_torch_gives(bad: float) -> None:
    grads = {"a": np.array([1.0, bad]), "b": np.array([2.0])}

    ours, norm = clip_grad_norm(grads, 1.0)

    theirs, their_norm = torch_clipped(torch_optimizers.clip_grad_norm, grads, 1.0)
    np.testing.assert_equal(float(norm), their_norm.item())
    for key, grad in theirs.items():
        np.testing.assert_array_equal(ours[key], grad)


def test_zero_gradients_no_gradients_and_empty_gradients_have_norm_zero() -> None:
    zero, norm = clip_grad_norm({"w": np.zeros(3)}, 1.0)

    assert norm == 0
    assert zero["w"].tolist() == [0.0, 0.0, 0.0]
    assert clip_grad_norm({}, 1.0) == ({}, 0.0)
    for dtype in (np.float32, np.float64):
        empty, norm = clip_grad_norm({"w": np.zeros((0, 3), dtype)}, 1.0)
        assert norm == 0
        assert empty["w"].shape == (0, 3)
        assert empty["w"].dtype == norm.dtype == dtype


@pytest.mark.parametrize("limit", [1e-3, 1e3])
def test_arguments_are_not_changed_and_results_are_fresh(limit: float) -> None:
    grads = gradients(np.float64, 1, 1.0)
    for grad in grads.values():
        grad.setflags(write=False)

    for clipped in (clip_grad_norm(grads, limit)[0], clip_grad_value(grads, limit)):
        assert list(clipped) == list(grads)
        assert not any(np.shares_memory(clipped[k], grads[k]) for k in grads)


def test_gauge_arrays_run_through_with_the_plain_values() -> None:
    grads = gradients(np.float64, 2, 1.0)
    plain, norm = clip_grad_norm(grads, 0.5)

    with gauging(np.dtype(np.float64)):
        measured, gauged_norm = clip_grad_norm({k: gauge(g) for k, g in grads.items()}, 0.5)
        cut = clip_grad_value({k: gauge(g) for k, g in grads.items()}, 0.5)

    assert gauged_norm.v == norm
    for key, grad in plain.items():
        np.testing.assert_array_equal(measured[key].v, grad)
        assert (measured[key].error > 0).all()
        np.testing.assert_array_equal(cut[key].v, clip_grad_value(grads, 0.5)[key])


@pytest.mark.parametrize("limit", [-1.0, float("nan")])
def test_a_negative_bound_is_an_error(limit: float) -> None:
    with pytest.raises(ValueError, match="clip_grad_norm: max_norm must be at least 0"):
        clip_grad_norm({"w": np.ones(1)}, limit)
    with pytest.raises(ValueError, match="clip_grad_value: clip_value must be at least 0"):
        clip_grad_value({"w": np.ones(1)}, limit)
