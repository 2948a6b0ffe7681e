"""Sweeps from their file to their report: what they find, on every backend."""

from __future__ import annotations

import json
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compare.commands.run import compared
from compare.commands.sweep import jobs
from compare.commands.sweep import store as store_module
from compare.commands.sweep.brief import Brief
from compare.commands.sweep.cluster import DIED
from compare.commands.sweep.engine import Where, answers
from compare.commands.sweep.file import described
from compare.commands.sweep.report import SweepReport, _from_to
from compare.commands.sweep.rows import FOUND, found_in
from compare.commands.sweep.sweep import sweep
from compare.description.config import load
from compare.errors import UserError
from compare.running.experiment import prepare
from handgrad.cli import main
from tests.compare.commands.sweep.swept import CUBE, RUN, TWO

NET = """
from torch import nn

net = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
"""


def command_line(words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", shlex.split(words))
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> SweepReport:
    """A mistake in one value of three axes."""
    return sweep(
        RUN | {
            "name": "planted",
            "grid": {"plant": ["", "2.weight.grad*=1.01"], "dtype": ["float64", "float32"]},
            "random": {"draws": 2, "seed": 1, "optimizer.lr": {"log_uniform": [1e-3, 0.1]}},
        },
        out=tmp_path_factory.mktemp("sweeps") / "planted", jobs=1,
    )  # fmt: skip


def test_a_planted_mistake_is_found_where_it_was_planted_and_nowhere_else(
    planted: SweepReport,
) -> None:
    bad = planted.runs[planted.runs["verdict"] != "agree"]

    assert planted.verdict == "disagree"
    assert planted.counts == {"agree": 4, "disagree": 4}
    assert set(bad["plant"]) == {"2.weight.grad*=1.01"}
    assert set(bad["layer"]) == {"2"}
    assert set(bad["cause"]) == {"constant factor"}
    assert (bad["budget_used"] > 1).all()
    assert list(planted.by_axis("plant")["disagree"]) == [0, 4]


def test_a_failures_command_finds_the_same_disagreement_again(
    planted: SweepReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    failure = planted.failures.iloc[0]
    code = command_line(f"{failure['replay']} --json --out again", monkeypatch)
    found = json.loads(capsys.readouterr().out)

    assert code == 1
    assert found["verdict"] == "disagree"
    assert found["worst"]["layer"] == failure["layer"]
    assert found["worst"]["quantity"] == failure["quantity"]
    assert found["worst"]["budget_used"] == pytest.approx(failure["budget_used"])
    assert found["cause"]["kind"] == failure["cause"]
    assert (planted.runs["replay"] == "").sum() == 4


def test_every_run_has_one_row_and_every_tensor_of_it_one(planted: SweepReport) -> None:
    tensors = planted.tensors.groupby("key").size()

    assert list(planted.runs["point"]) == list(range(8))
    assert planted.runs["key"].is_unique
    assert set(tensors.index) == set(planted.runs["key"])
    assert (tensors == 27).all()
    assert not planted.tensors.duplicated(["key", "layer", "quantity"]).any()
    assert set(planted.tensors.loc[planted.tensors["verdict"] == "disagree", "layer"]) == {"2"}
    assert (planted.runs["last_loss"] > 0).all()
    assert (planted.runs["seconds"] > 0).all()
    assert "torch" in planted.runs["versions"][0]


def test_the_report_names_axes_offenders_and_commands(planted: SweepReport) -> None:
    place = planted.store.directory
    page = (place / "report.html").read_text("utf-8")
    told = json.loads((place / "verdict.json").read_text("utf-8"))

    assert {p.name for p in place.iterdir()} == store_module.OURS
    assert told["counts"] == planted.counts
    assert told["causes"] == {"constant factor": 4}
    assert len(told["failures"]) == 4
    assert page.count("handgrad run three-rows") == 4
    assert "<code>plant</code> × <code>dtype</code>" in page
    assert "Not agreeing by plant: 2.weight.grad*=1.01 4 of 4" in str(planted)
    assert "<script" not in page


def test_a_sweep_without_a_directory_is_saved_as_a_whole_where_it_is_wanted(
    tmp_path: Path,
) -> None:
    found = sweep(TWO, jobs=1)
    page = found.save(tmp_path / "kept")
    again = sweep(tmp_path / "kept" / "sweep.toml", out=tmp_path / "kept", resume=True, jobs=1)

    found.assert_agrees()
    assert page.is_file()
    assert list(again.runs["key"]) == list(found.runs["key"])
    with pytest.raises(UserError, match="there already"):
        found.save(tmp_path / "kept")


def test_a_check_is_swept_and_its_command_finds_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cube.py").write_text(CUBE)
    (tmp_path / "cube.toml").write_text(
        'job = "check"\n[base]\ntarget = "cube.py:forward,backward"\nshapes.x = [2, 3]\n'
        "[grid]\nvalues.power = [3, 4]\nseed = [0, 1]\n"
    )
    found = sweep(tmp_path / "cube.toml", jobs=1)
    replay = found.failures["replay"].iloc[0]
    monkeypatch.chdir(tmp_path)

    assert list(found.runs["verdict"]) == ["agree", "agree", "disagree", "disagree"]
    assert "--value power=4" in replay
    assert command_line(f"{replay} --no-report --quiet", monkeypatch) == 1


def test_a_mirror_is_swept(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "net.toml").write_text(
        'job = "mirror"\n[base]\nmodel = "net.py:net"\n[grid]\ninputs = [["4,3"], ["1,3"]]\n'
    )
    found = sweep(tmp_path / "net.toml", jobs=1)

    assert found.agrees
    assert list(found.runs["inputs"]) == ['["4,3"]', '["1,3"]']


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({"job": "runn"}, "job = 'runn': Did you mean 'run'"),
        (RUN | {"grid": {"dtpye": ["float64"]}}, "Did you mean 'dtype'"),
        (RUN | {"grid": {"optimzer.lr": [1.0]}}, "Did you mean 'optimizer'"),
        (RUN | {"grid": {"train.sed": [1]}}, "Did you mean 'seed'"),
        (RUN | {"grid": {"train.seed": [1, 2, -3]}}, "train.seed = -3"),
        (RUN | {"grid": {"train.seed": [1], "seed": [2]}}, "'train.seed' and 'seed' are one key"),
        (RUN | {"grid": {str(n): list(range(99)) for n in range(9)}}, "more than 10,000,000"),
        ({}, "says nothing"),
        (RUN | {"grid": {"plant": ["", "9.weight.grad=0"]}}, "9"),
        ({"base": {"config": "three-row"}}, "Did you mean 'three-rows'"),
        ({"base": {"config": "three-rows", "train.stps": 1}}, "Did you mean 'steps'"),
        ({"base": {"config": "net.py:net"}}, 'job = "mirror"'),
        ({"job": "check", "base": {"target": "a.py:f", "shape": {"x": [2]}}}, "shapes"),
        ({"job": "check", "base": {"target": "nowhere.py:f"}}, "nowhere.py"),
        ({"job": "check"}, "'target' is missing"),
        ({"job": "mirror", "base": {"model": "nowhere.py:f"}}, "nowhere.py"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_started(
    tables: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as refused:
        sweep(tables, out=tmp_path / "out", jobs=1)

    assert told in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_what_is_fixed_and_what_is_varied_are_set_at_once_as_by_the_replay() -> None:
    fixed = {"config": "three-rows", "train.steps": 1, "optimizer.lr": 0.5}
    job, found = jobs.job_of(described({"base": fixed, "grid": {"optimizer.type": ["Adam"]}}))
    (point,) = found.points()

    assert job._config(point).optimizer.args == {"lr": 0.5}  # type: ignore[attr-defined]
    assert "--set optimizer.lr=0.5 --set optimizer.type=Adam" in " ".join(job.command(point))


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A dask scheduler with two processes, on this machine."""
    distributed = pytest.importorskip("distributed")
    import dask

    few = {"distributed.scheduler.allowed-failures": 1}
    with dask.config.set(few), distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as found:  # fmt: skip
        yield found.scheduler_address


def test_dasks_workers_find_what_this_process_finds(cluster: str, planted: SweepReport) -> None:
    tables = planted.store.sweep.model_dump()
    found = sweep(tables, scheduler=cluster)
    same = ["key", "point", "verdict", "cause", "layer", "quantity", "budget_used", "last_loss"]

    assert found.runs[same].equals(planted.runs[same])
    assert len(found.tensors) == len(planted.tensors)


def test_an_item_that_always_kills_its_dask_worker_is_died_and_no_other_is(cluster: str) -> None:
    def deadly(number: int) -> int:  # a closure goes to the workers by value
        import os

        return number if number != 3 else os._exit(9)  # type: ignore[func-returns-value]

    found = list(answers(deadly, range(6), Where(scheduler=cluster)))

    assert sorted(position for position, _ in found) == list(range(6))
    assert {p: repr(a) for p, a in found if a != p} == {3: repr(DIED)}


def test_no_axis_can_have_the_name_of_a_column() -> None:
    keys = {*jobs.CheckKeys.model_fields, *jobs.MirrorKeys.model_fields, *jobs.Run.OWN}

    assert not keys & {*FOUND, "key", "point"}


def test_the_example_of_the_guide_can_be_swept() -> None:
    text = (Path(__file__).parents[4] / "docs" / "sweeps.md").read_text("utf-8")
    tables = tomllib.loads(text.split("```toml\n")[1].split("```")[0])
    found = described(tables)
    job, found = jobs.job_of(found)
    for values in found.one_by_one():
        job.refuse(values)

    assert len(found) == 800


def test_every_backend_finds_the_same_in_its_own_order(planted: SweepReport) -> None:
    found = sweep(planted.store.sweep, backend="threading", jobs=2)

    assert found.runs["budget_used"].equals(planted.runs["budget_used"])


@pytest.mark.parametrize("plant", [None, "2.weight.grad*=1.01", "0.bias.grad*=0"])
def test_a_row_says_what_the_whole_report_says(plant: str | None) -> None:
    config = load("three-rows", {"train.steps": 3, "compare.drift": False, "train.batch_size": 2})
    whole = found_in(compared(config, plant))

    assert repr(Brief(prepare(config, mistake=plant), lambda *_: None).found()) == repr(whole)
    assert len(whole.tensors) > 20


@pytest.mark.parametrize(
    ("edges", "first"),
    [([1e-4, 2.371e-4, 5.62e-4], "0.0001 – 0.000237"), ([1.0, 1.00004, 1.00008], "1 – 1.00004")],
)
def test_a_bin_is_named_by_its_own_edges(edges: list[float], first: str) -> None:
    """In as many digits as tell the bins apart, and never below the least value."""
    told = _from_to(np.array(edges))

    assert told[0] == first
    assert len(set(told)) == 2
