"""The pools at their edges: ties, nan, borders, refusals, random windows, back by unpooling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from manual.pool import picks
from manual.registry import LAYERS
from tests.helpers import F32, F64, assert_close, draw, integers
from torch_ref import as_torch
from torch_ref.draws import Recorder


def beside(name: str, arguments: dict, x: np.ndarray, *more: Any) -> None:
    """Compare outputs and the gradient of x with torch's."""
    found = []
    for module in (getattr(torch.nn, name)(**arguments), as_torch(LAYERS[name](**arguments))):
        leaf = torch.tensor(x, requires_grad=True)
        y = module(leaf, *more)
        ports = list(y) if isinstance(y, tuple) else [y]
        ports[0].backward(torch.tensor(draw(3, ports[0].shape, x.dtype)))
        assert leaf.grad is not None
        found.append([*ports, leaf.grad])
    for i, (theirs, mine) in enumerate(zip(*found, strict=True)):
        expected, given = theirs.detach().numpy(), mine.detach().numpy()
        assert given.shape == expected.shape
        few = 1e-5 if x.dtype == F32 else 1e-12
        np.testing.assert_allclose(given, expected, rtol=few, atol=few, err_msg=str(i))


TIES = integers(1, (2, 3, 7, 6))
NAN = np.where(np.random.default_rng(0).random(TIES.shape) < 0.15, np.nan, TIES)
CASES = [
    ("AdaptiveMaxPool2d", {"output_size": (3, 4), "return_indices": True}, TIES),
    ("AdaptiveMaxPool2d", {"output_size": (3, None), "return_indices": True}, NAN),
    ("AdaptiveMaxPool2d", {"output_size": 9}, np.full((1, 2, 3, 4), -np.inf)),
    ("AdaptiveAvgPool2d", {"output_size": (9, 4)}, TIES),
    ("MaxPool1d", {"kernel_size": 3, "stride": 2, "padding": 1, "return_indices": True}, NAN[0]),
    ("AvgPool2d", {"kernel_size": (3,), "stride": (), "padding": (1,)}, TIES),
    ("AvgPool2d", {"kernel_size": 2, "stride": 3, "padding": 1, "ceil_mode": True,
                   "count_include_pad": False}, TIES.astype(F32)),
    ("LPPool2d", {"norm_type": 2, "kernel_size": 2}, np.zeros((1, 1, 4, 4))),
    ("LPPool2d", {"norm_type": 1, "kernel_size": 2, "ceil_mode": True}, TIES),
    ("LPPool2d", {"norm_type": float("inf"), "kernel_size": 2}, TIES),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "x"), CASES, ids=lambda v: str(v)[:40])
def test_ties_nan_and_borders_are_torchs(name: str, arguments: dict, x: np.ndarray) -> None:
    beside(name, arguments, x)


def test_a_pool_whose_last_of_equals_wins_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    right = picks.first_largest
    monkeypatch.setattr(picks, "first_largest", lambda x, p, *rest: right(x, p[::-1], *rest))

    with pytest.raises(AssertionError):
        beside("AdaptiveMaxPool2d", {"output_size": (3, 4), "return_indices": True}, TIES)


# ── power averages ───────────────────────────────────────────────────────────────────────────────
def test_a_negative_sum_has_no_odd_root_and_a_window_that_sticks_out_is_scaled_up() -> None:
    with np.errstate(invalid="ignore"):
        assert np.isnan(LAYERS["LPPool1d"](3, 2).forward(np.array([[-1.0, -2.0]]))[0]).all()
    ones = np.ones((1, 3))
    y = LAYERS["LPPool1d"](1, 2, ceil_mode=True).forward(ones)[0]

    assert y.tolist() == [[2.0, 2.0]]  # not 1: K / f = 2 times its one element
    beside("LPPool1d", {"norm_type": 1, "kernel_size": 2, "ceil_mode": True}, ones)


# ── random windows ───────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("dtype", [F64, F32])
@pytest.mark.parametrize(
    ("axes", "shape", "arguments"),
    [
        (2, (2, 3, 9, 7), {"output_size": (4, 5)}),
        (2, (3, 9, 7), {"output_ratio": (0.5, 0.7)}),
        (2, (1, 2, 6, 6), {"output_size": (1, 4)}),
        (3, (2, 2, 6, 7, 8), {"output_size": (3, 4, 6)}),
    ],
)
def test_torchs_random_numbers_give_torchs_windows(
    axes: int, shape: tuple, arguments: dict, dtype: np.dtype
) -> None:
    name, moved = f"FractionalMaxPool{axes}d", False
    for seed in range(5):
        torch.manual_seed(seed)
        x = torch.tensor(draw(seed, shape, dtype), requires_grad=True)
        with Recorder() as recorder:
            y, indices = getattr(torch.nn, name)(2, **arguments, return_indices=True)(x)
        layer = LAYERS[name](2, **arguments, return_indices=True)
        noise = recorder.draws[0].numpy()
        (mine, where), cache = layer.forward(x.detach().numpy(), noise=noise)
        dy = draw(seed, y.shape, dtype)
        y.backward(torch.tensor(dy))
        assert x.grad is not None

        assert np.array_equal(mine, y.detach().numpy())
        assert np.array_equal(where, indices.numpy())
        assert_close("dx", layer.backward((dy, None), cache)[0][0], x.grad.numpy(), 1e-6)
        assert layer.draw(x.detach().numpy(), rng=np.random.default_rng(0)).shape == noise.shape
        other = layer.forward(x.detach().numpy(), noise=noise[..., ::-1])[0][1]
        moved |= not np.array_equal(other, where)
    assert moved  # by the axes' numbers in another order


@pytest.mark.parametrize("training", [True, False])
def test_a_module_of_random_windows_draws_as_torchs_does(training: bool) -> None:
    x, ys = torch.tensor(draw(1, (3, 9, 7))), []
    theirs = torch.nn.FractionalMaxPool2d(2, output_size=(4, 5))
    for module in (theirs, as_torch(LAYERS["FractionalMaxPool2d"](2, (4, 5)))):
        torch.manual_seed(3)
        ys += [module.train(training)(x), module(x)]

    assert torch.equal(ys[0], ys[2])
    assert torch.equal(ys[1], ys[3])
    assert not torch.equal(ys[0], ys[1])


def test_given_random_numbers_are_a_buffer_and_nothing_is_drawn() -> None:
    layer = LAYERS["FractionalMaxPool2d"](2, 2, _random_samples=np.zeros((1, 1, 2)))

    assert list(layer.buffers) == ["_random_samples"]
    assert not layer.stochastic
    assert LAYERS["FractionalMaxPool2d"](2, 2).stochastic


# ── unpooling ────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("size", [None, (8, 6), (2, 3, 7, 6)], ids=str)
def test_unpooling_of_windows_that_overlap_is_torchs(size: tuple | None) -> None:
    pooled, indices = torch.nn.functional.max_pool2d(
        torch.tensor(draw(1, (2, 3, 7, 5))), 3, 2, 1, return_indices=True
    )
    arguments, leaf = {"kernel_size": 3, "stride": 2, "padding": 1}, pooled.requires_grad_()
    y = torch.nn.MaxUnpool2d(**arguments)(leaf, indices, size)
    dy = draw(2, y.shape)
    y.backward(torch.tensor(dy))
    assert leaf.grad is not None
    layer = LAYERS["MaxUnpool2d"](**arguments)
    mine, cache = layer.forward(pooled.detach().numpy(), indices.numpy(), output_size=size)

    assert np.array_equal(mine, y.detach().numpy())
    assert np.array_equal(as_torch(layer)(pooled, indices, y.shape).detach(), mine)
    assert np.array_equal(as_torch(layer)(pooled, indices, size).detach(), mine)
    assert np.array_equal(layer.backward(dy, cache)[0][0], leaf.grad.numpy())
    assert not np.array_equal(layer.backward(dy[..., ::-1], cache)[0][0], leaf.grad.numpy())


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────
IMAGE = np.ones((1, 1, 3, 3))
PLACES = IMAGE.astype(int)
VOLUME = np.ones((1, 1, 3, 4, 4))
REFUSED: list[tuple[str, Callable, str]] = [
    ("AvgPool2d", lambda c: c(2, divisor_override=0), "must not be 0"),
    ("AvgPool2d", lambda c: c(2, padding=2), "at most half the kernel"),
    ("AvgPool2d", lambda c: c((1, 2, 3)), "one number, or 2"),
    ("AvgPool1d", lambda c: c(4).forward(np.ones((1, 1, 3))), "the padded length has 3"),
    ("AvgPool3d", lambda c: c(2).forward(IMAGE[0]), r"must be \(N, C, D, H, W\)"),
    ("AvgPool3d", lambda c: c(4, padding=1).forward(VOLUME), "no window may be larger"),
    ("LPPool3d", lambda c: c(2, 4, ceil_mode=True).forward(VOLUME), "no window may be larger"),
    ("AdaptiveAvgPool3d", lambda c: c(None), "output_size must be a number, or 3"),
    ("AdaptiveMaxPool2d", lambda c: c(None), "output_size must be a number, or 2"),
    ("LPPool1d", lambda c: c(0, 2), "norm_type .* must not be 0"),
    ("AdaptiveAvgPool1d", lambda c: c(None), "output_size must be a number"),
    ("AdaptiveAvgPool2d", lambda c: c(-1), "none below 1"),
    ("AdaptiveMaxPool2d", lambda c: c((1, 2, 3)), "or 2 of which any may be None"),
    ("AdaptiveMaxPool2d", lambda c: c(2).forward(np.ones((1, 0, 3, 3))), "only the batch"),
    ("MaxUnpool2d", lambda c: c(2).forward(IMAGE, np.full(IMAGE.shape, 36)), "from 0 to 35"),
    ("MaxUnpool2d", lambda c: c(2).forward(IMAGE, np.zeros((1, 3, 3), int)), "input's shape"),
    ("MaxUnpool2d", lambda c: c(2).forward(IMAGE, PLACES, output_size=(9, 9)), "output_size"),
    ("FractionalMaxPool2d", lambda c: c(2), "one of output_size and output_ratio"),
    ("FractionalMaxPool2d", lambda c: c(2, output_ratio=1.5), "output_ratio between 0 and 1"),
    ("FractionalMaxPool2d", lambda c: c(2, 2).forward(IMAGE), "random, also in evaluation"),
    ("FractionalMaxPool2d", lambda c: c(2, 2).forward(IMAGE, noise=np.ones((1, 1, 3))), "shape"),
    ("FractionalMaxPool2d", lambda c: c(2, 3).forward(IMAGE, noise=np.ones((1, 1, 2))), "need at"),
    ("FractionalMaxPool3d", lambda c: c(2, 2).forward(np.ones((1, 1, 3, 3, 3)),
                                                      noise=np.ones((1, 1, 3))), "at least 4"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "call", "message"), REFUSED, ids=[f"{n}: {m}" for n, _, m in REFUSED]
)
def test_what_cannot_be_pooled_is_refused_by_name(name: str, call: Callable, message: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: .*{message}"):
        call(LAYERS[name])


def test_an_infinite_norm_is_a_maximum_whose_windows_may_stick_out() -> None:
    arguments: dict = {"norm_type": float("inf"), "kernel_size": 4, "ceil_mode": True}
    mine, _ = LAYERS["LPPool3d"](**arguments).forward(VOLUME)

    assert np.array_equal(mine, torch.nn.LPPool3d(**arguments)(torch.tensor(VOLUME)).numpy())


def test_only_of_volumes_a_window_may_not_be_larger_than_the_input() -> None:
    for name, x in [("AvgPool2d", VOLUME[0]), ("AvgPool3d", VOLUME)]:
        theirs = getattr(torch.nn, name)(4, padding=1)
        if name == "AvgPool3d":
            with pytest.raises(RuntimeError, match="smaller than kernel"):
                theirs(torch.tensor(x))
        else:
            mine, _ = LAYERS[name](4, padding=1).forward(x)
            assert np.allclose(mine, theirs(torch.tensor(x)).numpy())


@pytest.mark.parametrize("p", [float("inf"), -float("inf")])
def test_the_sign_of_what_won_is_a_decision_of_an_infinite_norm(p: float) -> None:
    x = draw(5, (2, 3, 6), F64)
    layer = LAYERS["LPPool1d"](p, 2)

    def decided(x: np.ndarray) -> Any:
        return layer.decisions(layer.forward(x)[1])

    assert np.array_equal(decided(x), -decided(-x))
    assert not decided(0.0 * x).any()
    largest = LAYERS["MaxPool1d"](2)
    winner = largest.decisions(largest.forward(np.sign(p) * np.abs(x))[1])
    assert np.array_equal(np.abs(decided(x)), winner + 1)
