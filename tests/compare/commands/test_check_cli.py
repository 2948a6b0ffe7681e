"""`handgrad check`: exit statuses, the report that it leaves, and messages for unusable files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from compare.commands.check_cli import check, directory_name
from compare.errors import UserError
from compare.pair.loading import in_order, load_file, load_names, shape_of, value_of

COURSEWORK = Path(__file__).parents[3] / "examples" / "coursework"
AFFINE = ["--shape", "x=4,3", "--shape", "w=3,5", "--shape", "b=5"]
PAIR = "affine_forward,affine_backward"


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(check)

    def run(*arguments: str):
        result = CliRunner().invoke(app, [*arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    return run


def affine(version: str) -> list[str]:
    folder = COURSEWORK / "affine"
    return [
        f"{folder}/{version}.py:{PAIR}",
        "--reference",
        f"{folder}/reference.py:affine",
        *AFFINE,
    ]


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


# ── a backward that raises ───────────────────────────────────────────────────────────────────────
BACKWARDS = {
    "matmul": ("    return dout @ w, x.T @ dout, dout.sum(0)\n", "ValueError: matmul: .*",
               r"dout has shape \(4, 5\), w \(3, 5\)"),
    "broken into lines": ("    return np.matmul(\n        dout,\n        w), x, w\n",
                          "ValueError: matmul: .*", r"dout has shape \(4, 5\), w \(3, 5\)"),
    "broadcast": ("    dx = dout * cache[0]\n    return dx, w, dx.sum(0)\n",
                  r"ValueError: operands could not be broadcast together with shapes \(4,5\)",
                  r"dout has shape \(4, 5\), cache\[0\] \(4, 3\)"),
    "in place": ("    dout += x.T\n    return dout, w, dout.sum(0)\n", "ValueError: .*",
                 r"dout has shape \(4, 5\), x.T \(3, 4\)"),
    "reshape": ("    return dout.reshape(7, 2), w, dout.sum(0)\n", "ValueError: cannot reshape",
                r"dout has shape \(4, 5\)"),
    "stub": ("    raise NotImplementedError('fill in')\n", "NotImplementedError: fill in", ""),
    "no shapes": ("    return undefined\n", "NameError: name 'undefined' is not defined", ""),
}  # fmt: skip


def file_with(backward: str, forward: str = "x @ w + b") -> list[str]:
    Path("mine.py").write_text(
        "import numpy as np\n"
        "def affine_forward(x, w, b):\n"
        f"    return {forward}, (x, w)\n"
        "def affine_backward(dout, cache):\n"
        "    x, w = cache\n" + backward
    )
    return [f"mine.py:{PAIR}", *AFFINE]


@pytest.mark.parametrize("reference", [True, False], ids=["torch", "own forward"])
@pytest.mark.parametrize("name", BACKWARDS)
def test_a_backward_that_raises_is_a_finding_about_it(call, name: str, reference: bool) -> None:
    body, error, shapes = BACKWARDS[name]
    beside = ["--reference", f"{COURSEWORK}/affine/reference.py:affine"] if reference else []
    status, out = call(*file_with(body), *beside, "--out", "r")
    reason = next(line for line in out.splitlines() if "fails on the inputs" in line)

    assert status == 1, out
    assert out.startswith("DISAGREE: affine_forward")
    assert "affine_backward fails on the inputs x (4, 3), w (3, 5), b (5,)" in reason
    assert re.search(rf"{error}.*\(line \d+ of .*mine.py: .*\).*{shapes}", reason), reason
    assert "First divergence: case random, grad:x (affine_backward)" in out
    assert "worst element" not in out
    assert "r/replay.py" in out


def test_the_right_line_is_named_not_a_helper_of_numpy(call) -> None:
    _, out = call(*file_with("    y = 1\n    return np.split(dout, 3), w, y\n"))

    assert "mine.py: return np.split(dout, 3), w, y); dout has shape (4, 5)" in out
    assert "(line 7 of " in out


def test_the_replay_of_an_exception_raises_it_until_it_is_mended(call) -> None:
    call(*file_with(BACKWARDS["matmul"][0]), "--out", "r")
    script = Path("r/replay.py")
    before = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    script.write_text(script.read_text().replace("dout @ w,", "dout @ w.T,"))
    after = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)

    assert before.returncode == 1
    assert "return dout @ w, x.T @ dout" in before.stderr
    assert (after.returncode, after.stderr) == (0, "")
    assert "affine_backward runs on these inputs" in after.stdout


def test_a_backward_that_raises_in_one_case_only_is_found_there(call) -> None:
    body = "    assert len(x) > 1\n    return dout @ w.T, x.T @ dout, dout.sum(0)\n"
    status, out = call(*file_with(body))

    assert status == 1
    assert "do not agree: grad:x only in the case 'batch of 1'; grad:w only in" in out
    assert "First divergence: case batch of 1, grad:x (affine_backward)" in out
    assert "affine_backward fails here: AssertionError" in out


def test_a_forward_that_raises_stays_unusable(call) -> None:
    body = "    return dout @ w.T, x.T @ dout, dout.sum(0)\n"
    message = (
        r"^affine_forward fails on the inputs x \(4, 3\), w \(3, 5\), b \(5,\): ValueError: .* "
        r"\(line 3 of .*mine.py: return x @ w.T \+ b, \(x, w\)\); "
        r"x has shape \(4, 3\), w.T \(5, 3\)$"
    )
    with pytest.raises(UserError, match=message):
        call(*file_with(body, forward="x @ w.T + b"))


def test_an_objects_backward_is_named_with_its_class(call) -> None:
    Path("mine.py").write_text(
        "class Double:\n"
        "    def forward(self, x):\n"
        "        self.x = x\n"
        "        return 2 * x\n"
        "    def backward(self, dout):\n"
        "        return dout @ self.x\n"
    )
    status, out = call("mine.py:Double", "--shape", "x=4,3")

    assert status == 1
    assert "Double.backward fails on the inputs x (4, 3)" in out
    assert "dout has shape (4, 3), self.x (4, 3)" in out


def test_a_torch_functions_backward_is_named(call) -> None:
    Path("mine.py").write_text(
        "import torch\n"
        "class Product(torch.autograd.Function):\n"
        "    @staticmethod\n"
        "    def forward(ctx, x, w):\n"
        "        ctx.save_for_backward(x, w)\n"
        "        return x @ w\n"
        "    @staticmethod\n"
        "    def backward(ctx, dout):\n"
        "        x, w = ctx.saved_tensors\n"
        "        return dout @ w, x.T @ dout\n"
    )
    status, out = call("mine.py:Product", "--shape", "x=4,3", "--shape", "w=3,5", "--out", "r")

    assert status == 1
    assert "Product.backward fails on the inputs x (4, 3), w (3, 5)" in out
    assert "mine.py: return dout @ w, x.T @ dout)" in out
    done = subprocess.run([sys.executable, "r/replay.py"], capture_output=True, check=False)
    assert done.returncode == 1


@pytest.mark.parametrize("gradient", ["'dx'", "[[1.0], [1.0, 2.0]]", "object()"])
def test_a_gradient_that_holds_no_numbers_is_refused(call, gradient: str) -> None:
    with pytest.raises(
        UserError, match=r"affine_backward returned a \w+( of 2)? as grad:x: it must"
    ):
        call(*file_with(f"    return {gradient}, w, dout.sum(0)\n"))


def test_a_gradient_of_another_shape_is_a_finding_without_a_reference_too(call) -> None:
    status, out = call(*file_with("    return dout, x.T @ dout, dout.sum(0)\n"))

    assert status == 1
    assert "the gradient of x has shape (4, 5); it must be (4, 3)" in out


# ── what is missing is asked for in the command line's own terms ─────────────────────────────────
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], r"one for each argument of affine_forward\(x, w, b\), a shape .*\(--shape x=4,3\)"),
        (["--shape", "x=4,3"], r"nothing was given for w, b: add --shape w=N,N --shape b=N,N"),
        ([*AFFINE, "--no-grad", "W"], r"--no-grad W names no input. Did you mean 'w'"),
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


# ── packages, modules, classes with arguments ───────────────────────────────────────────────────
PACKAGE = {
    "mine/__init__.py": "",
    "mine/tools.py": "import numpy as np\n\ndef sigmoid(x):\n    return 1 / (1 + np.exp(-x))\n",
    "mine/deep/layers.py": """from ..tools import sigmoid
from .numbers import ONE

def silu_forward(x):
    return x * sigmoid(x), x

def silu_backward(dout, x):
    from mine.tools import sigmoid as late
    return dout * late(x) * (ONE + x * (ONE - late(x)))

class Dense:
    def __init__(self, i, o=5, scale=1.0):
        import numpy as np
        self.W, self.scale = np.ones((i, o)), scale

    def forward(self, x):
        self.x = x
        return self.scale * (x @ self.W)

    def backward(self, dout):
        self.dW = self.scale * self.x.T @ dout
        return self.scale * dout @ self.W.T
""",
    "mine/deep/numbers.py": "ONE = 1\n",
}
SILU = "silu_forward,silu_backward"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A package with relative imports, in part without `__init__.py`; left no trace of."""
    for name, text in PACKAGE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in [n for n in sys.modules if n == "mine" or n.startswith("mine.")]:
        del sys.modules[name]


@pytest.mark.parametrize("where", ["mine/deep/layers.py", "mine.deep.layers"])
@pytest.mark.parametrize("reference", ["torch.nn.functional:silu", "torch.nn:SiLU"])
def test_packages_and_modules_by_dotted_names(call, package, where: str, reference: str) -> None:
    status, out = call(f"{where}:{SILU}", "--reference", reference, "--shape", "x=4,3")

    assert status == 0
    assert "differentiated by torch" in out


@pytest.mark.parametrize(
    "given", [["Dense(3, scale=2.0)"], ["Dense", "--init", "i=3", "--init", "scale=2.0"]]
)
def test_a_class_is_made_with_arguments(call, package, given: list[str]) -> None:
    name, *init = given
    status, _ = call(
        f"mine/deep/layers.py:{name}", *init, "--shape", "x=4,3", "--shape", "W=3,5",
        "--upstream", json.dumps([[1, 2, 3, 4, 5]] * 4),
    )  # fmt: skip
    config = json.loads(Path("reports/Dense/verdict.json").read_text())["config"]["check"]

    assert status == 0
    assert config["upstream"] == "given"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("mine.deep.layer:f", "There is no module mine.deep.layer, neither installed nor in"),
        ("mine.deep.layers:Dens", "mine.deep.layers has no 'Dens'. Did you mean 'Dense'"),
        ("mine/deep/layers.py:Dense", "Dense cannot be made without arguments"),
        ("mine/deep/layers.py:Dense(i=x)", "with plain numbers and texts"),
        ("mine/deep/layers.py:Dense(4, o=2, z=1)", r"cannot be made with Dense\(4, o=2, z=1\)"),
    ],
)
def test_names_that_lead_nowhere_are_told(call, package, target: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        call(target, "--shape", "x=4,3")


def test_a_tolerance_stands_in_the_headline(call) -> None:
    _, out = call(*affine("right"), "--tolerance", "1e-3")

    assert out.startswith("AGREE: affine_forward (within a tolerance chosen by the user)\n")
    assert "within rtol = 0.001." in out.splitlines()[1]
