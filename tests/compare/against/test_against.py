"""Two torches beside one hand-written side: who moved is named, and nothing hangs."""

from __future__ import annotations

import json
import re
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compare
from compare.description.config import load
from compare.report.against import ALL, FURTHER, HAND, MOVED, OTHER, SAME, THIS, Against, Moves
from compare.report.rendering.against import parts_first
from compare.running.against import process
from compare.running.against.condition import parse
from compare.running.against.process import OtherEndedError, OtherProcess
from compare.running.experiment import prepare
from tests.compare.digits_by_rows import DIGITS_BY_ROWS

# Another torch whose backward of tanh is a thousandth off, and whose interpreter prints at start.
PATCHED = """
import torch
print("printed before anything was asked")
own = torch.tanh
class Off(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        y = own(x)
        ctx.save_for_backward(y)
        return y
    @staticmethod
    def backward(ctx, grad):
        y, = ctx.saved_tensors
        return grad * (1 - y * y) * 1.001
torch.tanh = Off.apply
"""


@pytest.fixture(scope="module")
def other_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another environment with this torch, patched, and without handgrad."""
    home = tmp_path_factory.mktemp("other")
    venv.create(home, with_pip=False, symlinks=True)
    site = next(home.glob("lib/python*/site-packages"))
    import torch

    (site / "torch.pth").write_text(str(Path(torch.__file__).parents[1]))
    (site / "sitecustomize.py").write_text(PATCHED)
    return home / "bin" / "python"


@pytest.fixture(scope="module")
def off(other_python: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    report = compare.run("iris", steps=2, against=other_python)
    return report, report.save(tmp_path_factory.mktemp("reports") / "off")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[OtherProcess]]:
    """Every process that a run starts; each must have ended with it."""
    found: list[OtherProcess] = []
    own = OtherProcess.__init__

    def init(self: OtherProcess, *arguments: Any) -> None:
        own(self, *arguments)
        found.append(self)

    monkeypatch.setattr(OtherProcess, "__init__", init)
    yield found
    assert all(one.process.poll() is not None for one in found)


@pytest.fixture(scope="module")
def at_work() -> Iterator[OtherProcess]:
    """A process that several tests ask, each for another network, or under another condition."""
    with OtherProcess(parse("threads=1")) as found:
        yield found


@pytest.fixture
def shared(at_work: OtherProcess, monkeypatch: pytest.MonkeyPatch) -> OtherProcess:
    """Let runs ask a process that is there, instead of starting one of their own."""
    monkeypatch.setattr("compare.commands.against.OtherProcess", lambda _: nullcontext(at_work))
    return at_work


# ── who moved ────────────────────────────────────────────────────────────────────────────────────
def test_a_mistake_in_the_other_torch_is_the_other_torchs(off: tuple[Any, Path]) -> None:
    report, _ = off
    found: Any = report.against
    moved = {(t.layer, t.quantity) for t in found.tensors() if t.status == OTHER}

    assert report.verdict == "disagree"
    assert found.this.verdict == "agree"
    assert report.first_divergence is None  # that is the hand-written side's
    assert report.reason.startswith("The other torch moved in grad_output of layer 0")
    assert {("0", "grad_output"), ("0", "grad:weight"), ("0", "param:weight")} <= moved
    assert {layer for layer, _ in moved} == {"0", "input"}  # what the tanh's gradient runs into
    assert {t.status for t in found.tensors()} == {OTHER, SAME}
    assert found.that.first_divergence.layer == "1"
    assert found.that.first_divergence.own_or_inherited == "own"


def test_a_tensor_that_is_off_is_given_in_units_of_the_tolerance(off: tuple[Any, Path]) -> None:
    tensors = {(t.layer, t.quantity): t for t in off[0].against.tensors()}
    moved = tensors["0", "grad:weight"]

    assert moved.this < 1 < 1e6 < moved.other
    assert moved.between == pytest.approx(moved.other, rel=0.1)
    assert tensors["2", "grad:weight"].between == 0


def test_what_is_saved_says_who_moved(off: tuple[Any, Path]) -> None:
    _, path = off
    said = json.loads((path / "verdict.json").read_text())["against"]
    page, summary = (path / "report.html").read_text(), (path / "summary.md").read_text()

    assert said["other"]["verdict"] == "disagree"
    assert said["this"]["verdict"] == "agree"
    assert said["other"]["first"]["quantity"] == "grad_output"
    assert said["counts"][OTHER] == len(said["moved"]) > 5
    assert "interpreter" in said["differing"]
    assert "Two torches" in page
    assert OTHER in page
    assert "layer 1 (Tanh) is still off" in page
    assert "### Two torches" in summary
    assert (path / "plots" / "who_moved.svg").exists()
    assert (path / "against.csv").read_text().startswith("step,layer,quantity,")


def test_a_mistake_on_the_hand_written_side_is_not_blamed_on_a_torch(shared: OtherProcess) -> None:
    report = compare.run("three-rows", steps=1, plant="0.weight.grad*=1.01", against="threads=2")
    found: Any = report.against

    assert report.verdict == "disagree"
    assert report.cause is not None
    assert {t.status for t in found.tensors()} == {SAME, HAND}
    assert "look for the mistake in the hand-written side" in report.reason


ALL_SORTS = f"""
name = "all-sorts"
{DIGITS_BY_ROWS}
[[layers]]
name = "norm"
type = "BatchNorm1d"
num_features = 6
[[layers]]
name = "kink"
type = "RReLU"
[[layers]]
name = "drop"
type = "Dropout"
p = 0.5
[[layers]]
name = "pieces"
type = "Maxout"
in_features = 6
out_features = 5
num_pieces = 2
[[layers]]
name = "head"
type = "Linear"
in_features = 5
out_features = 10
[loss]
type = "CrossEntropyLoss"
label_smoothing = 0.1
[[loss.penalties]]
type = "L2Penalty"
coefficient = 0.01
parameters = ["head.weight"]
[optimizer]
type = "NAdam"
lr = 0.01
clip_norm = 0.5
[[optimizer.groups]]
parameters = ["norm.*"]
weight_decay = 0.0
[train]
steps = 3
batch_size = 16
[compare]
drift = false
"""


@pytest.fixture
def all_sorts(tmp_path: Path) -> Path:
    path = tmp_path / "all-sorts.toml"
    path.write_text(ALL_SORTS)
    return path


def test_draws_buffers_and_states_cross_the_pipe_bit_for_bit(
    all_sorts: Path, shared: OtherProcess
) -> None:
    report = compare.run(all_sorts, against="threads=1")
    found: Any = report.against

    assert report.verdict == "agree", report
    assert {t.status for t in found.tensors()} == {SAME}
    assert len(found.that.differences) == len(found.this.differences)
    assert found.that.ledger["elements"].sum() == found.this.ledger["elements"].sum()


def test_what_is_compiled_is_seen_in_full_and_what_is_not_is_named(
    all_sorts: Path, shared: OtherProcess
) -> None:
    report = compare.run(all_sorts, steps=2, against="compile:aot_eager")
    found: Any = report.against
    kept = found.that.differences[["step", "layer", "quantity"]]

    assert report.verdict == "agree", report
    assert kept.equals(found.this.differences[["step", "layer", "quantity"]])
    assert found.there["compile"].startswith("aot_eager, 5 of 8 nodes; not compiled: lstm (")
    assert "drop (random: it is given its draws)" in found.there["compile"]
    assert found.here["compile"] == "no"


LEAKY = """
import torch
from torch.nn import functional as F
from torch._dynamo import register_backend
@register_backend
def leaky(graph, inputs):
    for node in graph.graph.nodes:
        if node.target is F.relu:
            node.target, node.kwargs = (lambda x: F.leaky_relu(x, 1e-6)), {}
    graph.recompile()
    return graph.forward
"""


def test_a_compiler_that_is_wrong_is_the_other_torch(
    tmp_path: Path, started: list[OtherProcess]
) -> None:
    (tmp_path / "sitecustomize.py").write_text(LEAKY)
    words = [f"env:PYTHONPATH={tmp_path}", "compile:leaky"]
    report = compare.run("digits", steps=1, drift=False, against=words)
    found: Any = report.against
    statuses = {(t.layer, t.quantity): t.status for t in found.tensors()}

    assert report.verdict == "disagree"
    assert found.this.verdict == "agree"
    assert statuses["0", "output"] == SAME
    assert statuses["1", "output"] == OTHER
    assert report.reason.startswith("The other torch moved in output of layer 1 and in ")
    assert "is still off" not in parts_first(found)  # what runs by itself is not compiled


# ── what moves within the tolerance, and what each status is ─────────────────────────────────────
def frames(this: str, other: str, between: float, same: bool) -> Any:
    """Return an Against of one tensor in one step."""
    import pandas as pd

    def side(verdict: str) -> Any:
        used = 0.5 if verdict == "agree" else 9.0
        row = {"step": 0, "layer": "a", "quantity": "output", "shape": "2", "budget_used": used}
        return type("R", (), {"differences": pd.DataFrame([row | {"verdict": verdict}])})()

    moves = pd.DataFrame([(0, "a", "output", same, between, between)],
                         columns=["step", "layer", "quantity", "identical", "max_abs_diff",
                                  "budget_used"])  # fmt: skip
    return Against("x", {}, {}, side(this), side(other), moves)


@pytest.mark.parametrize(
    ("this", "other", "between", "same", "status"),
    [
        ("agree", "agree", 0.0, True, SAME),
        ("agree", "agree", 0.7, False, MOVED),
        ("agree", "vacuous", 1.6, False, FURTHER),
        ("agree", "agree", np.nan, False, FURTHER),
        ("agree", "disagree", 8.0, False, OTHER),
        ("agree", "missing", np.nan, False, OTHER),
        ("non-finite", "agree", np.nan, False, THIS),
        ("disagree", "agree", 8.0, False, THIS),
        ("disagree", "disagree", 0.0, True, HAND),
        ("disagree", "disagree", 0.9, False, HAND),
        ("disagree", "disagree", 7.0, False, ALL),
        ("disagree", "missing", np.nan, False, ALL),
    ],
)
def test_who_moved_follows_from_three_comparisons(
    this: str, other: str, between: float, same: bool, status: str
) -> None:
    (tensor,) = frames(this, other, between, same).tensors()

    assert tensor.status == status


def test_equal_bits_are_no_distance_even_where_nothing_was_allowed() -> None:
    from compare.judge.judge import judge
    from compare.judge.quantities import Key

    key, nan = Key("a", "output"), Key("b", "output")
    values = {key: np.array([1.0, 2.0]), nan: np.array([np.nan, 1.0])}
    off = {key: np.array([1.0, 2.5]), nan: np.array([np.nan, 1.0])}
    moves = Moves()
    moves.add(0, judge(list(values), values, values, {key: 1.0}), values, off, {key: 1.0})

    assert moves.frame()["identical"].tolist() == [False, True]
    assert moves.frame()["budget_used"].tolist() == [0.5, 0.0]


# ── what cannot be done ──────────────────────────────────────────────────────────────────────────
def broken(home: Path, code: str) -> Path:
    """Return a program that is started as a Python interpreter."""
    path = home / "python"
    path.write_text(f"#!{sys.executable}\n{code}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise ModuleNotFoundError(\"No module named 'torch'\")", "No module named 'torch'"),
        ("import sys; print('hm'); sys.exit(3)", "ended with status 3 and said nothing"),
        ("import os; os.kill(os.getpid(), 9)", "ended by SIGKILL"),
        ("while True: print('x' * 1000)", "cannot run torch's side"),
        ("import time; time.sleep(60)", "no answer within 0.5 s"),
    ],
)
def test_an_interpreter_that_cannot_answer_is_a_users_mistake(
    code: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    started: list[OtherProcess],
) -> None:  # fmt: skip
    monkeypatch.setattr(process, "STARTING", 0.5 if "sleep" in code else 60.0)
    before = time.monotonic()

    with pytest.raises(compare.UserError, match=told) as told_all:
        OtherProcess(parse(broken(tmp_path, code))).__enter__()

    assert "It needs torch 2.4 or newer and numpy" in str(told_all.value)
    assert time.monotonic() - before < 30


def test_a_torch_that_lacks_something_is_told_with_its_version(
    tmp_path: Path, started: list[OtherProcess]
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import torch\ndel torch.optim.Adagrad")
    told = rf"\(torch {re.escape(version('torch'))}\): AttributeError: .*no attribute 'Adagrad'"

    with pytest.raises(compare.UserError, match=told):
        compare.run(
            "three-rows", steps=1, optimizer__type="Adagrad",
            against=f"env:PYTHONPATH={tmp_path}",
        )  # fmt: skip


def test_a_torch_that_is_too_old_is_refused(tmp_path: Path, started: list[OtherProcess]) -> None:
    package = Path(process.__file__).parents[3] / "torch_ref"
    code = process.START.partition("from torch_ref")[0].replace("sys.argv[1]", repr(str(package)))
    code += (
        "from torch_ref.pipe import send\n"
        "from torch_ref.worker import mark\n"
        "out = sys.stdout.buffer; out.write(mark(sys.argv[4]))\n"
        "send(out, {'torch': '1.13.1+cpu', 'numpy': '1.26', 'python': '3.9'})"
    )

    with pytest.raises(compare.UserError, match=r"has torch 1\.13\.1\+cpu; 2\.4 or newer"):
        OtherProcess(parse(broken(tmp_path, code))).__enter__()


def test_a_process_that_dies_in_the_middle_ends_the_comparison_and_not_the_run(
    shared: OtherProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    own = OtherProcess.ask

    def ask(self: OtherProcess, name: str, /, **arguments: Any) -> Any:
        asked.append(name)
        if asked.count("step") == 2:
            raise OtherEndedError("it was ended by SIGKILL")
        return own(self, name, **arguments)

    monkeypatch.setattr(OtherProcess, "ask", ask)
    report = compare.run("three-rows", steps=3, drift=False, against="threads=1")
    found: Any = report.against

    assert report.verdict == "incomplete"
    assert report.steps == found.this.steps == 3
    assert found.that.steps == 1
    assert {t.status for t in found.tensors()} == {SAME}
    assert "ended by SIGKILL" in report.reason


def test_a_process_that_ends_while_a_cause_is_looked_for_leaves_the_disagreement(
    shared: OtherProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = OtherProcess.ask

    def ask(self: OtherProcess, name: str, /, **arguments: Any) -> Any:
        if name == "alone":
            raise OtherEndedError("it was ended by SIGKILL")
        found = own(self, name, **arguments)
        if name == "step":
            found["grads"] = {key: grad * 1.01 for key, grad in found["grads"].items()}
        return found

    monkeypatch.setattr(OtherProcess, "ask", ask)
    report = compare.run("three-rows", steps=2, drift=False, against="threads=1")
    found: Any = report.against

    assert report.verdict == found.that.verdict == "disagree"
    assert found.this.verdict == "agree"
    assert {t.status for t in found.tensors() if t.quantity.startswith("grad:")} == {OTHER}


def test_a_run_that_is_interrupted_before_the_other_torch_has_answered_is_no_disagreement(
    shared: OtherProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = OtherProcess.ask

    def ask(self: OtherProcess, name: str, /, **arguments: Any) -> Any:
        if name == "step":
            raise KeyboardInterrupt
        return own(self, name, **arguments)

    monkeypatch.setattr(OtherProcess, "ask", ask)
    report = compare.run("three-rows", steps=2, drift=False, against="threads=1")

    assert report.verdict == "incomplete"
    assert report.interrupted


def test_one_torch_under_one_condition_is_told_to_be_no_comparison(shared: OtherProcess) -> None:
    report = compare.run("three-rows", steps=1, drift=False, against="threads=1")
    differing = report.against.differing if report.against else None

    assert not differing
    assert report.reason.endswith("Nothing that torch tells of differs between them.")


def test_a_compiler_that_is_turned_off_compares_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from torch_ref.compiled import compiled

    experiment = prepare(load("three-rows"))
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)  # as TORCHDYNAMO_DISABLE
    side = compiled(experiment.torch, "eager")
    with pytest.raises(RuntimeError, match="compiled nothing, and ran the network as it is"):
        side.network(side.tensor(experiment.features[:2]))  # type: ignore[index]


class Stub:
    """Stands for a process that dies in its first step."""

    ended = 0

    def __init__(self, *_: Any) -> None: ...
    def __enter__(self) -> Stub:
        return self

    def __exit__(self, *_: Any) -> None:
        Stub.ended += 1

    def ask(self, name: str, /, **_: Any) -> Any:
        if name == "step":
            raise OtherEndedError("it was ended by SIGKILL")
        return {}


def test_a_process_that_dies_in_the_first_step_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("compare.commands.against.OtherProcess", Stub)
    with pytest.raises(compare.UserError, match=r"cannot do the first step: .*SIGKILL"):
        compare.run("three-rows", steps=3, against="threads=1")

    assert Stub.ended == 1


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"mode": "free"}, "a free run has one step that is judged"),
        ({"torch_layers": ["0"]}, "Give one of the two"),
        ({"dtype": "bfloat16"}, "compares in float64 or float32"),
        ({"against": "compile:nothing"}, "no backend 'nothing'; it has .*inductor"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    more: dict[str, Any], told: str, shared: OtherProcess
) -> None:
    with pytest.raises(compare.UserError, match=told):
        compare.run("three-rows", steps=1, **({"against": "threads=1"} | more))


def test_a_mirror_has_one_torch() -> None:
    from torch import nn

    with pytest.raises(compare.UserError, match="in this torch alone"):
        compare.run(nn.Linear(2, 2), against="threads=2")
