"""Conventions where there is no derivative: noted, and no excuse for a mistake."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import compare
from tests.compare.pair.gradient_pairs import (
    failing,
    relu_forward,
)


def test_another_subgradient_at_zero_is_a_note() -> None:
    report = compare.check(relu_forward, lambda dout, x: dout * (x >= 0), torch.relu, {"x": (4, 3)})

    assert report.agrees, str(report)
    assert any("Convention at ties differs from torch's" in note for note in report.notes)
    assert len(report.kinks) == 2  # zeros, one zero per row


@pytest.mark.parametrize("reference", [torch.relu, None], ids=["torch", "own forward"])
def test_a_number_that_is_no_subgradient_is_a_mistake(reference) -> None:
    def backward(dout, x):
        return dout * ((x > 0) + 5.0 * (x == 0))

    report = compare.check(relu_forward, backward, reference, {"x": (4, 3)}, shrink=False)

    assert failing(report) == {"zeros", "one zero per row"}


def max_forward(x):
    return x.max(axis=1), x


def shared(dout, x):
    mask = (x == x.max(axis=1, keepdims=True)) * 1.0
    return dout[:, None] * mask / mask.sum(axis=1, keepdims=True)


def whole_to_each(dout, x):
    return dout[:, None] * (x == x.max(axis=1, keepdims=True))


REFERENCES = {"torch": lambda x: x.max(dim=1).values, "own forward": None}


@pytest.mark.parametrize("reference", REFERENCES)
def test_sharing_a_tie_is_a_note(reference: str) -> None:
    report = compare.check(max_forward, shared, REFERENCES[reference], {"x": (6, 4)})

    assert report.agrees, str(report)
    assert report.notes


@pytest.mark.parametrize("reference", REFERENCES)
def test_giving_each_tied_winner_the_whole_gradient_is_a_mistake(reference: str) -> None:
    report = compare.check(
        max_forward, whole_to_each, REFERENCES[reference], {"x": (6, 4)}, shrink=False
    )

    assert report.verdict == "disagree"
    assert failing(report) <= {"ties", "zeros"}


def test_a_wrong_formula_is_not_excused_by_kinks_elsewhere() -> None:
    def backward(dout, x):
        return dout * (x > 0) * np.where(x == x[-1, -1], 1 + 1e-6, 1.0)

    report = compare.check(relu_forward, backward, torch.relu, {"x": (4, 3)}, shrink=False)

    assert report.verdict == "disagree"


@pytest.mark.parametrize(
    ("share", "agrees"),
    [(lambda x, y: (x >= y, y >= x), False), (lambda x, y: (x >= y, y > x), True)],
)
def test_two_inputs_that_tie_may_share_the_gradient_but_not_both_take_it_whole(
    share: Any, agrees: bool
) -> None:
    def forward(x, y):
        return np.maximum(x, y), (x, y)

    def backward(dout, cache):
        return tuple(dout * part for part in share(*cache))

    report = compare.check(forward, backward, torch.maximum, {"x": (4, 3), "y": (4, 3)})

    assert report.agrees is agrees
    assert report.cause is None  # right on ordinary numbers: no factor explains it


def test_torchs_convention_may_be_the_one_that_is_off() -> None:
    def forward(x):
        return x * 1.0, None

    report = compare.check(
        forward,
        lambda dout, cache: dout * 1.0,
        lambda x: torch.relu(x) - torch.relu(-x),  # x, but its derivative at 0 comes out as 0
        {"x": (4, 3)},
    )

    assert report.agrees, str(report)
    assert any("'zeros'" in note for note in report.notes)


def test_an_input_without_gradient_is_drawn_apart_from_the_others() -> None:
    def forward(p, y):
        return np.mean((p - y) ** 2), (p, y)

    def backward(dout, cache):
        p, y = cache
        return dout * 2 * (p - y) / p.size, None

    report = compare.check(
        forward, backward, torch.nn.functional.mse_loss, {"p": (6, 3), "y": (6, 3)}, no_grad=["y"]
    )
    rows = report.differences
    random = rows[rows["layer"].eq("random")]

    assert report.agrees
    assert len(random)
    assert random["verdict"].eq("agree").all()


def test_ties_between_two_inputs_are_tried_away_from_zero() -> None:
    def forward(x, y):
        return np.maximum(np.maximum(x, y), 0), (x, y)

    def backward(dout, cache):
        x, y = cache
        return dout * (x >= y) * (x > 0), dout * (y >= x) * (y > 0)

    def right(dout, cache):
        x, y = cache
        return dout * (x >= y) * (x > 0), dout * (y > x) * (y > 0)

    def reference(x, y):
        return torch.relu(torch.maximum(x, y))

    inputs = {"x": (4, 3), "y": (4, 3)}
    wrong = compare.check(forward, backward, reference, inputs)

    assert wrong.verdict == "disagree"
    assert wrong.first_divergence is not None
    assert wrong.first_divergence.layer == "ties between inputs"
    assert compare.check(forward, right, reference, inputs).agrees
