"""The lockstep run: correct networks agree in both dtypes, every planted mistake is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import compare
import torch_ref.layers
from compare.description.config import Config, load
from compare.errors import UserError
from compare.judge.judge import VERDICTS, judge
from compare.judge.quantities import Key, expected
from compare.report.report import Report
from compare.running.experiment import prepare
from compare.running.lockstep import Lockstep, Step
from manual import registry
from manual.activations import ReLU, Sigmoid
from manual.layer import Layer
from manual.linear import Linear

Run = Callable[..., Report]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_digits_agree_with_a_small_part_of_the_budget(run: Run, dtype: str) -> None:
    report = run("digits", steps=12, dtype=dtype, drift=False)

    assert report.verdict == "agree"
    assert report.differences["budget_used"].max() < 0.25
    assert report.first_divergence is None
    report.assert_agrees()


def test_every_element_of_every_tensor_is_compared_exactly_once(run: Run) -> None:
    report = run("digits", steps=12, drift=False)
    rows, ledger = report.differences, report.ledger.set_index("quantity")
    parameters = 64 * 64 + 64 + 64 * 32 + 32 + 32 * 10 + 10

    assert not rows.duplicated(["step", "layer", "quantity"]).any()
    assert (ledger["elements"] == ledger["expected_elements"]).all()
    for quantity in ("grad", "param", "state"):
        assert ledger.loc[quantity, "elements"] == 12 * parameters
    assert ledger.loc["loss", "elements"] == 12
    assert ledger.loc["grad_input", "elements"] == 12 * 64 * 64


def test_the_table_is_in_execution_order(run: Run) -> None:
    first = run("digits", steps=12, drift=False).differences.query("step == 0")
    places = list(zip(first["layer"], first["quantity"], strict=True))

    assert places.index(("0", "output")) < places.index(("4", "output"))
    assert places.index(("4", "output")) < places.index(("loss", "loss"))
    assert places.index(("4", "grad_output")) < places.index(("0", "grad_output"))
    assert places.index(("0", "grad:weight")) < places.index(("0", "param:weight"))


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


def test_what_is_expected_follows_from_the_description_not_from_what_sides_return() -> None:
    keys = expected(
        prepare(load("residual")).manual.graph.nodes, ["stem.weight"], [], inputs=("input",)
    )
    rows = judge(keys, {}, {}, {})

    assert Key("stem", "grad:weight") in keys
    assert set(VERDICTS[rows.verdicts]) == {"missing"}


def test_screened_steps_agree_and_still_catch_a_mistake(run: Run) -> None:
    good = run("digits", steps=12, gauge_every=5, drift=False)
    bad = run("digits", steps=12, gauge_every=5, drift=False, plant="2.weight.grad*=1.00001")

    assert good.verdict == "agree"
    assert set(bad.differences.query("verdict == 'disagree'")["step"]) == set(range(12))


def test_the_same_seed_gives_the_same_table_byte_for_byte() -> None:
    one, two = (compare.run("digits", steps=3, drift=False).differences for _ in range(2))

    assert one.to_csv() == two.to_csv()
    assert one.to_csv() != compare.run("digits", steps=3, seed=1, drift=False).differences.to_csv()


def test_a_free_run_is_never_a_verdict_and_shows_drift(run: Run) -> None:
    report = run("digits", steps=12, mode="free")

    assert report.verdict == "incomplete"
    assert "diagnostic" in report.reason
    assert len(report.drift) == 12
    assert 0 < report.drift["max_param_diff"].iloc[-1] < 1e-12


def test_a_mistake_in_the_first_step_of_a_free_run_is_a_disagreement(run: Run) -> None:
    assert run("digits", steps=2, mode="free", plant="0.bias.grad=0").verdict == "disagree"


def test_a_tolerance_of_the_users_own_is_said_in_the_report(run: Run) -> None:
    loose = run("digits", steps=1, tolerance=(1e-1, 1e-1), plant="2.weight.grad*=1.01", drift=False)
    tight = run("digits", steps=1, tolerance=(0.0, 0.0), drift=False)

    assert loose.overridden
    assert "chosen by the user" in loose.tolerance
    assert tight.verdict == "disagree"


def test_a_tolerance_that_zeros_would_pass_is_vacuous_not_agreement(run: Run) -> None:
    report = run("digits", steps=1, tolerance=(0.0, 1e6), drift=False)

    assert set(report.differences["verdict"]) == {"vacuous"}
    assert report.verdict == "incomplete"
    assert "zeros would have passed" in report.reason


def test_two_dead_networks_do_not_agree() -> None:
    report = compare.run("digits", steps=1, drift=False, init__scheme="zeros")

    assert report.verdict == "incomplete"


def test_non_finite_values_on_both_sides_never_agree() -> None:
    report = compare.run("twenty-lines", steps=30, drift=False, optimizer__lr=1e3)
    found = report.first_divergence

    assert report.verdict == "incomplete"
    assert "non-finite" in set(report.differences["verdict"])
    assert found is not None


def test_dropout_shares_its_mask_with_torch() -> None:
    config = load("digits", {"train.steps": 3})
    tables = config.as_dict()
    tables["layers"].insert(2, {"type": "Dropout", "p": 0.4})
    for layer in tables["layers"]:
        layer.pop("name", None)
        layer.pop("inputs", None)
    report = compare.run(type(config).model_validate(tables))

    assert report.verdict == "agree"
    dropped = report.differences.query("layer == '2' and quantity == 'output'")
    assert (dropped["norm"] > 0).all()


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


def test_integer_data_and_power_of_two_rates_agree_bitwise(run: Run) -> None:
    """The exact tier: every number is an integer or a dyadic fraction, so nothing rounds."""
    config = load("three-rows", {"train.steps": 1, "optimizer.lr": 0.5})
    tables = config.as_dict()
    for layer in tables["layers"]:
        if layer["type"] == "Sigmoid":
            layer["type"] = "ReLU"
    tables["init"] = {"scheme": "constant", "value": 1.0, "bias": 1.0}
    report = compare.run(type(config).model_validate(tables), drift=False)

    assert report.differences["max_abs_diff"].max() == 0
    assert report.verdict in ("agree", "incomplete")


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


def test_an_element_that_rounding_may_take_anywhere_does_not_screen_the_others() -> None:
    lockstep = Lockstep(prepare(load("three-rows")))
    key = Key("0", "grad:weight")
    lockstep.tolerances = {key: np.array([3e-9, np.inf, 4e-9])}

    assert lockstep._screen()[key] == pytest.approx(12.5e-18**0.5)


def test_elements_of_which_nothing_is_said_are_counted_in_a_note(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An infinite error, as where a square root meets 0 in a gauge that knows no better."""
    plain = Linear.forward

    def steep(self, x):
        if isinstance(x, np.ndarray) or x.shape[-1] != 3:
            return plain(self, x)
        y, cache = plain(self, x)
        y._e2 = np.where(np.arange(y.size).reshape(y.shape) == 0, np.inf, y.e2)
        return y, cache

    assert not run("three-rows", steps=1).notes
    monkeypatch.setattr(Linear, "forward", steep)
    report = compare.run("three-rows", steps=1)

    assert "nothing is said: rounding may take them anywhere (" in report.notes[0]


def test_an_update_that_nothing_would_have_missed_is_vacuous() -> None:
    report = compare.run(
        "digits", steps=2, drift=False, dtype="float32", optimizer__lr=1e-12, init__scheme="normal"
    )

    assert report.verdict == "incomplete"
    assert "no update at all" in report.reason


def test_equal_zeros_use_nothing_of_a_relative_tolerance(run: Run) -> None:
    report = run("digits", steps=1, tolerance=(1e-5, 0.0), drift=False)

    assert not (report.differences["verdict"] == "disagree").any()


def test_another_k_is_an_override() -> None:
    report = compare.run("three-rows", steps=2, drift=False, compare__k=1e9)

    assert report.overridden


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


def test_noise_around_zero_squared_keeps_a_budget() -> None:
    """Softmax over one row: its input gradient is zero but for rounding, and Adagrad squares it."""
    config = load("digits")
    tables = config.as_dict()
    tables["layers"] = [
        {"type": "Linear", "in_features": 64, "out_features": 8},
        {"type": "Softmax", "dim": 0},
        {"type": "Linear", "in_features": 8, "out_features": 10},
    ]
    tables["optimizer"] = {"type": "Adagrad", "lr": 0.01}
    tables["train"] = {"steps": 4, "batch_size": 16}
    report = compare.run(type(config).model_validate(tables), drift=False)

    assert not (report.differences["verdict"] == "disagree").any(), report


@pytest.mark.parametrize("scale", [1e120, 1e-120])
def test_values_whose_squares_leave_float64_are_gauged_in_extended_precision(scale: float) -> None:
    tables = load("three-rows").as_dict()
    tables["layers"] = [{"type": "Linear", "in_features": 3, "out_features": 2}]
    tables["optimizer"] = {"type": "SGD", "lr": 1e-3}
    experiment = prepare(type(load("three-rows")).model_validate(tables))
    experiment.features[:] *= scale
    rows = Lockstep(experiment).step(0, np.arange(1)).rows

    assert not rows.bad.size


def test_a_run_leaves_torchs_threads_and_generator_alone() -> None:
    import torch

    torch.manual_seed(5)
    threads, expected_draw = torch.get_num_threads(), torch.rand(1)
    torch.manual_seed(5)
    compare.run("three-rows", steps=1, drift=False, threads=1)

    assert torch.get_num_threads() == threads
    assert torch.rand(1) == expected_draw


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


def test_a_run_that_overflows_on_both_sides_accuses_no_formula() -> None:
    report = compare.run("digits", steps=3, drift=False, optimizer__lr=1e200)
    found = report.first_divergence

    assert report.verdict == "incomplete"
    assert "Torch's side holds NaN or infinity" in report.reason
    assert found is not None
    assert "diverged" in found.explanation
    assert found.own_or_inherited == "inherited"


def test_a_mistake_before_an_overflow_is_still_a_disagreement() -> None:
    planted = compare.run(
        "digits", steps=3, drift=False, optimizer__lr=1e200, plant="2.weight.grad*=1.01"
    )

    assert planted.verdict == "disagree"


def test_an_optimizer_that_forgets_its_state_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from manual.optimizers import SGD

    original = SGD.update
    monkeypatch.setattr(SGD, "update", lambda *args: (original(*args)[0], {}))
    found = compare.run("digits", steps=1, drift=False).first_divergence

    assert found is not None
    assert found.quantity == "state:weight:momentum_buffer"


def test_a_structural_zero_that_names_nothing_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match=r"'2\.grad:wieght' matches no tensor.*2\.grad:weight"):
        compare.run("digits", steps=1, compare__structural_zeros=["2.grad:wieght"])


# ── ports, calls, buffers, ties ──────────────────────────────────────────────────────────────────
class Running(Layer):
    """Columns minus their mean (in evaluation the running one), in halves, and indices."""

    outputs = ("left", "right", "index")

    def __init__(self, num_features: int) -> None:
        self.params = {"weight": np.ones(num_features)}
        self.buffers = {"running_mean": np.full(num_features, 0.5), "calls": np.array(1)}

    def forward(self, x):
        mean = x.mean(axis=0) if self.training else self.buffers["running_mean"]
        z = x - mean
        y, half = z * self.params["weight"], x.shape[1] // 2
        return (y[:, :half], y[:, half:], np.argmax(x, axis=1)), (z, mean)

    def backward(self, grad_output, cache):
        dy = np.concatenate(grad_output[:2], axis=1)
        dz = dy * self.params["weight"]
        dx = dz - dz.mean(axis=0) if self.training else dz
        return (dx,), {"weight": (dy * cache[0]).sum(axis=0)}

    def next_buffers(self, cache):
        if not self.training:
            return self.buffers
        moved = 0.75 * self.buffers["running_mean"] + 0.25 * cache[1]
        return {"running_mean": moved, "calls": self.buffers["calls"] + 1}


class TorchRunning(torch.nn.Module):
    running_mean: torch.Tensor
    calls: torch.Tensor

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(num_features))
        self.register_buffer("running_mean", torch.full((num_features,), 0.5))
        self.register_buffer("calls", torch.tensor(1))

    def forward(self, x):
        mean = self.running_mean
        if self.training:
            mean = x.mean(0)
            with torch.no_grad():
                self.running_mean.mul_(0.75).add_(0.25 * mean)
                self.calls += 1
        y, half = (x - mean) * self.weight, x.shape[1] // 2
        return y[:, :half], (y[:, half:], x.argmax(1))


WIDE = """
[data]
dataset = "iris"
[[layers]]
name = "stem"
type = "Linear"
in_features = 4
out_features = 4
bias = false
[[layers]]
name = "norm@0"
type = "Running"
num_features = 4
[[layers]]
name = "joined"
type = "Concatenate"
inputs = ["norm@0:right", "norm@0"]
[[layers]]
type = "Dropout"
name = "drop"
p = 0.25
[[layers]]
name = "norm@1"
type = "Running"
num_features = 4
[[layers]]
name = "tail"
type = "Concatenate"
inputs = ["norm@1", "joined"]
[[layers]]
name = "first"
type = "Linear"
in_features = 6
out_features = 6
[[layers]]
name = "again"
type = "Linear"
in_features = 6
out_features = 6
[[layers]]
name = "head"
type = "Linear"
in_features = 6
out_features = 3
[init]
scheme = "uniform"
low = -0.9
high = 0.9
[train]
steps = 3
batch_size = 8
EVALUATE
[tied]
"again.weight" = "first.weight"
"""


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Report]:
    """Return what runs a network with ports, calls, buffers and a tied weight."""
    monkeypatch.setitem(registry.LAYERS, "Running", Running)
    monkeypatch.setattr(torch_ref.layers, "Running", TorchRunning, raising=False)

    def run(evaluate: bool = False, **options: Any) -> Report:
        file = tmp_path / "wide.toml"
        text = WIDE.replace("EVALUATE", f"evaluate = {str(evaluate).lower()}")
        file.write_text(text)
        return compare.run(file, drift=False, **options)

    return run


@pytest.mark.parametrize("evaluate", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_ports_calls_buffers_and_ties_agree(wide, dtype: str, evaluate: bool) -> None:
    report = wide(evaluate, dtype=dtype)
    rows = report.differences
    found = set(zip(rows["layer"], rows["quantity"], strict=True))

    assert report.verdict == "agree", report.reason
    assert {("norm@0", "output"), ("norm@0", "output:right"), ("norm@1", "output:index"),
            ("norm@0", "grad_output:right"), ("norm@1", "grad_output"), ("norm", "grad:weight"),
            ("norm", "buffer:running_mean"), ("norm", "buffer:calls"), ("first", "grad:weight"),
            ("again", "grad:bias")} <= found  # fmt: skip
    assert not {("again", "grad:weight"), ("again", "param:weight"), ("norm@0", "grad:weight"),
                ("norm@0", "grad_output:index"), ("norm@1", "grad_output:right"),
                } & found  # fmt: skip
    assert not rows.duplicated(["step", "layer", "quantity"]).any()


@pytest.mark.parametrize(
    ("method", "wrong", "place"),
    [
        ("next_buffers", lambda f: lambda s, c: {k: b * 2 + 1 for k, b in f(s, c).items()},
         ("norm", "buffer:")),
        ("next_buffers", lambda f: lambda s, c: s.buffers | {"calls": f(s, c)["calls"]},
         ("norm", "buffer:running_mean")),
        ("forward", lambda f: lambda s, x: ((*f(s, x)[0][:2], f(s, x)[0][2] + 1), f(s, x)[1]),
         ("norm@0", "output:index")),
        ("forward", lambda f: lambda s, x: ((f(s, x)[0][0], f(s, x)[0][1] * 1.01, f(s, x)[0][2]),
                                            f(s, x)[1]), ("norm@0", "output:right")),
        ("backward", lambda f: lambda s, g, c: (f(s, g, c)[0], {"weight": f(s, g, c)[1]["weight"]
                                                               * (1 + 1e-6)}),
         ("norm", "grad:weight")),
        ("backward", lambda f: lambda s, g, c: ((None,), f(s, g, c)[1]), None),
    ],
    ids=["buffers", "buffer not moved", "index", "second port", "shared gradient", "cut"],
)  # fmt: skip
def test_a_mistake_in_the_wider_contract_is_found(
    wide, monkeypatch: pytest.MonkeyPatch, method: str, wrong: Any, place: Any
) -> None:
    monkeypatch.setattr(Running, method, wrong(getattr(Running, method)))
    report = wide()
    bad = report.differences.query("verdict in ['disagree', 'missing']")
    found = list(zip(bad["layer"], bad["quantity"], strict=True))

    assert report.verdict != "agree"
    if place is None:  # the path is cut: what lies before it is missing, not zero
        missing = report.differences.query("verdict == 'missing'")
        assert ("stem", "grad:weight") in set(
            zip(missing["layer"], missing["quantity"], strict=True)
        )
    else:
        assert any(layer == place[0] and what.startswith(place[1]) for layer, what in found), found
