"""The models of the zoo are what they are meant to be: small, runnable, differentiable."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.compare.mirror.models import MODELS, made

MODES = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])


@pytest.fixture
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@MODES
@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_the_zoo_has_gradients_in_torch(name: str, training: bool, double) -> None:
    example = made(name, training).double()
    example.scalar().backward()
    sizes = [p.numel() for p in example.module.parameters()]
    grads = [p.grad for p in example.module.parameters() if p.grad is not None]

    assert sum(sizes) < 20_000
    assert any(grad.abs().sum() > 0 for grad in grads)
    assert all(torch.isfinite(grad).all() for grad in grads)
