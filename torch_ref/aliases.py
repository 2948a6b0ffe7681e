"""Tensors that share memory: where a write through one shows in the others."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Aliases", "storage"]


class Aliases:
    """Knows who wrote into the memory of a run's tensors, and since when each tensor is known."""

    def __init__(self) -> None:
        self._writers: dict[int, list[tuple[Tensor, str]]] = {}
        self._known: dict[int, int] = {}
        self._sharing: dict[int, set[int]] = {}

    def know(self, tensor: Tensor) -> None:
        """Take note that a tensor's value is known as it is now."""
        self._sharing.setdefault(storage(tensor), set()).add(id(tensor))
        self._known[id(tensor)] = len(self._writers.get(storage(tensor), ()))

    def wrote(self, tensor: Tensor, value: str) -> None:
        """Take note that a tensor was changed in place, and which value it has since."""
        seen = tensor.detach()  # its shape and place: the tensor itself may be changed again
        self._writers.setdefault(storage(tensor), []).append((seen, value))

    def tangled(self, tensor: Tensor) -> bool:
        """Return whether several tensors share this one's memory, and one of them was changed.

        Autograd then sends gradients through the memory, not through the values that were read.
        """
        place = storage(tensor)
        return place in self._writers and len(self._sharing[place]) > 1

    def written(self, tensor: Tensor) -> bool:
        """Return whether anything was written into a tensor's memory."""
        return storage(tensor) in self._writers

    def writers_of(self, tensor: Tensor) -> list[tuple[str, Tensor]]:
        """Return what was written where a tensor is, since its value was known.

        Each with positions in the flat writer, in this tensor's shape; -1 where it did not write.
        """
        written = self._writers.get(storage(tensor), [])[self._known.get(id(tensor), 0) :]
        found = ((value, positions(tensor, seen)) for seen, value in written)
        return [(value, places) for value, places in found if bool((places >= 0).any())]


def positions(tensor: Tensor, writer: Tensor) -> Tensor:
    """Return for each element of a tensor its flat position in another one, -1 where it has none.

    >>> x = torch.zeros(2, 2)
    >>> positions(x, x[1])
    tensor([[-1, -1],
            [ 0,  1]])
    """
    size = writer.untyped_storage().nbytes() // writer.element_size()
    places = torch.full((size,), -1)
    _seen(places, writer).copy_(torch.arange(writer.numel()).reshape(writer.shape))
    return _seen(places, tensor).clone()


def _seen(storage: Tensor, tensor: Tensor) -> Tensor:
    return storage.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())


def storage(tensor: Tensor) -> int:
    """Return where a tensor's memory begins."""
    return tensor.untyped_storage().data_ptr()
