"""Random correct networks raise no alarm, planted mistakes are caught, and counts repeat."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from compare.commands.runner import Runner
from compare.description.config import Config
from compare.gauge import GaugeMistakeError
from compare.judge.judge import AGREE
from compare.judge.quantities import Key
from compare.pair.plant import parse, plant
from compare.running.lockstep import Lockstep
from evidence.false_alarms.count import ATTEMPTS, Count, accepted, count, examine, run
from evidence.false_alarms.draw import Draw, draw
from evidence.false_alarms.layers import placed
from evidence.false_alarms.mistakes import MISTAKES
from evidence.false_alarms.rules import GAUGE, RULES, Rule, agrees
from evidence.false_alarms.settings import any_network, drawable
from evidence.false_alarms.table import rows, table
from handgrad.cli import app
from manual import registry

FEW = 12
LOST = "torch lost digits"
ONCE = json.loads((Path(__file__).parent / "networks.json").read_text())
pytestmark = [
    pytest.mark.filterwarnings("ignore:Implicit dimension choice"),
    pytest.mark.filterwarnings("ignore:dropout2d. Received a 3D input"),
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN"),
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths"),
]


def tight(manual: np.ndarray, torch: np.ndarray, tolerance: Any) -> Any:
    """Allow no difference at all."""
    return 0.0 * np.abs(torch)


def loose(manual: np.ndarray, torch: np.ndarray, tolerance: Any) -> Any:
    """Allow everything finite."""
    return np.inf


@cache
def counted() -> Count:
    return count(FEW, seed=3, rules=(*RULES, Rule("tight", tight), Rule("loose", loose)))


def row(rule: str, dtype: str) -> dict[str, Any]:
    return next(r for r in rows(counted()) if (r["rule"], r["dtype"]) == (rule, dtype))


def test_the_harness_accepts_correct_networks() -> None:
    assert counted().alarms == []
    assert all(accepted(found) for found in counted().found)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_largest_share_of_a_tolerance_is_below_one_and_above_zero(dtype: str) -> None:
    assert 0 < row("gauge", dtype)["largest_budget"] < 1


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_rule_without_tolerance_shows_up_as_false_alarms(dtype: str) -> None:
    found = row("tight", dtype)

    assert found["networks_rejected"] == found["networks"] > 0
    assert found["tensors_rejected"] > 0


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_rule_that_allows_everything_shows_up_as_missed_mistakes(dtype: str) -> None:
    found = row("loose", dtype)

    assert found["mistakes"] > 0
    assert found["caught"] == found["networks_rejected"] == 0


def test_in_float64_the_gauge_catches_nearly_everything_in_tensors_that_it_checks() -> None:
    found = row("gauge", "float64")

    assert found["caught_checked"] >= 0.99 * found["mistakes_checked"] > 0
    assert (
        found["caught"] <= found["caught_checked"] + found["mistakes"] - found["mistakes_checked"]
    )
    single = found["by_mistake"]["float32 inside float64"]
    assert single["caught"] == single["planted"] >= found["networks"] - 1


def test_fixed_tolerances_miss_float32_inside_float64() -> None:
    assert row("gradcheck", "float64")["by_mistake"]["float32 inside float64"]["caught"] == 0


def test_a_tampered_harness_raises_alarms(monkeypatch: pytest.MonkeyPatch) -> None:
    """With K = 1e-6 correct code is rejected: the count would notice a gauge that is too tight."""
    monkeypatch.setattr(
        "compare.running.lockstep.gauged", lambda values, dtype, k: _gauged(values, dtype, 1e-6)
    )
    monkeypatch.setattr("compare.running.lockstep.widened", lambda tolerances, *_: tolerances)
    found = count(2, seed=1)

    assert found.alarms
    assert {"network", "step", "layer", "quantity", "verdict"} <= rows(found)[0]["alarms"][0].keys()
    assert "FALSE ALARM" in table(rows(found))


def _gauged(values: Any, dtype: Any, k: float) -> Any:
    from compare.judge.judge import gauged

    return gauged(values, dtype, k)


def test_the_same_seed_gives_the_same_counts_whatever_the_jobs() -> None:
    alone, several = count(10, seed=2, jobs=1), count(10, seed=2, jobs=2)

    assert json.dumps(rows(alone)) == json.dumps(rows(several))


def test_another_seed_gives_other_networks() -> None:
    assert draw(1, 0).config != draw(2, 0).config
    assert draw(1, 0) == draw(1, 0) != draw(1, 0, attempt=1)


def test_a_network_does_not_depend_on_how_many_are_drawn() -> None:
    one, same = examine(3, 5), counted().found[5]

    assert (one.number, one.budget, one.worst) == (same.number, same.budget, same.worst)
    assert one.caught == {name: caught[: len(RULES)] for name, caught in same.caught.items()}


def test_the_draws_cover_every_class_and_the_announced_ranges() -> None:
    drawn = [draw(0, i) for i in range(1000)]
    configs = [d.config for d in drawn]
    layers = {layer.type for c in configs for layer in c.layers}
    rows_per_step = {c.train.batch_size for c in configs}

    assert layers == set(registry.LAYERS) - _never_drawn()
    assert {c.loss.type for c in configs} == set(drawable())
    assert {c.optimizer.type for c in configs} == {
        name for name, cls in registry.OPTIMIZERS.items() if any_network(cls)
    }
    assert {p.type for c in configs for p in c.loss.penalties} == set(registry.PENALTIES)
    assert {c.init.scheme for c in configs} == set(registry.INITIALIZERS) - {"zeros"}
    assert {c.train.dtype for c in configs} == {"float32", "float64"}
    assert min(rows_per_step) == 1
    assert max(rows_per_step) > 48
    assert min(d.feature_scale for d in drawn) < 1e-3
    assert max(d.feature_scale for d in drawn) > 1e3


def _never_drawn() -> set[str]:
    """Layers that no network of real rows can hold: of integers, or of two inputs that differ."""
    return {
        name
        for name, cls in registry.LAYERS.items()
        if not any(placed(name, example) for example in cls.examples)
    } - {"Concatenate"}  # drawn with sizes of its own


def test_only_layers_that_no_network_of_rows_can_hold_are_never_drawn() -> None:
    assert _never_drawn() == {
        "AdaptiveLogSoftmaxWithLoss", "AffineGrid", "BatchReindex", "CircularConvolution",
        "CosineSimilarity", "Crop", "Embedding", "EmbeddingBag", "FractionalMaxPool2d",
        "FractionalMaxPool3d", "GridSample", "InitialState", "Interpolation", "MaxUnpool1d",
        "MaxUnpool2d", "MaxUnpool3d", "MemoryAdd", "MemoryErase", "MemoryRead",
        "PairwiseDistance", "Sharpening",
        "ScaledDotProductAttention", "TransformerDecoder", "TransformerDecoderLayer",
    }  # fmt: skip


def test_networks_that_overflow_in_torch_are_redrawn_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from evidence.false_alarms import count as module

    def first_too_large(seed: int, index: int, attempt: int, *rest: Any) -> Any:
        made = draw(seed, index, attempt, *rest)
        return made._replace(feature_scale=1e36) if attempt == 0 else made

    monkeypatch.setattr(module, "draw", first_too_large)
    found = examine(1, 7)

    assert found.dtype == "float32"
    assert found.redrawn >= 1


def test_a_network_that_never_stays_finite_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from evidence.false_alarms import count as module

    monkeypatch.setattr(module, "run", lambda *_: None)

    with pytest.raises(RuntimeError, match=f"in {ATTEMPTS} draws: seed 1, number 3"):
        examine(1, 3)


def test_a_failing_network_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from evidence.false_alarms import count as module

    def fails(*_: Any) -> None:
        raise ValueError("no such thing")

    monkeypatch.setattr(module, "run", fails)

    with pytest.raises(ValueError, match="no such thing") as raised:
        examine(1, 3)
    assert "random network 3 of seed 1" in raised.value.__notes__[0]


def test_at_least_18_kinds_of_mistakes_are_planted() -> None:
    planted = {name for found in counted().found for name in found.caught}

    assert len(MISTAKES) >= 18
    assert planted == set(MISTAKES)


PAIRS = [(1.0, 1.0 + d) for d in (0.0, 1e-9, 1e-7, 2e-6, 1e-5, 1.2e-5, 5e-4, 1e-2)]
SMALL = [(a, a + d) for a in (0.0, 1e-6, 1e-3) for d in (1e-12, 1e-9, 1e-8, 1.2e-5, 1e-4)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("ours", "theirs"), PAIRS + SMALL)
def test_the_rules_say_what_the_functions_say(ours: float, theirs: float, dtype: Any) -> None:
    m, t = np.array([ours], dtype=dtype), np.array([theirs], dtype=dtype)
    rules = {rule.name: agrees(rule, m, t, 0.0) for rule in RULES}

    assert rules["numpy.allclose"] == np.allclose(m, t)
    assert rules["assert_close"] == _assert_close(torch.tensor(m), torch.tensor(t))
    assert rules["gradcheck"] == torch.allclose(
        torch.tensor(m), torch.tensor(t), rtol=1e-3, atol=1e-5
    )
    error = np.abs(m - t) / np.maximum(1e-8, np.abs(m) + np.abs(t))
    assert rules["CS231n"] == (error.max() <= (1e-4 if dtype == np.float32 else 1e-7))


def _assert_close(m: torch.Tensor, t: torch.Tensor) -> bool:
    try:
        torch.testing.assert_close(m, t)
    except AssertionError:
        return False
    return True


def test_nan_never_agrees() -> None:
    nan = np.array([np.nan])

    assert not any(agrees(rule, nan, nan, 1.0) for rule in RULES)
    assert not agrees(GAUGE, np.ones(1), np.ones(1), np.nan)


def test_the_command_prints_rows_as_json_and_its_status_says_whether_there_was_an_alarm() -> None:
    options = ["bench", "--false-alarms", "--networks", "4", "--seed", "1", "--jobs", "1"]
    done = CliRunner().invoke(app, [*options, "--json"])
    found = json.loads(done.stdout)

    assert done.exit_code == 0
    assert [r["rule"] for r in found] == [rule.name for rule in RULES] * 2
    assert all(r["networks"] == 2 for r in found)
    assert found[0]["verdicts"]["disagree"] == len(found[0]["alarms"]) == 0
    assert {"seed", "redrawn", "largest_budget", "missed_in_vacuous"} <= found[0].keys()


def test_the_command_prints_a_table() -> None:
    options = ["--false-alarms", "--networks", "2", "--seed", "1", "--jobs", "1"]
    done = CliRunner().invoke(app, ["bench", *options])

    assert done.exit_code == 0
    assert "networks falsely rejected" in done.stdout
    assert "one sample dropped" in done.stdout


def as_drawn(name: str) -> Draw:
    kept = ONCE[name]
    return Draw(Config.model_validate(kept["config"]), kept["feature_scale"], kept["target_scale"])


@pytest.mark.parametrize("name", [name for name in ONCE if name != LOST])
def test_what_once_was_falsely_rejected_or_not_judged_agrees(name: str) -> None:
    """Networks as they were drawn then: numbers draw others when there are more layers."""
    kept = ONCE[name]
    drawn = Draw(Config.model_validate(kept["config"]), kept["feature_scale"], kept["target_scale"])

    found = run(drawn, np.random.default_rng(0))

    assert found is not None
    assert found.verdicts[AGREE] > 0
    assert not found.alarms
    assert not found.inaccurate


def test_a_network_that_the_harness_gives_up_on_is_a_false_alarm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def give_up(*_: Any) -> None:
        raise GaugeMistakeError([Key("n0", "output"), Key("n1", "output")])

    monkeypatch.setattr(Lockstep, "step", give_up)
    found = run(as_drawn("flat"), np.random.default_rng(0))

    assert found is not None
    assert [alarm["verdict"] for alarm in found.alarms] == ["not judged"] * 2
    assert found.rejected[0] == 2
    assert not found.rejected[1:].any()


def test_where_torch_lost_digits_nobody_is_accused() -> None:
    found = run(as_drawn(LOST), np.random.default_rng(0))

    assert found is not None
    assert found.inaccurate == ("step 0 n21 (GroupNorm)", "step 1 n21 (GroupNorm)")
    assert not found.alarms


class Judged(Runner):
    """Works no formulas: of these rows nothing but the verdict is asked."""

    works = False


@pytest.mark.parametrize("mistake", ["", "n23.bias.grad*=-1"])
def test_a_run_blames_torch_for_lost_digits_and_nobody_else_for_theirs(mistake: str) -> None:
    drawn = as_drawn(LOST)
    train = drawn.config.train.model_copy(update={"steps": 1})
    made = drawn._replace(config=drawn.config.model_copy(update={"train": train})).experiment()
    if mistake:
        wrong = plant(made.manual, parse(mistake, made.manual.graph))
        made = replace(made, manual=wrong)

    report = Judged(made, lambda *_: None).run()

    assert report.verdict == ("disagree" if mistake else "incomplete")
    assert (report.first_divergence is None) == (not mistake)
    lost = "Reference inaccurate: torch's float32 loses digits in 'n21' (GroupNorm)."
    assert (lost in report.reason) == (not mistake)


def test_an_update_is_no_part_of_what_torch_loses_in_a_layer() -> None:
    drawn = as_drawn(LOST)
    train = drawn.config.train.model_copy(update={"steps": 1})
    made = drawn._replace(config=drawn.config.model_copy(update={"train": train})).experiment()
    wrong = plant(made.manual, parse("n21.bias*=1.01", made.manual.graph))

    report = Judged(replace(made, manual=wrong), lambda *_: None).run()

    assert report.verdict == "disagree"
    found = report.differences.query("verdict == 'disagree'")
    assert list(found["layer"] + "." + found["quantity"]) == ["n21.param:bias"]
