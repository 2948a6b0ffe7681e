"""Parameters that an object keeps as attributes are found and checked, and nothing else is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import compare
from tests.compare.pair.gradient_pairs import X


class Dense:
    """A layer as courses have it, with more arrays than it learns."""

    factor = 1.0  # of its bias's gradient

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.W, self.b = rng.standard_normal((3, 5)), np.zeros((1, 5))
        self.average = np.zeros(5)  # is used, and does not learn

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b - self.average

    def backward(self, dout):
        self.dW = self.x.T @ dout
        self.db = self.factor * dout.sum(axis=0, keepdims=True)
        self.dx = dout @ self.W.T
        return self.dx


class ByName(Dense):
    def backward(self, dout):
        dx = super().backward(dout)
        grads = {"W": self.dW, "b": self.db}
        del self.dW, self.db
        return dx, grads


class Descends(Dense):
    def backward(self, dout, learning_rate):  # type: ignore[override]
        dx = super().backward(dout)
        self.W = self.W - learning_rate * self.dW
        self.b = self.b - learning_rate * self.db
        del self.dW, self.db
        return dx


class InATuple(Dense):
    def backward(self, dout):
        dx = super().backward(dout)
        found = dx, self.db, self.dW
        del self.dW, self.db
        return found


def compared(report: compare.Report) -> set[str]:
    return {q for q in report.differences["quantity"] if q.startswith("grad:")}


@pytest.mark.parametrize("cls", [Dense, ByName, Descends, InATuple])
def test_parameters_in_attributes_are_checked_without_being_named(cls: type[Dense]) -> None:
    layer = cls()
    report = compare.check(layer, inputs=X)

    assert report.agrees, str(report)
    assert compared(report) == {"grad:x", "grad:W", "grad:b"}
    assert any("The object's average kept the value" in note for note in report.notes)
    assert not layer.b.any()

    layer.factor = 1.01
    wrong = compare.check(layer, inputs=X, cases=["random"])

    assert wrong.verdict == "disagree"
    assert wrong.first_divergence is not None
    assert wrong.first_divergence.quantity == "grad:b"


def test_what_forward_remembers_is_no_parameter_though_it_has_a_gradient() -> None:
    layer = Dense()
    layer.forward(np.ones((4, 3)))
    layer.backward(np.ones((4, 5)))

    report = compare.check(layer, inputs={"input": (4, 3)})

    assert report.agrees, str(report)
    assert compared(report) == {"grad:input", "grad:W", "grad:b"}


class Tanh:
    def forward(self, x):
        self.y = np.tanh(x)
        return self.y

    def backward(self, dy):
        return dy * (1 - self.y**2)


class Network:
    """Layers in a list, in an attribute and in a dictionary."""

    def __init__(self) -> None:
        self.layers: list[Any] = [Dense(), Tanh()]
        self.heads = {"last": InADictionary()}
        self.scale = Scale()

    def forward(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return self.heads["last"].forward(self.scale.forward(x))

    def backward(self, dout):
        dout = self.scale.backward(self.heads["last"].backward(dout))
        for layer in reversed(self.layers):
            dout = layer.backward(dout)
        return dout


class InADictionary:
    factor = 1.0

    def __init__(self) -> None:
        self.params = {"W": np.random.default_rng(1).standard_normal((5, 2))}
        self.grads: dict[str, np.ndarray] = {}

    def forward(self, x):
        self.x = x
        return x @ self.params["W"]

    def backward(self, dout):
        self.grads["W"] = self.factor * self.x.T @ dout
        return dout @ self.params["W"].T


def test_the_parameters_of_layers_in_a_network_are_its_own() -> None:
    network = Network()
    report = compare.check(network, inputs=X)

    assert report.agrees, str(report)
    names = {"x", "layers[0].W", "layers[0].b", "heads['last'].W", "scale.variance"}
    assert compared(report) == {f"grad:{name}" for name in names}

    network.layers[0].factor = 1.01
    wrong = compare.check(network, inputs=X, cases=["random"])
    assert wrong.first_divergence.quantity == "grad:layers[0].b"
    network.layers[0].factor = 1.0
    network.heads["last"].factor = 0.99
    wrong = compare.check(network, inputs=X, cases=["random"])
    assert wrong.first_divergence.quantity == "grad:heads['last'].W"


def test_a_parameter_in_no_grad_keeps_its_numbers() -> None:
    network = Network()
    network.layers[0].factor = 1.01

    report = compare.check(network, inputs=X, no_grad=["layers[0].b"])

    assert report.agrees, str(report)
    assert "grad:layers[0].b" not in compared(report)
    assert any("layers[0].b" in note and "kept the value" in note for note in report.notes)


class Scale:
    """Defined for positive parameters only."""

    slope = 1.0

    def __init__(self) -> None:
        self.variance = np.array([0.5, 2.0, 4.0, 1.0, 3.0])

    def forward(self, x):
        self.x = x
        return x / np.sqrt(self.variance)

    def backward(self, dy):
        self.dvariance = -0.5 * self.slope * (dy * self.x).sum(axis=0) / self.variance**1.5
        return dy / np.sqrt(self.variance)


def test_parameters_that_cannot_be_drawn_keep_their_values() -> None:
    report = compare.check(Scale(), inputs={"x": (4, 5)})

    assert report.agrees, str(report)
    assert compared(report) == {"grad:x", "grad:variance"}

    Wrong: Any = type("Wrong", (Scale,), {"slope": 0.99})
    assert compare.check(Wrong(), inputs={"x": (4, 5)}, cases=["random"]).verdict == "disagree"


def test_a_reference_that_takes_fewer_arguments_leaves_them_as_they_are() -> None:
    import torch

    layer = Dense()
    weight = torch.from_numpy(layer.W)
    report = compare.check(layer, reference=lambda x: x @ weight.to(x), inputs=X)

    assert report.agrees, str(report)
    assert compared(report) == {"grad:x"}
    assert any("The object's W, b, average kept the values" in note for note in report.notes)
    whole = compare.check(layer, reference=lambda x, w, b: x @ w + b, inputs=X)
    assert whole.agrees, str(whole)
    assert compared(whole) == {"grad:x", "grad:W", "grad:b"}


def test_gradients_in_a_tuple_that_fit_several_arrays_are_asked_for_by_name() -> None:
    layer = InATuple()
    layer.average = np.zeros((1, 5))

    with pytest.raises(compare.UserError, match=r"3 gradients for x\. .*\(W, b, average\)"):
        compare.check(layer, inputs=X)
    named = {**X, "b": (1, 5), "W": (3, 5)}
    assert compare.check(layer, inputs=named).agrees
