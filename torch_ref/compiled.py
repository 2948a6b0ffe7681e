"""The torch side run by torch.compile, with every value and gradient still to be seen.

A compiled function tells no gradient of a value inside it. So to each value a probe of zeros is
added, an input of the function: the gradient of the loss by the probe is that by the value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from torch_ref.draws import Replay
from torch_ref.network import Network, nested_in, places_of, source_of
from torch_ref.side import TorchSide, array_of

__all__ = ["compiled"]

LIMITS = ("recompile_limit", "cache_size_limit", "accumulated_recompile_limit",
          "accumulated_cache_size_limit")  # fmt: skip
ROOM = 4096  # how often dynamo may compile one function anew: every part runs the same code
Values = dict[str, Tensor]


def compiled(side: TorchSide, backend: str) -> TorchSide:
    """Let a side's network run by torch.compile from now on.

    Random nodes, which are given their draws, run as they are; so do those that torch.compile
    itself leaves alone (LSTM, GRU, RNN) or cannot compile. `side.told()` says which.

    Raises:
        ValueError: there is no such backend.
    """
    from torch import _dynamo

    if backend not in _dynamo.list_backends(exclude_tags=()):
        usual = ", ".join(_dynamo.list_backends())
        raise ValueError(f"torch.compile has no backend '{backend}'; it has {usual} and others")
    _dynamo.config.suppress_errors = False  # what cannot be compiled is named, not run as it is
    for name in LIMITS:
        if hasattr(_dynamo.config, name):
            setattr(_dynamo.config, name, ROOM)
    network = CompiledNetwork(side.network, backend)
    side.network.forward = network  # type: ignore[method-assign]
    side.grad_outputs = network.grad_outputs  # type: ignore[method-assign]
    side.told = network.told  # type: ignore[attr-defined]
    return side


class CompiledNetwork:
    """Stands for a network's forward pass: its nodes in parts, each compiled as a whole."""

    def __init__(self, network: Network, backend: str) -> None:
        self.network, self.backend = network, backend
        self.probes: Values = {}
        self.shapes: dict[tuple, Values] = {}
        self.eager: dict[str, str] = {}  # nodes that are not compiled, and why
        self.parts: list[Any] = []

    def __call__(self, x: Any) -> Tensor:
        network = self.network
        inputs = dict(x) if isinstance(x, Mapping) else {network.inputs[0]: x}
        like = self._like(inputs)
        if not self.parts:
            self._plan(inputs, like)
        network.taps = self._run(inputs, like)
        return network.taps[network.nodes[-1].name]

    def grad_outputs(self) -> dict[str, np.ndarray]:
        """Gradients of the loss at every value, and at the network's inputs."""
        inputs = {name: self.network.taps[name] for name in self.network.inputs}
        found = {**inputs, **self.probes}
        return {name: array_of(t.grad) for name, t in found.items() if t.grad is not None}

    def told(self) -> str:
        """Say what was compiled."""
        if not self.parts:
            return self.backend
        nodes = len(self.network.nodes)
        text = f"{self.backend}, {nodes - len(self.eager)} of {nodes} nodes"
        left = [f"{name} ({why})" for name, why in self.eager.items()]
        return f"{text}; not compiled: {', '.join(left)}" if left else text

    def _run(self, inputs: Values, like: Values) -> Values:
        """Run the parts, and return every value."""
        self.probes = {name: torch.zeros_like(t).requires_grad_() for name, t in like.items()}
        values = dict(inputs)
        for run in self.parts:
            values |= run(values, self.probes)
        return values

    def _like(self, inputs: Values) -> Values:
        """Return values as those that have a gradient, as a pass without compiling finds them."""
        key = tuple((k, tuple(t.shape), t.requires_grad) for k, t in inputs.items())
        if key not in self.shapes:
            with _buffers_kept(self.network):
                Network.forward(self.network, inputs)
            taps = self.network.taps.items()
            self.shapes[key] = {
                k: t.detach() for k, t in taps if k not in inputs and t.requires_grad
            }
        return self.shapes[key]

    def _plan(self, inputs: Values, like: Values) -> None:
        """Find what can be compiled, as whole as it can be.

        Raises:
            RuntimeError: nothing can, or the backend does not work on this machine.
        """
        from torch._dynamo.utils import counters

        nodes, before = self.network.nodes, counters["stats"]["unique_graphs"]
        self.eager = {node.name: why for node in nodes if (why := self._why_not(node))}
        if self._refusal(inputs, like):
            for node in nodes:
                if node.name in self.eager:
                    continue
                if why := self._refusal(inputs, like, node.name):
                    self.eager[node.name] = why
            self._lay_out()
        if len(self.eager) == len(nodes):
            raise RuntimeError(f"torch.compile compiled nothing: {self.told()}")
        if counters["stats"]["unique_graphs"] == before:
            raise RuntimeError(
                "torch.compile compiled nothing, and ran the network as it is: do "
                "TORCHDYNAMO_DISABLE or TORCH_COMPILE_DISABLE turn it off?"
            )

    def _lay_out(self, alone: str = "") -> None:
        """Make the parts; with `alone` that one node is compiled, and nothing else."""
        from torch import _dynamo

        _dynamo.reset()
        self.parts = []

        def fits(node: Any) -> bool:
            return node.name == alone if alone else node.name not in self.eager

        for chosen, nodes in groupby(self.network.nodes, fits):
            part = Part(self.network, list(nodes))
            whole = torch.compile(part, backend=self.backend, fullgraph=True) if chosen else part
            self.parts.append(whole if chosen else part.replayed)

    def _refusal(self, inputs: Values, like: Values, alone: str = "") -> str:
        """Lay the parts out and run them once, leaving no trace; return why it cannot be done."""
        self._lay_out(alone)
        try:
            with _buffers_kept(self.network):
                self._run(inputs, like)
        except Exception as error:
            if not type(error).__module__.startswith("torch._"):
                raise
            if type(error).__name__ in ("BackendCompilerFailed", "InductorError"):
                raise RuntimeError(_of_backend(self.backend, error)) from error
            return type(error).__name__
        return ""

    def _why_not(self, node: Any) -> str:
        module = self.network.modules_by_node[node.name]
        if (self.network.given or {}).get(node.name):
            return "random: it is given its draws"
        if any(isinstance(m, nn.RNNBase) for m in module.modules()):
            return f"torch.compile leaves {type(module).__name__} alone"
        return ""


class _Call(NamedTuple):
    """How a node's module is called, and what its outputs are named."""

    places: list[str]
    named: dict[str, str]
    options: dict[str, Any]
    most: int | None
    outputs: list[str]


class Part(nn.Module):
    """Several nodes in order: takes the values so far and the probes, returns its own values."""

    def __init__(self, network: Network, nodes: Sequence[Any]) -> None:
        super().__init__()
        self.held = nn.ModuleList([network.modules_by_node[node.name] for node in nodes])
        self.calls = [_call(network, node) for node in nodes]
        self.nodes = [node.name for node in nodes]
        self.whole = [network]  # in a list: not a module of this one

    def forward(self, values: Values, probes: Values) -> Values:
        """Compute the nodes; every output gets its probe added."""
        values, found = dict(values), {}
        for i, module in enumerate(self.held):
            call = self.calls[i]
            arguments = nested_in(call.most, [values[name] for name in call.places])
            named = {key: values[name] for key, name in call.named.items()}
            y = module(*arguments, **named, **call.options)
            tensors = [t for t in tree_leaves(y) if isinstance(t, Tensor)]
            for name, tensor in zip(call.outputs, tensors, strict=True):
                seen = tensor + probes[name] if name in probes else tensor
                values[name] = found[name] = seen
        return found

    def replayed(self, values: Values, probes: Values) -> Values:
        """Compute the nodes without compiling, with the draws that they are given."""
        given = self.whole[0].given or {}
        draws = [draw for name in self.nodes for draw in given.get(name, ())]
        with Replay(draws) if draws else nullcontext():
            return self.forward(values, probes)


def _call(network: Network, node: Any) -> _Call:
    places = [name for name in node.inputs if "=" not in name]
    named = {name.partition("=")[0]: source_of(name) for name in node.inputs if "=" in name}
    module = network.modules_by_node[node.name]
    outputs = [node.name, *(f"{node.name}:{port}" for port in network.ports[node.name][1:])]
    options = network.options[node.name]
    return _Call(places, named, options, places_of(type(module).forward), outputs)


@contextmanager
def _buffers_kept(network: Network) -> Iterator[None]:
    """Put a network's buffers back as they were."""
    before = {name: b.clone() for name, b in network.model.named_buffers()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, buffer in network.model.named_buffers():
                buffer.copy_(before[name])


def _of_backend(backend: str, error: Exception) -> str:
    """Say that a backend does not work here; without a compiler inductor does not."""
    line = next((s for s in map(str.strip, reversed(str(error).splitlines())) if s), "")
    hint = ""
    if backend == "inductor":
        hint = (
            " Inductor needs a C++ compiler (g++ or clang) and Python's headers; compile:aot_eager "
            "and compile:eager need neither."
        )
    return f"torch.compile's backend '{backend}' failed here: {line[:300]}.{hint}"
