"""The torch side: stock torch.nn modules, losses and optimisers, with taps on every node."""

from __future__ import annotations

from torch_ref.hybrid import as_torch

__all__ = ["as_torch"]
