"""Witnesses without torch: they side with right derivations, refute wrong ones, and know when."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compare.errors import UserError
from compare.witness.ball_witness import ball_witness
from compare.witness.cases import GradientCase, graph_case
from compare.witness.certify import certify
from compare.witness.complex_step import complex_step
from compare.witness.directional import directional
from compare.witness.items import items
from compare.witness.pairs import gradients
from compare.witness.precision import available
from manual import ELU, GELU, Linear, LogSoftmax, ReLU, Sequential, Sigmoid, Softplus, Tanh

RNG = np.random.default_rng
STEPS = {
    "FloorGate",
    "CeilGate",
    "RoundGate",
    "TruncGate",
    "SignGate",
    "AngleGate",
    "FillGate",
    "RoundedDivideGate",
}  # their gradient is 0, times anything
GRADIENTS = [i for i in items() if i.kind != "optimizer" and "p=1.0" not in i.name
             and i.group not in STEPS]  # fmt: skip
LAYERS = list({i.group: i for i in reversed(GRADIENTS)}.values())  # one of every class
NUMERIC: list[Callable] = [directional, complex_step]
balls_needed = pytest.mark.skipif(not available(), reason="balls need python-flint")
WITNESSES = [*NUMERIC, pytest.param(ball_witness, marks=balls_needed)]


def point(*shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {f"x{i}": RNG(i).normal(size=shape) for i, shape in enumerate(shapes)}


# ── hand-written pairs, right and wrong ──────────────────────────────────────────────────────────
def affine(x: Any, w: Any, b: Any) -> Any:
    return x @ w + b, (x, w)


def affine_backward(dout: Any, cache: Any) -> Any:
    x, w = cache
    return dout @ w.T, x.T @ dout, dout.sum(axis=0)


def sigmoid(x: Any) -> Any:
    y = 1 / (1 + np.exp(-x))
    return y, y


def sigmoid_backward(dout: Any, y: Any) -> Any:
    return dout * y * (1 - y)


def mse(x: Any, y: Any) -> Any:
    return ((x - y) ** 2).mean(), x - y


def mse_backward(dout: Any, d: Any) -> Any:
    return dout * 2 * d / d.size, dout * -2 * d / d.size


def gelu(x: Any, w: Any) -> Any:
    from scipy import special

    h = x @ w
    gate = 0.5 * (1 + special.erf(h / np.sqrt(2)))
    return h * gate, (x, w, h, gate)


def gelu_backward(dout: Any, cache: Any) -> Any:
    x, w, h, gate = cache
    dh = dout * (gate + h * np.exp(-h * h / 2) / np.sqrt(2 * np.pi))
    return dh @ w.T, x.T @ dh


def batchnorm(x: Any, gamma: Any, beta: Any) -> Any:
    d = x - x.mean(axis=0)
    std = np.sqrt((d * d).mean(axis=0) + 1e-5)
    xhat = d / std
    return gamma * xhat + beta, (xhat, std, gamma)


def batchnorm_backward(dout: Any, cache: Any) -> Any:
    xhat, std, gamma = cache
    dxhat = dout * gamma
    dx = (dxhat - dxhat.mean(axis=0) - xhat * (dxhat * xhat).mean(axis=0)) / std
    return dx, (dout * xhat).sum(axis=0), dout.sum(axis=0)


AFFINE, SQUARE, COLUMNS = (
    point((4, 3), (3, 5), (5,)),
    point((4, 3), (4, 3)),
    point((5, 3), (3,), (3,)),
)
RIGHT: dict[str, tuple] = {
    "affine": (affine, affine_backward, AFFINE),
    "sigmoid": (sigmoid, sigmoid_backward, point((3, 4))),
    "mse": (mse, mse_backward, SQUARE),
    "gelu": (gelu, gelu_backward, point((3, 4), (4, 2))),
    "batchnorm": (batchnorm, batchnorm_backward, COLUMNS),
}


def changed(backward: Callable, which: int, change: Callable) -> Callable:
    """Return a backward one of whose gradients is changed."""

    def wrong(dout: Any, cache: Any) -> Any:
        grads = backward(dout, cache)
        grads = list(grads) if isinstance(grads, tuple) else [grads]
        grads[which] = change(grads[which])
        return tuple(grads)

    return wrong


def one_element(g: Any) -> Any:
    g = g.copy()
    g.flat[g.size // 2] = g.flat[g.size // 2] * 1.01
    return g


def forgotten(dout: Any, cache: Any) -> Any:
    _, std, gamma = cache
    dxhat = dout * gamma
    return (dxhat - dxhat.mean(axis=0)) / std, *batchnorm_backward(dout, cache)[1:]


WRONG: dict[str, tuple] = {
    "σ(1 + σ)": (sigmoid, lambda dout, y: dout * y * (1 + y), point((3, 4))),
    "σ(x)(1 - σ(x)) of the output": (
        sigmoid, lambda dout, y: sigmoid_backward(dout, 1 / (1 + np.exp(-y))), point((3, 4)),
    ),
    "without 1/N": (mse, changed(mse_backward, 0, lambda g: g * 12), SQUARE),
    "sign of the target's": (mse, changed(mse_backward, 1, lambda g: -g), SQUARE),
    "zeros for dw": (affine, changed(affine_backward, 1, lambda g: 0 * g), AFFINE),
    "mean for sum in db": (affine, changed(affine_backward, 2, lambda g: g / 4), AFFINE),
    "one element of dw": (affine, changed(affine_backward, 1, one_element), AFFINE),
    "transpose": (affine, changed(affine_backward, 1, lambda g: g.T), point((4, 3), (3, 3), (3,))),
    "off by 1e-6": (gelu, changed(gelu_backward, 0, lambda g: g * (1 + 1e-6)), RIGHT["gelu"][2]),
    "a term of batch norm": (batchnorm, forgotten, COLUMNS),
    "infinite": (sigmoid, lambda dout, y: dout * y * np.array(np.inf), point((3, 4))),
}  # fmt: skip


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


OF_ABS = (  # |z| of a complex number is real; SciPy has some functions of reals alone
    "L1", "Abs", "LogDeterminant", "PairwiseDistance", "TripletMargin", "Norm", "MatrixNorm",
    "Dist", "Cdist", "Pdist", "Renorm", "Copysign", "Atan2", "Erfinv", "Ndtri", "Polygamma",
)  # fmt: skip


# ── the hand-written layers ──────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("witness", NUMERIC)
@pytest.mark.parametrize("item", LAYERS, ids=lambda item: item.name)
def test_every_layer_and_loss_is_confirmed(item: Any, witness: Callable) -> None:
    case = item.case(RNG(3))
    found = witness(case.forward, case.backward, case.inputs)

    assert found.agrees, found.evidence
    assert found.conclusive or (witness is complex_step and item.group.startswith(OF_ABS))


@pytest.mark.parametrize("witness", NUMERIC)
@pytest.mark.parametrize("item", LAYERS, ids=lambda item: item.name)
def test_every_layer_and_loss_with_a_gradient_off_by_1e_5_is_refuted(
    item: Any, witness: Callable
) -> None:
    case = item.case(RNG(3))
    found = witness(case.forward, changed(case.backward, 0, lambda g: g * (1 + 1e-5)), case.inputs)

    assert not found.agrees or (witness is complex_step and item.group.startswith(OF_ABS))


def network(seed: int) -> GradientCase:
    """Return a random network, from tiny to large inputs and weights."""
    rng = RNG(seed)
    activation = (Tanh, ReLU, Sigmoid, GELU, Softplus, ELU)[rng.integers(6)]
    widths = rng.integers(1, 7, rng.integers(2, 5)).tolist()
    layers: list[Any] = []
    for a, b in pairwise(widths):
        layers += [Linear(a, b), activation()]
    graph = Sequential(*layers, LogSoftmax(-1))
    scale = 10.0 ** rng.uniform(-2, 0.5)
    params = {name: scale * rng.normal(size=p.shape) for name, p in graph.params.items()}
    x = 10.0 ** rng.uniform(-4, 2) * rng.normal(size=(int(rng.integers(1, 5)), widths[0]))
    return graph_case(graph.with_params(params), x)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.integers(0, 10**6))
def test_random_networks_are_never_refuted(seed: int) -> None:
    case = network(seed)

    for witness in NUMERIC:
        found = witness(case.forward, case.backward, case.inputs, seed=seed)
        assert found.agrees, found.evidence


# ── directional ──────────────────────────────────────────────────────────────────────────────────
def test_the_remainder_falls_with_the_square_of_the_step() -> None:
    found = directional(sigmoid, sigmoid_backward, point((3, 4)))

    assert found.rate == pytest.approx(2, abs=0.05)
    assert found.relative_error < 1e-10
    assert "h^2.0" in found.evidence


def test_the_remainder_of_a_wrong_slope_falls_with_the_step() -> None:
    found = directional(*WRONG["σ(1 + σ)"])

    assert found.rate == pytest.approx(1, abs=0.05)
    assert found.relative_error > 0.1


def test_a_straight_function_has_no_rate() -> None:
    found = directional(affine, affine_backward, AFFINE)

    assert found.rate is None
    assert "straight" in found.evidence


def test_the_cost_does_not_depend_on_the_number_of_elements() -> None:
    def calls(size: int) -> int:
        count = 0

        def counted(x: Any) -> Any:
            nonlocal count
            count += 1
            return sigmoid(x)

        assert directional(counted, sigmoid_backward, {"x": RNG(0).normal(size=size)}).agrees
        return count

    assert calls(3) == calls(3000)


def test_one_wrong_element_among_many_is_seen() -> None:
    wrong = changed(sigmoid_backward, 0, one_element)

    assert not directional(sigmoid, wrong, {"x": RNG(0).normal(size=100_000)}).agrees


def test_inputs_may_move_together() -> None:
    assert "all inputs" in directional(affine, affine_backward, AFFINE, together=True).evidence
    assert not directional(*WRONG["mean for sum in db"], together=True).agrees


def test_the_same_seed_gives_the_same_words() -> None:
    first, second, other = (directional(*RIGHT["gelu"], seed=seed) for seed in (1, 1, 2))

    assert first == second
    assert first != other


@pytest.mark.parametrize("scale", [1e-60, 1e-8, 1e4, 1e100])
def test_magnitudes_do_not_matter(scale: float) -> None:
    def cube(x: Any) -> Any:
        return x * x * x / scale**2, x

    inputs = {"x": scale * RNG(0).normal(size=(3, 4))}

    assert directional(cube, lambda d, x: d * 3 * x * x / scale**2, inputs).agrees
    assert not directional(cube, lambda d, x: d * 2 * x * x / scale**2, inputs).agrees


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0])
def test_a_kink_at_the_point_is_stated_and_decides_nothing(slope: float) -> None:
    found = directional(
        lambda x: (np.maximum(x, 0), x),
        lambda dout, x: dout * np.where(x == 0, slope, x > 0),
        {"x": np.zeros((2, 2))},
    )

    assert found.agrees
    assert not found.conclusive
    assert "a kink here" in found.evidence


def test_a_kink_beside_the_point_is_no_kink_at_it() -> None:
    x = {"x": np.array([1e-4, -1e-4, 3e-3, 1.0])}

    found = directional(lambda x: (np.maximum(x, 0), x), lambda dout, x: dout * (x > 0), x)
    wrong = directional(lambda x: (np.maximum(x, 0), x), lambda dout, x: dout * (x < 1), x)

    assert found.agrees
    assert found.conclusive
    assert not wrong.agrees


def test_large_steps_may_leave_the_domain() -> None:
    def log(x: Any) -> Any:
        if np.any(x <= 0):
            raise ValueError("log of what is not positive")
        return np.log(x), x

    inputs = {"x": np.array([0.01, 2.0, 5.0])}

    assert directional(log, lambda dout, x: dout / x, inputs).agrees
    assert directional(log, lambda dout, x: dout / x, inputs).conclusive
    assert not directional(log, lambda dout, x: dout / (x + 1e-5), inputs).agrees


def test_a_function_that_is_not_finite_decides_nothing() -> None:
    found = directional(lambda x: (x / 0.0, x), lambda dout, x: dout * x, point((2, 2)))

    assert found.agrees
    assert not found.conclusive
    assert "not finite" in found.evidence


# ── complex step ─────────────────────────────────────────────────────────────────────────────────
def test_complex_steps_are_exact_to_rounding() -> None:
    found = complex_step(*RIGHT["batchnorm"])

    assert found.relative_error < 1e-14
    assert complex_step(*RIGHT["affine"]).relative_error < 1e-14


def test_complex_steps_see_what_differences_cannot() -> None:
    wrong = changed(gelu_backward, 0, lambda g: g * (1 + 3e-8))

    assert not complex_step(gelu, wrong, RIGHT["gelu"][2]).agrees


def into_floats(x: Any) -> Any:
    y = np.zeros(x.shape)
    y[...] = x * x
    return y, x


@pytest.mark.parametrize(
    ("forward", "slope", "why"),
    [
        (lambda x: (np.abs(x), x), np.sign, "its output is real"),
        (lambda x: (np.abs(x) * x, x), lambda x: 2 * np.abs(x), "not analytic"),
        (lambda x: (x.real * x, x), lambda x: 2 * x, "not analytic"),
        (lambda x: (x * x.var(), x), lambda x: 2 * x, "not analytic"),  # var squares |x|
        (into_floats, lambda x: 2 * x, "cannot carry complex numbers"),
    ],
)
def test_complex_steps_keep_out_of_code_that_is_not_analytic(
    forward: Callable, slope: Callable, why: str
) -> None:
    found = complex_step(forward, lambda dout, x: dout * slope(x), point((3, 4)))

    assert found.agrees
    assert not found.conclusive
    assert why in found.evidence


# ── balls, for anybody's functions ───────────────────────────────────────────────────────────────
@balls_needed
def test_batch_normalisation_is_certified_element_by_element() -> None:
    found = certify(batchnorm, batchnorm_backward, COLUMNS)

    assert found.certified
    assert [(t.name, t.elements) for t in found.tensors] == [("x0", 15), ("x1", 3), ("x2", 3)]


@balls_needed
def test_constants_of_float64_pass_the_witness_but_not_the_certificate() -> None:
    witness, proven = ball_witness(*RIGHT["gelu"]), certify(*RIGHT["gelu"])

    assert witness.agrees
    assert witness.conclusive
    assert 15 < proven.digits < 18
    assert not proven.certified


@balls_needed
@pytest.mark.parametrize(
    ("forward", "why"),
    [
        (into_floats, "plain float"),
        (lambda x: (np.fmod(x, 2.0), x), "cannot pass"),
        (lambda x: (np.maximum(x - x.copy() * 1, 0), x), "cannot be decided"),
    ],
)
def test_code_that_balls_cannot_pass_is_left_undecided(forward: Callable, why: str) -> None:
    found = ball_witness(forward, lambda dout, x: dout, point((2, 2)))

    assert found.agrees
    assert not found.conclusive
    assert why in found.evidence


def test_without_python_flint_the_way_to_install_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "flint", None)

    assert not available()
    with pytest.raises(UserError, match=r"pip install 'handgrad\[certify\]'"):
        certify(sigmoid, sigmoid_backward, point((2,)))


@balls_needed
def test_an_old_python_flint_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import flint

    monkeypatch.setattr(flint, "__version__", "0.8.0")

    with pytest.raises(UserError, match=r"0\.9 or newer.*0\.8\.0 is installed"):
        certify(sigmoid, sigmoid_backward, point((2,)))


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
