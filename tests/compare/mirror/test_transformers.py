"""The public `transformers` library, where it is installed: every architecture of the table."""

from __future__ import annotations

import pytest
import torch

from tests.compare.mirror.public import TABLE

pytest.importorskip("transformers", reason="the models extra is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
MODES = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])


@MODES
@pytest.mark.parametrize("name", TABLE)
def test_a_public_model_has_gradients_in_torch(name: str, training: bool) -> None:
    example = TABLE[name].example(training)
    example.scalar().backward()
    grads = [p.grad for p in example.module.parameters() if p.grad is not None]

    assert sum(p.numel() for p in example.module.parameters()) < 100_000
    assert any(grad.abs().sum() > 0 for grad in grads)
    assert all(torch.isfinite(grad).all() for grad in grads)
