"""Several workers by hand beside torch's own, each in a process: DistributedDataParallel on gloo.

The processes are started once (`workers`), and hold one run after another.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import compare
from compare.commands import parallel_runner
from compare.diagnose.causes.kinds import KINDS
from compare.diagnose.workers import ADVICE
from compare.errors import UserError
from compare.running.parallel import experiment, side
from handgrad.cli import app
from manual.parallel.plan import Plan
from manual.parallel.reduction import reduced
from manual.parallel.tensor import cut
from torch_ref.workers import Workers, WorkersError, kept

LINEAR = {"type": "Linear", "in_features": 4, "out_features": 6}
OUT = {"type": "Linear", "in_features": 6, "out_features": 3}
FLAT = {**LINEAR, "bias": False}  # what a norm subtracts again has no gradient
NORM = {"type": "SyncBatchNorm", "num_features": 6}


@pytest.fixture(scope="module", autouse=True)
def workers() -> Iterator[None]:
    with kept():
        yield


def described(
    layers: Any = (LINEAR, {"type": "ReLU"}, OUT), loss: Any = None, optimizer: Any = None,
    dtype: str = "float64", **parallel: Any,
) -> Any:  # fmt: skip
    from compare.description.config import Config

    tables = {
        "name": "workers",
        "data": {"dataset": "iris", "scale": "standard", "target_one_hot": loss == MSE},
        "layers": list(layers),
        "loss": loss or {"type": "CrossEntropyLoss"},
        "optimizer": optimizer or {"type": "SGD", "lr": 0.1, "momentum": 0.9},
        "parallel": {"workers": 4, **parallel},
        "train": {"batch_size": 25, "steps": 3, "dtype": dtype},
    }  # fmt: skip
    return Config.model_validate(tables)


MSE = {"type": "MSELoss"}
ADAM = {"type": "Adam", "lr": 0.01, "clip_norm": 0.5}
UNEQUAL = {"shards": [10, 3, 7, 5]}
RUNS: dict[str, dict] = {
    "unequal shards": UNEQUAL,
    "weighed, in micro-batches": {**UNEQUAL, "micro_batches": 3, "whole_batch": True},
    "a sum of sums": {**UNEQUAL, "reduce": "sum", "loss": {"type": "CrossEntropyLoss",
                      "reduction": "sum"}, "optimizer": {"type": "SGD", "lr": 0.001}},
    "states in shares, clipped": {"sharded_states": True, "optimizer": ADAM},
    "synchronised statistics": {**UNEQUAL, "layers": [FLAT, NORM, {"type": "ReLU"}, OUT]},
    "statistics of their own, in float32": {
        "layers": [FLAT, {"type": "BatchNorm1d", "num_features": 6}, {"type": "Tanh"}, OUT],
        "dtype": "float32", "micro_batches": 2,
    },
    "dropout, and targets that are numbers": {
        "layers": [LINEAR, {"type": "Dropout", "p": 0.4}, {"type": "Tanh"}, OUT],
        "loss": MSE,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_workers_by_hand_agree_with_torchs(name: str) -> None:
    report = compare.run(described(**RUNS[name]))

    assert report.verdict == "agree", report
    assert {"grad", "reduced"} <= set(report.differences["quantity"].str.partition(":")[0])


def test_every_worker_has_rows_of_its_own_and_a_step_that_is_everyones() -> None:
    report = compare.run(described(**UNEQUAL))
    rows = report.differences.set_index(["step", "layer", "quantity"])["torch"]
    local = {rows[0, f"worker{r}.0", "grad:bias"] for r in range(4)}
    after = {rows[0, f"worker{r}.0", "reduced:bias"] for r in range(4)}

    assert len(local) == 4
    assert len(after) == 1
    assert "4 workers, with 10, 3, 7, 5 rows" in report.notes[0]


@pytest.mark.parametrize(("preset", "workers"), [("data-parallel", 4), ("tensor-parallel", 4)])
def test_the_presets_agree(preset: str, workers: int) -> None:
    report = compare.run(preset, steps=3, parallel__workers=workers)

    assert report.verdict == "agree", report


# ── mistakes, planted ────────────────────────────────────────────────────────────────────────────
MISTAKES = [
    ("divided twice", {}),
    ("sum instead of mean", {}),
    ("mean instead of sum", {"reduce": "sum"}),
    ("weighed by rows", UNEQUAL),
    ("mean of means", {**UNEQUAL, "whole_batch": True}),
    ("worker left out", {}),
    ("worker left out of the sum", {}),
    ("clipped before the exchange", {"optimizer": ADAM}),
    ("not exchanged", {}),
    ("not gathered", {"sharded_states": True}),
    ("micro-batches not divided", {"micro_batches": 2}),
    ("own statistics", RUNS["synchronised statistics"]),
]


def test_every_classic_mistake_is_planted_here_and_documented() -> None:
    assert [name for name, _ in MISTAKES] == list(side.MISTAKES)
    assert set(ADVICE) == {*side.MISTAKES, *side.TENSOR_MISTAKES}
    assert set(ADVICE) <= set(KINDS)


@pytest.mark.parametrize(("mistake", "how"), MISTAKES, ids=[name for name, _ in MISTAKES])
def test_a_classic_mistake_is_rejected_and_named(mistake: str, how: dict) -> None:
    report = compare.run(described(**how), plant=mistake, steps=1)

    assert report.verdict == "disagree"
    assert report.cause is not None
    assert report.cause.kind == mistake
    assert report.cause.also == ()


@pytest.mark.parametrize("mistake", side.TENSOR_MISTAKES)
def test_a_mistake_in_a_split_linear_is_rejected_and_named(mistake: str) -> None:
    report = compare.run("tensor-parallel", plant=mistake, steps=1, parallel__workers=4)

    assert report.verdict == "disagree"
    assert report.cause is not None
    assert (report.cause.kind, report.cause.also) == (mistake, ())


def test_a_mistake_that_is_no_classic_one_is_not_called_one() -> None:
    report = compare.run(described(), plant="worker2.0.weight.grad*=1.01", steps=1)
    first = report.first_divergence

    assert report.verdict == "disagree"
    assert first is not None
    assert (first.layer, first.quantity) == ("worker2.0", "grad:weight")
    assert report.cause is None or report.cause.kind not in side.MISTAKES


def test_a_mistake_in_the_code_itself_is_found_by_what_it_does(monkeypatch) -> None:
    """Planted where the sum is taken, by nobody who knows the names of mistakes."""
    monkeypatch.setattr(side, "reduced", lambda grads, workers, how: {
        name: grad / workers for name, grad in reduced(grads, workers, how).items()
    })  # fmt: skip
    monkeypatch.setattr(side, "MISTAKES", {"divided twice": _right_twice()})

    report = compare.run(described(), steps=1)

    assert report.cause is not None
    assert report.cause.kind == "divided twice"
    assert report.first_divergence is not None
    assert report.first_divergence.quantity.startswith("reduced:")


@pytest.mark.parametrize(
    ("how", "wrong", "where"),
    [
        ({**UNEQUAL, "whole_batch": True}, lambda p: [[n / p.rows for n in s] for s in p.shards],
         "workers"),
        ({"micro_batches": 2}, lambda p: [[1.0, 1.0]] * p.workers, "workers"),
    ],
)  # fmt: skip
def test_a_loss_that_is_weighed_wrongly_is_seen_by_torchs_own_weights(
    how: dict, wrong: Any, where: str, monkeypatch
) -> None:
    monkeypatch.setattr(Plan, "weights", wrong)

    report = compare.run(described(**how), steps=1)

    assert report.first_divergence is not None
    assert (report.first_divergence.layer, report.first_divergence.quantity) == (where, "output")


def test_rows_dealt_otherwise_than_by_torchs_workers_are_refused(monkeypatch) -> None:
    right = Plan.slices
    monkeypatch.setattr(Plan, "slices", lambda plan: right(plan)[::-1])

    with pytest.raises(UserError, match=r"worker 0 is dealt rows 20 to 24 .* takes rows 0 to 9"):
        compare.run(described(**UNEQUAL), steps=1)


def test_a_linear_cut_in_another_order_than_torchs_is_rejected_and_named(monkeypatch) -> None:
    def turned(arrays: Any, split: Any, worker: int, workers: int) -> Any:
        return cut(arrays, split, workers - 1 - worker, workers)

    monkeypatch.setattr(experiment, "cut", turned)

    report = compare.run("tensor-parallel", steps=1, parallel__workers=4)

    assert report.verdict == "disagree"
    assert report.first_divergence is not None
    assert "is another than torch's worker cut for itself" in report.first_divergence.explanation


def _right_twice() -> Any:
    class Twice(side.WorkersSide):
        """The mean is divided by the number of workers once more."""

        def reduced(self, grads: Any) -> Any:
            found = reduced(grads, self.plan.workers, self.plan.reduce)
            return {name: grad / self.plan.workers for name, grad in found.items()}

    return Twice


# ── what is refused ──────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"shards": [10, 10]}, "one number of rows for each of 4 workers"),
        ({"shards": [10, 10, 3, 3]}, "hold 26 rows, and a batch has 25"),
        ({"micro_batches": 7}, "smallest shard has 6 rows"),
        ({"split": {"0": "columns"}, "micro_batches": 2}, "no 'micro_batches'"),
        ({"split": {"1": "rows"}}, "'1' is no Linear"),
        ({"workers": 1}, "greater than or equal to 2"),
        ({"loss": {"type": "CrossEntropyLoss", "penalties": [
            {"type": "L2Penalty", "coefficient": 0.1}]}}, "let the optimiser decay"),
    ],
)  # fmt: skip
def test_what_workers_cannot_do_is_said_before_any_is_started(how: dict, said: str) -> None:
    with pytest.raises((UserError, ValueError), match=said):
        compare.run(described(**how))


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        ("divided thrice", "Did you mean 'divided twice'"),
        ("not gathered", "it needs sharded_states = true"),
        ("weighed by rows", "it needs unequal shards"),
    ],
)
def test_a_mistake_that_says_nothing_is_refused(plant: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        compare.run(described(workers=5), plant=plant)


def test_a_last_batch_that_is_smaller_is_refused() -> None:
    config = described()
    short = config.model_copy(update={"train": config.train.model_copy(update={"batch_size": 40})})

    with pytest.raises(UserError, match="leave 30 for the last"):
        compare.run(short)


def test_other_commands_follow_one_process(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["explain", "data-parallel", "worker0.0.weight.grad[0,0]"])

    assert found.exit_code != 0
    assert "Traceback" not in found.output


# ── processes that end or hang ───────────────────────────────────────────────────────────────────
def test_a_worker_that_ends_is_named_and_the_others_end_with_it() -> None:
    workers = Workers(2, 60)
    workers.processes[1].kill()

    with pytest.raises(WorkersError, match="Worker 1 of 2 ended with exit status -9"):
        workers.ask("update", [(0.1,)] * 2)
    assert all(process.poll() is not None for process in workers.processes)
    assert not Path(workers.folder.name).exists()


def test_a_worker_that_hangs_is_ended_in_time() -> None:
    workers = Workers(1, 0.5)
    began = time.monotonic()

    workers.processes[0].send_signal(signal.SIGSTOP)

    with pytest.raises(WorkersError, match=r"Worker 0 of 1 did not answer in 0.5 s \(update\)"):
        workers.ask("update", [(0.1,)])
    assert time.monotonic() - began < 20
    assert all(process.poll() is not None for process in workers.processes)


def test_a_worker_that_is_lost_is_a_users_matter_and_no_traceback(monkeypatch) -> None:
    def lost(*_: Any) -> Any:
        raise WorkersError("Worker 1 of 4 ended with exit status -9 (update).")

    monkeypatch.setattr(experiment.DistributedSide, "update", lost)

    with pytest.raises(UserError, match="workers: Worker 1 of 4 ended"):
        parallel_runner.run_workers(described(), None, lambda *_: None)
