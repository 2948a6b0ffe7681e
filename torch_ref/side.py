"""The torch side of a lockstep run: load weights, one step forward and backward, one update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_ref import optimizers
from torch_ref.layers import Maxout
from torch_ref.losses import LOSSES, PENALTIES
from torch_ref.network import INPUT, Network, NodeDescription, topological

DTYPES = {"float32": torch.float32, "float64": torch.float64}


class TorchSide:
    """A stock torch model, its loss, penalties and optimiser, read back as NumPy arrays.

    Args:
        nodes: the network description.
        loss: name and arguments of the loss.
        penalties: `(type, coefficient, parameter names)` each.
        optimizer: name and arguments of the optimiser.
        clip: `(clip_norm, clip_value)`, either None.
        dtype, device: what torch computes in, and where. TF32 is switched off.
        training: False puts all layers (dropout, batch norm) into evaluation.
        ports: the names of a node's outputs, where it has several.
        tied: parameters that are another one, by name.
    """

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
    ) -> None:
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        self.dtype, self.device = DTYPES[dtype], torch.device(device)
        network = Network(topological(nodes), ports, tied)
        self.network = network.to(self.device, self.dtype).train(training)
        self.parameters = dict(self.network.model.named_parameters())
        self.loss_name = loss[0]
        self.loss_module = LOSSES[loss[0]](**self._tensors(loss[1])).to(self.device)
        self.penalties = [(PENALTIES[t](coefficient), names) for t, coefficient, names in penalties]
        self.optimizer_spec, self.clip = optimizer, clip
        self.optimizer = optimizers.build(optimizer[0], self.parameters, optimizer[1])

    def load(self, weights: Mapping[str, np.ndarray]) -> None:
        """Copy initial weights in, key for key, and forget the optimiser's state."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(torch.tensor(weights[name], dtype=self.dtype))
        name, args = self.optimizer_spec
        self.optimizer = optimizers.build(name, self.parameters, args)

    def tensor(self, array: np.ndarray) -> Tensor:
        """Copy an array over (`torch.from_numpy` would alias it); integers stay integers."""
        dtype = self.dtype if array.dtype.kind == "f" else None
        return torch.tensor(array, dtype=dtype, device=self.device)

    def _tensors(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Turn list-valued arguments (class weights) into tensors of the run's dtype."""
        lists = (list, tuple)
        return {
            key: torch.tensor(value, dtype=self.dtype) if isinstance(value, lists) else value
            for key, value in args.items()
        }

    def forward_backward(self, x: Tensor, target: Tensor, *, input_grad: bool = False) -> float:
        """Run forward, loss and backward; gradients are left on parameters and taps."""
        for parameter in self.parameters.values():
            parameter.grad = None
        x = x.detach().requires_grad_(input_grad)
        self.x = x
        self.loss = self.loss_module(self.network(x), target)
        for penalty, names in self.penalties:
            for name in names:
                self.loss = self.loss + penalty(self.parameters[name])
        self.loss.backward()
        return self.loss.item()

    def alone(
        self,
        name: str,
        inputs: Sequence[np.ndarray],
        params: Mapping[str, np.ndarray],
        grad_output: np.ndarray,
    ) -> tuple[np.ndarray, list[np.ndarray], dict[str, np.ndarray]]:
        """Run one node by itself on given arrays: output, input and parameter gradients."""
        y, grads, own = self.network.alone(
            name,
            [self.tensor(x) for x in inputs],
            {key: self.tensor(p) for key, p in params.items()},
            self.tensor(grad_output),
        )
        return array_of(y), [array_of(g) for g in grads], {k: array_of(g) for k, g in own.items()}

    def loss_alone(self, output: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Run the loss by itself, without penalties: its value and its input's gradient."""
        y = self.tensor(output).requires_grad_()
        loss = self.loss_module(y, self.tensor(target))
        return array_of(loss), array_of(torch.autograd.grad(loss, y)[0])

    def penalties_alone(
        self, params: Mapping[str, np.ndarray]
    ) -> list[dict[str, tuple[np.ndarray, np.ndarray]]]:
        """Run every penalty by itself: value and gradient for each parameter that it is on."""
        return [{name: self._penalty(p, params[name]) for name in on} for p, on in self.penalties]

    def _penalty(self, penalty: Any, array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        parameter = self.tensor(array).requires_grad_()
        value = penalty(parameter)
        return array_of(value), array_of(torch.autograd.grad(value, parameter)[0])

    def update(self, lr: float) -> None:
        """Clip the gradients if asked, then take one optimiser step at this learning rate."""
        norm, value = self.clip
        if norm is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters.values(), norm)
        if value is not None:
            torch.nn.utils.clip_grad_value_(self.parameters.values(), value)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()

    def outputs(self) -> dict[str, np.ndarray]:
        return {name: array_of(y) for name, y in self.network.taps.items() if name != INPUT}

    def grad_outputs(self) -> dict[str, np.ndarray]:
        """Gradients of the loss at every tap; the network's input under `input`."""
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
        """Which piece each unit of a Maxout took in the last forward pass."""
        modules = self.network.modules_by_node.items()
        return {name: array_of(m.winner) for name, m in modules if isinstance(m, Maxout)}

    def noise(self) -> dict[str, Any]:
        """What random layers drew in the last forward pass, for the other side to share."""
        return {
            name: tuple(map(array_of, draws)) if isinstance(draws, tuple) else array_of(draws)
            for name, draws in self.network.noise.items()
        }


def array_of(tensor: Tensor) -> np.ndarray:
    """View a CPU tensor as an array, or bring a copy over from the GPU."""
    return tensor.numpy(force=True)
