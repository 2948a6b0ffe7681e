"""What a run computes with in the place of tensors that are not its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

__all__ = ["FLOATING", "StandIns"]

FLOATING = {torch.float16, torch.bfloat16, torch.float32, torch.float64}


class StandIns:
    """Puts the run's tensors in the place of others: a loss may close over the user's model.

    Args:
        dtype: the run's: real numbers of another are converted, once each.
        known: the run's own tensor for the id of another one.
    """

    def __init__(self, dtype: torch.dtype, known: Mapping[int, Tensor]) -> None:
        self.dtype, self.known = dtype, known
        self._converted: dict[int, tuple[Tensor, Tensor]] = {}  # with the tensor, to keep its id

    def __call__(self, tree: Any) -> Any:
        """Return arguments with the run's tensors."""
        return tree_map(self._of, tree)

    def _of(self, x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        own = self.known.get(id(x), x)
        if own.dtype not in FLOATING or own.dtype == self.dtype:
            return own
        if id(own) not in self._converted:
            source = own.detach() if own.is_leaf else own  # no gradient is left with the user
            self._converted[id(own)] = (own, source.to(self.dtype))
        return self._converted[id(own)][1]
