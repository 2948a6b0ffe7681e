"""What torch's random operations drew: recorded while a module runs, or given to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Recorder", "Replay", "drawn_by_none"]


IN_KERNEL = (  # draw inside a kernel of the GPU's libraries, and return no mask
    "_cudnn_rnn", "miopen_rnn", "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention",
)  # fmt: skip


class NotRecordableError(RuntimeError):
    """An operation drew where nobody can see it; its text says which, and what to do."""


class Recorder(TorchDispatchMode):
    """Keeps what operations under it draw: masks, True where something is kept, and numbers.

    Both forms of dropout are seen: the fused one, which returns its mask, and the one that fills a
    tensor by `bernoulli_`; RReLU, which writes the slopes that it drew; and `rand` (fractional
    pooling), which gives numbers from 0 to 1.

    Raises:
        NotRecordableError: a GPU's kernel draws inside (cuDNN's LSTM and GRU between their layers,
            fused attention).
    """

    def __init__(self) -> None:
        super().__init__()
        self.draws: list[Tensor] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Run the operation, and keep what it drew."""
        name = func.overloadpacket.__name__
        if name in IN_KERNEL:
            refuse_draws_in_kernel(func, args, kwargs or {})
        found = func(*args, **(kwargs or {}))
        if name == "native_dropout":
            self.draws.append(found[1].clone() != 0)
        elif name == "rand":
            self.draws.append(found.clone())
        elif name.startswith("bernoulli"):
            self.draws.append(found.clone() != 0)
        elif _draws_slopes(name, args):
            self.draws.append(args[1].clone())
        return found


def refuse_draws_in_kernel(func: Any, args: tuple, kwargs: dict) -> None:
    """Refuse an operation of `IN_KERNEL` that drops anything.

    Raises:
        NotRecordableError: it does.
    """
    names = [argument.name for argument in func._schema.arguments]
    given = dict(zip(names, args, strict=False)) | kwargs
    p = given.get("dropout", given.get("dropout_p", 0.0))
    if p and given.get("train", True):
        raise NotRecordableError(
            f"{func.overloadpacket.__name__} draws its dropout (p = {p:g}) inside the GPU's "
            "kernel, where it cannot be recorded and given to the other side. Set that dropout "
            "to 0, or run on the CPU."
        )


class Replay(TorchDispatchMode):
    """Gives operations under it other draws than their own: those of another side.

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
        name = func.overloadpacket.__name__
        if name in IN_KERNEL:
            refuse_draws_in_kernel(func, args, kwargs or {})
        x: Any = args[0].clone() if name == "rrelu_with_noise_" else args[0] if args else None
        found = func(*args, **(kwargs or {}))
        if name == "native_dropout" and args[2] is not False:
            mask = self.draws.pop(0).reshape(found[1].shape)
            found[1].copy_(mask)
            found[0].copy_(args[0] * mask * (1 / (1 - args[1]) if args[1] < 1 else 0.0))
        elif name.startswith("bernoulli"):
            found.copy_(self.draws.pop(0).reshape(found.shape))
        elif name == "rand":
            found.copy_(self.draws.pop(0))
        elif _draws_slopes(name, args):
            args[1].copy_(torch.where(x > 0, 1, self.draws.pop(0)))
            found.copy_(x * args[1])
        return found


def _draws_slopes(name: str, args: tuple) -> bool:
    """Return whether this is an RReLU in training, in place or not."""
    return name.removesuffix("_") == "rrelu_with_noise" and args[4:5] == (True,)


def drawn_by_none(module: nn.Module, y: Tensor) -> list[Tensor]:
    """Return the mask of a dropout whose p of 0 or 1 leaves nothing to draw, in a list."""
    if not isinstance(module, nn.modules.dropout._DropoutNd):
        return []
    return [torch.full_like(y, module.p != 1, dtype=torch.bool)]
