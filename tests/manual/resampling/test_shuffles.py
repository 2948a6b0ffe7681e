"""PixelShuffle, PixelUnshuffle, ChannelShuffle: torch's order, each other's inverse, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from manual.resampling.shuffles import ChannelShuffle, PixelShuffle, PixelUnshuffle
from tests.helpers import draw

CASES = [
    (PixelShuffle(2), (4, 3, 5)), (PixelShuffle(3), (2, 1, 18, 2, 1)), (PixelShuffle(1), (2, 3, 3)),
    (PixelUnshuffle(2), (3, 4, 2)), (PixelUnshuffle(3), (2, 1, 2, 3, 6)),
    (ChannelShuffle(2), (1, 6, 3)), (ChannelShuffle(3), (2, 6, 1, 2, 2)),
    (PixelShuffle(2), (0, 4, 2, 2)),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "shape"), CASES, ids=str)
def test_elements_go_where_torch_puts_them_and_back(layer: Any, shape: tuple) -> None:
    x = draw(1, shape)
    y, cache = layer.forward(x)
    twin = getattr(torch.nn, type(layer).__name__)(*vars(layer).values())

    assert np.array_equal(y, twin(torch.tensor(x)))
    assert np.array_equal(layer.backward(y, cache)[0][0], x)
    assert repr(layer) == repr(twin)


def test_channels_in_another_order_are_rejected() -> None:
    x = draw(1, (1, 8, 2, 3))
    wrong = x.reshape(1, 2, 2, 2, 2, 3).transpose(0, 3, 4, 1, 5, 2).reshape(1, 2, 4, 6)

    assert not np.array_equal(wrong, torch.nn.PixelShuffle(2)(torch.tensor(x)))


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (
            PixelShuffle(0),
            (4, 2, 2),
            r"PixelShuffle: upscale_factor must be at least 1, received 0",
        ),
        (PixelShuffle(2), (6, 2, 2), r"must be \(\*, C · 4, H, W\), received shape \(6, 2, 2\)"),
        (PixelShuffle(2), (4, 2), r"received shape \(4, 2\)"),
        (PixelUnshuffle(2), (1, 3, 2), r"must be \(\*, C, H · 2, W · 2\), received"),
        (PixelUnshuffle(2), (1, 2, 3), r"received shape \(1, 2, 3\)"),
        (PixelUnshuffle(2), (2, 2), r"received shape \(2, 2\)"),
        (ChannelShuffle(4), (1, 6, 2), r"channels that groups = 4 divides, received"),
        (ChannelShuffle(2), (1, 6), r"must be \(N, C, \*\)"),
    ],
)
def test_what_torch_refuses_is_refused(layer: Any, shape: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layer.forward(np.ones(shape))
    with pytest.raises(RuntimeError):
        getattr(torch.nn, type(layer).__name__)(*vars(layer).values())(torch.ones(shape))
