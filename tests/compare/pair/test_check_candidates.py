"""The forms in which people write gradients: each works, and in each a mistake is found."""

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
from compare.errors import UserError
from manual.linear import Linear
from tests.compare.pair.gradient_pairs import (
    AFFINE,
    LABELS,
    affine,
    affine_backward,
    affine_forward,
    softmax_loss,
)

X = {"x": (4, 3)}


def agrees_and_catches(right: tuple, wrong: tuple, reference, inputs, **options) -> None:
    good = compare.check(*right, reference=reference, inputs=inputs, **options)
    bad = compare.check(*wrong, reference=reference, inputs=inputs, shrink=False, **options)

    assert good.agrees, str(good)
    assert bad.verdict == "disagree", str(bad)


def test_backward_may_take_the_inputs_again() -> None:
    def forward(x, w):
        return x @ w

    agrees_and_catches(
        (forward, lambda dout, x, w: (dout @ w.T, x.T @ dout)),
        (forward, lambda dout, x, w: (dout @ w.T, -x.T @ dout)),
        torch.matmul,
        {"x": (4, 3), "w": (3, 5)},
    )


def test_backward_may_take_the_output() -> None:
    def forward(z):
        return 1 / (1 + np.exp(-z))

    agrees_and_catches(
        (forward, lambda dout, out: dout * out * (1 - out)),
        (forward, lambda dout, out: dout * out),
        torch.sigmoid,
        {"z": (4, 3)},
    )


def test_the_cache_may_come_first() -> None:
    def backward(cache, dout):
        return affine_backward(dout, cache)

    agrees_and_catches(
        (affine_forward, backward),
        (affine_forward, lambda cache, dout: backward(cache, dout * 2)),
        affine,
        AFFINE,
    )


def test_backward_of_a_linear_map_may_take_the_upstream_gradient_alone() -> None:
    def forward(x):
        return x.repeat(2, axis=1)

    agrees_and_catches(
        (forward, lambda dout: dout[:, ::2] + dout[:, 1::2]),
        (forward, lambda dout: dout[:, ::2] - dout[:, 1::2]),
        lambda x: x.repeat_interleave(2, dim=1),
        X,
    )


def test_a_derivative_keeps_its_argument_whatever_it_is_called() -> None:
    def tanh_prime(dist):
        return 1 - np.tanh(dist) ** 2

    assert compare.check(np.tanh, tanh_prime, torch.tanh, X).agrees


def propagate(w, b, X, Y):  # as a well-known course has it
    A = 1 / (1 + np.exp(-(w.T @ X + b)))
    cost = -np.mean(Y * np.log(A) + (1 - Y) * np.log(1 - A))
    return {"dw": X @ (A - Y).T / X.shape[1], "db": np.mean(A - Y)}, cost


def squared(w, x):
    return 2 * x.T @ (x @ w), np.sum((x @ w) ** 2)


@pytest.mark.parametrize(
    ("right", "wrong", "inputs"),
    [
        (
            propagate, lambda w, b, X, Y: ({"dw": 2.0 * w, "db": 0.1}, propagate(w, b, X, Y)[1]),
            {"w": (4, 1), "b": 0.3, "X": np.eye(4, 3), "Y": np.eye(1, 3)},
        ),
        (
            squared, lambda w, x: (-squared(w, x)[0], squared(w, x)[1]),
            {"w": (3, 1), "x": np.eye(4, 3)},
        ),
    ],
)  # fmt: skip
def test_the_gradients_may_come_before_the_loss(right, wrong, inputs, tmp_path) -> None:
    data = [name for name in ("X", "Y", "x") if name in inputs]

    good = compare.check(right, inputs=inputs, no_grad=data)
    bad = compare.check(wrong, inputs=inputs, no_grad=data)

    assert good.agrees, str(good)
    assert bad.verdict == "disagree", str(bad)
    script = bad.save(tmp_path / "report") / "replay.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "is wrong." in done.stdout


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


def test_backward_may_take_inputs_again_behind_the_cache() -> None:
    def forward(x, w, kind):
        z = x @ w
        return (np.maximum(z, 0) if kind == "relu" else np.tanh(z)), (x, w, z)

    def backward(dout, cache, kind, sign=1.0):
        x, w, z = cache
        dz = dout * (z > 0) if kind == "relu" else dout * (1 - np.tanh(z) ** 2)
        return dz @ w.T, sign * x.T @ dz

    for kind in ("relu", "tanh"):
        inputs = {"x": (4, 3), "w": (3, 5), "kind": kind}
        assert compare.check(forward, backward, inputs=inputs).agrees
        wrong = compare.check(
            forward, lambda dout, cache, kind: backward(dout, cache, kind, -1.0), inputs=inputs
        )
        assert wrong.verdict == "disagree"


def test_a_function_behind_the_output_is_told_how_to_be_given() -> None:
    def sine(x):
        return np.sin(x), lambda dout: dout * np.cos(x)

    with pytest.raises(UserError, match="lambda dout, pullback: pullback"):
        compare.check(sine, inputs=X)
    assert compare.check(sine, lambda dout, pullback: pullback(dout), inputs=X).agrees


def test_a_loss_with_its_own_gradient() -> None:
    def wrong(x, y):
        loss, dx = softmax_loss(x, y)
        return loss, -dx

    inputs = {"x": (4, 3), "y": LABELS}
    agrees_and_catches((softmax_loss,), (wrong,), nn.functional.cross_entropy, inputs)
    report = compare.check(softmax_loss, None, nn.CrossEntropyLoss(), inputs)
    assert any("upstream gradient of 1" in note for note in report.notes)


def test_a_loss_whose_backward_takes_the_cache_alone() -> None:
    def forward(p, t):
        return ((p - t) ** 2).mean(), (p, t)

    def backward(cache):
        p, t = cache
        return 2 * (p - t) / p.size, -2 * (p - t) / p.size

    inputs = {"p": (4, 3), "t": (4, 3)}
    agrees_and_catches(
        (forward, backward),
        (forward, lambda cache: (backward(cache)[0], backward(cache)[0])),
        nn.functional.mse_loss,
        inputs,
    )


def test_a_loss_with_an_upstream_gradient_gets_a_random_one() -> None:
    def forward(p, t):
        return ((p - t) ** 2).mean(), (p, t)

    def ignores_upstream(dout, cache):
        p, t = cache
        return 2 * (p - t) / p.size, 2 * (t - p) / p.size

    agrees_and_catches(
        (forward, lambda dout, cache: tuple(dout * g for g in ignores_upstream(dout, cache))),
        (forward, ignores_upstream),
        nn.functional.mse_loss,
        {"p": (4, 3), "t": (4, 3)},
    )


def test_a_target_may_be_kept_out() -> None:
    def forward(p, t):
        return ((p - t) ** 2).mean(), (p, t)

    def backward(dout, cache):
        p, t = cache
        return dout * 2 * (p - t) / p.size

    report = compare.check(
        forward, backward, nn.functional.mse_loss, {"p": (4, 3), "t": (4, 3)}, no_grad=["t"]
    )

    assert report.agrees, str(report)
    assert not report.differences["quantity"].eq("grad:t").any()


@pytest.mark.parametrize("packed", [False, True])
def test_outputs_may_be_a_tuple(packed: bool) -> None:
    def forward(x, h):
        outputs = (np.tanh(x + h), x * h)
        return (outputs, (x, h)) if packed else (*outputs, (x, h))

    def flat(da, dm, cache):
        x, h = cache
        dz = da * (1 - np.tanh(x + h) ** 2)
        return dz + dm * h, dz + dm * x

    def nested(douts, cache):
        return flat(*douts, cache)

    def forgets_a_branch(da, dm, cache):
        return flat(da, 0 * dm, cache)

    def reference(x, h):
        return torch.tanh(x + h), x * h

    inputs = {"x": (4, 3), "h": (4, 3)}
    backward = nested if packed else flat
    agrees_and_catches((forward, backward), (forward, forgets_a_branch), reference, inputs)
    found = compare.check(forward, backward, reference, inputs).differences["quantity"]
    assert {"output:0", "output:1"} <= set(found)


def test_gradients_may_be_returned_by_name() -> None:
    def backward(dout, cache):
        dx, dw, db = affine_backward(dout, cache)
        return {"dx": dx, "w": dw, "grad_b": db}

    def forgets(dout, cache):
        return {"dx": backward(dout, cache)["dx"], "w": backward(dout, cache)["w"]}

    agrees_and_catches((affine_forward, backward), (affine_forward, forgets), affine, AFFINE)


@pytest.mark.parametrize("reference", [torch.mul, None], ids=["torch", "own forward"])
def test_inputs_may_be_scalars(reference) -> None:
    def forward(a, x):
        return a * x, (a, x)

    def backward(dout, cache):
        a, x = cache
        return (dout * x).sum(), dout * a

    agrees_and_catches(
        (forward, backward),
        (forward, lambda dout, cache: (dout.sum(), backward(dout, cache)[1])),
        reference,
        {"a": (), "x": (3,)},
    )


def test_a_module_with_running_statistics_is_left_as_it_was() -> None:
    module = nn.BatchNorm1d(3, affine=False)

    def forward(x):
        centred = x - x.mean(axis=0)
        scale = 1 / np.sqrt((centred * centred).mean(axis=0) + 1e-5)
        return centred * scale, (centred * scale, scale)

    def backward(dout, cache):
        n, scale = cache
        return scale * (dout - dout.mean(axis=0) - n * (dout * n).mean(axis=0))

    def n_less_one(dout, cache):
        return backward(dout, cache) * len(dout) / (len(dout) - 1)

    agrees_and_catches((forward, backward), (forward, n_less_one), module, {"x": (5, 3)})
    assert not module.state_dict()["running_mean"].any()
    assert module.state_dict()["num_batches_tracked"] == 0


def test_flags_dictionaries_and_indices_pass_through() -> None:
    def forward(x, index, options):
        return x[index] * options["scale"], (x, index, options)

    def backward(dout, cache):
        x, index, options = cache
        dx = np.zeros_like(x)
        np.add.at(dx, index, dout * options["scale"])
        return dx, None, None

    report = compare.check(
        forward,
        backward,
        lambda x, index, options: x[index] * options["scale"],
        {"x": (4, 3), "index": np.array([0, 2, 2, 1]), "options": {"scale": 3.0}},
    )

    assert report.agrees, str(report)


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


def test_a_recurrent_step() -> None:
    def forward(x, h, Wx, Wh):
        n = np.tanh(x @ Wx + h @ Wh)
        return n, (x, h, Wx, Wh, n)

    def backward(dn, cache):
        x, h, wx, wh, n = cache
        dz = dn * (1 - n * n)
        return dz @ wx.T, dz @ wh.T, x.T @ dz, h.T @ dz

    def derivative_at_the_input(dn, cache):
        x, h, wx, wh, n = cache
        dz = dn * (1 - np.tanh(n) ** 2)
        return dz @ wx.T, dz @ wh.T, x.T @ dz, h.T @ dz

    agrees_and_catches(
        (forward, backward),
        (forward, derivative_at_the_input),
        lambda x, h, wx, wh: torch.tanh(x @ wx + h @ wh),
        {"x": (4, 3), "h": (4, 5), "Wx": (3, 5), "Wh": (5, 5)},
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compare.check(affine_forward, affine_backward, affine), "needs inputs"),
        (
            lambda: compare.check(affine_forward, lambda d, c: (d, d), affine, AFFINE),
            r"returned 2 gradients for 3 differentiable inputs \(x, w, b\)",
        ),
        (
            lambda: compare.check(affine_forward, lambda d, c: d, affine, AFFINE),
            "returned 1 gradient for 3 differentiable inputs",
        ),
        (
            lambda: compare.check(affine_forward, lambda a, b, c, d, e: a, affine, AFFINE),
            "cannot be called after a forward pass that returned a tuple of 2",
        ),
        (
            lambda: compare.check(affine_forward, lambda cache: cache, affine, AFFINE),
            "takes no upstream gradient, but forward's output is no scalar",
        ),
        (
            lambda: compare.check(lambda x: 1 / 0, lambda d, c: d, torch.relu, X),
            r"ZeroDivisionError: division by zero \(line \d+ of .*test_check_candidates.py",
        ),
        (
            lambda: compare.check(lambda x: (x, x), lambda d, x: d, lambda x, y: x, X),
            r"reference .* takes \(x, y\), but the inputs are \(x\)",
        ),
        (
            lambda: compare.check(
                lambda x: (x, x), lambda d, x: d, lambda x: x.numpy(force=True), X
            ),
            "must return a torch tensor",
        ),
        (lambda: compare.check(lambda x: x, None, None, X), "must return a scalar loss"),
        (lambda: compare.check(Linear, None, None, X), "cannot be made without arguments"),
        (lambda: compare.check(3, None, None, X), "cannot be checked"),
        (lambda: compare.check(lambda n: n, lambda d, n: d, None, {"n": 3}), "No input can have"),
        (
            lambda: compare.check(affine_forward, affine_backward, affine, AFFINE, dtype="float"),
            "Did you mean 'float64'",
        ),
        (
            lambda: compare.check(affine_forward, affine_backward, None, AFFINE, no_grad=["y"]),
            "no_grad names 'y'",
        ),
        (
            lambda: compare.check(affine_forward, affine_backward, None, AFFINE, cases=["square"]),
            "No case begins with square. Cases: random",
        ),
        (
            lambda: compare.check(affine_forward, affine_backward, None, {**AFFINE, "x": (0, 3)}),
            "must be at least 1",
        ),
    ],
)
def test_what_cannot_be_checked_is_refused_with_a_reason(call, message: str) -> None:
    with pytest.raises(UserError, match=message):
        call()


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


class Sigmoid:
    def forward(self, x):
        return 1 / (1 + np.exp(-x))

    def derivative(self, x):
        return self.forward(x) * (1 - self.forward(x))


class Square:
    def loss(self, p, y):
        return np.mean((p - y) ** 2)

    def grad(self, p, y):
        return 2 * (p - y) / p.size


def tanh_prime(y):
    return 1 - y**2


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def softmax_derivative(x):
    return softmax(x) * (1 - softmax(x))


def test_a_function_and_its_derivative_are_a_pair() -> None:
    report = compare.check(Sigmoid, reference=torch.sigmoid, inputs=X)

    assert report.agrees
    assert "Sigmoid.derivative takes no upstream gradient" in " ".join(report.notes)
    assert compare.check(np.tanh, tanh_prime, torch.tanh, X).agrees  # of the output


def test_a_derivative_that_is_no_gradient_is_found() -> None:
    wrong = compare.check(
        softmax, softmax_derivative, lambda x: torch.softmax(x, 1), X, shrink=False
    )

    assert wrong.verdict == "disagree"


def test_a_loss_and_its_gradient_are_a_pair() -> None:
    both = {"p": (4, 3), "y": (4, 3)}
    mean = torch.nn.functional.mse_loss
    wrong = type("Wrong", (Square,), {"grad": lambda _, p, y: 2 * (p - y)})

    assert compare.check(Square(), reference=mean, inputs=both, no_grad=["y"]).agrees
    assert not compare.check(
        wrong(), reference=mean, inputs=both, no_grad=["y"], shrink=False
    ).agrees


# ── an upstream gradient, a tolerance ───────────────────────────────────────────────────────────
def test_an_upstream_gradient_of_the_users_is_used_on_the_users_inputs() -> None:
    seen = []

    def backward(dout, cache):
        seen.append(dout.copy())
        return affine_backward(dout, cache)

    given = np.full((4, 5), 0.5)
    report = compare.check(affine_forward, backward, affine, AFFINE, upstream=given)

    assert report.agrees
    assert (seen[0] == given).all()
    assert any((dout != 0.5).all() for dout in seen)
    for wrong in (np.ones((4, 3)), (given, given)):
        with pytest.raises(UserError, match="The upstream gradient has the shape"):
            compare.check(affine_forward, affine_backward, affine, AFFINE, upstream=wrong)


def test_a_tolerance_of_the_users_is_said_first() -> None:
    def backward(dout, cache):
        return tuple(1.0005 * grad for grad in affine_backward(dout, cache))

    how = {"shrink": False}
    assert not compare.check(affine_forward, backward, affine, AFFINE, **how).agrees
    assert not compare.check(affine_forward, backward, affine, AFFINE, rtol=1e-4, **how).agrees
    report = compare.check(affine_forward, backward, affine, AFFINE, rtol=1e-3)
    first, second, *_ = str(report).splitlines()

    assert first == "AGREE: affine_forward (within a tolerance chosen by the user)"
    assert second.endswith("within rtol = 0.001.")
    with pytest.raises(UserError, match="must lie between 0 and 1"):
        compare.check(affine_forward, affine_backward, affine, AFFINE, rtol=1)


def test_cases_can_be_left_out() -> None:
    report = compare.check(
        affine_forward, affine_backward, affine, AFFINE, cases=["-large", "-tiny"]
    )

    assert report.config["check"]["cases"][0] == "random"
    assert not [c for c in report.config["check"]["cases"] if c.startswith(("large", "tiny"))]


def test_an_input_that_is_nearly_an_argument_beside_others_that_are_is_refused() -> None:
    given = {"x": (4, 3), "w": (3, 5), "B": (5,)}
    with pytest.raises(UserError, match=r"affine_forward has no argument 'B'. Did you mean 'b'\?"):
        compare.check(affine_forward, affine_backward, affine, given)


def test_inputs_may_have_names_of_their_own_as_they_are_given_by_position() -> None:
    for first, last in (("points", "shift"), ("x", "shift")):
        given = {first: (4, 3), "slope": (3, 5), last: (5,)}

        assert compare.check(affine_forward, affine_backward, inputs=given, shrink=False).agrees
