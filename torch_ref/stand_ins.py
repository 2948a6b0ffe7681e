"""What a run computes with in the place of tensors that are not its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

__all__ = ["StandIns", "like"]

FLOATING = {torch.float16, torch.bfloat16, torch.float32, torch.float64}


def like(dtype: torch.dtype, asked: torch.dtype) -> torch.dtype:
    """Return what stands for a type in a run of another: real for real, complex for complex.

    >>> like(torch.float64, torch.float16), like(torch.float64, torch.complex64)
    (torch.float64, torch.complex128)
    >>> like(torch.float64, torch.int32)
    torch.int32
    """
    if asked.is_complex:
        return dtype.to_complex()
    return dtype if asked in FLOATING else asked


class StandIns:
    """Puts the run's tensors in the place of others: a loss may close over the user's model.

    Args:
        dtype: the run's: numbers of another are converted, once each.
        known: the run's own tensor for the id of another one.
    """

    def __init__(self, dtype: torch.dtype, known: Mapping[int, Tensor]) -> None:
        self.dtype, self.known = dtype, known
        self._converted: dict[int, tuple[Tensor, Tensor]] = {}  # with the tensor, to keep its id
        self.foreign: set[int] = set()  # ids of what stands for somebody else's parameters

    def __call__(self, tree: Any) -> Any:
        """Return arguments with the run's tensors."""
        return tree_map(self._of, tree)

    def _of(self, x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        own = self.known.get(id(x), x)
        if own.dtype == like(self.dtype, own.dtype):
            return own
        if id(own) not in self._converted:
            source = own.detach() if own.is_leaf else own  # no gradient is left with the user
            self._converted[id(own)] = (own, source.to(like(self.dtype, own.dtype)))
            if own.is_leaf and own.requires_grad:
                self.foreign.add(id(self._converted[id(own)][1]))
        return self._converted[id(own)][1]
