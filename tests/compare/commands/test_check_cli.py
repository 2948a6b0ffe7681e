"""`handgrad check`: exit statuses, the report that it leaves, and messages for unusable files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer

from compare.commands.check_cli import check, directory_name
from compare.errors import UserError
from compare.pair.loading import in_order, load_file, load_names, shape_of, value_of
from tests.compare.commands.check_calls import AFFINE, COURSEWORK, PAIR, affine


def test_a_right_gradient_exits_0_and_leaves_a_report(call) -> None:
    status, out = call(*affine("right"))

    assert status == 0
    assert out.startswith("AGREE: affine_forward")
    files = {p.name for p in Path("reports/affine_forward").iterdir()}
    assert {"report.html", "verdict.json", "differences.csv", "summary.md"} <= files
    assert "replay.py" not in files


def test_a_wrong_gradient_exits_1_and_leaves_a_replay(call) -> None:
    status, out = call(*affine("wrong"), "--out", "r")

    assert status == 1
    assert "First divergence: case random, grad:b (affine_backward)" in out
    assert "cause: batch size" in out
    assert {"replay.py", "replay.npz"} <= {p.name for p in Path("r").iterdir()}


def test_a_cause_writes_names_as_they_are_and_does_not_call_sizes_equal_that_differ(call) -> None:
    _, out = call(*affine("wrong"), "--no-report")

    assert " grad:b is right with " in out
    assert "Several sizes" not in out


def test_json_is_the_verdict_file(call) -> None:
    status, out = call(*affine("wrong"), "--json", "--out", "r", "--seed", "3")
    verdict = json.loads(out)

    assert status == 1
    assert verdict == json.loads(Path("r/verdict.json").read_text())
    assert verdict["mode"] == "check"
    assert verdict["verdict"] == "disagree"
    assert verdict["cause"]["kind"] == "batch size"
    assert verdict["first_divergence"]["quantity"] == "grad:b"
    assert verdict["config"]["check"]["seed"] == 3


def test_what_the_code_prints_does_not_spoil_the_json(call, capsys) -> None:
    Path("chatty.py").write_text(
        "print('hello')\n"
        "def forward(x):\n"
        "    print(x.shape)\n"
        "    return 2 * x, None\n"
        "def backward(dout, cache):\n"
        "    return 2 * dout\n"
    )
    app = typer.Typer()
    app.command()(check)
    with pytest.raises(SystemExit):
        app(["chatty.py:forward,backward", "--shape", "x=3,2", "--json"])
    out, err = capsys.readouterr()

    assert json.loads(out)["verdict"] == "agree"
    assert "hello" in err


def test_a_saved_report_is_replaced_if_that_is_asked_for(call) -> None:
    first = call(*affine("wrong"), "--out", "r", "-q")
    second = call(*affine("right"), "--out", "r", "-q", "--force")

    assert (first, second) == ((1, ""), (0, ""))
    assert not Path("r/replay.py").exists()


def test_a_saved_report_stays_and_the_next_one_gets_a_number(call) -> None:
    call(*affine("wrong"), "--out", "r", "-q")
    status, out = call(*affine("right"), "--out", "r")

    assert status == 0
    assert Path("r/replay.py").exists()
    assert "Report: r-2/report.html (r stays; --force replaces it)" in out
    assert json.loads(Path("r-2/verdict.json").read_text())["verdict"] == "agree"


def test_inputs_may_come_in_any_order(call) -> None:
    target, *rest = affine("right")
    shuffled = [*rest[:2], "--shape", "b=5", "--shape", "w=3,5", "--shape", "x=4,3"]

    assert call(target, *shuffled)[0] == 0


def test_values_are_json_or_files(call) -> None:
    np.save("scores.npy", np.random.default_rng(0).standard_normal((4, 3)))
    folder = COURSEWORK / "softmax_loss"
    status, out = call(
        f"{folder}/right.py:softmax_loss", "--reference", f"{folder}/reference.py:cross_entropy",
        "--value", "y=[0, 2, 1, 1]", "--value", "x=scores.npy",
    )  # fmt: skip

    assert status == 0, out


def test_without_a_reference_backward_is_checked_against_forward(call) -> None:
    status, out = call(f"{COURSEWORK}/rnn_step/wrong.py:rnn_step_forward,rnn_step_backward",
        "--shape", "x=4,3", "--shape", "prev_h=4,5", "--shape", "Wx=3,5", "--shape", "Wh=5,5",
        "--shape", "b=5", "--case", "random",
    )  # fmt: skip

    assert status == 1
    assert "No reference was given" in out


def test_a_torch_function_runs_in_its_dtype(call) -> None:
    Path("mine.py").write_text(
        "import torch\n"
        "class Double(torch.autograd.Function):\n"
        "    @staticmethod\n"
        "    def forward(ctx, x):\n"
        "        return 2 * x\n"
        "    @staticmethod\n"
        "    def backward(ctx, dout):\n"
        "        return 2 * dout\n"
        "def reference(x):\n"
        "    return x + x\n"
    )
    status, out = call(
        "mine.py:Double", "--reference", "mine.py:reference", "--shape", "x=3,2",
        "--dtype", "bfloat16",
    )  # fmt: skip

    assert status == 0, out
    assert "in bfloat16" in out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nothing_like_this", r"line 1 \(import nothing_like_this\): ModuleNotFoundError"),
        ("x = 1\ny = x / 0\n", r"line 2 \(y = x / 0\): ZeroDivisionError: division by zero"),
        ("def f(:\n    pass", r"line 1: SyntaxError: .*def f\(:"),
        ("import sys\nsys.exit(3)", r"line 2 .*guard that with if __name__"),
    ],
)
def test_a_file_that_cannot_be_imported_is_told_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        load_file(path)


def test_what_lies_beside_the_file_can_be_imported(tmp_path: Path) -> None:
    (tmp_path / "beside_it.py").write_text("three = 3")
    (tmp_path / "user.py").write_text("from beside_it import three\ndef f(): return three")

    assert load_names(f"{tmp_path}/user.py:f")[0]() == 3


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("right.py", "must be FILE.py:NAME"),
        (f"{COURSEWORK}/affine/right.py", r"In .*right\.py: affine_forward, affine_backward\."),
        ("nowhere.py:f", "There is no file nowhere.py"),
        (f"{COURSEWORK}/affine/right.py:affine_forwards", "Did you mean 'affine_forward'"),
    ],
)
def test_a_name_that_is_not_there_is_told(target: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_names(target)


def test_shapes_and_values_are_read() -> None:
    assert shape_of("x=4,3") == ("x", (4, 3))
    assert shape_of("x=4x3") == ("x", (4, 3))
    assert shape_of("s=") == ("s", ())
    assert value_of('mode="train"') == ("mode", "train")
    assert value_of("mode=train") == ("mode", "train")
    assert value_of('p={"stride": 2}') == ("p", {"stride": 2})
    np.testing.assert_array_equal(value_of("y=[[1.5, 2], [3, 4]]")[1], [[1.5, 2], [3, 4]])
    labels = value_of("y=0,2, 1")[1]
    assert labels.dtype.kind == "i"
    assert labels.tolist() == [0, 2, 1]
    assert value_of("y=-1.5,2e-3")[1].tolist() == [-1.5, 2e-3]
    assert value_of("y=a,b") == ("y", "a,b")
    assert value_of("y=5") == ("y", 5)
    for text in ("x", "=3", "x=a,b"):
        with pytest.raises(UserError, match="--shape takes NAME=N,N"):
            shape_of(text)
    with pytest.raises(UserError, match="rows are of different lengths"):
        value_of("x=[[1], [2, 3]]")


def test_inputs_are_put_in_the_order_of_the_parameters() -> None:
    def forward(x, w, mode="train"):
        return x @ w

    assert list(in_order({"mode": 1, "w": 2, "x": 3}, forward)) == ["x", "w", "mode"]
    assert list(in_order({"b": 1, "a": 2}, forward)) == ["b", "a"]


def test_names_are_safe_as_directories() -> None:
    assert directory_name("<lambda>") == "lambda"
    assert directory_name("../x y") == "x-y"
    assert directory_name("…") == "check"


def test_too_many_names_and_a_device_for_numpy_are_refused(call) -> None:
    with pytest.raises(UserError, match="names 3 functions"):
        call(f"{COURSEWORK}/affine/right.py:{PAIR},affine_forward", *AFFINE)
    with pytest.raises(UserError, match="NumPy code runs on the CPU"):
        call(*affine("right"), "--device", "cuda")


# ── what is missing is asked for in the command line's own terms ─────────────────────────────────
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], r"one for each argument of affine_forward\(x, w, b\), a shape .*\(--shape x=4,3\)"),
        (["--shape", "x=4,3"], r"nothing was given for w, b: add --shape w=N,N --shape b=N,N"),
        ([*AFFINE, "--no-grad", "W"], r"no_grad names 'W', which is no input. Did you mean 'w'"),
        (["--value", "x=1", "--value", "w=2", "--value", "b=3"], "command line --shape x=4,3"),
    ],
)
def test_missing_inputs_are_asked_for_as_options(call, options: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        call(f"{COURSEWORK}/affine/right.py:{PAIR}", *options)

    assert "inputs={" not in str(caught.value)


def test_a_vacuous_gradient_names_the_option(call) -> None:
    Path("mine.py").write_text(
        "def forward(x, c):\n"
        "    return x * 1.0 + (c - c), x\n"
        "def backward(dout, x):\n"
        "    return dout, 0 * x\n"
    )
    options = ["mine.py:forward,backward", "--shape", "x=4,3", "--shape", "c=4,3"]
    status, out = call(*options)

    assert status == 1
    assert "--structural-zero NAME" in out
    assert call(*options, "--structural-zero", "c")[0] == 0


def test_a_tolerance_stands_in_the_headline(call) -> None:
    _, out = call(*affine("right"), "--tolerance", "1e-3")

    assert out.startswith("AGREE: affine_forward (within a tolerance chosen by the user)\n")
    assert "within rtol = 0.001." in out.splitlines()[1]
