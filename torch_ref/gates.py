"""The elementary gates in torch operations, and graphs of them with a tap on every edge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from torch_ref.network import NodeDescription


class AddGate(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.add(x, y)


class SubtractGate(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.sub(x, y)


class MultiplyGate(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.mul(x, y)


class DivideGate(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.div(x, y)


class MaxGate(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.maximum(x, y)


class ConstantGate(nn.Module):
    value: Tensor

    def __init__(self, value: float) -> None:
        super().__init__()
        self.register_buffer("value", torch.tensor(value, dtype=torch.float64))

    def forward(self) -> Tensor:
        return self.value


class AddConstantGate(nn.Module):
    def __init__(self, constant: float) -> None:
        super().__init__()
        self.constant = constant

    def forward(self, x: Tensor) -> Tensor:
        return x + self.constant


class MultiplyConstantGate(nn.Module):
    def __init__(self, constant: float) -> None:
        super().__init__()
        self.constant = constant

    def forward(self, x: Tensor) -> Tensor:
        return x * self.constant


class PowerGate(nn.Module):
    def __init__(self, exponent: float) -> None:
        super().__init__()
        self.exponent = exponent

    def forward(self, x: Tensor) -> Tensor:
        return torch.pow(x, self.exponent)


class NegateGate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.neg(x)


class ReciprocalGate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.reciprocal(x)


class ExpGate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.exp(x)


class LogGate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.log(x)


class SigmoidGate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x)


class TanhGate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x)


class AbsGate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.abs(x)


class SinGate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(x)


class CosGate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cos(x)


class MeanGate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.mean(x)


class SumGate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sum(x)


class SquaredNormGate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.square().sum()


class MatMulGate(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.matmul(a, b)


def gate(type_name: str, **arguments: float) -> nn.Module:
    """Build the gate of this name.

    Raises:
        ValueError: there is none.
    """
    found = globals().get(type_name)
    if not type_name.endswith("Gate") or found is None:
        raise ValueError(f"torch_ref has no gate '{type_name}'.")
    return found(**arguments)


class GateGraph:
    """A graph of gates on torch tensors.

    After `backward`, `values` and `edges` keep their gradients: an edge is a view of its own of
    the value that runs along it, so that a branch's share can be told from the sum.
    """

    def __init__(self, nodes: Sequence[NodeDescription]) -> None:
        self.nodes = list(nodes)
        self.values: dict[str, Tensor] = {}
        self.edges: dict[tuple[str, int], Tensor] = {}  # (node, which of its inputs)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Visit the nodes, which are given in topological order, leaving a tap on every edge."""
        self.values = {name: x.detach().requires_grad_() for name, x in inputs.items()}
        for node in self.nodes:
            arguments = []
            for position, name in enumerate(node.inputs):
                edge = self.values[name].view_as(self.values[name])
                if edge.requires_grad:
                    edge.retain_grad()
                self.edges[node.name, position] = edge
                arguments.append(edge)
            y = gate(node.type, **node.args)(*arguments)
            if y.requires_grad:
                y.retain_grad()
            self.values[node.name] = y
        return y

    def backward(self, upstream: Tensor) -> None:
        """Let autograd leave a gradient on every value and edge that leads to an input."""
        self.values[self.nodes[-1].name].backward(upstream)
