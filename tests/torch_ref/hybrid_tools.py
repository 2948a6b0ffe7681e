"""What the tests of `as_torch` share: float64 tensors, a gradient that is there, a small layer."""

from __future__ import annotations

from typing import Any

import torch

import manual
from manual.graph import Layer
from tests.helpers import set_params

F64 = torch.float64


def tensor(array: Any, **options: Any) -> torch.Tensor:
    return torch.tensor(array, dtype=F64, **options)


def grad(leaf: Any) -> torch.Tensor:
    assert leaf.grad is not None
    return leaf.grad


def linear() -> Layer:
    return set_params(manual.Linear(3, 2), 1)
