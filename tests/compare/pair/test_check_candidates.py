"""The forms in which people write gradients: each works, and in each a mistake is found."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import compare
from compare.errors import UserError
from tests.compare.pair.gradient_pairs import (
    AFFINE,
    LABELS,
    X,
    affine,
    affine_backward,
    affine_forward,
    agrees_and_catches,
    softmax_loss,
)


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


@pytest.mark.parametrize("nest", [tuple, list])
def test_the_gradients_behind_a_loss_may_be_a_nest_of_different_shapes(nest) -> None:
    def loss(x, w, b):
        y = x @ w + b
        return 0.5 * (y**2).sum(), nest((x.T @ y, y.sum(0)))

    def wrong(x, w, b):
        value, (dw, db) = loss(x, w, b)
        return value, nest((dw, -db))

    inputs = {"x": (4, 3), "w": (3, 5), "b": (5,)}
    assert compare.check(loss, inputs=inputs, no_grad=["x"]).agrees
    assert compare.check(wrong, inputs=inputs, no_grad=["x"]).verdict == "disagree"
    with pytest.raises(UserError, match="returned 2 gradients for 3 differentiable inputs"):
        compare.check(loss, inputs=inputs)


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
