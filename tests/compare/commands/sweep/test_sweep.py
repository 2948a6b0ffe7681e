"""Sweeps from their file to their report: what they find, and what nothing may lose."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import sys
import tomllib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from compare.commands.run import compared
from compare.commands.sweep import jobs
from compare.commands.sweep import made as made_module
from compare.commands.sweep import store as store_module
from compare.commands.sweep.brief import Brief
from compare.commands.sweep.cli import status
from compare.commands.sweep.cluster import DIED
from compare.commands.sweep.engine import Where, answers
from compare.commands.sweep.file import Sweep, described
from compare.commands.sweep.report import SweepReport, _from_to
from compare.commands.sweep.rows import FOUND, Found, Tensor, found_in
from compare.commands.sweep.sweep import sweep
from compare.description.config import load
from compare.errors import UserError
from compare.running.experiment import prepare
from handgrad.cli import main

RUN = {"base": {"config": "three-rows", "train.steps": 1}}
TWO = RUN | {"name": "two", "grid": {"train.seed": [0, 1]}}
CUBE = """
def forward(x, power=3):
    return x**power, (x, power)

def backward(dy, cache):
    x, power = cache
    return dy * (3 if power < 4 else 5) * x ** (power - 1)
"""
NET = """
from torch import nn

net = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
"""


class Counted(jobs.Run):
    """A job that does nothing, and keeps count."""

    done: list[Any] = []
    reads = ()

    def __init__(self, sweep: Sweep) -> None: ...

    def fixed(self, values: Any) -> str:
        return "counted"

    def refuse(self, values: Any) -> None: ...

    def judged(self, values: Any) -> Found:
        self.done.append(values["n"])
        if values["n"] == -1:
            raise RuntimeError("no\nlines")
        return Found("agree", tensors=[Tensor("0", "output", 0.5, 1e-17, "agree")])

    def command(self, values: Any) -> list[str]:
        return ["run"]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    monkeypatch.setitem(jobs.MAKERS, "counted", lambda sweep: (Counted(sweep), sweep))
    monkeypatch.setattr(Counted, "done", [])
    return Counted.done


def counting(*numbers: int) -> dict[str, Any]:
    return {"job": "counted", "grid": {"n": list(numbers)}}


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


def test_a_point_that_raises_is_a_row_with_its_message(counted: list[Any]) -> None:
    found = sweep(counting(1, -1, 2), jobs=1)

    assert list(found.runs["verdict"]) == ["agree", "error", "agree"]
    assert found.runs["reason"][1].startswith("RuntimeError: no lines (test_sweep.py:")
    assert found.verdict == "incomplete"
    assert status(found) == 1
    assert status(sweep(counting(-1), jobs=1)) == 2
    assert status(sweep(counting(1), jobs=1)) == 0


def test_resuming_does_what_has_no_row_and_nothing_twice(
    counted: list[Any], tmp_path: Path
) -> None:
    place = tmp_path / "out"

    def stop(_: str, done: int, __: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    first = sweep(counting(*range(7)), out=place, jobs=1, progress=stop)
    assert first.interrupted
    assert status(first) == 130
    assert "4 of 7 points were not done" in first.reason
    assert "Stopped early" in (place / "report.html").read_text()

    second = sweep(counting(*range(7)), out=place, jobs=1, resume=True)
    assert counted == list(range(7))
    assert list(second.runs["n"]) == list(range(7))
    assert second.agrees


def test_a_sweep_that_is_there_is_gone_on_with_or_replaced_only_if_it_is_said(
    counted: list[Any], tmp_path: Path
) -> None:
    place = tmp_path / "out"
    sweep(counting(1, 2), out=place, jobs=1)

    with pytest.raises(UserError, match="--resume goes on with it, --force replaces it"):
        sweep(counting(1, 2), out=place, jobs=1)
    with pytest.raises(UserError, match="another grid"):
        sweep(counting(1, 3), out=place, jobs=1, resume=True)
    (place / "mine.txt").touch()
    with pytest.raises(UserError, match="not a sweep's directory alone"):
        sweep(counting(1, 3), out=place, jobs=1, force=True)
    (place / "mine.txt").unlink()
    assert list(sweep(counting(1, 3), out=place, jobs=1, force=True).runs["n"]) == [1, 3]


def test_without_its_scheduler_a_sweep_makes_nothing_and_replaces_nothing(
    counted: list[Any], tmp_path: Path
) -> None:
    sweep(counting(1, 2), out=tmp_path / "there", jobs=1)
    before = {path.name: path.read_bytes() for path in (tmp_path / "there").rglob("*.parquet")}

    for name in ("there", "new"):
        with pytest.raises(UserError, match="does not answer"):
            sweep(
                counting(3, 4), out=tmp_path / name, scheduler="tcp://127.0.0.1:9", force=True
            )  # fmt: skip

    after = {path.name: path.read_bytes() for path in (tmp_path / "there").rglob("*.parquet")}
    assert before == after != {}
    assert not (tmp_path / "new").exists()


def test_killed_before_its_first_row_or_never_begun_a_sweep_is_gone_on_with(
    counted: list[Any], tmp_path: Path
) -> None:
    (tmp_path / "out" / "parts").mkdir(parents=True)
    (tmp_path / "out" / "sweep.toml.tmp").write_text("name =")

    assert sweep(counting(1), out=tmp_path / "out", jobs=1, resume=True).agrees
    assert sweep(counting(1), out=tmp_path / "new", jobs=1, resume=True).agrees
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="not a sweep's directory"):
        sweep(counting(1), out=tmp_path / "file", jobs=1, force=True)


def test_ctrl_c_inside_a_run_ends_the_sweep_and_makes_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from compare.commands.runner import Runner

    def interrupted(runner: Any, _: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Runner, "_lockstep", interrupted)
    found = sweep(TWO, jobs=1)

    assert found.interrupted
    assert len(found.runs) == 0
    assert status(found) == 130
    assert "none done" in str(found)


def test_resuming_after_a_file_has_changed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cube.py").write_text(CUBE)
    tables = {"job": "check", "base": {"target": str(tmp_path / "cube.py:forward,backward"),
              "shapes.x": [2]}, "grid": {"seed": [0]}}  # fmt: skip
    sweep(tables, out=tmp_path / "out", jobs=1)
    (tmp_path / "cube.py").write_text(f"{CUBE}\n# another\n")

    with pytest.raises(UserError, match="has changed since"):
        sweep(tables, out=tmp_path / "out", jobs=1, resume=True)


def test_two_sweeps_do_not_write_into_one_directory(counted: list[Any], tmp_path: Path) -> None:
    def beside(_: str, __: int, ___: int) -> None:
        with pytest.raises(UserError, match="Another sweep is writing"):
            sweep(counting(1), out=tmp_path / "out", jobs=1, resume=True)

    assert sweep(counting(1), out=tmp_path / "out", jobs=1, progress=beside).agrees


def test_a_full_disk_is_told_and_what_was_written_is_gone_on_with(
    counted: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "ROWS", 2)
    whole = store_module._write

    def full(path: Path, content: Any) -> None:
        if path.name == "000003.runs.parquet":
            raise OSError(28, "No space left on device")
        whole(path, content)

    monkeypatch.setattr(store_module, "_write", full)
    with pytest.raises(UserError, match=r"No space left on device\). 4 rows are there and whole"):
        sweep(counting(*range(9)), out=tmp_path / "out", jobs=1)

    monkeypatch.setattr(store_module, "_write", whole)
    found = sweep(counting(*range(9)), out=tmp_path / "out", jobs=1, resume=True)
    assert list(found.runs["n"]) == list(range(9))
    assert counted[-5:] == [4, 5, 6, 7, 8]


def test_a_file_that_cannot_be_written_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        store_module._write(tmp_path / "a", b"1")

    assert list(tmp_path.iterdir()) == []


def killed_at(moment: int, tables: dict[str, Any], out: Path) -> bool:
    """Sweep in a process that is killed as it renames its n-th file; say if it came to that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside other threads
        child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            left, own = iter(range(moment)), os.replace

            def replace(*paths: Any) -> None:
                if next(left, None) is None:
                    os.kill(os.getpid(), signal.SIGKILL)
                own(*paths)

            os.replace = replace  # type: ignore[assignment]
            sweep(tables, out=out, jobs=1, resume=True)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_any_moment_a_sweep_goes_on_without_repeating_or_losing_a_row(
    counted: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "ROWS", 3)
    out, kept, kills = tmp_path / "out", set[str](), 0
    while killed_at(2 + kills % 3, counting(*range(8)), out) and kills < 60:
        kills += 1
        keys = [k for p in out.glob("parts/*.runs.parquet") for k in read_keys(p)]
        assert kept <= set(keys)
        assert len(keys) == len(set(keys))
        kept = set(keys)
    assert kills > 3

    (out / "parts" / "000099.tensors.parquet").write_bytes(b"half")
    found = sweep(counting(*range(8)), out=out, jobs=1, resume=True)
    assert list(found.runs["n"]) == list(range(8))
    assert list(found.tensors["point"]) == list(range(8))
    assert found.agrees
    assert counted == []  # all was done by those that were killed


def read_keys(part: Path) -> list[str]:
    return list(pyarrow.parquet.read_table(part)["key"].to_pylist())


def test_rows_of_which_half_is_lost_are_done_again_and_damaged_ones_are_never_believed(
    counted: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "ROWS", 2)
    out = tmp_path / "out"
    sweep(counting(*range(6)), out=out, jobs=1)
    first, *_ = sorted(out.glob("parts/*.tensors.parquet"))
    first.unlink()

    assert sweep(counting(*range(6)), out=out, jobs=1, resume=True).agrees
    assert counted[6:] == [0, 1]
    for kind in ("runs", "tensors"):
        pick = max if kind == "runs" else min
        part = pick(out.glob(f"parts/*.{kind}.parquet"))
        content = part.read_bytes()
        zeros = content[:60] + bytes(16) + content[76:]  # within the first column
        part.write_bytes(zeros if kind == "runs" else content[: len(content) // 2])
        with pytest.raises(UserError, match=f"{part.name} is damaged .* Delete it"):
            sweep(counting(*range(6)), out=out, jobs=1, resume=True)
        part.unlink()
    assert sweep(counting(*range(6)), out=out, jobs=1, resume=True).agrees


@pytest.mark.parametrize(
    ("changed", "told"),
    [("versions", "its rows are by another"), ("code", "handgrad's own code has changed")],
)
def test_rows_of_another_torch_or_of_other_code_are_not_gone_on_with(
    changed: str, told: str, counted: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep(counting(1), out=tmp_path / "out", jobs=1)
    monkeypatch.setattr(made_module, changed, lambda: "another")

    with pytest.raises(UserError, match=told if changed == "code" else "this is another"):
        sweep(counting(1), out=tmp_path / "out", jobs=1, resume=True)


def test_a_file_that_changed_is_read_anew_by_the_same_process_and_so_is_what_it_imports(
    tmp_path: Path,
) -> None:
    tables = {"job": "check", "base": {"target": str(tmp_path / "f.py:forward,backward"),
              "shapes.x": [2], "resize": False}}  # fmt: skip
    (tmp_path / "beside.py").write_text("FACTOR = 2\n")
    code = "import beside\ndef forward(x): return 2 * x, None\n"
    (tmp_path / "f.py").write_text(f"{code}def backward(dy, _): return beside.FACTOR * dy\n")
    assert sweep(tables, out=tmp_path / "out", jobs=1).agrees

    (tmp_path / "beside.py").write_text("FACTOR = 2.5\n")
    assert sweep(tables, jobs=1).verdict == "disagree"
    with pytest.raises(UserError, match=r"beside\.py has changed since"):
        sweep(tables, out=tmp_path / "out", jobs=1, resume=True)
    (tmp_path / "f.py").write_text(f"{code}def backward(dy, _): return 2 * dy\n")
    assert sweep(tables, jobs=1).agrees


def test_a_file_that_changes_while_a_sweep_runs_ends_it(tmp_path: Path) -> None:
    file = tmp_path / "f.py"
    file.write_text("def forward(x): return 2 * x, None\ndef backward(dy, _): return 2 * dy\n")
    tables = {"job": "check", "base": {"target": f"{file}:forward,backward", "shapes.x": [2],
              "resize": False}, "grid": {"seed": [0, 1, 2]}}  # fmt: skip

    with pytest.raises(UserError, match=r"f\.py has changed since the sweep began"):
        sweep(tables, jobs=1, progress=lambda *_: file.write_text("# another\n"))


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
