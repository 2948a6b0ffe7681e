"""A torch model as somebody wrote it, and what to call it with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

Loss = Callable[..., Tensor]


class Example(NamedTuple):
    """A module, the arguments of its forward, and the loss of its output; None: it has its own."""

    module: nn.Module
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    loss: Loss | None = None

    def double(self) -> Example:
        """Return the example in float64 (`Module.to` would cut complex buffers to real ones)."""
        args, kwargs = tree_map_only(Tensor, _double, (self.args, self.kwargs))
        return Example(self.module.double(), args, kwargs, self.loss)

    def scalar(self) -> Tensor:
        """Run the model once: its loss, or the sum of squares of what it returns."""
        output = self.module(*self.args, **self.kwargs)
        return self.loss(output) if self.loss else total(output)


def _double(tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    return tensor.detach().double().requires_grad_(tensor.requires_grad)


Maker = Callable[[], Example]


def total(output: Any) -> Tensor:
    """Return a scalar that depends on everything differentiable in an output."""
    if hasattr(output, "loss") and output.loss is not None:
        return output.loss
    if isinstance(output, Tensor):
        return output.abs().square().sum() if output.requires_grad else output.new_zeros(())
    if not isinstance(output, (tuple, list, type(None))):
        output = list((output if isinstance(output, dict) else vars(output)).values())
    return sum((total(part) for part in output or ()), torch.zeros(()))


def tokens(*shape: int, vocabulary: int = 17) -> Tensor:
    return torch.randint(vocabulary, shape)


def next_token(targets: Tensor) -> Loss:
    """Cross-entropy of (batch, time, vocabulary) against the token that comes next."""
    return lambda logits: nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten()
    )


def classes(count: int, number: int = 3) -> Loss:
    """Cross-entropy of (count, number) against the classes 0, 1, … in turn."""
    return lambda logits: nn.functional.cross_entropy(logits, torch.arange(count) % number)
