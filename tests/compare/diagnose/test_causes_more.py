"""Causes beyond a factor: arguments solved for, arguments of functions, sides, penalties, states.

Each is found where it was planted, and nothing is said of something near it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from compare.commands.run import run
from compare.diagnose.causes import Cause, Context, find_cause
from compare.report.report import Report
from evidence.mutation.naming.networks import network
from manual import penalties
from manual.activations import ELU, Softplus
from manual.graph import Graph
from manual.losses.regression import HuberCache, HuberLoss
from manual.optimizers import SGD, AdamW
from manual.optimizers.base import Optimizer

RNG = np.random.default_rng(3)
X = RNG.standard_normal((9, 4))
Y = np.tanh(X)
PLACES = Context(places={"x": X, "y": Y}, others={"x": X})


def kind(candidate: Any, reference: Any, context: Context) -> str | None:
    cause = find_cause(candidate, reference, 1e-13, context)
    return None if cause is None else cause.kind


def with_mistake(monkeypatch: pytest.MonkeyPatch, owner: Any, method: str, wrong: Any, name: str,
                 steps: int = 1) -> Report:  # fmt: skip
    monkeypatch.setattr(owner, method, wrong)
    return run(network(name, steps=steps), drift=False)


def cause_of(report: Report) -> Cause:
    assert report.cause is not None
    return report.cause


# ── another value of an argument ─────────────────────────────────────────────────────────────────
def elu(alpha: float) -> np.ndarray:
    return np.where(X > 0, X, alpha * np.expm1(X))


SOLVED = Context(settings=lambda: [("alpha", 0.7, elu)])


def test_the_value_of_an_argument_is_solved_for() -> None:
    cause = find_cause(elu(0.3141), elu(0.7), 1e-13, SOLVED)

    assert cause is not None
    assert cause.kind == "argument"
    assert "alpha=0.3141 instead of 0.7" in cause.evidence


def test_no_value_is_told_if_none_explains_every_element() -> None:
    wrong = elu(0.3141)
    wrong[np.unravel_index(np.argmin(X), X.shape)] += 1e-3

    assert kind(wrong, elu(0.7), SOLVED) is None


def test_a_wrong_default_of_an_optimiser_is_told_with_its_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(AdamW, "update", _with_eps(AdamW.update))
    cause = cause_of(run(network("adamw", steps=2), drift=False))

    assert cause.kind == "argument"
    assert "eps=0.0003 instead of 1e-08" in cause.evidence


def _with_eps(update: Any) -> Any:
    return lambda self, *given: update(replace(self, eps=3e-4), *given)


# ── inside a function ────────────────────────────────────────────────────────────────────────────
def test_a_wrong_term_of_a_denominator_is_found_behind_the_fraction() -> None:
    right, wrong = 1 / (1 + np.exp(-X)), 1 / (3 + np.exp(-X))
    cause = find_cause(wrong, right, 1e-15, Context())

    assert cause is not None
    assert cause.kind == "inside a function"
    assert "1/manual is 1/torch + 2 " in cause.evidence
    assert "denominator" in cause.advice


def test_a_wrong_factor_in_a_tanh_is_found() -> None:
    assert kind(np.tanh(1.3 * X), np.tanh(X), Context()) == "inside a function"


def test_the_scale_in_a_gate_is_found() -> None:
    def silu(c: float) -> np.ndarray:
        return X / (1 + np.exp(-c * X))

    cause = find_cause(silu(1.7), silu(1.0), 1e-15, Context(places={"x": X, "y": silu(1.0)}))

    assert cause is not None
    assert "1.7" in cause.evidence
    assert "gate" in cause.advice


def test_nothing_is_said_if_a_term_in_the_denominator_is_random() -> None:
    noise = 1 + RNG.random(X.shape)

    assert kind(1 / (1 + np.exp(-X) + noise), 1 / (1 + np.exp(-X)), Context()) is None


# ── each side of a border ────────────────────────────────────────────────────────────────────────
def test_a_factor_on_one_side_and_a_product_on_the_other_are_both_told() -> None:
    wrong = np.where(X > 0, 3 * Y, Y * Y)
    cause = find_cause(wrong, Y, 1e-15, PLACES)

    assert cause is not None
    assert cause.kind == "both sides of zero"
    assert "Where x > 0, manual is torch × 3" in cause.evidence
    assert "× y" in cause.evidence


def test_a_setting_may_be_the_border() -> None:
    context = replace(PLACES, constants={"delta": 0.8})
    wrong = np.where(np.abs(X) > 0.8, Y + 2, 3 * Y)

    assert kind(wrong, Y, context) == "both sides of a border"


def test_nothing_is_said_if_one_side_is_random() -> None:
    wrong = np.where(X > 0, 3 * Y, RNG.standard_normal(X.shape))

    assert kind(wrong, Y, PLACES) is None


def test_a_forgotten_piece_of_huber_shows_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(self: HuberLoss, input: Any, target: Any) -> Any:
        d = input - target
        c = np.clip(d, -self.delta, self.delta)
        return (c * (d - 2.5 * c)).mean(), HuberCache(d, c)

    cause = cause_of(with_mistake(monkeypatch, HuberLoss, "forward", forward, "huber"))

    assert cause.kind == "both sides of a border"
    assert "> 0.7" in cause.evidence


def test_the_exchanged_pieces_of_elu(monkeypatch: pytest.MonkeyPatch) -> None:
    def backward(self: ELU, dy: Any, cache: Any) -> Any:
        slope = self.alpha * np.exp(np.minimum(cache.x, 0))
        return (np.where(cache.x > 0, slope * dy, dy),), {}

    cause = cause_of(with_mistake(monkeypatch, ELU, "backward", backward, "ELU-1"))

    assert cause.kind == "both sides of zero"


# ── the same number everywhere ───────────────────────────────────────────────────────────────────
def test_a_constant_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Softplus.forward
    wrong = lambda self, x: (0 * x + 1.3, right(self, x)[1])  # noqa: E731
    cause = cause_of(with_mistake(monkeypatch, Softplus, "forward", wrong, "Softplus"))

    assert cause.kind == "constant value"
    assert "1.3" in cause.evidence


def test_a_single_number_is_no_constant() -> None:
    assert kind(np.array([2.3]), np.array([1.0]), Context()) is None


# ── penalties, batches, states ───────────────────────────────────────────────────────────────────
def test_the_value_of_a_penalty_is_told_of_the_penalty(monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(self: Any, param: Any) -> Any:
        return 0.5 * self.coefficient * (param * param).sum(), penalties.PenaltyCache(param)

    cause = cause_of(
        with_mistake(monkeypatch, penalties.L2Penalty, "forward", forward, "penalised")
    )

    assert cause.kind == "factor 2"
    assert "L2Penalty" in cause.evidence


def test_the_wrong_power_of_a_penalty_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(self: Any, param: Any) -> Any:
        return self.coefficient * param.sum(), penalties.PenaltyCache(param)

    cause = cause_of(with_mistake(monkeypatch, penalties.L1Penalty, "forward", forward, "l1"))

    assert cause.kind in ("one side of zero", "another tensor")
    assert "L1Penalty" in cause.evidence


def test_a_loss_without_penalties_is_not_blamed_on_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph hands another node's value to the loss; the loss itself is right."""
    right = Graph.run

    def run(self: Graph, *given: Any, **more: Any) -> Any:
        tape = right(self, *given, **more)
        return tape._replace(output=0.5 * tape.output)

    report = with_mistake(monkeypatch, Graph, "run", run, "Tanh")

    assert report.verdict == "disagree"
    assert report.cause is None


def test_a_wrong_divisor_shows_in_elements_taken_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One element in a batch of one would hide what a mean divides by."""
    monkeypatch.setattr(HuberLoss, "forward", _divided(HuberLoss.forward))
    cause = cause_of(run(network("huber"), drift=False))

    assert cause.kind == "n − 1"
    assert "N / (N + 1)" in cause.evidence


def _divided(forward: Any) -> Any:
    def wrong(self: Any, input: Any, target: Any) -> Any:
        loss, cache = forward(self, input, target)
        return loss * input.size / (input.size + 1), cache

    return wrong


def test_a_state_that_one_side_only_keeps_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def update(self: SGD, param: Any, grad: Any, state: Any, lr: float) -> Any:
        return param - lr * grad, {"momentum_buffer": 1 * grad}

    cause = cause_of(with_mistake(monkeypatch, SGD, "update", update, "Tanh"))

    assert cause.kind == "extra tensor"
    assert "momentum_buffer" in cause.evidence


def test_a_state_that_is_not_handed_on_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    right = SGD.update
    wrong = lambda self, *given: (right(self, *given)[0], {})  # noqa: E731
    cause = cause_of(with_mistake(monkeypatch, SGD, "update", wrong, "momentum"))

    assert cause.kind == "missing tensor"


def test_an_optimiser_that_changes_the_gradient_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def update(self: SGD, param: Any, grad: Any, state: Any, lr: float) -> Any:
        grad *= lr
        return param - grad, {}

    cause = cause_of(with_mistake(monkeypatch, SGD, "update", update, "Tanh"))

    assert issubclass(SGD, Optimizer)
    assert cause.kind == "arguments changed"
    assert "gradient" in cause.evidence
