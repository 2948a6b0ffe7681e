"""What a captured run is made of: calls, what stands in their arguments, custom Functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from inspect import signature
from types import FunctionType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_leaves

__all__ = [
    "CapturedCall",
    "PackedRefs",
    "Passed",
    "Ref",
    "Region",
    "overwritten",
    "paired",
    "same_generator",
    "tensors_of",
]

NORMS = {"batch_norm", "instance_norm"}  # they write into the running statistics that they get
STATISTICS = ("running_mean", "running_var")


@dataclass(frozen=True)
class Ref:
    """Stands for a tensor in a captured call's arguments: the value of this name."""

    name: str


class PackedRefs(NamedTuple):
    """Stands for a PackedSequence; each part is a Ref or None."""

    data: Any
    batch_sizes: Any
    sorted_indices: Any
    unsorted_indices: Any


@dataclass
class Region:
    """A custom autograd.Function that was seen through: its forward's calls are captured."""

    function: type
    path: str
    args: Any  # with Refs
    outputs: tuple[str, ...] = ()
    calls: list[CapturedCall] = field(default_factory=list)
    state: Tensor | None = None  # of the generator before it ran

    @property
    def name(self) -> str:
        return f"{self.path}.{self.function.__name__}" if self.path else self.function.__name__


class Passed(NamedTuple):
    """One pass through a module that somebody asked to note.

    `inner` holds the outputs of the opened modules inside, by path and call (`path@1`).
    """

    path: str
    number: int  # which of its calls
    inputs: tuple[str, ...]  # names of the tensors that it was called with
    outputs: tuple[str, ...]
    inner: dict[str, tuple[str, ...]]
    first: int  # the captured calls inside: from this one on,
    last: int  # up to here


@dataclass
class CapturedCall:
    """One call: a module or a function, its arguments with Refs for tensors, and what it returned.

    `twin` is what whoever asked for the capture put there when it was about to run.
    """

    name: str
    path: str  # of the module that is called, or that calls the function
    operation: str
    function: Callable
    args: tuple
    kwargs: dict[str, Any]
    module: nn.Module | None = None
    region: Region | None = None
    in_place: bool = False
    twin: Any = None
    outputs: tuple[str, ...] = ()  # names of the tensors returned
    draws: list[Tensor] = field(default_factory=list)
    state: Tensor | None = None  # of the generator before it ran
    why: str = ""  # nothing stands for it
    beside: tuple[str, ...] = ()  # statistics that it writes into, and is taken to return

    def statistics(self, args: tuple, kwargs: dict[str, Any]) -> dict[str, Tensor]:
        """Return the running statistics among its arguments: no gradient flows through them."""
        if self.operation not in NORMS or not isinstance(self.function, FunctionType):
            return {}
        given = signature(self.function).bind(*args, **kwargs).arguments
        return {k: t for k, t in given.items() if k in STATISTICS and t is not None}

    def apart(self, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        """Return arguments in which the running statistics are copies."""
        own = {k: t.detach().clone() for k, t in self.statistics(args, kwargs).items()}
        if not own:
            return args, kwargs
        bound = signature(self.function).bind(*args, **kwargs)
        bound.arguments.update(own)
        return bound.args, bound.kwargs

    def refs(self) -> set[str]:
        """Return the names of the values that it was called with."""
        return {x.name for x in tree_leaves((self.args, self.kwargs)) if isinstance(x, Ref)}


def tensors_of(tree: Any) -> list[Tensor]:
    """Return the tensors in nested sequences, mappings and dataclasses, in order."""
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, PackedSequence):
        return [tree.data]
    if isinstance(tree, Mapping):
        return [t for x in tree.values() for t in tensors_of(x)]
    if isinstance(tree, tuple | list):
        return [t for x in tree for t in tensors_of(x)]
    if is_dataclass(tree) and not isinstance(tree, type):
        return [t for f in fields(tree) for t in tensors_of(getattr(tree, f.name))]
    return []


def paired(tensor: Tensor) -> Tensor:
    """Return complex numbers as pairs of real ones along a last axis; others as they are."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def same_generator(generator: torch.Generator) -> torch.Generator:
    """Return another generator that draws what this one is about to."""
    return torch.Generator(generator.device).set_state(generator.get_state())


def overwritten(old: Tensor, new: Tensor, positions: Tensor) -> Tensor:
    """Return `old` with the elements of `new` where positions are not negative."""
    taken = new.reshape(-1)[positions.clamp(min=0)]
    return torch.where(positions >= 0, taken, old)
