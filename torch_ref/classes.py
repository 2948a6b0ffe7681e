"""Every module by its class's name: torch.nn's own, and what torch lacks, in torch operations."""

from __future__ import annotations

from torch import nn

from torch_ref import gates, layers, losses, memory, moves, recurrent


def module_class(name: str) -> type[nn.Module]:
    """Return torch.nn's class of this name, or ours where torch has none (or no `lengths`).

    Raises:
        AttributeError: nobody has such a class.
    """
    for ours in (layers, losses, gates, moves, memory, recurrent):
        if name in vars(ours):
            return getattr(ours, name)
    return getattr(nn, name)
