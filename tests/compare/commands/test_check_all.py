"""`handgrad check --all`: many submissions against one suite, whatever each of them does."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from compare import check
from compare.commands.check_cli import check as command
from compare.commands.suite import page
from compare.commands.suite.row import COLUMNS, Row
from compare.commands.suite.submissions import Job, python_files, submissions
from compare.commands.suite.suite import COURSE, FORWARD, Function, chosen, read
from compare.commands.suite.together import check_all, try_out
from compare.errors import UserError
from compare.pair.loading import load_names

SUITE = """
[affine]
check = ["affine_forward, affine_backward", "fc_forward, fc_backward"]
reference = "references.py:affine"
shapes = {x = [4, 3], w = [3, 5], b = [5]}

[relu]
check = ["relu_forward, relu_backward", "ReLU"]
reference = "torch.nn.functional:relu"
shapes = {x = [4, 5]}

[noise]
check = "noise_forward, noise_backward"
reference = ["references.py:drop", "forward"]
shapes = {x = [4, 5]}

[nobody]
check = "nobody_forward, nobody_backward"
shapes = {x = [4, 5]}
"""
REFERENCES = """
def affine(x, w, b):
    return x @ w + b

def drop(x):
    return x / 2
"""
RIGHT = """import numpy as np

def affine_forward(x, w, b):
    return x @ w + b, (x, w)

def affine_backward(dout, cache):
    x, w = cache
    return dout @ w.T, x.T @ dout, dout.sum(axis=0)

def relu_forward(x):
    return np.maximum(x, 0), x

def relu_backward(dout, x):
    return dout * (x > 0)
"""
AFFINE = "return dout @ w.T, x.T @ dout, dout.sum(axis=0)"
RELU = "return dout * (x > 0)"
WRONG = {  # what is written in place of the right line; what is found then
    "return dout @ w.T, x.T @ dout, dout.mean(axis=0)": ("b", "batch size"),
    "return dout @ w.T, -(x.T @ dout), dout.sum(axis=0)": ("w", "sign"),
    "return dout @ w.T, 2 * (x.T @ dout), dout.sum(axis=0)": ("w", "factor 2"),
    "return dout @ w.T, x.T @ dout, dout[0]": ("b", ""),
    "return dout @ w.T * 1.001, x.T @ dout, dout.sum(axis=0)": ("x", ""),
    "return dout @ w.T, x.T @ dout, None": ("b", ""),
    "raise ValueError('not yet')": ("x w b", ""),
    "dout *= 2; return dout @ w.T / 2, x.T @ dout / 2, dout.sum(axis=0) / 2": ("", ""),
    "return dout * x": ("x", ""),
    "return dout * (x > 0.5)": ("x", ""),
    "return dout": ("x", ""),
    "return (x > 0) * 1.0": ("x", ""),
}
BROKEN = {  # a line at the end of the file, or in place of the gradient of ReLU
    "crashes": ("import os; os._exit(3)", "crashed"),
    "segfault": ("import ctypes; ctypes.string_at(0)", "crashed"),
    "endless": ("while True: pass", "timeout"),
    "memory": ("return np.ones(10**13)", "disagree"),
    "asks": ("input('?')", "disagree"),
    "leaves": ("raise SystemExit", "error"),
}


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "references.py").write_text(REFERENCES)
    path = tmp_path / "suite.toml"
    path.write_text(SUITE)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write 36 submissions: right ones, planted mistakes, and files that break something."""
    root = tmp_path / "class"
    root.mkdir()

    def write(name: str, text: str) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)

    for i in range(8):
        write(f"right{i}.py", RIGHT if i else f"print('hello' * 10**6)\n{RIGHT}")
    for i, line in enumerate(WRONG):
        right = AFFINE if line.count(",") > 1 or "raise" in line or "@" in line else RELU
        write(f"wrong{i:02d}.py", RIGHT.replace(right, line))
    for name, (line, _) in BROKEN.items():
        write(f"{name}.py", RIGHT.replace(RELU, line))
    write("import_fails.py", f"import not_there\n{RIGHT}")
    write("import_hangs.py", f"import time\n{RIGHT}\nwhile True: time.sleep(60)\n")
    write("missing.py", RIGHT.replace("def affine_backward", "def affine_backwards"))
    write("syntax.py", RIGHT.replace(AFFINE, "return ("))
    write("=1+1.py", "raise ValueError('=cmd')")
    write("fc.py", RIGHT.replace("affine_", "fc_"))
    write("package/__init__.py", "")
    write("package/tools.py", "from numpy import maximum\n")
    write("package/layers.py", f"from .tools import maximum\n{RIGHT}".replace("np.max", "max"))
    write("halves/forward.py", RIGHT.partition("def affine_backward")[0])
    rest = RIGHT.partition("def affine_backward")[2]
    write("halves/backward.py", f"import numpy as np\n\ndef affine_backward{rest}")
    write("class/layer.py", "class ReLU:\n    def forward(self, x):\n        self.x = x\n"
          "        return x * (x > 0)\n    def backward(self, dout):\n"
          "        return dout * (self.x > 0)\n")  # fmt: skip
    write("two/a.py", RIGHT)
    write("two/b.py", RIGHT.replace(RELU, "return 2 * dout * (x > 0)"))
    write("noisy.py", f"{RIGHT}\ndef noise_forward(x):\n    return 3 * x, x\n"
          "\ndef noise_backward(dout, x):\n    return 3 * dout\n")  # fmt: skip
    write("__pycache__/old.py", "no")
    write("readme.txt", "no")
    return root


def expected() -> dict[tuple[str, str], str]:
    """Return the verdict of every row that is not `agree`."""
    found = {
        (f"wrong{i:02d}.py", "affine" if i < 8 else "relu"): "disagree" for i in range(len(WRONG))
    }
    found |= {(f"{name}.py", "relu"): verdict for name, (_, verdict) in BROKEN.items()}
    for function in ("affine", "relu"):
        found["import_fails.py", function] = "error"
        found["import_hangs.py", function] = "timeout"
        found["syntax.py", function] = "error"
        found["=1+1.py", function] = "missing"
    found["missing.py", "affine"] = "missing"
    found["class", "affine"] = "missing"
    found["two", "relu"] = "disagree"
    found["noisy.py", "noise"] = "incomplete"
    return found


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_every_submission_has_its_rows_whatever_the_others_do(
    folder: Path, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(command)
    call = ["--all", str(folder), "--suite", str(suite), "--timeout", "6", "--out", "found"]
    result = CliRunner().invoke(app, call)

    assert result.exit_code == 1
    rows = table(tmp_path / "found/submissions.csv")
    not_agreed = {
        (row["submission"].lstrip("'"), row["function"]): row["verdict"]
        for row in rows
        if row["verdict"] != "agree" and (row["function"], row["verdict"]) != ("noise", "missing")
    }
    assert not_agreed == expected()
    assert not [row for row in rows if row["function"] == "nobody"]
    _check_causes({row["submission"]: row for row in rows if row["verdict"] == "disagree"})
    _check_copies([row for row in rows if row["submission"] == "two"])
    shown = (tmp_path / "found/index.html").read_text(encoding="utf-8")
    assert all(row["submission"].lstrip("'") in shown for row in rows)
    assert f"{len({r['submission'] for r in rows})} submissions" in result.output
    assert not list(folder.rglob("*.pyc"))


def _check_causes(rows: dict[str, dict[str, str]]) -> None:
    for i, (gradients, cause) in enumerate(WRONG.values()):
        row = rows[f"wrong{i:02d}.py"]
        if gradients:
            assert row["gradients"] == gradients
        assert row["cause"].startswith(cause)
        assert row["file"].startswith(f"wrong{i:02d}.py:")


def _check_copies(rows: list[dict[str, str]]) -> None:
    assert [(row["file"].partition(":")[0], row["verdict"]) for row in rows[:4]] == [
        ("a.py", "agree"), ("b.py", "agree"), ("a.py", "agree"), ("b.py", "disagree"),
    ]  # fmt: skip


# ── the suite of the course ─────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("function", read(COURSE), ids=lambda f: f.name)
def test_what_torch_computes_itself_agrees_and_a_changed_gradient_does_not(
    function: Function,
) -> None:
    """Torch's own gradients in NumPy's clothes stand for a right submission."""
    reference = load_names(function.references[0])[0]
    forward, backward = _in_numpy(reference, function)
    wanted = function.wanted
    how: dict[str, Any] = {"no_grad": wanted.no_grad, "resize": wanted.resize, "shrink": False}
    inputs = wanted.inputs

    assert check(forward, backward, reference, inputs, cases=wanted.cases or None, **how).agrees
    own = ["random", "given"]
    wrong = check(forward, lambda *d: _off(backward(*d)), reference, inputs, cases=own, **how)
    assert wrong.verdict == "disagree"


def _in_numpy(reference: Any, function: Function) -> tuple[Any, Any]:
    names = list(function.wanted.inputs)
    floats = [n for n in names if n in function.wanted.shapes and n not in function.wanted.no_grad]

    def run(arguments: tuple) -> tuple[list, tuple]:
        made = [torch.tensor(np.array(a)) if isinstance(a, np.ndarray) else a for a in arguments]
        leaves = [m.requires_grad_() for n, m in zip(names, made, strict=True) if n in floats]
        found = reference(*made)
        return leaves, found if isinstance(found, tuple) else (found,)

    def forward(*arguments: Any) -> tuple:
        with torch.no_grad():
            outputs = run(arguments)[1]
        return (*(y.detach().numpy() for y in outputs), arguments)

    def backward(*given: Any) -> tuple:
        *upstreams, arguments = given
        leaves, outputs = run(arguments)
        dys = [torch.tensor(np.array(dy, dtype=np.float64)) for dy in upstreams]
        return tuple(g.numpy() for g in torch.autograd.grad(outputs, leaves, dys))

    return forward, backward


def _off(gradients: tuple) -> tuple:
    return (gradients[0] * 1.0001, *gradients[1:])


# ── what is refused ─────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no table"),
        ("[a", "not valid TOML"),
        ("a = 1", "'a' stands outside a table"),
        ("[a]\nshapes = {x = [2]}", r"\[a\]: key 'check' is missing"),
        ("[a]\ncheck = 'f'\nshapes = {x = [2]}\nrefrence = 'a'", "Did you mean 'reference'"),
        ("[a]\ncheck = 'f, b, c'\nshapes = {x = [2]}", "must be FORWARD,BACKWARD or one NAME"),
        ("[a]\ncheck = 'f('\nshapes = {x = [2]}", "no name of a function"),
        ("[a]\ncheck = 'f'\nshapes = {x = [2]}\nreference = 'r'", "must be FILE.py:NAME"),
        ("[a]\ncheck = 'f'\nshapes = {x = [2]}\nrtol = 2", "rtol"),
        ("[a]\ncheck = 'f'\nshapes = {x = [2]}\nno_grad = ['y']", "no_grad names 'y'"),
    ],
)
def test_a_suite_that_cannot_be_used_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "suite.toml"
    path.write_text(text)

    with pytest.raises(UserError, match=message):
        read(path)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("references.py:afine", "Did you mean 'affine'"),
        ("torch.nn.functional:linear", "linear"),
        ("no_such_module:f", "There is no module no_such_module"),
    ],
)
def test_a_reference_that_does_not_work_is_told_before_anything_is_checked(
    reference: str, message: str, suite: Path
) -> None:
    suite.write_text(SUITE.replace("references.py:affine", reference, 1))

    with pytest.raises(UserError, match=message):
        try_out(read(suite)[:1])


def test_a_folder_without_submissions_is_refused(tmp_path: Path, suite: Path) -> None:
    for path, message in ((tmp_path / "none", "no such folder"), (tmp_path / "x", "holds no subm")):
        (tmp_path / "x").mkdir(exist_ok=True)
        with pytest.raises(UserError, match=message):
            check_all(path, read(suite))


def test_only_known_functions_can_be_chosen(suite: Path) -> None:
    assert [f.name for f in chosen(read(suite), ["relu"])] == ["relu"]
    with pytest.raises(UserError, match="Did you mean 'affine'"):
        chosen(read(suite), ["afine"])


def test_options_that_the_suite_answers_have_no_place_beside_all(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, ["--all", str(tmp_path), "--shape", "x=4"])

    assert "--shape has no place beside --all" in str(result.exception)


# ── what is found in a submission ───────────────────────────────────────────────────────────────
def test_files_that_nobody_wrote_are_left_out(tmp_path: Path) -> None:
    for name in ("a.py", "venv/b.py", ".git/c.py", "__pycache__/d.py", "e/f.py", "g.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")

    assert [p.name for p in python_files(tmp_path)] == ["a.py", "f.py"]


def test_a_row_says_what_there_is_where_a_function_is_missing(folder: Path, suite: Path) -> None:
    known = {s.name: s for s in submissions(folder)}
    (missing, *_) = known["missing.py"].jobs(read(suite))
    (syntax, *_) = known["syntax.py"].jobs(read(suite))

    assert isinstance(missing, Row)
    assert missing.reason == "affine_backward cannot be found, but affine_forward"
    assert isinstance(syntax, Row)
    assert syntax.reason.startswith("line 8: SyntaxError")


def test_functions_in_two_files_are_put_together(folder: Path, suite: Path) -> None:
    halves = next(s for s in submissions(folder) if s.name == "halves")
    (job, *_) = halves.jobs(read(suite))

    assert isinstance(job, Job)
    assert [path.name for path in job.files] == ["forward.py", "backward.py"]


# ── the page ────────────────────────────────────────────────────────────────────────────────────
def test_the_page_and_the_table_are_harmless(tmp_path: Path) -> None:
    rows = [Row("<b>x", "=1+1", "disagree", ("w",), "<script>", "why\nso", "a.py:3")]
    place, _ = page.save(rows, tmp_path / "r", "t", "f")
    (row,) = table(tmp_path / "r/submissions.csv")

    assert tuple(row) == COLUMNS
    assert (row["function"], row["reason"]) == ("'=1+1", "why so")
    assert "<script>" not in place.read_text(encoding="utf-8")
    assert page.unused(tmp_path / "r").name == "r-2"


def test_the_terminal_shows_what_does_not_agree_and_counts_last() -> None:
    rows = [Row("a", "f", "agree"), Row("b", "f", "missing", reason="no f"),
            Row("c", "f", "disagree", ("w",), "sign: " + "x" * 99)]  # fmt: skip
    lines = page.terminal(rows, 40).splitlines()

    assert [line.split()[0] for line in lines[:2]] == ["c", "b"]
    assert max(map(len, lines[:2])) <= 40
    assert lines[-1] == "3 submissions, 3 functions: 1 agree, 1 disagree, 1 missing."


def test_forward_is_no_name_of_a_reference_file() -> None:
    assert read(COURSE)[2].references[-1] == FORWARD
    assert json.dumps(Row("a", "f", "agree").__dict__)
