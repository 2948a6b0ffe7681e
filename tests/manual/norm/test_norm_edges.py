"""The norms at their edges: empty batches, refusals, running statistics, torch's conventions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from compare.gauge import gauge, gauging
from manual.norm import RMSNorm, local_response
from manual.registry import LAYERS
from tests.helpers import F32, F64, assert_close, draw
from tests.manual.module_checks import check_module, made

EMPTY = [
    ("BatchNorm1d", {"num_features": 3}, (0, 3)),
    ("BatchNorm1d", {"num_features": 3, "momentum": None}, (2, 3, 0)),
    ("BatchNorm2d", {"num_features": 3}, (0, 3, 2, 2)),
    ("SyncBatchNorm", {"num_features": 3}, (0, 3, 1)),
    ("InstanceNorm3d", {"num_features": 3}, (0, 3, 2, 2, 1)),
    ("GroupNorm", {"num_groups": 1, "num_channels": 3}, (0, 3, 4)),
    ("RMSNorm", {"normalized_shape": 3}, (0, 3)),
    ("LocalResponseNorm", {"size": 2}, (0, 3, 4)),
]


@pytest.mark.parametrize(("name", "arguments", "shape"), EMPTY, ids=str)
def test_an_empty_batch_has_torchs_results_and_moves_no_statistics(
    name: str, arguments: dict, shape: tuple
) -> None:
    layer = made(LAYERS[name], arguments, 1, F64, True)

    check_module(layer, name, arguments, np.zeros(shape), passes=2)


STATISTICS = {"track_running_stats": True, "num_features": 3}


@pytest.mark.parametrize("momentum", [0.1, 0.75])
@pytest.mark.parametrize("shape", [(4, 3, 5), (3, 5)])
def test_instance_norms_statistics_are_torchs_over_several_passes(
    momentum: float, shape: tuple
) -> None:
    arguments = {**STATISTICS, "momentum": momentum, "affine": True}
    layer = made(LAYERS["InstanceNorm1d"], arguments, 1, F64, True)

    check_module(layer, "InstanceNorm1d", arguments, draw(2, shape), passes=4, scale=8.0)


def test_statistics_of_the_whole_batch_are_not_instance_norms() -> None:
    x = draw(2, (4, 3, 5))
    layer = LAYERS["InstanceNorm1d"](**STATISTICS)
    moved = layer.next_buffers(layer.forward(x)[1])

    assert_close("variance", moved["running_var"], 0.9 + 0.1 * x.var(2, ddof=1).mean(0), 1e-14)
    assert not np.allclose(moved["running_var"], 0.9 + 0.1 * x.var((0, 2), ddof=1))
    assert moved["num_batches_tracked"] == 0


def test_without_a_momentum_instance_norm_keeps_its_statistics() -> None:
    layer = LAYERS["InstanceNorm1d"](**STATISTICS, momentum=None)

    assert layer.next_buffers(layer.forward(draw(1, (2, 3, 4)))[1]) == layer.buffers


@pytest.mark.parametrize("name", ["BatchNorm1d", "SyncBatchNorm"])
def test_vectors_are_normalised_as_sequences_of_one(name: str) -> None:
    layer, x, dy = (
        made(LAYERS[name], {"num_features": 3}, 1, F64, True),
        draw(1, (4, 3)),
        draw(2, (4, 3)),
    )
    y, cache = layer.forward(x)
    long, other = layer.forward(x[:, :, None])
    (dx,), grads = layer.backward(dy, cache)
    (dx_,), grads_ = layer.backward(dy[:, :, None], other)

    assert_close("y", y, long[:, :, 0], 1e-14)
    assert_close("dx", dx, dx_[:, :, 0], 1e-13)
    assert_close("weight", grads["weight"], grads_["weight"], 1e-14)
    with pytest.raises(AssertionError, match="off by"):
        assert_close("y", y, layer.forward(x[::-1])[0], 1e-14)


@pytest.mark.parametrize("dtype", [F64, F32])
def test_rms_norm_takes_the_spacing_of_its_inputs_own_numbers(dtype: np.dtype) -> None:
    x, layer = np.array([[1e-4, 0, 0]], dtype), LAYERS["RMSNorm"](3)
    y = layer.with_params({"weight": np.ones(3, dtype)}).forward(x)[0]
    expected = torch.nn.RMSNorm(3).to(getattr(torch, dtype.name))(torch.tensor(x)).detach().numpy()

    assert_close("y", y, expected, 1e-6)
    other = LAYERS["RMSNorm"](3, eps=float(np.finfo(F32 if dtype == F64 else F64).eps))
    assert abs(other.forward(x)[0] - expected).max() > 0.1


# ── CrossMapLRN2d, whose gradient in torch is no derivative ──────────────────────────────────────
@pytest.mark.parametrize(("size", "channels"), [(3, 2), (3, 5), (5, 6), (4, 4)])
def test_torchs_cross_map_gradient_is_reproduced_and_is_not_the_derivative(
    size: int, channels: int
) -> None:
    arguments = {"size": size, "alpha": 1.0}
    layer, x = LAYERS["CrossMapLRN2d"](**arguments), draw(1, (2, channels, 1, 2))
    dy, step = draw(3, x.shape), 1e-6
    check_module(layer, "CrossMapLRN2d", arguments, x, scale=1.0)
    ((dx,), _) = layer.backward(dy, layer.forward(x)[1])
    moved = np.zeros_like(x)
    moved[0, 0, 0, 0] = step
    slope = np.sum(dy * (layer.forward(x + moved)[0] - layer.forward(x - moved)[0])) / (2 * step)

    assert abs(dx[0, 0, 0, 0] - slope) > 1e-3


def test_a_running_sum_that_drops_every_channel_is_not_torchs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = local_response.running
    monkeypatch.setattr(local_response, "running", lambda a, b, c, first=0: right(a, b, c))
    layer = LAYERS["CrossMapLRN2d"](3, alpha=1.0)

    with pytest.raises(AssertionError, match="off by"):
        check_module(layer, "CrossMapLRN2d", {"size": 3, "alpha": 1.0}, draw(1, (2, 5, 1, 2)))


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────
INPUTS = [
    ("BatchNorm1d", {"num_features": 3}, (3,), r"must be \(N, C\) or \(N, C, L\)"),
    ("BatchNorm1d", {"num_features": 3}, (4, 2), "num_features = 3, received shape"),
    ("BatchNorm3d", {"num_features": 3}, (4, 3, 2, 2), r"must be \(N, C, D, H, W\)"),
    ("BatchNorm3d", {"num_features": 3}, (1, 3, 1, 1, 1), "more than one value per channel"),
    ("SyncBatchNorm", {"num_features": 3}, (3,), r"must be \(N, C, …\)"),
    ("InstanceNorm1d", {"num_features": 3}, (4,), r"must be \(N, C, L\) or \(C, L\)"),
    ("InstanceNorm1d", {"num_features": 3}, (3, 1), "more than one value per channel"),
    ("InstanceNorm2d", {"num_features": 3, "affine": True}, (2, 4, 4), "input of 2 channels"),
    ("InstanceNorm1d", {"num_features": 3, "affine": True}, (0, 3, 4), "at least one instance"),
    ("BatchNorm1d", {"num_features": 3, "affine": False}, (4, 2), "num_features = 3"),
    ("GroupNorm", {"num_groups": 2, "num_channels": 4}, (4,), r"must be \(N, C, …\)"),
    ("GroupNorm", {"num_groups": 2, "num_channels": 4}, (1, 6, 2), "num_channels = 4"),
    ("GroupNorm", {"num_groups": 4, "num_channels": 4}, (1, 4), "one element of one sample"),
    ("RMSNorm", {"normalized_shape": 3}, (1, 4), r"must end in normalized_shape = \(3,\)"),
    ("LocalResponseNorm", {"size": 2}, (2, 4), "at least three axes"),
    ("CrossMapLRN2d", {"size": 2}, (2, 4, 3), r"must be \(N, C, H, W\)"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "shape", "message"), INPUTS, ids=str)
@pytest.mark.filterwarnings("ignore:input's size at dim")
def test_an_input_that_torch_refuses_is_refused_by_name(
    name: str, arguments: dict, shape: tuple, message: str
) -> None:
    with pytest.raises((ValueError, RuntimeError, IndexError)):
        getattr(torch.nn, name)(**arguments)(torch.ones(shape))
    with pytest.raises(ValueError, match=f"{name}: .*{message}"):
        LAYERS[name](**arguments).forward(np.ones(shape))


@pytest.mark.parametrize(
    ("name", "options", "training", "shape"),
    [
        ("BatchNorm1d", {"affine": False, "track_running_stats": False}, True, (4, 2)),
        ("SyncBatchNorm", {"affine": False, "track_running_stats": False}, False, (4, 2, 5)),
        ("InstanceNorm1d", {"track_running_stats": True}, False, (0, 3, 4)),
        ("InstanceNorm2d", {"track_running_stats": True}, False, (0, 3, 4, 2)),
        ("InstanceNorm1d", {}, True, (0, 3, 4)),
    ],
    ids=str,
)
def test_what_torch_lets_pass_passes(
    name: str, options: dict, training: bool, shape: tuple
) -> None:
    x = torch.tensor(np.random.default_rng(0).normal(size=shape))
    theirs = getattr(torch.nn, name)(3, **options).double().train(training)(x)
    layer = LAYERS[name](3, **options).train(training)
    y, cache = layer.forward(x.numpy())

    assert np.allclose(y, theirs.numpy(), rtol=1e-12)
    assert y.shape == layer.backward(y, cache)[0][0].shape == shape
    assert layer.next_buffers(cache).keys() == layer.buffers.keys()


def test_an_empty_batch_does_not_make_running_statistics_nan() -> None:
    options: dict = {"num_features": 3, "track_running_stats": True}
    theirs = torch.nn.InstanceNorm1d(**options)
    theirs(torch.ones(0, 3, 4))

    assert theirs.running_mean.isnan().all()  # type: ignore[union-attr]
    with pytest.raises(ValueError, match=r"InstanceNorm1d: .*at least one instance"):
        LAYERS["InstanceNorm1d"](**options).forward(np.ones((0, 3, 4)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LAYERS["GroupNorm"](3, 4), "GroupNorm: num_groups must .* divide num_channels"),
        (lambda: LAYERS["GroupNorm"](0, 4), "received num_groups=0"),
        (lambda: LAYERS["RMSNorm"]([]), "RMSNorm: normalized_shape must hold the sizes"),
        (lambda: LAYERS["LocalResponseNorm"](0), "LocalResponseNorm: size .* at least 1"),
        (lambda: LAYERS["CrossMapLRN2d"](1), "CrossMapLRN2d: size .* at least 2"),
        (lambda: LAYERS["BatchNorm1d"](3, eps=-1.0).train(False).forward(np.ones((2, 3))), "eps"),
    ],
)
def test_bad_arguments_are_named(make: Callable, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_without_an_eps_a_float32_run_is_gauged_with_float32s() -> None:
    """Rows of about 1e-6: their mean square is far below float32's epsilon, not float64's."""
    x = np.array([[1.5e-6, -2e-6, 5e-7]], np.float32)
    layer = RMSNorm(3)
    plain, _ = layer.forward(x)
    with gauging(F32):
        gauged, _ = layer.forward(gauge(x))

    assert (np.abs(gauged.v - plain) <= gauged.tolerance(F32)).all()
    assert gauged.v.max() < 0.01
