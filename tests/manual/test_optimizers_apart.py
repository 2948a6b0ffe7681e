"""The optimisers that are not given one dense gradient of any shape: Muon, SparseAdam, L-BFGS."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from compare.gauge import gauge, gauging
from manual.optimizers import LBFGS, Adam, Muon, SparseAdam, SparseGradient
from manual.optimizers.line_search import Point, cubic, strong_wolfe
from manual.optimizers.muon import orthogonalized
from manual.rounding import bfloat16, computed_in, machine_epsilon, standing_for

RNG = np.random.default_rng


# ── Muon ─────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rounding_to_bfloat16_is_torchs(dtype: Any) -> None:
    x = (RNG(0).normal(size=2000) * 10.0 ** RNG(1).uniform(-30, 30, 2000)).astype(dtype)

    np.testing.assert_array_equal(bfloat16(x), torch.tensor(x).bfloat16().to(torch.float64).numpy())


@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (3, 3), (1, 5)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_orthogonalising_is_bitwise_torchs_for_small_matrices(shape: tuple, dtype: Any) -> None:
    from torch.optim._muon import _zeropower_via_newtonschulz as theirs

    coefficients = Muon().ns_coefficients
    for seed in range(5):
        m = RNG(seed).normal(size=shape).astype(dtype)

        ours = orthogonalized(m, coefficients, 5, 1e-7)

        expected = theirs(torch.tensor(m), coefficients, 5, 1e-7).to(torch.float64).numpy()
        np.testing.assert_array_equal(ours, expected)


def test_all_singular_values_come_near_one() -> None:
    m = RNG(0).normal(size=(6, 4)) @ np.diag([1.0, 0.3, 0.1, 0.03])

    sizes = np.linalg.svd(orthogonalized(m, Muon().ns_coefficients, 5, 1e-7), compute_uv=False)

    assert ((sizes > 0.6) & (sizes < 1.3)).all()


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4)])
def test_muon_moves_matrices_only(shape: tuple[int, ...]) -> None:
    w = {"w": np.ones(shape)}
    with pytest.raises(ValueError, match=r"Muon moves matrices only, received .*AdamW"):
        Muon().step(w, w, {})


@pytest.mark.parametrize("args", [{"ns_steps": 100}, {"ns_coefficients": (1.0, 2.0)}])
def test_muon_refuses_at_once_what_torch_refuses_at_its_first_step(args: dict) -> None:
    with pytest.raises(ValueError, match=f"Muon: {next(iter(args))}"):
        Muon(**args)


def test_a_gauged_bfloat16_may_be_off_by_one_unit_and_no_more() -> None:
    with gauging(np.dtype(np.float64)):
        tolerance = bfloat16(gauge(np.array([1.5, 3.0, 0.0]))).tolerance(np.dtype(np.float64))

    np.testing.assert_allclose(tolerance, [1.5 / 128, 3.0 / 128, 0.0], rtol=1e-6, atol=1e-100)


def test_the_machine_epsilon_of_a_gauge_is_of_the_programs_it_measures() -> None:
    assert machine_epsilon(np.zeros(1)) == 2.0**-52
    with gauging(np.dtype(np.float32)):
        assert machine_epsilon(gauge(np.zeros(1))) == 2.0**-23


def test_float64_that_stands_for_float32_has_its_epsilon_until_then_and_no_longer() -> None:
    def asked() -> list[float]:
        return [machine_epsilon(np.zeros(1, kind)) for kind in (float, int, np.float32, np.float16)]

    own = asked()
    with suppress(KeyError), standing_for(np.float32):
        assert asked() == [2.0**-23, 2.0**-23, 2.0**-23, 2.0**-10]
        assert computed_in(np.zeros(1)) == np.float32
        raise KeyError
    assert asked() == own == [2.0**-52, 2.0**-52, 2.0**-23, 2.0**-10]


# ── SparseAdam ───────────────────────────────────────────────────────────────────────────────────
def sparse(indices: list, values: Any, shape: tuple[int, ...]) -> tuple[SparseGradient, Tensor]:
    """Return a gradient as both sides write it."""
    at, given = np.array(indices), np.asarray(values, float)
    return SparseGradient(at, given, shape), torch.sparse_coo_tensor(
        torch.tensor(at), torch.tensor(given), shape, check_invariants=True
    )


@pytest.mark.parametrize(
    ("indices", "values", "shape"),
    [
        ([[2, 0]], [[1.0, -2.0], [0.0, 3.0]], (4, 2)),
        ([[1, 1, 3, 1]], [[1.0, -2.0], [0.5, 3.0], [1.0, 1.0], [4.0, 0.25]], (4, 2)),
        ([[0, 1], [1, 0]], [3.0, -4.0], (2, 2)),
        (np.zeros((1, 0), int), np.zeros((0, 2)), (4, 2)),
    ],
    ids=["rows", "a row three times", "elements", "nothing"],
)
def test_sparse_adam_is_torchs_for_two_steps(indices: Any, values: Any, shape: tuple) -> None:
    ours, theirs = sparse(indices, values, shape)
    param = RNG(0).normal(size=shape)
    tensor = torch.nn.Parameter(torch.tensor(param))
    reference = torch.optim.SparseAdam([tensor], lr=0.1)
    found, state = param, {}
    for _ in range(2):
        tensor.grad = theirs
        reference.step()
        found, state = SparseAdam(lr=0.1).update(found, ours, state, 0.1)

        np.testing.assert_allclose(found, tensor.detach(), rtol=1e-14)
        for name, value in reference.state[tensor].items():
            np.testing.assert_allclose(state[name], value, rtol=1e-14)


def test_a_row_that_is_not_touched_rests_where_adam_would_go_on() -> None:
    param, rows = np.ones((3, 2)), np.ones((1, 2))
    first, later = (SparseGradient(np.array([[i]]), rows, (3, 2)) for i in (0, 1))

    one, state = SparseAdam().update(param, first, {}, 0.1)
    two, _ = SparseAdam().update(one, later, state, 0.1)

    np.testing.assert_array_equal(two[0], one[0])
    dense = np.zeros((2, 3, 2))
    dense[0, 0] = dense[1, 1] = 1.0
    adam, state = Adam().update(param, dense[0], {}, 0.1)
    assert (Adam().update(adam, dense[1], state, 0.1)[0][0] != adam[0]).all()


def test_sparse_adam_refuses_a_dense_gradient() -> None:
    with pytest.raises(ValueError, match=r"sparse gradients only: .*or take Adam"):
        SparseAdam().step({"w": np.ones(2)}, {"w": np.ones(2)}, {})


# ── L-BFGS ───────────────────────────────────────────────────────────────────────────────────────
START = {"w": np.array([[-1.2, 1.0], [0.5, 0.25]]), "b": np.array([2.0])}


def rosenbrock(params: Any) -> tuple[Any, dict[str, Any]]:
    """Return Σ (1 - x)² + 5 (y - x²)² over the rows of w, plus b², and its gradients."""
    x, y, b = params["w"][:, 0], params["w"][:, 1], params["b"]
    rest = y - x * x
    loss = np.sum((1 - x) ** 2 + 5 * rest**2) + np.sum(b * b)
    gradient = np.stack([-2 * (1 - x) - 20 * rest * x, 10 * rest], axis=1)
    return loss, {"w": gradient, "b": 2 * b}


def torchs(args: dict[str, Any], steps: int) -> tuple[list, dict]:
    tensors = {k: torch.nn.Parameter(torch.tensor(v)) for k, v in START.items()}
    optimizer: Any = torch.optim.LBFGS(list(tensors.values()), **args)

    def closure() -> Tensor:
        optimizer.zero_grad()
        x, y = tensors["w"].unbind(1)
        loss = ((1 - x) ** 2 + 5 * (y - x * x) ** 2).sum() + (tensors["b"] ** 2).sum()
        loss.backward()
        return loss

    history = []
    for _ in range(steps):
        optimizer.step(closure)
        history.append({k: t.detach().numpy().copy() for k, t in tensors.items()})
    return history, dict(optimizer.state[tensors["w"]])


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"max_iter": 1},
        {"max_iter": 6, "history_size": 2, "lr": 0.5},
        {"max_iter": 12, "max_eval": 4},
        {"line_search_fn": "strong_wolfe"},
        {"line_search_fn": "strong_wolfe", "lr": 100.0, "max_iter": 3},
        {"line_search_fn": "strong_wolfe", "lr": 1e-4, "max_iter": 2, "max_eval": 4},
        {"tolerance_grad": 1e3},
        {"tolerance_change": 0.1},
    ],
    ids=str,
)
def test_lbfgs_is_torchs_step_by_step(args: dict[str, Any]) -> None:
    expected, theirs = torchs(args, 3)
    params: Any = START
    states: Any = {}
    for after in expected:
        params, states = LBFGS(**args).step(params, rosenbrock, states)
        for name, value in after.items():
            np.testing.assert_allclose(params[name], value, rtol=1e-8)

    state = states["w"]
    assert states["b"] == {}
    assert set(state) == set(theirs) - {"al"}
    assert (state["n_iter"], state["func_evals"]) == (theirs["n_iter"], theirs["func_evals"])
    for name in set(state) & {"d", "t", "prev_flat_grad", "prev_loss", "H_diag", "ro"}:
        np.testing.assert_allclose(state[name], theirs[name], rtol=1e-5, atol=1e-9)
    for name in set(state) & {"old_dirs", "old_stps"}:
        assert len(state[name]) == len(theirs[name])
        np.testing.assert_allclose(state[name], [v.numpy() for v in theirs[name]], atol=1e-8)


def test_another_history_is_told_from_torchs() -> None:
    expected, _ = torchs({"history_size": 2}, 1)

    params, _ = LBFGS(history_size=3).step(START, rosenbrock, {})

    assert abs(params["w"] - expected[0]["w"]).max() > 1e-6


def test_lbfgs_keeps_the_state_that_it_is_given() -> None:
    _, states = LBFGS(max_iter=3).step(START, rosenbrock, {})
    before = {k: list(v) if isinstance(v, list) else v for k, v in states["w"].items()}

    LBFGS(max_iter=3).step(START, rosenbrock, states)

    assert states["w"]["n_iter"] == before["n_iter"]
    assert len(states["w"]["old_dirs"]) == len(before["old_dirs"])


def test_lbfgs_wants_a_closure_and_says_what_one_is() -> None:
    with pytest.raises(ValueError, match=r"closure in place of the gradients.*\(loss, gradients\)"):
        LBFGS().step(START, START, {})


def test_a_line_search_is_only_a_strong_wolfe_one() -> None:
    with pytest.raises(ValueError, match="line_search_fn must be 'strong_wolfe' or None"):
        LBFGS(line_search_fn="armijo")


def test_a_length_found_satisfies_both_conditions() -> None:
    def at(t: float) -> Point:  # φ = t⁴ / 4 - t, smallest at 1
        return Point(t, t**4 / 4 - t, np.array([t**3 - 1]), t**3 - 1)

    for first in (0.01, 0.9, 7.0):
        found, _ = strong_wolfe(at, at(0.0), first, length=1.0, most=25, tolerance=1e-9)

        assert found.loss <= 1e-4 * found.t * -1
        assert abs(found.slope) <= 0.9


def test_the_cubic_through_two_points_of_a_cubic_is_that_cubic() -> None:
    def at(t: float) -> Point:  # t³ - 3 t, a minimum at 1
        return Point(t, t**3 - 3 * t, np.zeros(1), 3 * t**2 - 3)

    assert cubic(at(0.25), at(2.0), 0.25, 2.0) == pytest.approx(1.0)
    assert cubic(at(2.0), at(0.25), 0.25, 2.0) == pytest.approx(1.0)
    assert cubic(at(0.25), at(2.0), 1.25, 3.0) == 1.25
