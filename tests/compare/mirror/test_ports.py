"""A whole NumPy network, written as a graph, in the place of a model: value by value, by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import compare
import manual
from compare.errors import UserError
from compare.report.report import Report
from manual.graph import Graph

X = torch.linspace(-2, 2, 18).reshape(6, 3)


class Net(nn.Module):
    """A block, a residual, statistics, a draw, and functions without a module."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.fc1, self.block = nn.Linear(3, 4), nn.Sequential(nn.Linear(4, 4), nn.Tanh())
            self.bn, self.drop, self.fc2 = nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.fc1(x))
        h = h + self.block(h)
        return self.fc2(self.drop(self.bn(h))).log_softmax(-1)


def port(**layers: Any) -> Graph:
    """Return the port, with other layers in the place of some."""
    nodes = [
        ("fc1", manual.Linear(3, 4), ("input",)),
        ("act", manual.ReLU(), ("fc1",)),
        ("block", manual.Sequential(manual.Linear(4, 4), manual.Tanh()), ("act",)),
        ("sum", manual.Add(), ("act", "block")),
        ("bn", manual.BatchNorm1d(4), ("sum",)),
        ("drop", manual.Dropout(0.3), ("bn",)),
        ("fc2", manual.Linear(4, 2), ("drop",)),
        ("scores", manual.LogSoftmax(-1), ("fc2",)),
    ]
    return Graph([(name, layers.get(name, layer), inputs) for name, layer, inputs in nodes])


def mirrored(twin: Any, **options: Any) -> Report:
    return compare.mirror(Net(), X, twin=twin, **options)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_right_port_agrees_in_every_value_that_it_shares(dtype: str) -> None:
    report = mirrored(port(), steps=2, dtype=dtype)

    assert report.verdict == "agree", str(report)
    layers = set(report.differences["layer"])
    assert {"fc1", "block.0", "block.1", "bn", "drop", "fc2", "scores"} <= layers
    assert {"act", "sum", "log_softmax"}.isdisjoint(layers)
    assert any("act, sum of your own graph" in note for note in report.notes)
    assert any("torch's add, relu" in note for note in report.notes)


class Averaging(manual.Linear):
    """Divides its bias's gradient by the batch."""

    def backward(self, grad_output: Any, cache: Any) -> Any:
        grads, own = super().backward(grad_output, cache)
        return grads, {**own, "bias": grad_output.mean(axis=0)}


class Steep(manual.Tanh):
    """Forgets the square."""

    def backward(self, grad_output: Any, cache: Any) -> Any:
        (dx,), own = super().backward(grad_output, cache)
        return (dx * 1.01,), own


MISTAKES = {
    "fc1": (Averaging(3, 4), "fc1", "grad:bias", "batch size"),
    "fc2": (Averaging(4, 2), "fc2", "grad:bias", "batch size"),
    "block": (
        manual.Sequential(manual.Linear(4, 4), Steep()), "block.1", "grad_input", "constant factor",
    ),
    "act": (manual.Tanh(), "block.0", "output", None),  # has no name in torch
    "bn": (manual.BatchNorm1d(4, momentum=0.2), "bn", "buffer:running_mean", None),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_a_port_is_found_and_named(name: str) -> None:
    layer, where, quantity, cause = MISTAKES[name]

    report = mirrored(port(**{name: layer}))

    assert report.verdict == "disagree"
    found = report.first_divergence
    assert found is not None
    assert (found.layer, found.quantity) == (where, quantity)
    assert cause is None or (report.cause is not None and report.cause.kind == cause)


def test_a_port_of_one_module_meets_the_values_inside() -> None:
    inner = manual.Sequential(manual.Linear(4, 4), manual.Tanh())

    report = mirrored({"block": inner})

    assert report.verdict == "agree"
    assert report.coverage["nodes"] == 1
    assert {"block.0", "block.1", "relu"} <= set(report.differences["layer"])


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.Sequential(nn.Linear(3, 3), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(self.cell(x))


@pytest.mark.parametrize("path", ["", "cell"])
def test_a_module_that_is_called_twice_has_a_port_called_twice(path: str) -> None:
    own = manual.Sequential(manual.Linear(3, 3), manual.Tanh())
    whole = Graph([("cell@0", own, ("input",)), ("cell@1", own, ("cell@0",))])

    report = compare.mirror(Twice(), X, twin={path: whole if path == "" else own})

    assert report.verdict == "agree", str(report)
    assert sum(report.differences["quantity"] == "output") >= 4


REFUSED = {
    "parameter": (
        Graph([("fc", manual.Linear(3, 4), ("input",)), ("fc2", manual.Linear(4, 2), ("fc",))]),
        "parameter 'fc.weight' is none of the model's",
    ),
    "shape": (port(fc1=manual.Linear(3, 5), block=manual.Linear(5, 4)), "has shape"),
    "inputs": (
        Graph([("fc1", manual.Add(), ("a", "b"))], inputs=("a", "b")),
        "takes 2 inputs",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_port_that_does_not_fit_is_refused_in_a_sentence(case: str) -> None:
    twin, said = REFUSED[case]

    with pytest.raises(UserError, match=said):
        mirrored(twin)


def test_a_parameter_that_a_port_leaves_out_is_missing() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 2)
            nn.init.zeros_(self.fc.bias)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x)

    report = compare.mirror(
        Plain(), X, twin=Graph([("fc", manual.Linear(3, 2, bias=False), ("input",))])
    )

    assert report.verdict == "disagree"
    wrong = report.differences[report.differences["verdict"] != "agree"]
    assert list(zip(wrong["quantity"], wrong["verdict"], strict=True)) == [("grad:bias", "missing")]


def test_a_port_that_calls_its_layers_as_torch_calls_others_is_wrong() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    swapped = Graph([
        ("0", manual.Linear(3, 4), ("input",)),
        ("2", manual.Linear(4, 2), ("0",)),
        ("1", manual.Tanh(), ("2",)),
    ])  # fmt: skip

    assert compare.mirror(model, X, twin=swapped).verdict == "disagree"


def test_a_port_with_a_name_from_outside_is_refused() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
    clash = Graph([
        ("0", manual.Linear(3, 4), ("input",)), ("upstream.sum", manual.Tanh(), ("0",)),
    ])  # fmt: skip

    with pytest.raises(
        UserError, match=r"'upstream\.sum' of your own graph is also that of a call"
    ):
        compare.mirror(model, X, twin=clash)
