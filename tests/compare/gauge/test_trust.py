"""A gauged run that computes other values than the plain one is never believed in silence."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import compare
from compare.description.config import Config
from compare.gauge import Gauge, GaugeMistakeError, gauge, gauging, registry, strayed, trust
from compare.judge.quantities import Key
from compare.pair.tolerance import GAUGED, candidate_errors
from compare.running import large as large_arrays
from compare.running import lockstep
from compare.running.experiment import prepare
from handgrad.cli import main
from tests.helpers import F32

KEY = Key("0", "output")
F64 = np.dtype(np.float64)


def described(dtype: str) -> Config:
    return Config.model_validate(
        {
            "data": {"dataset": "random_regression", "n": 8, "d_in": 3, "d_out": 2},
            "layers": [
                {"type": "Linear", "in_features": 3, "out_features": 4},
                {"type": "Tanh"},
                {"type": "Linear", "in_features": 4, "out_features": 2},
            ],
            "loss": {"type": "MSELoss"},
            "train": {"steps": 2, "batch_size": 8, "dtype": dtype},
        }
    )


def off_by(factor: float, error: float = 1.0) -> Any:
    """Return a rule for tanh with wrong values, and with errors large enough to agree anyway."""

    def rule(a: Gauge) -> Gauge:
        v = np.tanh(a.v)
        return Gauge(v * factor, np.square(error * v))

    return rule


@pytest.mark.parametrize("large", [0, large_arrays.LARGE])  # arrays that are not kept without need
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_wrong_rule_stops_a_run(dtype: str, large: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_arrays, "LARGE", large)
    room = {"float64": 1e10, "float32": 10.0}[dtype]  # everything agrees with torch
    monkeypatch.setitem(registry.UFUNCS, np.tanh, off_by(1.01, room))
    monkeypatch.setitem(registry.CORRELATED, np.tanh, off_by(1.01, 1.0))

    with pytest.raises(GaugeMistakeError, match=r"another 1 output.*rule in compare/gauge/"):
        compare.run(described(dtype))


def test_what_cannot_be_judged_is_told_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(registry.UFUNCS, np.tanh, off_by(1.01, 1e10))
    command = "handgrad run digits --set layers.1.type=Tanh --steps 1 --no-report"
    monkeypatch.setattr("sys.argv", command.split())

    with pytest.raises(SystemExit) as left:
        main()

    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("handgrad: Cannot judge: on error-gauge arrays")


def test_large_gauge_arrays_are_kept_only_where_they_strayed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept: list[set[Key]] = []
    monkeypatch.setattr(lockstep.Lockstep, "_confirm", lambda self, *_: kept.append({*self.gauges}))
    for large in (large_arrays.LARGE, 0):
        monkeypatch.setattr(large_arrays, "LARGE", large)
        lockstep.Lockstep(prepare(described("float64"))).step(0, np.arange(8))
    everything, nothing = kept[0], kept[1:]

    assert Key("1", "output") in everything
    assert nothing == []  # there was nothing left to confirm

    monkeypatch.setitem(registry.UFUNCS, np.tanh, off_by(1.01, 1e10))
    lockstep.Lockstep(prepare(described("float64"))).step(0, np.arange(8))

    assert Key("1", "output") in kept[-1]
    assert Key("0", "output") not in kept[-1]


def test_right_rules_let_it_pass() -> None:
    assert compare.run(described("float32")).agrees


def test_a_check_measures_what_a_wrong_rule_gauges(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(inputs: Any, upstreams: Any) -> Any:
        return SimpleNamespace(named=lambda: {"output": np.tanh(inputs["x"] * upstreams[0])})

    def judged() -> Any:
        candidate: Any = SimpleNamespace(
            run=run, differentiable=("x",), forward_code=run, backward_code=run
        )
        rng = np.random.default_rng(0)
        x, dy = rng.standard_normal((2, 3)), rng.standard_normal((2, 3))
        return candidate_errors("float64", candidate, {"x": x}, [dy])

    assert judged().how == GAUGED

    monkeypatch.setitem(registry.UFUNCS, np.tanh, off_by(1 + 1e-9))

    assert "its output is another one when it runs on gauge arrays" in judged().how


@pytest.mark.parametrize("wrong", [1e-10, np.nan, np.inf])
@pytest.mark.parametrize(("size", "block"), [(10, trust.BLOCK), (5000, trust.BLOCK), (5000, 999)])
def test_one_element_out_of_its_tolerance_is_found(
    size: int, block: int, wrong: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "BLOCK", block)
    x = np.random.default_rng(0).standard_normal(size)
    with gauging(F64):
        gauged = {KEY: gauge(x) * 1.1, Key("1", "output"): gauge(x[:3]) * 0.7}
    plain = {KEY: x * 1.1, Key("1", "output"): x[:3] * 0.7}
    room = {key: g.tolerance(F64) for key, g in gauged.items()}
    assert strayed(gauged, plain, room) == []

    gauged[KEY][size // 2] += wrong

    assert strayed(gauged, plain, room) == [KEY]


def test_what_is_not_finite_in_the_plain_run_is_not_asked_for() -> None:
    gauged = {KEY: gauge(np.array([1e40, 2.0]))}

    assert strayed(gauged, {KEY: np.array([np.inf, 2.0], F32)}, {KEY: 1e-9}) == []
    assert strayed(gauged, {KEY: np.array([np.inf, 2.5], F32)}, {KEY: 1e-9}) == [KEY]


def test_a_gauged_number_is_rounded_as_the_plain_run_holds_it() -> None:
    gauged = {KEY: gauge(np.array([0.05]))}
    plain = np.array([0.05], F32)

    assert strayed(gauged, {KEY: plain}, {KEY: 0.0}) == []
    assert strayed(gauged, {KEY: np.nextafter(plain, F32.type(1))}, {KEY: 0.0}) == [KEY]
    assert strayed(gauged, {KEY: plain.astype(F64)}, {KEY: 0.0}) == [KEY]


def test_a_missing_value_and_another_shape_are_found() -> None:
    gauged = {KEY: gauge(np.ones(2))}

    assert strayed(gauged, {}, {KEY: 1.0}) == [KEY]
    assert strayed(gauged, {KEY: np.ones((2, 1))}, {KEY: 1.0}) == [KEY]
