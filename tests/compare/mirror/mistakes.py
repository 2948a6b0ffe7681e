"""Planted mistakes: models with a wrong custom Function, and the same with the right one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Function

from tests.compare.mirror import functions as right
from tests.compare.mirror import wrong_functions
from tests.compare.mirror.example import Example


# ── the models that the Functions stand in ───────────────────────────────────────────────────────
class Piece(nn.Module):
    """A Function with its parameters and its data behind what flows in."""

    def __init__(self, function: type[Function], *parameters: Tensor, data: tuple = ()) -> None:
        super().__init__()
        self.function, self.data = function, data
        self.parameters_of_function = nn.ParameterList(parameters)

    def forward(self, *inputs: Tensor) -> Any:
        return self.function.apply(*inputs, *self.parameters_of_function, *self.data)


def behind(function: type[Function], *shapes: tuple[int, ...], data: tuple = ()) -> Example:
    """Linear, the Function with parameters of these shapes, Linear."""
    parameters = [torch.randn(shape) for shape in shapes]
    model = nn.Sequential(nn.Linear(3, 4), Piece(function, *parameters, data=data), nn.Tanh())
    return Example(model, (torch.randn(5, 3),))


def square(function: type[Function]) -> Example:
    return behind(function, (4, 4), (4,))


class Attends(nn.Module):
    def __init__(self, function: type[Function]) -> None:
        super().__init__()
        self.qkv, self.out, self.function = nn.Linear(3, 12), nn.Linear(4, 2), function

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.function.apply(*self.qkv(x).chunk(3, dim=-1)))


def attending(function: type[Function]) -> Example:
    return Example(Attends(function), (torch.randn(5, 3),))


class Loses(nn.Module):
    """The loss is scaled behind, as gradient accumulation does."""

    def __init__(self, function: type[Function]) -> None:
        super().__init__()
        self.head, self.function = nn.Linear(3, 4), function

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        return self.function.apply(self.head(x), target) / 4


def losing(function: type[Function]) -> Example:
    return Example(Loses(function), (torch.randn(4, 3), torch.tensor([2, 0, -1, 3])))


class Looks(nn.Module):
    def __init__(self, function: type[Function]) -> None:
        super().__init__()
        self.table, self.function = nn.Parameter(torch.randn(5, 3)), function
        self.out = nn.Linear(3, 2)

    def forward(self, index: Tensor) -> Tensor:
        return self.out(torch.tanh(self.function.apply(self.table, index)))


def looking(function: type[Function]) -> Example:
    return Example(Looks(function), (torch.tensor([1, 4, 1, 2]),))


class Scans(nn.Module):
    def __init__(self, function: type[Function]) -> None:
        super().__init__()
        self.gate, self.value, self.function = nn.Linear(3, 2), nn.Linear(3, 2), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function.apply(torch.sigmoid(self.gate(x)), self.value(x)).tanh()


def scanning(function: type[Function]) -> Example:
    return Example(Scans(function), (torch.randn(4, 3),))


class Determines(nn.Module):
    def __init__(self, function: type[Function]) -> None:
        super().__init__()
        self.weight, self.function = nn.Parameter(torch.eye(3) + torch.rand(3, 3)), function

    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.weight).square().sum() - self.function.apply(self.weight)


def determining(function: type[Function]) -> Example:
    return Example(Determines(function), (torch.randn(4, 3),))


class Pairs(nn.Module):
    def __init__(self, function: type[Function]) -> None:
        super().__init__()
        self.x, self.z, self.function = nn.Linear(3, 2), nn.Linear(3, 2), function

    def forward(self, x: Tensor) -> Tensor:
        gated, added = self.function.apply(self.x(x), self.z(x))
        return torch.cat([gated.tanh(), added.sin()], dim=-1)


def pairing(function: type[Function]) -> Example:
    return Example(Pairs(function), (torch.randn(4, 3),))


def swishing(function: type[Function]) -> Example:
    return behind(function, (1,))


def norming(function: type[Function]) -> Example:
    return behind(function, (4,))


def layer_norming(function: type[Function]) -> Example:
    return behind(function, (4,), (4,))


def rotating(function: type[Function]) -> Example:
    return behind(function, data=(torch.rand(5, 2) * 3,))


def alone(function: type[Function]) -> Example:
    return behind(function)


def grouping(function: type[Function]) -> Example:
    return behind(function, data=(torch.tensor([0, 2, 0, 1, 0]),))


def convolving(function: type[Function]) -> Example:
    return behind(function, (3,))


RIGHT: dict[type[Function], Callable[[type[Function]], Example]] = {
    right.Swish: swishing,
    right.RmsNorm: norming,
    right.LayerNorm: layer_norming,
    right.Linear: square,
    right.Attention: attending,
    right.CrossEntropy: losing,
    right.Lookup: looking,
    right.Rotary: rotating,
    right.Scan: scanning,
    right.LogDet: determining,
    right.Normalize: alone,
    right.Clipped: alone,
    right.GatedPair: pairing,
    right.CumulativeSum: alone,
    right.ScatterMean: grouping,
    right.Convolution: convolving,
}


class Mistake(NamedTuple):
    """A wrong backward in a model, and the same model with the right one."""

    name: str
    wrong: type[Function]
    right: type[Function]

    def example(self, function: type[Function] | None = None) -> Example:
        """Build the model, the same each time; without a Function: with the wrong one."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return RIGHT[self.right](function or self.wrong)


MISTAKES = {
    name: Mistake(name, wrong, wrong.__base__)
    for name, wrong in vars(wrong_functions).items()
    if isinstance(wrong, type) and wrong.__module__ == wrong_functions.__name__
}
