"""Wherever an object holds its parameters, a wrong gradient of one is found."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import compare
from compare.pair.parameters import Attribute, Place, arrays
from tests.compare.pair.gradient_pairs import X


def weight(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape or (3, 2))


class Layer:
    """A linear layer; `factor` of its weight's gradient is 1 if it is right."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor
        self.hold(weight(), weight(2))

    def hold(self, w, b):
        self.W, self.b = w, b

    def held(self) -> Any:
        return self.W, self.b

    def keep(self, dw, db):
        self.dW, self.db = dw, db

    def forward(self, x):
        self.x = x
        w, b = self.held()
        return x @ np.array(w) + np.array(b)

    def backward(self, dy):
        self.keep(self.x.T @ dy * self.factor, dy.sum(axis=0))
        return dy @ np.array(self.held()[0]).T


class Slots(Layer):
    """In slots there are no attributes by name in a dictionary."""

    def __new__(cls, factor=1.0):
        return Slotted(factor)


class Slotted:
    __slots__ = ("W", "b", "dW", "db", "factor", "x")
    __init__, hold, held = Layer.__init__, Layer.hold, Layer.held  # type: ignore[assignment]
    keep, forward, backward = Layer.keep, Layer.forward, Layer.backward


@dataclass(slots=True)
class Updated:
    factor: float = 1.0
    W: np.ndarray = field(default_factory=weight)
    lr: float = 0.1
    x: Any = None

    def forward(self, x):
        self.x = x
        return x @ self.W

    def backward(self, dy):
        dx = dy @ self.W.T
        self.W -= self.lr * self.factor * (self.x.T @ dy)
        return dx


class OnTheClass(Layer):
    W, b = weight(), weight(2)

    def hold(self, w, b):
        pass


class Nested(Layer):
    def hold(self, w, b):
        self.params, self.grads = {"first": {"W": w, "b": b}}, {}

    def held(self):
        return self.params["first"].values()

    def keep(self, dw, db):
        self.grads["first"] = {"W": dw, "b": db}

    def forward(self, x):
        self.x = x
        return x @ self.params["first"]["W"] + self.params["first"]["b"]

    def backward(self, dy):
        self.keep(self.x.T @ dy * self.factor, dy.sum(axis=0))
        return dy @ self.params["first"]["W"].T


class Returned(Nested):
    def backward(self, dy):
        dx = super().backward(dy)
        grads, self.grads = self.grads, {}
        return dx, grads


class InTuples(Layer):
    def hold(self, w, b):
        self.weights = [(w, b)]

    def held(self):
        return self.weights[0]

    def keep(self, dw, db):
        self.dweights = [(dw, db)]


class Pairs(Layer):
    def hold(self, w, b):
        self.layers = [{"W": w, "b": b}]

    def held(self):
        return self.layers[0]["W"], self.layers[0]["b"]

    def keep(self, dw, db):
        self.layers[0] |= {"dW": dw, "db": db}


Both = namedtuple("Both", "W b")


class Named(Layer):
    def hold(self, w, b):
        self.p = Both(w, b)

    def held(self):
        return self.p

    def keep(self, dw, db):
        self.dp = Both(dw, db)


class Space(Layer):
    def hold(self, w, b):
        self.p = SimpleNamespace(W=w, b=b)

    def held(self):
        return self.p.W, self.p.b

    def keep(self, dw, db):
        self.p.dW, self.p.db = dw, db


class Parameter:
    def __init__(self, value):
        self.value, self.grad = value, np.zeros_like(value)


class Objects(Layer):
    def hold(self, w, b):
        self.W, self.b = Parameter(w), Parameter(b)

    def held(self):
        return self.W.value, self.b.value

    def keep(self, dw, db):
        self.W.grad, self.b.grad = dw, db


class InOrder(Layer):
    def hold(self, w, b):
        self.params = {"W": w, "b": b}

    def held(self):
        return self.params["W"], self.params["b"]

    def keep(self, dw, db):
        self.grads = [dw, db]


class Lists(Layer):
    def hold(self, w, b):
        self.W, self.b, self.losses = w.tolist(), b.tolist(), [0.5]

    def keep(self, dw, db):
        self.losses.append(1.0)  # grows: it is no list of numbers that learn
        self.dW, self.db = dw.tolist(), list(db)


class Called(Layer):
    __call__ = Layer.forward
    forward = None  # type: ignore[assignment]


class OtherNames(Layer):
    def hold(self, w, b):
        self.weights, self.biases = w, b

    def held(self):
        return self.weights, self.biases


HOLDERS = [
    Slots, Updated, OnTheClass, Nested, Returned, InTuples, Pairs, Named, Space, Objects, InOrder,
    Lists, Called, OtherNames,
]  # fmt: skip


@pytest.mark.parametrize("kind", HOLDERS, ids=lambda kind: kind.__name__)
def test_a_parameter_is_checked_wherever_it_is_held(kind: type) -> None:
    right = compare.check(kind(), inputs=X, cases=["random"])
    wrong = compare.check(kind(factor=1.1), inputs=X, cases=["random"])

    assert right.agrees, str(right)
    assert "No gradient of" not in right.reason
    assert wrong.verdict == "disagree", str(wrong)
    assert wrong.first_divergence is not None
    assert wrong.first_divergence.quantity not in ("grad:x", "grad:b")


class Elsewhere(Layer):
    """Its gradients are asked for by a method of its own."""

    def keep(self, dw, db):
        pass

    def gradients(self):
        return {"W": np.zeros((3, 2))}


def test_agreement_says_of_which_parameters_nothing_was_checked() -> None:
    report = compare.check(Elsewhere(), inputs=X, cases=["random"])

    assert report.agrees
    assert report.reason.endswith("No gradient of W, b was checked.")


class ParametersAlone(Layer):
    def backward(self, dy):
        return {"W": self.x.T @ dy * self.factor, "b": dy.sum(axis=0)}


def test_gradients_of_parameters_alone_leave_open_whether_the_input_is_to_have_one() -> None:
    right = compare.check(ParametersAlone(), inputs=X, cases=["random"])
    told = compare.check(ParametersAlone(), inputs=X, cases=["random"], no_grad=["x"])
    wrong = compare.check(ParametersAlone(1.1), inputs=X, cases=["random"])

    assert right.verdict == "incomplete"
    assert "none of x" in right.reason
    assert told.agrees
    assert wrong.first_divergence is not None
    assert wrong.first_divergence.quantity == "grad:W"


class InATuple(Layer):
    """Its input's gradient, and those of its parameters together."""

    def backward(self, dy):
        return dy @ self.W.T, (self.x.T @ dy * self.factor, dy.sum(axis=0))


class AloneInATuple(Layer):
    def backward(self, dy):
        return self.x.T @ dy * self.factor, dy.sum(axis=0)


def test_gradients_of_parameters_may_be_returned_in_a_tuple_of_their_own() -> None:
    right = compare.check(InATuple(), inputs=X, cases=["random"])
    wrong = compare.check(InATuple(1.1), inputs=X, cases=["random"])

    assert right.agrees
    assert "No gradient of" not in right.reason
    assert wrong.first_divergence is not None
    assert wrong.first_divergence.quantity == "grad:W"
    script = wrong.attachments["replay.py"].decode()
    assert "grads[1][0]" in script


def test_gradients_of_parameters_in_a_tuple_are_none_of_the_input() -> None:
    right = compare.check(AloneInATuple(), inputs=X, cases=["random"])
    told = compare.check(AloneInATuple(), inputs=X, cases=["random"], no_grad=["x"])
    wrong = compare.check(AloneInATuple(1.1), inputs=X, cases=["random"])

    assert right.verdict == "incomplete"
    assert "none of x" in right.reason
    assert told.agrees
    assert wrong.first_divergence is not None
    assert wrong.first_divergence.quantity == "grad:W"


class Keeps(Layer):
    """What forward does not use learns nothing, and is not told of."""

    def hold(self, w, b):
        super().hold(w, b)
        self.best = (w.copy(), 0.5)
        self.optimizer = SimpleNamespace(m={"W": np.zeros_like(w)}, lr=0.1)


def test_what_forward_does_not_use_is_no_parameter() -> None:
    report = compare.check(Keeps(), inputs=X, cases=["random"])

    assert report.agrees
    assert not [note for note in report.notes if "kept the value" in note]
    assert "No gradient of" not in report.reason


TABLE = {"W": weight()}


def test_arrays_that_nobody_gives_are_told() -> None:
    def forward(x):
        return x @ TABLE["W"], x

    def backward(dy, cache):
        return dy @ TABLE["W"].T

    report = compare.check(forward, backward, inputs=X, cases=["random"])

    assert report.agrees
    assert any(note.startswith("forward reads TABLE from around it") for note in report.notes)


def test_a_tuple_that_holds_an_array_is_made_anew() -> None:
    layer = SimpleNamespace(pairs=[(1, np.zeros(2))], both=Both(np.zeros(1), 2))

    Place((Attribute("pairs"), 0, 1)).put(layer, "new")
    Place((Attribute("both"), Attribute("W"))).put(layer, "other")

    assert layer.pairs == [(1, "new")]
    assert layer.both == Both("other", 2)


def test_what_a_pass_leaves_is_no_parameter() -> None:
    layer = SimpleNamespace(
        W=weight(), dW=weight(), memory={"cache": [weight(4)]}, grads=[weight()]
    )

    assert list(arrays(layer)) == ["W"]
