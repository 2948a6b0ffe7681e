"""Dropouts of channels and SELU's: torch's masks under a seed, their shapes, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from manual.dropout import (
    AlphaDropout,
    Dropout,
    Dropout1d,
    Dropout2d,
    Dropout3d,
    FeatureAlphaDropout,
)
from manual.layer import Layer
from tests.helpers import F32
from torch_ref.hybrid import as_torch
from torch_ref.network import Network

pytestmark = pytest.mark.filterwarnings("ignore:dropout2d. Received a 3D input")
SHAPES: list[tuple[type[Layer], tuple, tuple]] = [  # of the input, and of its mask
    (Dropout, (3, 4), (3, 4)),
    (Dropout, (), ()),
    (Dropout1d, (2, 3, 4), (2, 3, 1)),
    (Dropout1d, (3, 4), (1, 3, 1)),
    (Dropout2d, (2, 3, 4, 5), (2, 3, 1, 1)),
    (Dropout2d, (2, 3, 4), (2, 3, 1)),
    (Dropout3d, (2, 3, 1, 4, 2), (2, 3, 1, 1, 1)),
    (Dropout3d, (3, 2, 4, 2), (1, 3, 1, 1, 1)),
    (AlphaDropout, (3, 4), (3, 4)),
    (FeatureAlphaDropout, (2, 3), (2, 3)),
    (FeatureAlphaDropout, (2, 3, 4, 2), (2, 3, 1, 1)),
]


@pytest.mark.parametrize(("cls", "shape", "mask"), SHAPES)
def test_under_autograd_torchs_own_masks_are_drawn(
    cls: type[Layer], shape: tuple, mask: tuple
) -> None:
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    found = []
    for module in (as_torch(cls(p=0.4)), getattr(nn, cls.__name__)(p=0.4)):  # type: ignore[call-arg]
        torch.manual_seed(11)
        y = module(x)
        found.append((y, *torch.autograd.grad(y.sum(), x)))

    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-14, atol=1e-14)
    assert cls().draw(np.ones(shape), rng=np.random.default_rng(0)).shape == mask


@pytest.mark.parametrize(("cls", "shape", "mask"), SHAPES[2:])
def test_a_network_of_torch_tells_its_masks(cls: type[Layer], shape: tuple, mask: tuple) -> None:
    for p in (0.0, 0.4, 1.0):
        node: Any = type("Node", (), {"name": "d", "type": cls.__name__, "args": {"p": p},
                                      "inputs": ("input",)})()  # fmt: skip
        network = Network([node])
        x = torch.randn(shape, dtype=torch.float64)
        y = network(x)
        noise: Any = network.noise["d"]
        mine, _ = cls(p=p).forward(x.numpy(), noise=noise.numpy())  # type: ignore[call-arg]

        np.testing.assert_allclose(mine, y.numpy(), rtol=1e-14, atol=1e-14)
        if p == 0.4:
            assert tuple(noise.shape) == mask
            other = ~noise.numpy()
            wrong, _ = cls(p=p).forward(x.numpy(), noise=other)  # type: ignore[call-arg]
            assert not np.allclose(wrong, y.numpy())


def test_a_mask_of_channels_is_not_one_of_elements() -> None:
    x = np.ones((2, 3, 4))
    y, _ = Dropout1d().forward(x, noise=np.eye(2, 3)[..., None])

    assert y[:, :, 0].tolist() == [[2, 0, 0], [0, 2, 0]]
    assert np.ptp(y, axis=2).max() == 0


@pytest.mark.parametrize("cls", [AlphaDropout, FeatureAlphaDropout])
def test_mean_and_variance_stay(cls: type[Layer]) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 500))
    y, _ = cls(p=0.3).forward(x, noise=cls(p=0.3).draw(x, rng=rng))  # type: ignore[call-arg]

    assert abs(y.mean()) < 0.01
    assert abs(y.var() - 1) < 0.01
    assert abs(Dropout(0.3).forward(x, noise=rng.random(x.shape) > 0.3)[0].var() - 1) > 0.1


def test_float32_stays() -> None:
    y, cache = AlphaDropout(0.5).forward(np.ones(3, F32), noise=np.array([1.0, 0, 1]))
    (dx,), _ = AlphaDropout(0.5).backward(np.ones(3, F32), cache)

    assert y.dtype == dx.dtype == F32


@pytest.mark.parametrize(
    ("cls", "shape"),
    [(Dropout1d, (3,)), (Dropout1d, (1, 2, 3, 4)), (Dropout2d, (2, 3)), (Dropout2d, (1,) * 5),
     (Dropout3d, (2, 3, 4)), (FeatureAlphaDropout, (3,))],
)  # fmt: skip
def test_inputs_without_channels_are_refused(cls: type[Layer], shape: tuple) -> None:
    with pytest.raises(ValueError, match=f"{cls.__name__}: the input must have .* axes"):
        cls().forward(np.ones(shape), noise=np.ones(shape))


def test_a_mask_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one number for each channel \(2, 3, 1\), received"):
        Dropout1d().forward(np.ones((2, 3, 4)), noise=np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"probability of dropping a channel .* received 1\.5"):
        Dropout2d(1.5)
