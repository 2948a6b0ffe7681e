"""The lockstep run names every mistake: step, layer and tensor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import compare
from compare.description.config import load
from compare.judge.judge import VERDICTS
from compare.judge.quantities import Key
from compare.report.report import Report
from compare.running.experiment import prepare
from compare.running.lockstep import Lockstep
from manual.activations import Sigmoid
from manual.linear import Linear

Run = Callable[..., Report]


@pytest.mark.parametrize(
    ("plant", "layer", "quantity"),
    [
        ("2.weight.grad*=1.01", "2", "grad:weight"),
        ("0.bias.grad=0", "0", "grad:bias"),
        ("3.output+=0.001", "3", "output"),
        ("1.grad_input*=-1", "1", "grad_input"),
        ("loss.grad_input*=64", "loss", "grad_input"),
        ("loss.output*=1.0001", "loss", "loss"),
        ("4.weight*=1.0001", "4", "param:weight"),
    ],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_planted_mistake_is_named_with_step_layer_and_tensor(
    run: Run, plant: str, layer: str, quantity: str, dtype: str
) -> None:
    report = run("digits", steps=1, plant=plant, dtype=dtype, drift=False)
    found = report.first_divergence

    assert report.verdict == "disagree"
    assert found is not None
    assert (found.step, found.layer, found.quantity) == (0, layer, quantity)
    assert found.own_or_inherited == "own"
    assert report.planted == plant
    with pytest.raises(AssertionError, match="DISAGREE"):
        report.assert_agrees()


WRONG = {
    "the sigmoid's derivative at the input": (
        Sigmoid, "backward", lambda self, dy, cache: ((dy * cache[0],), {}), "grad_input",
    ),
    "a bias gradient of the first row only": (
        Linear, "grad_params",
        lambda self, dy, cache: {"weight": dy.T @ cache.x, "bias": dy[0] * 1.0}, "grad:bias",
    ),
    "a missing transpose in the input gradient": (
        Linear, "backward",
        lambda self, dy, cache: (
            (dy @ self.params["weight"][::-1],), self.grad_params(dy, cache)
        ), "grad_input",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_derivation_in_the_source_is_named(
    monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    owner, name, function, quantity = WRONG[mistake]
    monkeypatch.setattr(owner, name, function)
    report = compare.run("students-2-3-4-1", steps=1, drift=False)
    found = report.first_divergence

    assert report.verdict == "disagree"
    assert found is not None
    assert found.quantity == quantity
    assert found.own_or_inherited == "own"
    assert found.derivation
    assert found.torch_source


def test_a_forgotten_gradient_at_a_branch_is_blamed_on_the_branch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from manual.graph import Graph

    original = Graph.gradients

    def forgetful(self, tape, grad_output, **options):
        done = original(self, tape, grad_output, **options)
        consumers = {n: [m.name for m in self.nodes if n in m.inputs] for n in done.values}
        for name, fed in consumers.items():
            if len(fed) > 1 and name != "input":
                done.values[name] = done.values[fed[-1]] * 1.0
        return done

    monkeypatch.setattr(Graph, "gradients", forgetful)
    found = compare.run("residual", steps=1, drift=False).first_divergence

    assert found is not None
    assert found.quantity == "grad_output"
    assert "branch" in found.explanation


def test_an_optimizer_that_returns_its_argument_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch updates in place: a view of its weights would agree with anything."""
    from manual.optimizers import SGD

    monkeypatch.setattr(SGD, "update", lambda self, param, grad, state, lr: (param, state))
    report = compare.run("three-rows", steps=1, drift=False)
    found = report.first_divergence

    assert report.verdict == "disagree"
    assert found is not None
    assert found.quantity.startswith("param:")
    assert found.own_or_inherited == "own"


def test_writing_into_shared_weights_is_impossible(monkeypatch: pytest.MonkeyPatch) -> None:
    from manual.optimizers import SGD

    def in_place(self, param, grad, state, lr):
        param -= lr * grad
        return param, state

    monkeypatch.setattr(SGD, "update", in_place)
    report = compare.run("three-rows", steps=1, drift=False)

    assert report.verdict == "disagree"
    assert report.first_divergence is not None
    assert "read-only" in report.first_divergence.explanation


def test_a_gradient_that_torchs_side_does_not_hand_over_is_missing() -> None:
    experiment = prepare(load("three-rows", {"train.steps": 1}))
    grads = experiment.torch.grads
    experiment.torch.grads = lambda: {k: g for k, g in grads().items() if k != "0.bias"}  # type: ignore[method-assign]
    rows = Lockstep(experiment).step(0, np.array([0])).rows
    verdicts = dict(zip(rows.keys, VERDICTS[rows.verdicts], strict=True))

    assert verdicts[Key("0", "grad:bias")] == "missing"
    assert verdicts[Key("0", "grad:weight")] == "agree"


SHAPES = {
    "a transposed weight gradient": (
        lambda self, dy, cache: {"weight": cache.x.T @ dy, "bias": dy.sum(axis=0)}, "grad:weight",
    ),
    "a bias gradient that kept its axis": (
        lambda self, dy, cache: {"weight": dy.T @ cache.x, "bias": dy.sum(axis=0, keepdims=True)},
        "grad:bias",
    ),
    "a forgotten bias gradient": (
        lambda self, dy, cache: {"weight": dy.T @ cache.x}, "grad:bias",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", SHAPES)
def test_a_gradient_of_the_wrong_shape_is_named(
    monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    function, quantity = SHAPES[mistake]
    monkeypatch.setattr(Linear, "grad_params", function)
    report = compare.run("digits", steps=2)
    found = report.first_divergence

    assert report.verdict == "disagree"
    assert found is not None
    assert (found.step, found.layer, found.quantity) == (0, "4", quantity)
    assert found.own_or_inherited == "own"
    assert "DISAGREE" in str(report)


def test_code_that_raises_is_a_disagreement_that_names_the_layer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backward = lambda self, dy, cache: ((dy @ self.params["weight"].T,), {})  # noqa: E731
    monkeypatch.setattr(Linear, "backward", backward)
    report = compare.run("digits", steps=2)
    found = report.first_divergence

    assert report.verdict == "disagree"
    assert found is not None
    assert (found.layer, found.quantity) == ("4", "grad_input")
    assert "raised ValueError" in found.explanation
    assert set(report.differences.query("quantity == 'output'")["verdict"]) == {"agree"}


def test_a_mistake_that_comes_and_goes_is_not_excused_by_a_second_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []
    original = Linear.grad_params

    def first_only(self, dy, cache):
        grads = original(self, dy, cache)
        calls.append(1)
        return {k: g * 2 for k, g in grads.items()} if len(calls) == 1 else grads

    monkeypatch.setattr(Linear, "grad_params", first_only)

    assert compare.run("three-rows", steps=1, drift=False).verdict == "disagree"


def test_a_layer_that_writes_into_its_input_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from manual.activations import ReLU

    original = ReLU.forward

    def in_place(self, x):
        x *= 1.0
        return original(self, x)

    monkeypatch.setattr(ReLU, "forward", in_place)
    found = compare.run("digits", steps=1, drift=False).first_divergence

    assert found is not None
    assert found.layer == "1"
    assert "read-only" in found.explanation


def test_an_optimizer_that_forgets_its_state_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from manual.optimizers import SGD

    original = SGD.update
    monkeypatch.setattr(SGD, "update", lambda *args: (original(*args)[0], {}))
    found = compare.run("digits", steps=1, drift=False).first_divergence

    assert found is not None
    assert found.quantity == "state:weight:momentum_buffer"
