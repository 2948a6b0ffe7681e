"""Mistakes that people make in a convolution's backward: the comparison rejects each of them."""

from __future__ import annotations

import numpy as np
import pytest

from manual.conv import Conv2d
from tests.helpers import check_against_own_forward, check_against_torch, draw, set_params
from tests.manual.example_checks import torch_conv

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


class Unturned(Conv2d):
    """The kernel is not turned in dx."""

    def grad_input(self, dy, weight, shape):
        return super().grad_input(dy, weight[..., ::-1, ::-1], shape)


class Unstrided(Conv2d):
    """The stride is forgotten in dx."""

    def grad_input(self, dy, weight, shape):
        n, o, height, width = dy.shape
        spread = np.zeros((n, o, height * self.stride[0], width * self.stride[1]), dy.dtype)
        spread[:, :, :height, :width] = dy
        return super().grad_input(spread[:, :, :height, :width][..., ::-1], weight, shape)


class Regrouped(Conv2d):
    """The groups change places in dW."""

    def _weight_of(self, dw):
        return super()._weight_of(dw[:, ::-1].copy())


class Shifted(Conv2d):
    """The image's border is cut off at the wrong side."""

    def grad_input(self, dy, weight, shape):
        return np.roll(super().grad_input(dy, weight, shape), 1, axis=-1)


class Unfolded(Conv2d):
    """What lies beyond the border gives nothing back."""

    def grad_input(self, dy, weight, shape):
        dx = super().grad_input(dy, weight, shape).copy()
        (top, _), (left, _) = self.margins
        dx[:, :, :top] = 0
        dx[..., :left] = 0
        return dx


class MeanBias(Conv2d):
    """db is averaged over the batch."""

    def _grads(self, dy, x):
        grads = super()._grads(dy, x)
        return grads | {"bias": grads["bias"] / len(dy)}


class Transposed(Conv2d):
    """Rows and columns of the kernel change places in dW."""

    def _weight_of(self, dw):
        return super()._weight_of(dw).swapaxes(2, 3)


MISTAKES: list[tuple[type[Conv2d], dict]] = [
    (Unturned, {"in_channels": 2, "out_channels": 2, "kernel_size": 3}),
    (Unturned, {"in_channels": 2, "out_channels": 3, "kernel_size": 3, "stride": 2}),
    (Unstrided, {"in_channels": 2, "out_channels": 3, "kernel_size": 3, "stride": 2}),
    (Regrouped, {"in_channels": 2, "out_channels": 2, "kernel_size": 2, "groups": 2}),
    (Shifted, {"in_channels": 2, "out_channels": 3, "kernel_size": 2, "padding": "same"}),
    (Unfolded, {"in_channels": 2, "out_channels": 2, "kernel_size": 3, "padding": 1,
                "padding_mode": "reflect"}),
    (MeanBias, {"in_channels": 2, "out_channels": 3, "kernel_size": 3}),
    (Transposed, {"in_channels": 2, "out_channels": 3, "kernel_size": 3}),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "arguments"), MISTAKES)
def test_mistakes_are_rejected_by_both_checks(wrong: type[Conv2d], arguments: dict) -> None:
    x = draw(2, (2, 2, 5, 5))
    right, layer = set_params(Conv2d(**arguments), 1), set_params(wrong(**arguments), 1)
    check_against_torch(right, torch_conv(right), [x])

    with pytest.raises(AssertionError, match="gradient of"):
        check_against_torch(layer, torch_conv(layer), [x])
    with pytest.raises(AssertionError, match="gradient of"):
        check_against_own_forward(layer, [x])


def test_a_forward_that_turns_the_kernel_is_rejected() -> None:
    class Turned(Conv2d):
        def correlated(self, x, weight):
            return super().correlated(x, weight[..., ::-1, ::-1])

    layer = set_params(Turned(2, 3, 3), 1)

    with pytest.raises(AssertionError, match="output"):
        check_against_torch(layer, torch_conv(layer), [draw(2, (2, 2, 5, 5))])


def test_same_padding_on_the_wrong_side_is_rejected() -> None:
    class Early(Conv2d):
        def _margins(self):
            return tuple(margin[::-1] for margin in super()._margins())

    layer = set_params(Early(2, 3, 2, padding="same"), 1)

    with pytest.raises(AssertionError, match="output"):
        check_against_torch(layer, torch_conv(layer), [draw(2, (2, 2, 5, 5))])
