"""Kinks and ties in a lockstep run: rounding is settled by torch, a mistake is not excused."""

from __future__ import annotations

import numpy as np
import pytest

import compare
from compare.description.config import Config, load
from compare.judge.quantities import Key
from compare.running.experiment import prepare
from compare.running.lockstep import Lockstep, Step
from manual.activations import ReLU
from manual.linear import Linear


def at_the_kink(nudge: float, dtype: str) -> Step:
    """Run one step in which unit 0 of the first layer cancels to 0, nudged on the manual side."""
    experiment = prepare(load("digits", {"train.dtype": dtype}))
    experiment.features[:, :2] = 0.5  # the products are exact, so torch's sum is 0
    experiment.weights["0.weight"][0] = 0
    experiment.weights["0.weight"][0, :2] = [0.75, -0.75]
    experiment.weights["0.bias"][0] = 0
    original = Linear.forward

    def nudged(self, x):
        y, cache = original(self, x)
        if self.out_features == 64 and isinstance(y, np.ndarray):
            y[:, 0] += nudge
        return y, cache

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Linear, "forward", nudged)
        return Lockstep(experiment).step(0, np.arange(16))


@pytest.mark.parametrize(("dtype", "nudge"), [("float64", 1e-16), ("float32", 1e-8)])
def test_rounding_across_a_kink_is_settled_by_torchs_decision(dtype: str, nudge: float) -> None:
    step = at_the_kink(nudge, dtype)

    assert step.flips == {"1": 16}
    assert not step.rows.bad.size


@pytest.mark.parametrize(("dtype", "nudge"), [("float64", 1e-12), ("float32", 1e-4)])
def test_more_than_rounding_across_a_kink_is_a_disagreement(dtype: str, nudge: float) -> None:
    rows = at_the_kink(nudge, dtype).rows

    assert rows.keys[rows.bad[0]] == Key("0", "output")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_kinks_inside_a_layer_excuse_no_wrong_derivative(
    monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """A rectifier that lets a share of the gradient through on one side, or on none."""
    monkeypatch.setattr(
        ReLU, "backward", lambda self, dy, cache: ((dy * (cache.y > 0) * share,), {})
    )
    encoder = {
        "type": "TransformerEncoderLayer", "d_model": 16, "nhead": 2, "dim_feedforward": 32,
        "dropout": 0.0, "batch_first": True,
    }  # fmt: skip
    tables = load("digits", {"train.dtype": "float32", "train.steps": 1}).as_dict()
    tables["layers"] = [
        {"type": "Unflatten", "dim": 1, "unflattened_size": [4, 16]}, encoder,
        {"type": "Flatten"}, {"type": "Linear", "in_features": 64, "out_features": 10},
    ]  # fmt: skip
    report = compare.run(Config.model_validate(tables), drift=False)

    assert report.verdict == "disagree"
    assert report.first_divergence.layer == "1"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_ties_inside_a_maxout_are_settled_by_torchs_winners(dtype: str) -> None:
    report = compare.run(
        "maxout", steps=5, drift=False, dtype=dtype, init__scheme="constant", init__value=0.1
    )

    assert not (report.differences["verdict"] == "disagree").any(), report


def test_a_maxout_that_lets_the_smallest_win_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    from manual.maxout import Maxout, MaxoutCache

    def smallest(self, x):
        z = self._pieces(x)
        if self.winner is not None:
            return original(self, x)
        return np.min(z, axis=-2), MaxoutCache(x, np.argmin(z, axis=-2))

    original = Maxout.forward
    monkeypatch.setattr(Maxout, "forward", smallest)
    found = compare.run("maxout", steps=1, drift=False).first_divergence

    assert found is not None
    assert found.quantity == "output"
