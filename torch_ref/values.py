"""The tensors of a captured run, and their names.

Values have names: `path.operation` in the module that calls, and a module's output is its path.
Whatever no gradient flows through (masks, positions) is data.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_map

from torch_ref.aliases import Aliases, storage
from torch_ref.captured import PackedRefs, Ref, same_generator
from torch_ref.stand_ins import StandIns

__all__ = ["Values", "joined"]

CONSTANT = {"new_zeros", "new_ones", "new_empty", "new_full", "sign", "floor", "round"}


class Values(ABC):
    """Every tensor that a run was seen to compute, by name: its number, and its gradient.

    Args:
        module: whose parameters, buffers and submodules give names.
        dtype: the run's.
        careful: copy every value when it is born, not only before operations known to be in place.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype, careful: bool) -> None:
        self.module, self.dtype, self.careful = module, dtype, careful
        self.values: dict[str, Tensor] = {}  # as they were born
        self.grads: dict[str, Tensor] = {}  # filled by backward
        self.taps: dict[str, Tensor] = {}  # the tensors themselves
        self.data: dict[str, Tensor] = {}
        self.notes: Counter[str] = Counter()
        self.stand_ins = StandIns(dtype, {})
        self.aliases = Aliases()
        self.untold: set[str] = set()  # values of which torch tells no gradient, once closed
        self._names: Counter[str] = Counter()
        self._where: dict[int, str] = {}
        self._version: dict[int, int] = {}
        self._origin: dict[int, str] = {}
        self._keep: list[Any] = []
        self._layouts: dict[int, Any] = {}  # of named tensors: their shapes and strides
        self._paths = [""]
        self._live: set[int] | None = None  # inside a custom Function: what its gradient is of
        self._modules = {id(m): name for name, m in module.named_modules()}
        self._leaves = {id(p): name for name, p in module.named_parameters()}
        self._names.update(name for name, p in module.named_parameters() if p.requires_grad)
        self._buffers = {id(b): name for name, b in module.named_buffers()}

    def name(self, module: nn.Module, path: str) -> None:
        """Give a module beside the model a path, and with it what it holds."""
        for name, inner in module.named_modules():
            self._modules.setdefault(id(inner), f"{path}.{name}" if name else path)
        for name, parameter in module.named_parameters():
            self._leaves.setdefault(id(parameter), f"{path}.{name}")

    @contextmanager
    def at(self, path: str) -> Iterator[None]:
        """Name what is computed here as if a module of this path did it."""
        self._paths.append(path)
        try:
            yield
        finally:
            self._paths.pop()

    def also(self, name: str, known: str) -> None:
        """Let a value of the run be known by a second name."""
        for kept in (self.values, self.grads, self.taps):
            if known in kept:
                kept[name] = kept[known]
        if known in self.untold:
            self.untold.add(name)

    def name_of(self, tensor: Tensor) -> str:
        """Return the name of a value, as the run left it."""
        return self._ref(tensor).name

    def tensor(self, name: str) -> Tensor:
        """Return what is known under a name: a value, data, or a parameter."""
        found = self.values.get(name, self.data.get(name))
        return self.module.get_parameter(name).detach() if found is None else found

    def close(self) -> None:
        """Take note of what only the run itself can tell, before anything is updated in place."""
        self.untold = {name for name in self.values if self._untold(name)}
        owned = {storage(p) for p in self.module.parameters()}
        for name, tensor in self.values.items():
            if storage(tensor) in owned:  # a view of a parameter
                self.values[name] = tensor.clone()
                self.taps.pop(name, None)

    def _untold(self, name: str) -> bool:
        """Return whether torch tells no gradient of a value though one may flow through it.

        Inside a custom Function none is kept; where memory was written into, autograd goes round.
        """
        if name not in self.taps:
            return True
        tap = self.taps[name]
        return self.aliases.tangled(tap) or (self.aliases.written(tap) and name not in self.grads)

    # ── from tensors to names ────────────────────────────────────────────────────────────────────
    def _named(self, name: str) -> str:
        count = self._names[name]
        self._names[name] += 1
        if not count:
            return name
        modules = name in self._modules.values()
        return self._named(f"{name}@{count}") if modules else self._named(f"{name}_{count}")

    def _refs(self, tree: Any) -> Any:
        def ref(x: Any) -> Any:
            if isinstance(x, PackedSequence):
                return PackedRefs(*(self._refs(part) for part in x))
            if isinstance(x, torch.Generator):
                return same_generator(x)
            return self._ref(x) if isinstance(x, Tensor) else x

        return tree_map(ref, tree, is_leaf=lambda x: isinstance(x, PackedSequence))

    def _ref(self, tensor: Tensor) -> Ref:
        known = self._where.get(id(tensor))
        if known is not None:
            if tensor._version != self._version[id(tensor)]:
                return self._changed(known, tensor)
            return Ref(known)
        if id(tensor) in self._leaves and tensor.requires_grad:
            return Ref(self._leaves[id(tensor)])
        return self._datum(tensor)

    def _datum(self, tensor: Tensor) -> Ref:
        """Take a tensor as data: a copy of what it holds now."""
        origin = self._buffers.get(id(tensor)) or self._leaves.get(id(tensor))
        origin = origin or self._origin.get(id(tensor)) or joined(self._paths[-1], "constant")
        foreign = id(tensor) in self.stand_ins.foreign
        if (tensor.requires_grad or foreign) and torch.is_grad_enabled():
            known = "has a gradient, and is no parameter of the model: it was not compared"
            self.notes[f"{origin} {known}"] += 1
        name = self._named(origin)
        self._where[id(tensor)], self._version[id(tensor)] = name, tensor._version
        self._keep.append(tensor)
        self.data[name] = tensor.detach().clone()
        return Ref(name)

    def _changed(self, known: str, tensor: Tensor) -> Ref:
        """Return a value that was changed through others which share its memory."""
        writers = self.aliases.writers_of(tensor)
        if not self._differentiable(tensor) or not writers:
            if self._differentiable(tensor):
                self.notes[f"{known} was changed where nothing could be seen"] += 1
            self._origin.setdefault(id(tensor), known)
            return self._datum(tensor)
        for writer, positions in writers:
            known = self._overwritten(known, writer, positions)
        self._bind(known, tensor)
        return Ref(known)

    @abstractmethod
    def _overwritten(self, known: str, writer: str, positions: Tensor) -> str:
        """Name what a value is after another was written into its memory, at these positions."""

    def _from(self, name: str, tensors: list[Tensor]) -> None:
        """Remember by which name data are to be known, should anything take them."""
        for tensor in tensors:
            if id(tensor) not in self._where and id(tensor) not in self._leaves:
                self._origin[id(tensor)] = name
                self._keep.append(tensor)

    # ── from names to tensors ────────────────────────────────────────────────────────────────────
    def _differentiable(self, tensor: Tensor) -> bool:
        if self._live is not None:
            return id(tensor) in self._live or (id(tensor) in self._leaves and tensor.requires_grad)
        return tensor.requires_grad and torch.is_grad_enabled()

    def _carries(self, name: str, outputs: list[Tensor]) -> bool:
        """Return whether a gradient may flow through what a call returned."""
        if self._live is None:
            return any(t.requires_grad for t in outputs)
        numbers = any(t.is_floating_point() or t.is_complex() for t in outputs)
        return numbers and name not in CONSTANT and not name.endswith("_like")

    def _bind(self, name: str, tensor: Tensor) -> None:
        """Give a tensor a name, keep its value, and wait for its gradient."""
        self._where[id(tensor)], self._version[id(tensor)] = name, tensor._version
        self._keep.append(tensor)
        self.values[name] = tensor.detach().clone() if self.careful else tensor.detach()
        self.aliases.know(tensor)
        layout = tuple(tensor.shape), tensor.stride(), tensor.storage_offset()
        moved = self._layouts.setdefault(id(tensor), layout) != layout
        self._layouts[id(tensor)] = layout
        # inside a custom Function autograd tells nothing; after y.t_() the gradient before it
        if self._live is None and not moved:
            self._tap(name, tensor)

    def _tap(self, name: str, tensor: Tensor) -> None:
        if not tensor.requires_grad:
            return
        self.taps[name] = tensor
        if tensor.is_leaf:
            return  # its .grad has it

        def keep(grad: Tensor | None) -> None:
            if grad is None:
                return
            known = self.grads.get(name)
            self.grads[name] = grad.detach() if known is None else known + grad

        tensor.register_hook(keep)

    def _save(self, tensors: list[Tensor]) -> None:
        """Copy what an operation in place is about to change, under all its names."""
        storages = {storage(t) for t in tensors}
        for kept in (self.values, self.data):
            for name, tensor in kept.items():
                if storage(tensor) in storages:
                    kept[name] = tensor.clone()


def joined(path: str, name: str) -> str:
    """Return a name within a module; dots stand between modules alone."""
    name = name.replace(".", "_")
    return f"{path}.{name}" if path else name
