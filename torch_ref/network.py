"""The identical torch.nn model, built from the same network description, with taps on every node.

Modules are torch's own, except the few that torch lacks (`torch_ref.layers`). Autograd does every
derivative.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from inspect import signature
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from torch_ref.classes import module_class
from torch_ref.draws import Recorder, Replay, drawn_by_none

INPUT = "input"
CALL = re.compile(r"@[^.:]*")  # tells calls of one module apart: cell@0, cell@1


class NodeDescription(Protocol):
    """What both sides are built from: a name, a class name with its arguments, and its inputs."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def args(self) -> Mapping[str, Any]: ...
    @property
    def inputs(self) -> Sequence[str]: ...


class Network(nn.Module):
    """The graph of modules; in `model` they sit at their dotted paths, so `state_dict` keys match.

    After a forward pass `taps` holds every node's output; after the backward pass each tap's
    `.grad` is the gradient of the loss with respect to it, summed over its branches.
    """

    def __init__(
        self,
        nodes: Iterable[NodeDescription],
        ports: Mapping[str, Sequence[str]] | None = None,
        tied: Mapping[str, str] | None = None,
        inputs: Sequence[str] = (INPUT,),
    ) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.nodes = list(nodes)
        self.ports = {node.name: (ports or {}).get(node.name, ("output",)) for node in self.nodes}
        self.taps: dict[str, Tensor] = {}
        self.noise: dict[str, Tensor | tuple[Tensor, ...]] = {}
        self._generator_states: dict[str, Tensor] = {}
        self._random: set[str] | None = None  # nodes that drew in the first training pass
        self.given: dict[str, tuple[Tensor, ...]] | None = None  # by node, instead of own draws
        self.model = nn.Module()
        self._placed: dict[str, nn.Module] = {}
        self.options = {node.name: call_options(node) for node in self.nodes}
        self.modules_by_node = {node.name: self._place(node) for node in self.nodes}
        for name, other in (tied or {}).items():
            path, _, key = name.rpartition(".")
            self.model.get_submodule(path).register_parameter(key, self.model.get_parameter(other))

    def _place(self, node: NodeDescription) -> nn.Module:
        name = CALL.sub("", node.name)  # calls of one module share it
        if name in self._placed:
            return self._placed[name]
        own = {k: v for k, v in node.args.items() if k not in self.options[node.name]}
        pairs = {k: tuple(v) for k, v in own.items() if isinstance(v, list)}  # TOML has no tuples
        module = self._placed[name] = module_class(node.type)(**own | pairs)
        parent = self.model
        *path, last = name.split(".")
        for part in path:
            if part not in parent._modules:
                _add(parent, part, nn.Module(), node.name)
            parent = parent._modules[part]  # type: ignore[assignment]
        _add(parent, last, module, node.name)
        return module

    def forward(self, x: Tensor | Mapping[str, Tensor]) -> Tensor:
        """Visit the nodes in order, leaving every output on its tap; several inputs are by name."""
        values = dict(x) if isinstance(x, Mapping) else {self.inputs[0]: x}
        first = values[self.inputs[0]]
        drew = set()
        self.noise = {}
        for node in self.nodes:
            module = self.modules_by_node[node.name]
            places, named = _arguments(node.inputs, values)
            arguments = nested(module, places)
            named |= self.options[node.name]
            if self.given is not None:
                with Replay(self.given.get(node.name, ())):
                    y = module(*arguments, **named)
            elif module.training and (self._random is None or node.name in self._random):
                self._generator_states[node.name] = _generator_state(first)
                with Recorder() as recorder:
                    y = module(*arguments, **named)
                draws = recorder.draws or drawn_by_none(module, y)
                if draws:
                    drew.add(node.name)
                    self.noise[node.name] = draws[0] if len(draws) == 1 else tuple(draws)
            else:
                y = module(*arguments, **named)
            values |= self._tapped(node.name, y, {id(value) for value in values.values()})
        if self.training:
            self._random = drew
        self.taps = values
        return values[node.name]

    def _tapped(self, name: str, y: Any, taken: set[int]) -> dict[str, Tensor]:
        """Return a call's outputs by name, each of which keeps its gradient.

        A module may return its input itself (dropout in evaluation), whose gradient is another, or
        what it reads itself besides (LSTMCell's c, from which h is computed).
        """
        rest = self.ports[name][1:]
        names = [name, *(f"{name}:{port}" for port in rest)]
        found = [t for t in tree_leaves(y) if isinstance(t, Tensor)]
        found = [t.view_as(t) if rest or id(t) in taken else t for t in found]
        for tensor in found:
            if tensor.requires_grad:
                tensor.retain_grad()
        return dict(zip(names, found, strict=True))

    @contextmanager
    def same_draw(self, name: str) -> Iterator[None]:
        """Let a random node draw what it drew in the last forward pass."""
        state = self._generator_states.get(name)
        if self.given is not None:
            with Replay(self.given.get(name, ())):
                yield
            return
        if state is None:
            yield
            return
        like = next(iter(self.taps.values()))
        with torch.random.fork_rng(devices=_devices(like)):
            _set_generator_state(like, state)
            yield

    def call_of(
        self, name: str, inputs: Sequence[Any], names: Sequence[str]
    ) -> tuple[tuple, dict[str, Any]]:
        """Return a node's arguments by place and by keyword, as its description gives them."""
        node = next((n for n in self.nodes if n.name == name), None)
        given = [x for x in inputs if x is not None]
        keywords = [] if node is None else [key for key, _, v in map(_parted, node.inputs) if v]
        named = {key: inputs[names.index(key)] for key in keywords}
        places = given[: len(given) - len(named)]
        module = self.modules_by_node.get(name)
        arguments = tuple(places) if module is None else nested(module, places)
        return arguments, named | self.options.get(name, {})


def nested(module: nn.Module, arguments: Sequence[Any]) -> tuple[Any, ...]:
    """Return the arguments as forward takes them: too many are a tuple, as in `lstm(x, (h, c))`."""
    return nested_in(places_of(type(module).forward), arguments)


def nested_in(most: int | None, arguments: Sequence[Any]) -> tuple[Any, ...]:
    """Return the arguments of a forward that takes at most so many by place."""
    if most is None or len(arguments) <= most:
        return tuple(arguments)
    return (*arguments[: most - 1], tuple(arguments[most - 1 :]))


@cache
def places_of(forward: Callable) -> int | None:
    """Return how many arguments a module's forward takes by place; None if any number."""
    _, *parameters = signature(forward).parameters.values()
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    return sum(p.kind is not p.KEYWORD_ONLY for p in parameters)


def call_options(node: NodeDescription) -> dict[str, Any]:
    """Return the arguments that torch takes at every call rather than once: `need_weights`."""
    cls = module_class(node.type)
    at_call = signature(cls.forward).parameters.keys() - signature(cls).parameters.keys()
    return {key: value for key, value in node.args.items() if key in at_call}


def _add(parent: nn.Module, part: str, module: nn.Module, name: str) -> None:
    if hasattr(parent, part):
        raise ValueError(
            f"the layer name '{name}' cannot be a path in a torch module: '{part}' is taken there, "
            "by torch itself or by another layer; choose another name"
        )
    parent.add_module(part, module)


def _devices(x: Tensor) -> list[torch.device]:
    return [x.device] if x.is_cuda else []


def _generator_state(x: Tensor) -> Tensor:
    return torch.cuda.get_rng_state(x.device) if x.is_cuda else torch.get_rng_state()


def _set_generator_state(x: Tensor, state: Tensor) -> None:
    if x.is_cuda:
        torch.cuda.set_rng_state(state, x.device)
    else:
        torch.set_rng_state(state)


def source_of(name: str) -> str:
    """Return the value that an input names: `mask=tokens` takes `tokens`."""
    return name.partition("=")[2] or name


def _arguments(inputs: Sequence[str], values: Mapping[str, Tensor]) -> tuple[list, dict]:
    """Return a call's arguments, by place and by keyword."""
    named = {k: values[v] for k, _, v in map(_parted, inputs) if v}
    return [values[name] for name in inputs if "=" not in name], named


def _parted(source: str) -> tuple[str, str, str]:
    return source.partition("=")


def topological(
    nodes: Sequence[NodeDescription], inputs: Sequence[str] = (INPUT,)
) -> list[NodeDescription]:
    """Order the nodes so that each follows what feeds it; the manual side finds its own order."""
    placed, waiting, ordered = set(inputs), list(nodes), []
    while waiting:
        ready = next((n for n in waiting if placed.issuperset(_nodes_of(n.inputs))), None)
        if ready is None:
            raise ValueError(f"The nodes form a cycle: {', '.join(n.name for n in waiting)}.")
        waiting.remove(ready)
        placed.add(ready.name)
        ordered.append(ready)
    return ordered


def _nodes_of(inputs: Sequence[str]) -> set[str]:
    return {source_of(name).partition(":")[0] for name in inputs}
