"""Lazy layers: what they become, with torch's arguments and modes, and what they refuse."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from manual import registry
from manual.lazy import LazyConv2d, LazyInstanceNorm1d, LazyLinear

CONV = {"out_channels": 3, "kernel_size": 2, "bias": False}
OPTIONS = {"Linear": {"out_features": 3}, "Conv": CONV, "Norm": {"eps": 0.5}}


@pytest.mark.parametrize("name", registry.LAZY)
@pytest.mark.parametrize("training", [True, False])
def test_it_becomes_what_torchs_becomes(name: str, training: bool) -> None:
    options: Any = next(given for part, given in OPTIONS.items() if part in name)
    x = np.ones((2, 4, *[5] * int(name[-2] if name[-1] == "d" else 1)))
    layer = registry.LAZY[name](**options).train(training).for_input(x)
    twin = getattr(nn, name)(**options).double().train(training)
    twin(torch.tensor(x))

    assert type(layer).__name__ == type(twin).__name__
    assert repr(layer) == repr(twin).replace("in_features=", "").replace("out_features=", "")
    assert layer.training == training
    shapes = {k: tuple(v.shape) for k, v in twin.state_dict().items()}
    assert {k: np.shape(v) for k, v in (*layer.params.items(), *layer.buffers.items())} == shapes


@pytest.mark.parametrize("name", registry.LAZY)
def test_its_arguments_are_torchs(name: str) -> None:
    def of(cls: type) -> dict[str, Any]:
        parameters = inspect.signature(cls).parameters.items()
        return {k: p.default for k, p in parameters if k not in ("device", "dtype")}

    assert list(of(registry.LAZY[name]).items()) == list(of(getattr(nn, name)).items())


def test_one_sample_without_a_batch_has_its_channels_in_front() -> None:
    assert LazyConv2d(3, 2).for_input(np.ones((4, 5, 6))).params["weight"].shape == (3, 4, 2, 2)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(TypeError, match="LazyConv2d has no argument 'in_channels'"):
        LazyConv2d(3, 2, in_channels=4)
    with pytest.raises(TypeError, match="missing a required argument: 'kernel_size'"):
        LazyConv2d(3)
    with pytest.raises(ValueError, match=r"LazyLinear: .*decides in_features.*received shape \(\)"):
        LazyLinear(3).for_input(np.array(1.0))
    with pytest.raises(ValueError, match="decides num_features"):
        LazyInstanceNorm1d().for_input(np.ones(3))
