"""What a sweep must not lose: rows, when it is killed, resumed, or what it reads changes."""

from __future__ import annotations

import contextlib
import os
import signal
import warnings
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from compare.commands.sweep import jobs
from compare.commands.sweep import made as made_module
from compare.commands.sweep import store as store_module
from compare.commands.sweep.cli import status
from compare.commands.sweep.file import Sweep
from compare.commands.sweep.rows import Found, Tensor
from compare.commands.sweep.sweep import sweep
from compare.errors import UserError
from tests.compare.commands.sweep.swept import CUBE, TWO


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


def test_a_point_that_raises_is_a_row_with_its_message(counted: list[Any]) -> None:
    found = sweep(counting(1, -1, 2), jobs=1)

    assert list(found.runs["verdict"]) == ["agree", "error", "agree"]
    assert found.runs["reason"][1].startswith("RuntimeError: no lines (test_sweep_resumed.py:")
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
