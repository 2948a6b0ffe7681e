"""Mistakes that people make in a convolution's backward: the comparison rejects each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from manual.conv import Conv2d, ConvTranspose2d
from tests.helpers import check_against_own_forward, check_against_torch, draw, set_params
from tests.manual.example_checks import torch_conv

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


def unturned(layer: Any, dy: Any, cache: Any) -> Any:
    """The kernel is not turned in dx."""
    weight = layer.params["weight"][..., ::-1, ::-1]
    return layer.with_params(layer.params | {"weight": weight}).backward(dy, cache)[0][0]


def unfolded(dx: Any) -> Any:
    """What lies beyond the border gives nothing back: the first row has copies there."""
    dx = dx.copy()
    dx[:, :, 1] = 0
    return dx


MISTAKES: dict[str, tuple[type, dict, str, Callable]] = {
    "not turned": (Conv2d, {}, "dx", lambda d, layer, dy, cache: unturned(layer, dy, cache)),
    "not turned, strided": (
        Conv2d, {"stride": 2}, "dx", lambda d, layer, dy, cache: unturned(layer, dy, cache),
    ),
    "cut off at the wrong side": (
        Conv2d, {"kernel_size": 2, "padding": "same"}, "dx", lambda d, *_: np.roll(d, 1, axis=-1),
    ),
    "not folded back": (
        Conv2d, {"padding": 1, "padding_mode": "reflect"}, "dx",
        lambda d, *_: unfolded(d),
    ),
    "groups change places": (
        Conv2d, {"kernel_size": 2, "groups": 2}, "weight", lambda d, *_: d[::-1].copy(),
    ),
    "rows and columns change places": (Conv2d, {}, "weight", lambda d, *_: d.swapaxes(2, 3)),
    "mean over the batch": (Conv2d, {}, "bias", lambda d, *_: d / 2),
    "transposed, not turned": (
        ConvTranspose2d, {"stride": 2}, "dx",
        lambda d, layer, dy, cache: unturned(layer, dy, cache),
    ),
    "transposed, channels change places": (
        ConvTranspose2d, {}, "weight", lambda d, *_: d.swapaxes(0, 1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_rejected_by_both_checks(name: str) -> None:
    cls, more, which, change = MISTAKES[name]

    class Wrong(cls):  # type: ignore[misc,valid-type]
        def backward(self, dy: Any, cache: Any) -> tuple:
            right = set_params(cls(**arguments), 1)
            (dx,), grads = right.backward(dy, cache)
            if which == "dx":
                return (change(dx, right, dy, cache),), grads
            return (dx,), grads | {which: change(grads[which], right, dy, cache)}

    arguments = {"in_channels": 2, "out_channels": 2, "kernel_size": 3} | more
    x = draw(2, (2, 2, 5, 5))
    right, layer = set_params(cls(**arguments), 1), set_params(Wrong(**arguments), 1)
    twin = torch_conv(right)
    check_against_torch(right, twin, [x])

    with pytest.raises(AssertionError, match="gradient of"):
        check_against_torch(layer, twin, [x])
    with pytest.raises(AssertionError, match="gradient of"):
        check_against_own_forward(layer, [x])


def test_same_padding_on_the_wrong_side_is_rejected() -> None:
    class Early(Conv2d):
        def _margins(self):
            return tuple(margin[::-1] for margin in super()._margins())

    layer = set_params(Early(2, 3, 2, padding="same"), 1)

    with pytest.raises(AssertionError, match="output"):
        check_against_torch(
            layer, torch_conv(Conv2d(2, 3, 2, padding="same")), [draw(2, (2, 5, 5))]
        )
