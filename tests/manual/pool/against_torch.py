"""MaxPool2d beside torch's: outputs and indices bit for bit, and the gradient."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from manual.pool import MaxPool2d
from tests.helpers import F32, assert_close, draw
from tests.manual.example_checks import first, upstream


def check_against_torch(
    layer: MaxPool2d, x: np.ndarray, dy_of: Callable = draw, rtol: float = 1e-12
) -> None:
    """Compare the output and its indices bit for bit, and dx: a sum where windows overlap."""
    module = torch.nn.MaxPool2d(
        layer.kernel_size, layer.stride, layer.padding, layer.dilation, True, layer.ceil_mode
    )
    leaf = torch.tensor(x, requires_grad=True)
    value, indices = module(leaf)
    y, cache = layer.forward(x)
    dy = dy_of(1, value.shape, x.dtype)
    (expected,) = torch.autograd.grad(value, [leaf], torch.tensor(dy))
    ((dx,), grads) = layer.backward(upstream(y, dy), cache)

    assert first(y).shape == value.shape, "output: another shape"
    assert np.array_equal(first(y), value.detach().numpy()), "output"  # also of infinities
    assert_close("indices", np.array(layer.decisions(cache)), indices.numpy(), 0.0)
    assert_close("gradient of input 0", dx, expected.numpy(), 5e-7 if x.dtype == F32 else rtol)
    assert grads == {}
    if layer.return_indices:
        assert_close("returned indices", y[1], indices.numpy(), 0.0)
