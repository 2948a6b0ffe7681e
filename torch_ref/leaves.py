"""The leaves that a loss depends on: those of somebody else keep the gradients that they have."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from torch_ref.operations import backward_in

__all__ = ["go_back"]


def go_back(loss: Tensor, dtype: torch.dtype, own: Iterable[Tensor]) -> None:
    """Go back from a loss in one floating type; leave gradients with these tensors alone.

    A model or its loss may close over another model's weights.
    """
    known = {id(tensor) for tensor in own}
    others = [(leaf, leaf.grad) for leaf in _leaves(loss) if id(leaf) not in known]
    for leaf, _ in others:
        leaf.grad = None
    try:
        with backward_in(dtype):
            loss.backward()
    finally:
        for leaf, grad in others:
            leaf.grad = grad


def _leaves(loss: Tensor) -> list[Tensor]:
    """Return the leaves that a gradient of this flows to."""
    found, left, seen = [], [loss.grad_fn], set()
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        left += [following for following, _ in node.next_functions]
    return found
