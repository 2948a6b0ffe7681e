"""Witnesses without torch: they side with right derivations, refute wrong ones, and know when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from compare.witness.pairs import gradients
from tests.compare.witness.witness_pairs import (
    AFFINE,
    NUMERIC,
    RIGHT,
    RNG,
    WITNESSES,
    WRONG,
    affine,
    affine_backward,
    changed,
    one_element,
    point,
    sigmoid,
)


@pytest.mark.parametrize("witness", WITNESSES)
@pytest.mark.parametrize("name", RIGHT)
def test_right_derivations_are_confirmed(name: str, witness: Callable) -> None:
    found = witness(*RIGHT[name])

    assert found.agrees, found.evidence
    assert found.conclusive


@pytest.mark.parametrize("witness", WITNESSES)
@pytest.mark.parametrize("name", WRONG)
def test_wrong_derivations_are_refuted(name: str, witness: Callable) -> None:
    found = witness(*WRONG[name])

    assert not found.agrees, found.evidence
    assert found.conclusive or name == "infinite"


@pytest.mark.parametrize("witness", WITNESSES)
def test_a_gradient_of_the_wrong_shape_is_refuted(witness: Callable) -> None:
    found = witness(affine, changed(affine_backward, 1, lambda g: g.T), AFFINE)

    assert not found.agrees
    assert found.conclusive
    assert "x1 has shape" in found.evidence


@pytest.mark.parametrize("witness", WITNESSES)
def test_evidence_names_the_input(witness: Callable) -> None:
    found = witness(affine, changed(affine_backward, 1, one_element), AFFINE)

    assert "x1" in found.evidence
    assert "x0" not in found.evidence


@pytest.mark.parametrize("witness", WITNESSES)
def test_nothing_claimed_decides_nothing(witness: Callable) -> None:
    found = witness(sigmoid, lambda dout, y: None, point((3,)))

    assert not found.conclusive


@pytest.mark.parametrize("witness", WITNESSES)
def test_inputs_stay_as_they_are(witness: Callable) -> None:
    def clobbering(x: Any) -> Any:
        y = x * x
        x *= 2
        return y, x

    inputs = point((2, 3))
    before = inputs["x0"].copy()
    found = witness(clobbering, lambda dout, x: dout * x, inputs)

    assert np.array_equal(inputs["x0"], before)
    assert found.agrees


@pytest.mark.parametrize("witness", WITNESSES)
def test_what_is_no_float_is_passed_through(witness: Callable) -> None:
    def pick(x: Any, rows: Any, options: dict) -> Any:
        return (x[rows] * options["scale"], rows), (x, rows, options)

    def pick_backward(dout: Any, cache: Any) -> Any:
        x, rows, options = cache
        d, none = dout
        assert none is None
        dx = np.zeros_like(x)
        for k, row in enumerate(rows):
            dx[row] = dx[row] + d[k] * options["scale"]
        return dx, None, None

    inputs = {"x": RNG(0).normal(size=(3, 2)), "rows": np.array([0, 2, 0]), "o": {"scale": 1.5}}

    assert witness(pick, pick_backward, inputs).agrees
    assert witness(pick, pick_backward, inputs).conclusive
    assert not witness(pick, changed(pick_backward, 0, lambda g: g / 2), inputs).agrees


@pytest.mark.parametrize("witness", WITNESSES)
def test_tuples_of_outputs_have_tuples_of_upstream_gradients(witness: Callable) -> None:
    def both(x: Any) -> Any:
        return (x * x, np.exp(x)), x

    def both_backward(dout: Any, x: Any) -> Any:
        return {"x": dout[0] * 2 * x + dout[1] * np.exp(x)}

    assert witness(both, both_backward, {"x": RNG(0).normal(size=3)}).agrees
    assert not witness(both, lambda d, x: d[0] * 2 * x, {"x": RNG(0).normal(size=3)}).agrees


def test_gradients_are_matched_by_position_number_or_name() -> None:
    inputs = {"x": np.ones(2), "index": np.array([1]), "w": np.ones(3)}
    x, w = np.zeros(2), np.zeros(3)

    for given_ in ((x, None, w), (x, w), [x, w], {"x": x, "w": w}):
        assert list(gradients(given_, inputs)) == ["x", "w"]
    with pytest.raises(ValueError, match="one gradient per input"):
        gradients((x,), inputs)


# ── numbers that float64 cannot hold ─────────────────────────────────────────────────────────────
def small(k: float, scale: float = 1.0) -> tuple[Callable, Callable]:
    """Return scale · exp(x - k), whose digits get lost inside where k is large."""
    return (
        lambda x: (np.exp(x - k) * scale, np.exp(x - k) * scale),
        lambda dout, y: {"x": dout * y},
    )


def logistic(k: float) -> tuple[Callable, Callable]:
    """Return a logistic function that is 0 where exp overflows, and its slope, which is not."""
    return (
        lambda x: (1 / (1 + np.exp(k - x)), x),
        lambda dout, x: {"x": dout * np.exp(x - k - 2 * np.log1p(np.exp(x - k)))},
    )


LOST = {
    "a step that vanishes": small(500),
    "few digits": small(740),
    "few digits inside": small(740, 1e300),
    "an overflow before": logistic(715),
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("case", LOST)
@pytest.mark.parametrize("witness", NUMERIC)
def test_numbers_that_float64_loses_accuse_nobody(witness: Any, case: str, seed: int) -> None:
    forward, backward = LOST[case]
    x = np.array([0.3, -0.7, 1.1, 0.9, -0.2])

    with np.errstate(all="ignore"):
        found = witness(forward, backward, {"x": x}, seed=seed)

    assert found.agrees, found.evidence


@pytest.mark.parametrize("witness", NUMERIC)
def test_of_numbers_that_are_all_lost_nothing_is_known(witness: Any) -> None:
    forward, backward = small(800)

    assert not witness(forward, backward, {"x": np.array([0.3, -0.7])}).conclusive


@pytest.mark.parametrize("witness", NUMERIC)
def test_small_numbers_are_still_accused(witness: Any) -> None:
    """Half a slope of 1e-218 is wrong, and so is one beside a number that vanishes."""
    forward, backward = small(500)
    x = np.array([0.3, -0.7, 1.1])
    half = witness(forward, lambda d, y: {"x": backward(d, y)["x"] / 2}, {"x": x})

    def softmax(x: Any) -> Any:
        e = np.exp(x - np.array([0.0, 0.0, 750.0]))
        return e / e.sum(), e / e.sum()

    beside = witness(softmax, lambda d, p: {"x": p * d}, {"x": x})

    assert (half.agrees, half.conclusive) == (False, True)
    assert (beside.agrees, beside.conclusive) == (False, True)
