"""What torch's random operations drew: recorded while a module runs, or given to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Recorder", "Replay", "drawn_by_none"]


class Recorder(TorchDispatchMode):
    """Keeps what operations under it draw: masks, True where something is kept, and numbers.

    Both forms of dropout are seen: the fused one, which returns its mask, and the one that fills a
    tensor by `bernoulli_`; RReLU, which writes the slopes that it drew; and `rand` (fractional
    pooling), which gives numbers from 0 to 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.draws: list[Tensor] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Run the operation, and keep what it drew."""
        found = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name == "native_dropout":
            self.draws.append(found[1].clone() != 0)
        elif name == "rand":
            self.draws.append(found.clone())
        elif name.startswith("bernoulli"):
            self.draws.append(found.clone() != 0)
        elif name == "rrelu_with_noise" and args[4:5] == (True,):  # in training
            self.draws.append(args[1].clone())
        return found


class Replay(TorchDispatchMode):
    """Gives operations under it other draws than their own: those of a hand-written layer.

    Args:
        draws: one for each operation that draws, in their order.
    """

    def __init__(self, draws: Sequence[Tensor]) -> None:
        super().__init__()
        self.draws = list(draws)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Run the operation, and put the next draw in the place of its own."""
        found = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name.startswith("bernoulli"):
            found.copy_(self.draws.pop(0).reshape(found.shape))
        elif name == "rand":
            found.copy_(self.draws.pop(0))
        elif name == "rrelu_with_noise" and args[4:5] == (True,):
            args[1].copy_(torch.where(args[0] > 0, 1, self.draws.pop(0)))
            found.copy_(args[0] * args[1])
        return found


def drawn_by_none(module: nn.Module, y: Tensor) -> list[Tensor]:
    """Return the mask of a dropout whose p of 0 or 1 leaves nothing to draw, in a list."""
    if not isinstance(module, nn.modules.dropout._DropoutNd):
        return []
    return [torch.full_like(y, module.p != 1, dtype=torch.bool)]
