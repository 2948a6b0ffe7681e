"""Candidates that are classes, modules or lists of parameters: checked, and left as they were."""

from __future__ import annotations

import re
import subprocess
import sys
import types
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import compare
from manual.linear import Linear
from tests.compare.pair.gradient_pairs import (
    LABELS,
    X,
    affine,
    agrees_and_catches,
)


class Descends:
    """A layer as tutorials have it: backward takes a learning rate, and updates."""

    def __init__(self, weight_sign=1.0, bias_factor=1.0):
        rng = np.random.default_rng(1)
        self.weights, self.bias = rng.normal(size=(2, 3)), rng.normal(size=(2, 1))
        self.weight_sign, self.bias_factor = weight_sign, bias_factor

    def forward(self, input):
        self.input = input
        return self.weights @ self.input + self.bias

    def backward(self, output_gradient, learning_rate):
        weights_gradient = output_gradient @ self.input.T
        input_gradient = self.weights.T @ output_gradient
        self.weights -= learning_rate * self.weight_sign * weights_gradient
        self.bias = self.bias - learning_rate * self.bias_factor * output_gradient
        return input_gradient


@pytest.mark.usefixtures("verdict_alone")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_of_a_backward_that_updates_the_parameters_what_it_subtracts_is_judged(
    dtype: str, tmp_path
) -> None:
    inputs = {"input": (3, 1), "weights": (2, 3), "bias": (2, 1)}
    layer = Descends()

    report = compare.check(layer, inputs=inputs, dtype=dtype)

    assert report.agrees, str(report)
    assert {"grad:input", "grad:weights", "grad:bias"} <= set(report.differences["quantity"])
    assert np.array_equal(layer.weights, Descends().weights)
    for wrong, where in ((Descends(-1.0), "weights"), (Descends(1.0, 1.01), "bias")):
        bad = compare.check(wrong, inputs=inputs, dtype=dtype)
        assert bad.first_divergence is not None
        assert bad.first_divergence.quantity == f"grad:{where}"
        script = bad.save(tmp_path / where) / "replay.py"
        done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
        assert (done.returncode, f"grad:{where} is wrong." in done.stdout) == (1, True), done.stderr


def test_an_update_that_takes_the_input_gradient_afterwards_is_found() -> None:
    class Late(Descends):
        def backward(self, output_gradient, learning_rate):
            super().backward(output_gradient, learning_rate)
            return self.weights.T @ output_gradient

    report = compare.check(Late(), inputs={"input": (3, 1)})

    assert report.verdict == "disagree"


class Model:
    """A network as course assignments have it: parameters by name, a loss with its gradients."""

    def __init__(self, factor=1.0, lost=""):
        rng = np.random.default_rng(0)
        self.factor, self.lost, self.reg = factor, lost, 0.1
        self.params = {"W": rng.normal(size=(3, 5)), "b": np.zeros(5)}

    def loss(self, X, y=None):
        W, b = self.params["W"], self.params["b"]
        scores = X @ W + b
        if y is None:
            return scores
        e = np.exp(scores - scores.max(1, keepdims=True))
        p = e / e.sum(1, keepdims=True)
        value = -np.log(p[np.arange(len(y)), y]).mean() + 0.5 * self.reg * np.sum(W * W)
        ds = (p - np.eye(p.shape[1])[y]) / len(y)
        grads = {"W": X.T @ ds + self.factor * self.reg * W, "b": ds.sum(0)}
        return value, {k: g for k, g in grads.items() if k != self.lost}


@pytest.mark.usefixtures("verdict_alone")
def test_a_model_with_a_loss_is_checked_by_its_parameters(tmp_path) -> None:
    inputs = {"X": (4, 3), "y": LABELS}

    good = compare.check(Model(), inputs=inputs)
    bad = compare.check(Model(2.0), inputs=inputs)
    lost = compare.check(Model(lost="b"), inputs=inputs)

    assert good.agrees, str(good)
    assert {"grad:W", "grad:b"} <= set(good.differences["quantity"])
    assert (bad.verdict, lost.verdict) == ("disagree", "disagree")
    assert bad.first_divergence is not None
    assert bad.first_divergence.quantity == "grad:W"
    assert lost.first_divergence is not None
    assert lost.first_divergence.quantity == "grad:b"
    script = bad.save(tmp_path / "report") / "replay.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert "grad:W is wrong." in done.stdout, done.stderr


@pytest.mark.usefixtures("verdict_alone")
def test_gradients_that_come_with_the_loss_are_asked_for_twice() -> None:
    calls = []

    def drifting(x):
        calls.append(1)
        return np.sum(x**2), 2 * x * (1 + 1e-15 * len(calls))

    def clean(x):
        return np.sum(x**2), 2 * x

    assert "repeated:x" in compare.check(drifting, inputs=X).reason
    assert not any("reuses its memory" in n for n in compare.check(clean, inputs=X).notes)
    inputs = {"X": (4, 3), "y": LABELS}
    assert not any("reuses" in n for n in compare.check(Model(), inputs=inputs).notes)


def test_a_class_is_replayed_though_its_base_was_named_by_a_module(tmp_path) -> None:
    home: Any = types.SimpleNamespace(Model=Model)

    class Mine(home.Model):
        def loss(self, X, y=None):
            value, grads = super().loss(X, y)
            return value, {**grads, "b": 2 * grads["b"]}

    report = compare.check(Mine(), inputs={"X": (4, 3), "y": LABELS})
    script = report.save(tmp_path / "report") / "replay.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)

    assert "grad:b is wrong." in done.stdout, done.stderr


class Criterion:
    """A loss that is called, and remembers."""

    factor = 1.0

    def __call__(self, logits, y):
        e = np.exp(logits - logits.max(1, keepdims=True))
        self.y, self.p = y, e / e.sum(1, keepdims=True)
        return -np.log(self.p[np.arange(len(y)), y]).mean()

    def backward(self):
        one_hot = np.eye(self.p.shape[1])[self.y]
        return self.factor * (self.p - one_hot) / len(self.y)


class WrongCriterion(Criterion):
    factor = 2.0


def test_a_loss_that_is_called_may_remember_and_go_back_without_arguments() -> None:
    inputs = {"logits": (4, 3), "y": LABELS}

    assert compare.check(Criterion(), inputs=inputs).agrees
    wrong = compare.check(WrongCriterion(), inputs=inputs)
    assert wrong.verdict == "disagree"
    assert wrong.first_divergence is not None
    assert wrong.first_divergence.quantity == "grad:logits"


class Stored:
    """A dense layer that keeps its cache and its gradients on itself."""

    def __init__(self, rows: int, columns: int) -> None:
        self.W, self.b = np.zeros((rows, columns)), np.zeros(columns)

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        self.dW, self.db = self.x.T @ dout, dout.sum(axis=0)
        return dout @ self.W.T


class StoredInADictionary(Stored):
    def backward(self, dout):
        dx = super().backward(dout)
        self.grads = {"W": self.dW, "b": self.db * 2}
        del self.dW, self.db
        return dx


class Outputs:
    """The style in which forward and backward return nothing."""

    def forward(self, x):
        self.output = np.maximum(x, 0)

    def backward(self, dvalues):
        self.dinputs = dvalues * (self.output > 0)


def test_a_class_that_stores_its_cache_on_itself() -> None:
    agrees_and_catches(
        (Stored(3, 5),),
        (StoredInADictionary(3, 5),),
        lambda x, W, b: x @ W + b,
        {"x": (4, 3), "W": (3, 5), "b": (5,)},
    )


def test_the_object_under_test_is_left_as_it_was() -> None:
    layer = Stored(3, 5)
    compare.check(layer, None, None, {"x": (4, 3), "W": (3, 5), "b": (5,)})

    assert vars(layer).keys() == {"W", "b"}
    assert not layer.W.any()


def test_a_class_without_arguments_and_without_return_values() -> None:
    report = compare.check(Outputs, None, torch.relu, X)

    assert report.agrees, str(report)


def test_a_layer_of_this_project_with_its_parameters_against_a_module() -> None:
    report = compare.check(Linear(3, 5), None, nn.Linear(3, 5), X)
    quantities = set(report.differences["quantity"])

    assert report.agrees, str(report)
    assert {"grad:x", "grad:weight", "grad:bias"} <= quantities


def test_a_modules_parameters_that_are_no_inputs_are_named() -> None:
    module = nn.Linear(3, 5)
    weight, bias = (p.detach().numpy().astype(float) for p in (module.weight, module.bias))
    report = compare.check(
        lambda x: (x @ weight.T + bias, None), lambda dout, cache: dout @ weight, module, X
    )

    assert report.agrees, str(report)
    assert any("weight, bias are no inputs" in note for note in report.notes)


# ── parameters in lists, derivatives, losses ────────────────────────────────────────────────────
class Listed:
    """Parameters and gradients in lists that share the attributes' arrays."""

    def __init__(self) -> None:
        self.W, self.b = np.ones((3, 5)), np.zeros(5)
        self.params = [self.W, self.b]
        self.grads = [np.zeros((3, 5)), np.zeros(5)]

    def forward(self, x):
        self.x = x
        return x @ self.W + self.params[1]

    def backward(self, dout):
        self.grads[0][...] = self.x.T @ dout
        self.grads[1][...] = self.summed(dout)
        return dout @ self.params[0].T

    def summed(self, dout):
        return dout.sum(axis=0)


class Averaged(Listed):
    def summed(self, dout):
        return dout.mean(axis=0)


class Weights:
    """Two layers whose weights stand in a list `W`, their gradients in a list `dW`."""

    keeps = True

    def __init__(self) -> None:
        self.W = [np.ones((3, 4)), np.ones((4, 2))]

    def forward(self, x):
        self.x, self.h = x, np.tanh(x @ self.W[0])
        return self.h @ self.W[1]

    def backward(self, dout):
        dh = dout @ self.W[1].T * (1 - self.h**2)
        self.dW = [self.x.T @ dh, self.h.T @ dout] if self.keeps else None
        return dh @ self.W[0].T


class Forgetful(Weights):
    keeps = False


class Single:
    def __init__(self) -> None:
        self.W = np.ones((3, 5))

    def forward(self, x):
        return x @ self.W

    def backward(self, dout):
        return dout @ self.W.T


def layers(x, first, second):
    return torch.tanh(x @ first) @ second


def test_parameters_in_lists_are_checked() -> None:
    assert compare.check(Listed(), reference=affine, inputs=X).agrees
    assert compare.check(Weights(), reference=layers, inputs=X).agrees
    report = compare.check(Averaged(), reference=affine, inputs=X)

    assert report.verdict == "disagree"
    assert report.first_divergence.quantity == "grad:b"
    assert "layer.W = W" in report.attachments["replay.py"].decode()


@pytest.mark.parametrize(
    ("layer", "reference", "told"),
    [
        (Forgetful(), None, r"No gradient of the object's W\[0\], W\[1\] was found"),
        (Listed(), lambda x: x @ torch.ones(3, 5).to(x), "The reference takes 1 argument: .* W, b"),
        (Single(), None, "The object's W kept the value"),
    ],
)
def test_parameters_that_are_not_checked_are_told(layer, reference, told: str) -> None:
    report = compare.check(layer, reference=reference, inputs=X)

    assert report.agrees
    assert any(re.match(told, note) for note in report.notes)


class Shifted:
    """Keeps arrays of float64 that no input names, one of them in two places."""

    factor = 1.0

    def __init__(self) -> None:
        self.W, self.scale = np.random.default_rng(0).normal(size=(3, 2)), np.float64(2.0)
        self.shift = np.linspace(0.0, 1.0, 3)
        self.known = {"shift": self.shift}

    def forward(self, x):
        assert self.known["shift"] is self.shift
        self.x = x - self.shift
        return self.x @ self.W * self.scale

    def backward(self, dy):
        self.dW = self.factor * (self.x.T @ dy * self.scale)
        return dy @ self.W.T * self.scale


@pytest.mark.usefixtures("verdict_alone")
def test_arrays_that_an_object_keeps_are_of_the_dtype_that_is_asked_for() -> None:
    right, wrong = Shifted(), Shifted()
    wrong.factor = 1.1

    assert compare.check(right, inputs=X, dtype="float32", shrink=False).agrees
    assert right.shift.dtype == np.float64
    report = compare.check(wrong, inputs=X, dtype="float32", shrink=False)
    assert report.verdict == "disagree"
    assert "dtype" not in report.reason
