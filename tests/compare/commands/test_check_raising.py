"""`handgrad check` of code that raises or returns no gradient: a finding, with its line."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from compare.errors import UserError
from tests.compare.commands.check_calls import AFFINE, COURSEWORK, PAIR

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


@pytest.mark.parametrize("status", ["0", "", "3"])
@pytest.mark.parametrize("where", ["forward", "backward"])
def test_code_that_stops_the_program_is_no_agreement(call, where: str, status: str) -> None:
    stop = f"sys.exit({status})"
    forward = stop if where == "forward" else "x @ w + b"
    backward = f"    {stop}\n" if where == "backward" else "    return dout @ w.T\n"

    with pytest.raises(UserError, match=rf"stops the program .sys.exit, status {status or None}."):
        call(*with_sys(file_with(backward, forward)))


def with_sys(arguments: list[str]) -> list[str]:
    mine = Path("mine.py")
    mine.write_text("import sys\n" + mine.read_text())
    return arguments


def test_a_file_of_no_text_is_named_without_what_is_in_it(call) -> None:
    for content in (b"\x00\x01x", b"\xa4\x90\x1b[31m"):
        Path("mine.py").write_bytes(content)
        with pytest.raises(UserError, match=r"mine\.py fails when it is imported") as raised:
            call("mine.py:forward,backward", "--shape", "x=3")
        told = str(raised.value)
        assert "None" not in told
        assert "[31m" not in told
