"""The mutation score: mutants live in memory, the battery catches them, and a weak one does not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import manual
from compare.commands.sweep.engine import DIED
from compare.errors import UserError
from compare.judge.quantities import Key, Values
from evidence.mutation import cli, loading, run, sources, survey, table, worker
from evidence.mutation.battery import Check, battery, battery_for, operations
from evidence.mutation.battery.gate_calls import gate_call_checks
from evidence.mutation.battery.layers import LayerCheck
from manual.gates import angles

F64 = np.dtype(np.float64)
SOFTMAX = [c for c in battery() if "Softm" in c.name or "LogSoftmax" in c.name]
OURS = {"manual", "compare"}
WEAK = [LayerCheck("Linear", (("in_features", 1), ("out_features", 1)), (((1, 1),),))]


def source_files() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sources.files().values()}


@dataclass(frozen=True)
class Own(Check):
    """Runs a function in the place of hand-written code; torch says 1."""

    answer: Callable[[], float] = lambda: 1.0

    @property
    def name(self) -> str:
        return "own"

    def values(self, lift: Any, dtype: np.dtype, seed: int) -> Values:
        return {Key("", "value"): np.float64(self.answer())}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        return {Key("", "value"): np.float64(1.0)}


def spoilt(answer: Callable[[], float]) -> Own:
    """Return a check that asks for an answer while a mutant is loaded, and passes otherwise."""
    right = sys.modules["manual"]
    return Own(lambda: 1.0 if sys.modules["manual"] is right else answer())


def unit(check: Check, module: str, function: str) -> survey.Survey:
    """Return a survey in which one check is said to run one function."""
    touched = frozenset({(module, function)})
    return survey.Survey([survey.Unit(check, F64, frozenset(), touched)], 0)


def first_mutant(module: str, function: str) -> sources.Mutant:
    return next(m for m in sources.mutants(module) if m.function == function)


# ── the score ────────────────────────────────────────────────────────────────────────────────────
def test_a_strong_battery_catches_every_mistake() -> None:
    before = source_files()

    score = run.mutate(["softmax"], checks=SOFTMAX, every=3)

    assert score.passed
    assert score.score == 1
    assert len(score.outcomes) > 20
    assert source_files() == before


@cache
def weakly() -> Any:
    return run.mutate(["linear"], checks=WEAK, dtypes=["float64"], every=7)


def test_a_weak_battery_lets_mistakes_through() -> None:
    score = weakly()

    operators = {outcome.mutant.operator for outcome in score.survivors}
    assert {"transpose", "sum", "factor"} <= operators
    assert not score.passed
    assert 0.05 < score.score < 0.9


def test_a_function_that_no_check_runs_is_a_hole() -> None:
    score = weakly()

    assert any(o.checks == 0 for o in score.survivors)
    assert "No check runs this function." in table.report(score)


def test_a_sample_of_the_mistakes_in_gates_is_caught() -> None:
    """All of them: `handgrad mutate gates`, minutes."""
    mine = vars(angles)["__all__"]
    checks = [c for c in gate_call_checks() if getattr(c, "type", "") in mine]

    score = run.mutate(["gates.angles"], checks=checks, dtypes=["float64"], every=23)

    assert len(score.outcomes) == 10
    assert [o.mutant.diff for o in score.survivors] == []


def test_gates_are_held_against_their_own_checks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "operation_checks", lambda: [Own()])

    of_gates = {c.name for c in battery_for(["manual.gates.angles", "manual.recurrent.packed"])}
    of_layers = {c.name for c in battery_for(["manual.softmax"])}

    assert {"own", "call 0 of SinGate", "packed: GRU twice"} <= of_gates
    assert "own" not in of_layers
    assert not any(name.startswith("Softmax(") for name in of_gates)
    assert any(name.startswith("Softmax(") for name in of_layers)


def test_what_was_killed_is_told_by_whom_in_which_dtype_and_where() -> None:
    score = run.mutate(["softmax"], only=["sign"], checks=SOFTMAX)

    kill = score.killed[0].kill
    assert kill is not None
    assert kill.by in ("disagree", "non-finite")
    assert kill.dtype == "float64"
    assert kill.check.startswith(("Softmax(", "LogSoftmax("))
    assert kill.place


def test_float32_alone_can_be_asked() -> None:
    score = run.mutate(["softmax"], only=["sign"], checks=SOFTMAX, dtypes=["float32"])

    assert set(score.killed_in()) == {"float32"}


def test_right_code_that_fails_a_check_is_refused() -> None:
    with pytest.raises(UserError, match=r"does not pass 'own' in float64 as it stands \(disagree"):
        run.mutate(["softmax"], checks=[Own(lambda: 1.5)])


def test_a_mistake_on_the_reviewed_list_that_is_caught_is_reported(tmp_path: Path) -> None:
    mutant = next(m for m in sources.mutants("manual.softmax") if m.operator == "sign")
    entry = {"module": mutant.module, "function": mutant.function, "reason": "None."}
    lines = [f"{key} = {json.dumps(value)}" for key, value in entry.items()]
    changes = json.dumps([[mutant.before, mutant.after]])
    path = tmp_path / "marked.toml"
    path.write_text("\n".join(["[[equivalent]]", *lines, f"changes = {changes}"]), "utf-8")

    score = run.mutate(["softmax"], only=["sign"], checks=SOFTMAX, marked=path)

    assert [o.mutant for o in score.contradicted] == [mutant]
    assert not score.passed
    assert "CALLED EQUIVALENT, YET KILLED" in table.report(score)


# ── in memory, in time, in parallel ──────────────────────────────────────────────────────────────
def test_a_mutant_takes_the_place_of_the_module_and_leaves_no_trace() -> None:
    before = {name: m for name, m in sys.modules.items() if name.split(".")[0] == "manual"}
    mutant = next(
        m
        for m in sources.mutants("manual.softmax")
        if m.function == "below_largest" and m.operator == "sign"
    )
    x = np.array([[1.0, 2.0]])

    with loading.loaded(mutant.module, sources.compiled(mutant)):
        import manual as mutated

        kept = sys.modules["manual.linear"] is before["manual.linear"]

    right, wrong = (m.Softmax(-1).forward(x)[0] for m in (manual, mutated))
    assert not np.array_equal(wrong, right)
    assert mutated is not manual
    assert kept
    after = {name: m for name, m in sys.modules.items() if name.split(".")[0] == "manual"}
    assert after == before


def test_what_depends_on_the_mutant_is_loaded_anew() -> None:
    anew = loading.dependents("manual.activations.pointwise")

    assert "manual.activations.sigmoidal" in anew
    assert "manual" in anew
    assert "manual.linear" not in anew


def test_an_endless_loop_is_killed_by_the_clock() -> None:
    def loop() -> float:
        while True:
            pass

    mutant = first_mutant("manual.softmax", "LogSoftmax.forward")
    outcome = worker.examine(
        mutant, unit(spoilt(loop), mutant.module, mutant.function), timeout=1.0
    )

    assert outcome.kill is not None
    assert outcome.kill.by == "timeout"


def test_an_exception_and_a_warning_kill() -> None:
    mutant = first_mutant("manual.softmax", "LogSoftmax.forward")

    def by(answer: Callable[[], float]) -> str:
        outcome = worker.examine(mutant, unit(spoilt(answer), mutant.module, mutant.function))
        assert outcome.kill is not None
        return outcome.kill.by

    assert by(lambda: 1.0 / 0) == "ZeroDivisionError"
    assert by(lambda: 1.0 + 0 * np.exp(np.float64(1e6)).clip(0, 1)) == "warning"
    assert by(lambda: np.nan) == "non-finite"


def test_no_kill_counts_that_an_earlier_mutant_has_left_behind() -> None:
    """A mutant that wrote into a dict that all layers share spoils its process."""
    mutant = first_mutant("manual.softmax", "LogSoftmax.forward")
    layer = "manual.layer"
    before = {name: m for name, m in sys.modules.items() if name.split(".")[0] in OURS}
    same = Own(lambda: 1.0 + len(sys.modules[layer].Layer.buffers))
    before[layer].Layer.buffers["left"] = np.ones(1)
    try:
        outcome = worker.examine(mutant, unit(same, mutant.module, mutant.function))
    finally:
        del before[layer].Layer.buffers["left"]
        sys.modules.update(before)

    assert outcome.kill is None


def test_a_right_code_that_fails_for_good_is_an_error() -> None:
    mutant = first_mutant("manual.softmax", "LogSoftmax.forward")
    before = {name: m for name, m in sys.modules.items() if name.split(".")[0] in OURS}
    try:
        with pytest.raises(UserError, match="nothing that this process says of others holds"):
            worker.examine(mutant, unit(Own(lambda: 2.0), mutant.module, mutant.function))
    finally:
        sys.modules.update(before)


def test_worker_processes_find_what_one_process_finds(capfd: pytest.CaptureFixture) -> None:
    plan = sources.mutants("manual.penalties")[::8]
    known = survey.survey(["float64"], 0, [c for c in battery() if "Penalty" in c.name])

    found = {o.mutant.number: o.kill for o in run._in_parallel(plan, known, 2)}

    assert found == {m.number: worker.examine(m, known).kill for m in plan}


def test_a_mutant_that_takes_its_process_down_is_killed_by_the_crash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = sources.mutants("manual.penalties")[:4]

    def answers(ask: object, keys: Iterable[tuple[str, int]], *rest: object, **how: object) -> Any:
        for position, (_, number) in enumerate(keys):
            died = number == plan[2].number
            yield position, DIED if died else worker.Outcome(plan[position], None, 1, 0.0)

    monkeypatch.setattr(run, "answers", answers)
    outcomes = list(run._in_parallel(plan, unit(Own(), "", ""), 2))

    kills = [o.kill.by if o.kill else None for o in outcomes]
    assert kills == [None, None, "crash", None]


# ── the command ──────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run `handgrad mutate` with a small battery in this process."""
    app = typer.Typer()
    app.command()(cli.mutate)
    original = run.mutate

    def invoke(*arguments: str, checks: Sequence[Check] = tuple(SOFTMAX)) -> Any:
        monkeypatch.setattr(run, "mutate", lambda *a, **k: original(*a, **k, checks=checks))
        return CliRunner().invoke(app, arguments)

    return invoke


def test_the_command_prints_the_tables_and_returns_0(command: Callable) -> None:
    result = command("softmax", "--only", "sign", "--only", "transpose")

    assert result.exit_code == 0, result.output
    assert "manual.softmax" in result.output
    assert "10 of 10 mistakes caught, 100 %" in result.output
    assert "a sign is flipped" in result.output


def test_a_survivor_makes_it_return_1_and_is_shown(command: Callable) -> None:
    result = command("linear", "--only", "transpose", "--dtype", "float64", checks=WEAK)

    assert result.exit_code == 1
    assert "SURVIVED manual/linear.py:" in result.output
    assert "+y = x @ self.params['weight']" in result.output


def test_json_holds_the_counts_and_the_survivors(command: Callable) -> None:
    result = command("linear", "--only", "transpose", "--dtype", "float64", "--json", checks=WEAK)
    found = json.loads(result.stdout)

    assert found["mutants"] == found["killed"] + found["survived"] + found["equivalent"]
    assert found["score"] == found["killed"] / (found["mutants"] - found["equivalent"])
    assert len(found["survivors"]) == found["survived"] > 0
    assert {"module", "function", "line", "operator", "diff"} <= found["survivors"][0].keys()
    assert sum(counts["transpose"] for counts in found["modules"].values()) == found["mutants"]
    assert "manual.linear" in found["modules"]


def test_the_list_names_mutants_and_runs_none(command: Callable) -> None:
    result = command("softmax", "--list", "--only", "sign", checks=[Own(lambda: 2.0)])

    assert result.exit_code == 0
    assert "manual/softmax.py:" in result.output
    assert len(result.output.strip().split("\n")) == 10


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["sofmax"], "Did you mean 'softmax'"),
        (["--only", "tern"], "Did you mean 'term'?"),
        (["--dtype", "float16"], "Dtypes: float64, float32."),
        (["registry"], "There is no module 'registry' of formulas"),
    ],
)
def test_unknown_names_are_told_with_the_nearest(
    command: Callable, arguments: list[str], hint: str
) -> None:
    result = command(*arguments)

    assert isinstance(result.exception, UserError)
    assert hint in str(result.exception)


@pytest.mark.parametrize("name", ["sgd", "optimizers.sgd", "manual/optimizers/sgd.py"])
def test_a_module_is_named_in_any_way(name: str) -> None:
    assert sources.named([name]) == ["manual.optimizers.sgd"]


def test_a_package_names_its_modules() -> None:
    assert set(sources.named(["losses"])) == {m for m in sources.modules() if ".losses." in m}
    assert sources.named([]) == sources.named(["manual"]) == sources.modules()


def test_a_mutant_that_fills_the_memory_fails_instead_of_the_machine() -> None:
    pytest.importorskip("resource")
    code = (
        "import numpy as np; from evidence.mutation.worker import limit_memory\n"
        "limit_memory(2**29)\n"
        "try:\n    np.ones(2**28)\nexcept MemoryError:\n    print('MemoryError')"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "MemoryError"
