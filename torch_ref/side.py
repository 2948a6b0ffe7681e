"""The torch side of a lockstep run: load weights, one step forward and backward, one update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call
from torch.utils._pytree import tree_leaves

from torch_ref import halves, optimizers
from torch_ref.classes import module_class
from torch_ref.network import INPUT, Network, NodeDescription, topological

DTYPES = {"float32": torch.float32, "float64": torch.float64}
HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class Alone(NamedTuple):
    """What one piece gave by itself; None where there is no gradient."""

    outputs: list[np.ndarray]
    grad_inputs: list[np.ndarray | None]
    grad_params: dict[str, np.ndarray | None]
    buffers: dict[str, np.ndarray]


def _gradients(
    ends: list[Tensor], leaves: list[Tensor], over: list[Tensor]
) -> Sequence[Tensor | None]:
    """Return the leaves' gradients; None where there is none to ask for, or torch derives none."""
    if not ends or not leaves:  # a mask has no gradient
        return [None] * len(leaves)
    try:
        return torch.autograd.grad(ends, leaves, over, allow_unused=True, retain_graph=True)
    except NotImplementedError:  # of one argument, as zeta's first
        return [_derived(ends, leaf, over) for leaf in leaves]


def _derived(ends: list[Tensor], leaf: Tensor, over: list[Tensor]) -> Tensor | None:
    try:
        return torch.autograd.grad(ends, [leaf], over, allow_unused=True, retain_graph=True)[0]
    except NotImplementedError:
        return None


class TorchSide:
    """A stock torch model, its loss, penalties and optimiser, read back as NumPy arrays.

    Args:
        nodes: the network description.
        loss: name and arguments of the loss.
        penalties: `(type, coefficient, parameter names)` each.
        optimizer: name and arguments of the optimiser.
        clip: `(clip_norm, clip_value)`, either None.
        dtype, device: what torch computes in, and where; on a GPU under
            `torch_ref.gpu.reproducible`.
        training: False puts all layers (dropout, batch norm) into evaluation.
        ports: the names of a node's outputs, where it has several.
        tied: parameters that are another one, by name.
        inputs: the names of the network's inputs.
        groups: names of parameters, and the optimiser's settings that are their own.
        autocast: parameters and inputs are float32, and `dtype` is torch.autocast's.
        scaler: torch.amp.GradScaler's arguments, if the loss is scaled.

    Attributes:
        described: these arguments in plain values: another process builds the same side from them.
    """

    described: dict[str, Any]

    def __init__(
        self,
        nodes: Sequence[NodeDescription],
        loss: tuple[str, Mapping[str, Any]],
        penalties: Sequence[tuple[str, float, Sequence[str]]] = (),
        optimizer: tuple[str, Mapping[str, Any]] = ("SGD", {}),
        clip: tuple[float | None, float | None] = (None, None),
        dtype: str = "float64",
        device: str = "cpu",
        training: bool = True,
        ports: Mapping[str, Sequence[str]] | None = None,
        tied: Mapping[str, str] | None = None,
        inputs: Sequence[str] = (INPUT,),
        groups: optimizers.Groups = (),
        autocast: bool = False,
        scaler: Mapping[str, Any] | None = None,
    ) -> None:
        torch.backends.mha.set_fastpath_enabled(False)  # a Transformer's, which leaves padding out
        computed = (DTYPES | HALVES)[dtype]
        self.dtype = torch.float32 if autocast else computed
        self.device = torch.device(device)
        network = Network(topological(nodes, inputs), ports, tied, inputs)
        self.network = network.to(self.device, self.dtype).train(training)
        self.parameters = dict(self.network.model.named_parameters())
        self.loss_name = loss[0]
        self.loss_module = module_class(loss[0])(**self._tensors(loss[1])).to(self.device)
        self.penalties = [(module_class(t)(c), names) for t, c, names in penalties]
        self.optimizer_spec, self.clip, self.groups = optimizer, clip, groups
        self.overflowed = False
        self.autocast = halves.Autocast(computed, self.device, enabled=autocast)
        self.autocast.watch({*self.network.modules_by_node.values(), self.loss_module})
        self.scaler = halves.Scaler(self.device, scaler)
        self.optimizer = optimizers.build(optimizer[0], self.parameters, optimizer[1], groups)

    def load(
        self, weights: Mapping[str, np.ndarray], buffers: Mapping[str, np.ndarray] | None = None
    ) -> None:
        """Copy initial weights (and buffers) in, key for key, and forget the optimiser's state."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(torch.tensor(weights[name], dtype=self.dtype))
            for name, array in (buffers or {}).items():
                self.network.model.get_buffer(name).copy_(torch.as_tensor(array))
        name, args = self.optimizer_spec
        self.optimizer = optimizers.build(name, self.parameters, args, self.groups)

    def settings_of(self, parameter: str) -> dict[str, Any]:
        """Return the optimiser's arguments for one parameter."""
        own = next((args for names, args in self.groups if parameter in names), {})
        return {**self.optimizer_spec[1], **own}

    def tensor(self, array: Any) -> Any:
        """Copy an array over (`torch.from_numpy` would alias it); integers stay integers.

        Several by name become tensors by name.
        """
        if isinstance(array, Mapping):
            return {name: self.tensor(one) for name, one in array.items()}
        dtype = self.dtype if array.dtype.kind == "f" else None
        return torch.tensor(array, dtype=dtype, device=self.device)

    def _tensors(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Turn list-valued arguments (class weights) into tensors of the run's dtype."""
        lists = (list, tuple)
        return {
            key: torch.tensor(value, dtype=self.dtype) if isinstance(value, lists) else value
            for key, value in args.items()
        }

    def forward_backward(
        self, x: Tensor | Mapping[str, Tensor], target: Tensor, *, input_grad: bool = False
    ) -> float:
        """Run forward, loss and backward; gradients are left on parameters and taps."""
        for parameter in self.parameters.values():
            parameter.grad = None
        inputs = x if isinstance(x, Mapping) else {self.network.inputs[0]: x}
        leaves = {
            name: t.detach().requires_grad_(input_grad and t.is_floating_point())
            for name, t in inputs.items()
        }
        with self.autocast.on():
            self.loss = self.loss_module(self.network(leaves), target)
            for penalty, names in self.penalties:
                for name in names:
                    self.loss = self.loss + penalty(self.parameters[name])
        self.scaler.scaled(self.loss).backward()
        return self.loss.item()

    def evaluated(self, x: Any, target: Tensor) -> tuple[np.ndarray, float]:
        """Return the network's output and the loss in evaluation; nothing changes."""
        before = self.network.training
        self.network.train(False)
        try:
            with torch.no_grad(), self.autocast.on():
                output = self.network(x)
                loss = self.loss_module(output, target)
                for penalty, names in self.penalties:
                    for name in names:
                        loss = loss + penalty(self.parameters[name])
        finally:
            self.network.train(before)
        return array_of(output).copy(), loss.item()

    def has(self, name: str) -> bool:
        """Return whether torch computes what a node does."""
        return True

    def module_of(self, name: str) -> torch.nn.Module:
        """Return the module of a node, of the `loss`, or of a `penalty 0`."""
        if name == "loss":
            return self.loss_module
        if name.startswith("penalty "):
            return self.penalties[int(name.split()[1])][0]
        return self.network.modules_by_node[name]

    def alone(
        self,
        name: str,
        inputs: Sequence[Any],
        params: Mapping[str, np.ndarray],
        buffers: Mapping[str, np.ndarray],
        upstream: Any,
        wanted: int | None = None,
        names: Sequence[str] = (),
    ) -> Alone:
        """Run one piece by itself, in the dtype of the arrays given; a random one draws again.

        Args:
            name: as for `module_of`.
            inputs: the module's arguments by position of the hand-written forward's; None is left
                out.
            upstream: the gradients of its outputs, one or a tuple.
            wanted: how many of the inputs get a gradient; all that are real without it.
            names: of the arguments, for those that the description gives by keyword.
        """
        module = self.module_of(name)
        leaves = [None if x is None else self._leaf(x, wanted, i) for i, x in enumerate(inputs)]
        own = {key: self._copied(p).requires_grad_() for key, p in params.items()}
        state = own | self._buffers(module, buffers, upstream)
        with torch.enable_grad(), self.network.same_draw(name):
            y = functional_call(module, state, *self.network.call_of(name, leaves, names))  # type: ignore[arg-type]
        outputs = [t for t in tree_leaves(y) if isinstance(t, Tensor)]
        ups = upstream if isinstance(upstream, tuple) else (upstream,)
        pairs = [
            (t, self._copied(u)) for t, u in zip(outputs, ups, strict=False) if t.requires_grad
        ]
        floats = [t for t in (*leaves, *own.values()) if t is not None and t.requires_grad]
        ends, over = [t for t, _ in pairs], [u for _, u in pairs]
        grads = iter(_gradients(ends, floats, over))
        found = [next(grads) if t is not None and t.requires_grad else None for t in leaves]
        return Alone(
            [array_of(t) for t in outputs],
            [None if g is None else array_of(g) for g in found],
            {key: None if g is None else array_of(g) for key, g in zip(own, grads, strict=True)},
            {key: array_of(state[key]) for key in buffers},
        )

    def _copied(self, array: np.ndarray) -> Tensor:
        return torch.tensor(array, device=self.device)

    def _leaf(self, array: np.ndarray, wanted: int | None, place: int) -> Tensor:
        tensor = self._copied(array)
        differentiable = tensor.is_floating_point() and (wanted is None or place < wanted)
        return tensor.requires_grad_() if differentiable else tensor

    def _buffers(self, module: torch.nn.Module, given: Mapping, upstream: Any) -> dict[str, Tensor]:
        """Return copies of a module's buffers, floats in the dtype of the upstream gradient."""
        one = upstream[0] if isinstance(upstream, tuple) else upstream
        dtype = self._copied(one).dtype
        found = {key: b.clone() for key, b in module.named_buffers()}
        found |= {key: self._copied(b) for key, b in given.items()}
        return {k: b.to(dtype) if b.is_floating_point() else b for k, b in found.items()}

    def update(self, lr: float) -> None:
        """Clip the gradients if asked, then take one optimiser step at this learning rate.

        `overflowed` tells whether the gradients' norm is infinite though they are finite: torch
        squares them in their own dtype, and then clips them to zero.
        """
        norm, value = self.clip
        self.overflowed = False
        self.scaler.unscale(self.optimizer)
        if norm is not None:
            grads = [p.grad for p in self.parameters.values() if p.grad is not None]
            finite = all(bool(g.isfinite().all()) for g in grads)
            found = torch.nn.utils.clip_grad_norm_(self.parameters.values(), norm)
            self.overflowed = finite and not bool(found.isfinite())
        if value is not None:
            torch.nn.utils.clip_grad_value_(self.parameters.values(), value)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.scaler.step(self.optimizer)

    def updated_alone(
        self, params: Mapping[str, Any], states: Mapping[str, Any], grads: Mapping[str, Any],
        lr: float,
    ) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:  # fmt: skip
        """Return what one update makes of these parameters and states, in the arrays' own dtype.

        Clipped if asked; not scaled; nothing of this side changes.
        """
        leaves = {name: torch.nn.Parameter(self._copied(p)) for name, p in params.items()}
        for name, grad in grads.items():
            leaves[name].grad = self._copied(grad)
        name, args = self.optimizer_spec
        optimizer = optimizers.build(name, leaves, args, self.groups)
        optimizers.load_state(optimizer, leaves, states)
        norm, value = self.clip
        if norm is not None:
            torch.nn.utils.clip_grad_norm_(leaves.values(), norm)
        if value is not None:
            torch.nn.utils.clip_grad_value_(leaves.values(), value)
        optimizers.set_lr(optimizer, lr)
        optimizer.step()
        state = optimizers.state_of(optimizer, leaves)
        return (
            {name: array_of(p) for name, p in leaves.items()},
            {p: {k: array_of(v) for k, v in entry.items()} for p, entry in state.items()},
        )

    def outputs(self) -> dict[str, np.ndarray]:
        taps, inputs = self.network.taps.items(), self.network.inputs
        return {name: array_of(y) for name, y in taps if name not in inputs}

    def grad_outputs(self) -> dict[str, np.ndarray]:
        """Gradients of the loss at every tap, and at the network's inputs under their names."""
        taps = [(k, y) for k, y in self.network.taps.items() if y.requires_grad]
        return {name: array_of(y.grad) for name, y in taps if y.grad is not None}

    def grads(self) -> dict[str, np.ndarray]:
        return {k: array_of(p.grad) for k, p in self.parameters.items() if p.grad is not None}

    def params(self) -> dict[str, np.ndarray]:
        return {name: array_of(p) for name, p in self.parameters.items()}

    def buffers(self) -> dict[str, np.ndarray]:
        """The buffers after the last forward pass."""
        return {name: array_of(b) for name, b in self.network.model.named_buffers()}

    def state(self) -> dict[str, dict[str, Any]]:
        """The optimiser's state by parameter and torch's state name."""
        state = optimizers.state_of(self.optimizer, self.parameters)
        return {p: {k: array_of(v) for k, v in entry.items()} for p, entry in state.items()}

    def winners(self) -> dict[str, np.ndarray]:
        """Which piece each unit took in the last forward pass, of modules that say so."""
        modules = self.network.modules_by_node.items()
        return {name: array_of(m.winner) for name, m in modules if hasattr(m, "winner")}  # type: ignore[arg-type]

    def noise(self) -> dict[str, Any]:
        """What random layers drew in the last forward pass, for the other side to share."""
        return {
            name: tuple(map(array_of, draws)) if isinstance(draws, tuple) else array_of(draws)
            for name, draws in self.network.noise.items()
        }


def array_of(tensor: Tensor) -> np.ndarray:
    """View a CPU tensor as an array, or bring a copy over from the GPU; a sparse one in full.

    Halves, in which NumPy does not compute, come as a copy in float64.
    """
    dense = tensor.to_dense() if tensor.is_sparse else tensor
    return (dense.double() if dense.dtype in halves.HALVES else dense).numpy(force=True)
