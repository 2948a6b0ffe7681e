"""What torch's random operations drew, recorded while a module runs."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Recorder"]


class Recorder(TorchDispatchMode):
    """Keeps what operations under it draw: masks, True where an element is kept, and numbers.

    Both forms of dropout are seen: the fused one, which returns its mask, and the one that fills a
    tensor by `bernoulli_`. `rand` (fractional pooling) gives numbers from 0 to 1.
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
        return found
