"""The torch side of a mirror: the user's own model, run under the capture at every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_map

from torch_ref import halves, optimizers
from torch_ref.capture import Capture, UnforeseenChangeError
from torch_ref.captured import CapturedCall, PackedRefs, Ref, paired, same_generator
from torch_ref.leaves import go_back
from torch_ref.side import TorchSide, array_of

__all__ = ["CapturedFunction", "CapturedSide", "Whole", "filled", "put_in"]

Run = Callable[[Capture | None], Tensor]  # computes the loss of one step


class Whole(nn.Module):
    """Stands where a loss stands: what a captured run returns is the loss already."""

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return output * 1


class CapturedFunction(nn.Module):
    """A captured call of a function, as a module."""

    def __init__(self, call: CapturedCall) -> None:
        super().__init__()
        self.call = call

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call it, on copies where it works in place."""
        if self.call.in_place:
            args = tuple(tree_map(_own, args))
        args, kwargs = self.call.apart(args, kwargs)
        found = self.call.function(*args, **kwargs)
        found = args[0] if self.call.operation == "setitem" else found
        if self.call.beside:
            left = self.call.statistics(args, kwargs)
            found = (found, *(left[name] for name in self.call.beside))
        return tree_map(lambda x: paired(x) if isinstance(x, Tensor) else x, found)

    def __repr__(self) -> str:
        return f"torch: {self.call.operation}"


def path_of(name: str) -> str:
    """Return the path of the module that a node calls, as the hand-written side names nodes."""
    return name.partition("@")[0]


class NoCounterpart(nn.Module):
    """What a node of somebody's own graph has on torch's side if no module bears its name."""


def _own(x: Any) -> Any:
    return x.clone() if isinstance(x, Tensor) and x.is_floating_point() else x


def filled(
    call: CapturedCall, names: Sequence[str | None], tensors: Sequence[Any], rest: Callable
) -> tuple[tuple, dict]:
    """Return a call's arguments with tensors in the places of its Refs.

    Args:
        names, tensors: what is known by name; a name that stands twice is two places.
        rest: gives the tensor of any other name.
    """
    known: dict[str | None, list] = {}
    for name, given in zip(names, tensors, strict=True):
        known.setdefault(name, []).append(given)

    def tensor(x: Any) -> Any:
        if not isinstance(x, Ref):
            return x
        places = known.get(x.name)
        if not places:
            return rest(x.name)
        return places.pop(0) if len(places) > 1 else places[0]

    return put_in(call.args, tensor), put_in(call.kwargs, tensor)


def put_in(tree: Any, tensor: Callable[[Any], Any]) -> Any:
    """Return captured arguments with tensors in the places of their Refs."""

    def put(x: Any) -> Any:
        if isinstance(x, torch.Generator):  # the one that was captured stays as it is
            return same_generator(x)
        return PackedSequence(*map(tensor, x)) if isinstance(x, PackedRefs) else tensor(x)

    return tree_map(put, tree, is_leaf=lambda x: isinstance(x, PackedRefs))


class CapturedNetwork:
    """What the rest of the harness asks of a network, answered from the last capture."""

    def __init__(self, model: nn.Module, inputs: Sequence[str]) -> None:
        self.model, self.inputs = model, tuple(inputs)
        self.training = model.training
        self.calls: dict[str, CapturedCall] = {}
        self.given: tuple[str, ...] = ()  # nodes of somebody's own graph
        self._held = {path: m for path, m in model.named_modules() if path}
        self.capture: Capture | None = None
        self.noise: dict[str, Any] = {}

    def take(self, capture: Capture) -> None:
        """Answer from this capture from now on."""
        self.capture = capture
        self.calls = {call.name: call for call in capture.calls}

    @property
    def taps(self) -> dict[str, Tensor]:
        return {} if self.capture is None else self.capture.taps

    @property
    def modules_by_node(self) -> dict[str, nn.Module]:
        return {name: self.module_of(name) for name in (*self.calls, *self.given)}

    def has(self, name: str) -> bool:
        """Return whether torch computes what a node does."""
        return name in self.calls or path_of(name) in self._held

    def module_of(self, name: str) -> nn.Module:
        """Return the module that a node calls, or its function as one."""
        call = self.calls.get(name)
        if call is None:
            return self._held.get(path_of(name), NoCounterpart())
        return CapturedFunction(call) if call.module is None else call.module

    def call_of(self, name: str, inputs: Sequence[Any], names: Sequence[str]) -> tuple[tuple, dict]:
        """Return a node's arguments, with these tensors as the inputs of its twin."""
        call = self.calls.get(name)
        values = () if call is None or call.twin is None else call.twin.names
        if call is None or len(values) != len(inputs):  # somebody's own node
            return tuple(inputs), {}
        return filled(call, values, self.whole(values, inputs), self._known)

    def whole(self, names: Sequence[str | None], tensors: Sequence[Any]) -> list[Any]:
        """Return complex numbers for pairs of real ones, by the values that they are."""
        return [
            torch.complex(t[..., 0], t[..., 1])
            if t is not None and name is not None and self._is_complex(name)
            else t
            for name, t in zip(names, tensors, strict=True)
        ]

    def _is_complex(self, name: str) -> bool:
        assert self.capture is not None
        known = self.capture.values.get(name, self.capture.data.get(name))
        return known is not None and known.is_complex()

    def _known(self, name: str) -> Tensor:
        assert self.capture is not None
        return self.capture.tensor(name)

    @contextmanager
    def same_draw(self, name: str) -> Iterator[None]:
        """Let a random node draw what it drew in the captured run."""
        call = self.calls.get(name)
        if call is None or call.state is None:
            yield
            return
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(call.state)
            yield


def _changed(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> set[str]:
    """Return the names of the tensors that hold other numbers than before; nan stays nan."""
    return {
        name
        for name, old in before.items()
        if name in after
        and not (
            old.shape == after[name].shape
            and bool(((old == after[name]) | (old.isnan() & after[name].isnan())).all())
        )
    }


class CapturedSide(TorchSide):
    """The user's model (a copy that is trained here), its loss and its optimiser.

    Args:
        model: whose parameters and buffers are compared.
        run: computes the loss of one step, under a capture or without.
        inputs: the tensors that a gradient is wanted of, by name: leaves.
        optimizer: bound to the model's parameters; None: nothing is updated.
        dtype: what the run computes in.
        derive: see `Capture`.
        seed: of what is drawn.
    """

    def __init__(  # not TorchSide's: nothing is built from a description
        self, model: nn.Module, run: Run, inputs: Mapping[str, Tensor],
        optimizer: torch.optim.Optimizer | None, dtype: torch.dtype,
        derive: Callable[[Capture, CapturedCall], Any], seed: int = 0,
    ) -> None:  # fmt: skip
        self.dtype, self.device = dtype, torch.device("cpu")
        self.model, self.run, self.inputs, self.derive = model, run, dict(inputs), derive
        self.network: Any = CapturedNetwork(model, tuple(inputs))
        self.parameters = dict(model.named_parameters())
        self.loss_name, self.loss_module = "Whole", Whole()
        self.penalties, self.clip, self.overflowed = [], (None, None), False
        self.autocast = halves.Autocast(dtype, self.device, enabled=False)
        self.scaler = halves.Scaler(self.device, None)
        self.optimizer: Any = optimizer
        self.optimizer_spec: Any = (type(optimizer).__name__, {})
        self.groups = ()
        self.seed = seed
        self.closed: set[type] = set()  # custom Functions that are not looked into
        self.kept: set[str] | None = None  # names of the parameters that are compared
        self.written: set[str] = set()  # names of the buffers that a forward pass has changed

    def load(self, weights: Any, buffers: Any = None) -> None:
        """The model has its own weights."""

    def forward_backward(self, x: Any = None, target: Any = None, **_: Any) -> float:
        """Run the model under the capture and go back through it."""
        for tensor in (*self.inputs.values(), *self.parameters.values()):
            tensor.grad = None
        torch.manual_seed(self.seed)
        capture, self.loss = self._captured()
        self.seed += 1
        self.network.take(capture)
        drawn = ((c.name, self._draws(c)) for c in capture.calls if _random(c))
        self.network.noise = {name: draws for name, draws in drawn if draws is not None}
        capture.grads.clear()  # of derivatives that the model takes itself, as constants
        go_back(self.loss, self.dtype, (*self.inputs.values(), *self.parameters.values()))
        capture.close()
        return self.loss.item()

    def _captured(self) -> tuple[Capture, Tensor]:
        careful, before = False, {k: b.clone() for k, b in self.model.named_buffers()}
        while True:
            whole = getattr(self.derive, "whole", False)
            capture = Capture(
                self.model, self.dtype, lambda _: None, whole=whole, careful=careful,
                closed=self.closed, noted=getattr(self.derive, "noted", ()),
            )  # fmt: skip
            capture.derive = lambda call, own=capture: self.derive(own, call)  # type: ignore[misc]
            try:
                loss = self.run(capture)
                self.written |= _changed(before, dict(self.model.named_buffers()))
                return capture, loss
            except UnforeseenChangeError:
                if careful:
                    raise
                careful = True
                torch.manual_seed(self.seed)
                for name, buffer in self.model.named_buffers():
                    buffer.copy_(before[name])

    @property
    def capture(self) -> Capture:
        """The last captured run."""
        assert self.network.capture is not None
        return self.network.capture

    def outputs(self) -> dict[str, np.ndarray]:
        given = self.network.inputs
        return {k: array_of(paired(v)) for k, v in self.capture.values.items() if k not in given}

    def grad_outputs(self) -> dict[str, np.ndarray]:
        found = {k: array_of(paired(g)) for k, g in self.capture.grads.items()}
        leaves = {k: t.grad for k, t in self.inputs.items() if t.grad is not None}
        return found | {k: array_of(g) for k, g in leaves.items()}

    def grads(self) -> dict[str, np.ndarray]:
        return {k: g for k, g in super().grads().items() if self._keeps(k)}

    def params(self) -> dict[str, np.ndarray]:
        return {k: p for k, p in super().params().items() if self._keeps(k)}

    def buffers(self) -> dict[str, np.ndarray]:
        """Return the buffers of the modules whose twins keep theirs."""
        calls = (c for c in self.capture.calls if c.module is not None and c.twin is not None)
        known = {c.path for c in calls if c.twin.layer.buffers}
        return {
            name: array_of(b)
            for name, b in self.model.named_buffers()
            if name.rpartition(".")[0] in known
        }

    def state(self) -> dict[str, dict[str, Any]]:
        if self.optimizer is None:
            return {}
        state = optimizers.state_of(self.optimizer, self.parameters)
        return {
            p: {k: array_of(v) for k, v in entry.items()}
            for p, entry in state.items()
            if self._keeps(p)
        }

    def winners(self) -> dict[str, np.ndarray]:
        return {}

    def noise(self) -> dict[str, Any]:
        return {
            name: tuple(map(array_of, draws)) if isinstance(draws, tuple) else array_of(draws)
            for name, draws in self.network.noise.items()
        }

    def update(self, lr: float) -> None:
        """Take one step of the optimiser, at its own learning rate."""
        if self.optimizer is None:
            return
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)  # as it is where people train: of counters
        try:
            self.optimizer.step()
        finally:
            torch.set_default_dtype(before)

    def settings_of(self, parameter: str) -> dict[str, Any]:
        tensor = self.parameters[parameter]
        groups = [] if self.optimizer is None else self.optimizer.param_groups
        found: dict[str, Any] = next(
            (g for g in groups if any(p is tensor for p in g["params"])), {}
        )
        return {k: v for k, v in found.items() if k != "params"}

    def has(self, name: str) -> bool:
        return self.network.has(name)  # type: ignore[no-any-return]

    def module_of(self, name: str) -> nn.Module:
        return self.loss_module if name == "loss" else self.network.module_of(name)

    def _draws(self, call: CapturedCall) -> Any:
        """Return what a call drew; of a dropout that had nothing to draw, all or nothing."""
        if call.draws:
            return call.draws[0] if len(call.draws) == 1 else tuple(call.draws)
        if call.twin.chance is None:
            return None
        return torch.full(self.capture.values[call.name].shape, call.twin.chance != 1)

    def _keeps(self, parameter: str) -> bool:
        return self.kept is None or parameter in self.kept


def _random(call: CapturedCall) -> bool:
    return bool(getattr(call.twin, "stochastic", False))
