"""What is not allowed: on the syntax tree, and, for what hides from that, while it runs."""

from __future__ import annotations

import platform
from collections.abc import Callable

import pytest

from compare.pair.limited import ARCHITECTURES, landlock
from teach.exercises.definition import BUILT_IN
from teach.exercises.grade import Grade
from teach.exercises.rules import ALLOWED, broken_rules

SOLUTION = BUILT_IN / "linear" / "solution.py"

RIGHT = "return dout @ w.T, x.T @ dout, dout.sum(axis=0)"


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import torch", "import torch"),
        ("from torch import nn", "from torch import nn"),
        ("import autograd.numpy as np", "import autograd.numpy"),
        ("import jax, math", "import jax"),
        ("import tensorflow", "import tensorflow"),
        ("from manual.linear import Linear", "from manual.linear import Linear"),
        ("import compare", "import compare"),
        ("from torch_ref import gates", "from torch_ref"),
        ("from scipy.optimize import approx_fprime", "from scipy.optimize"),
        ("import os", "import os"),
        ("import sys", "import sys"),
        ("import importlib", "import importlib"),
        ("import subprocess", "import subprocess"),
        ("import ctypes", "import ctypes"),
        ("from . import other", "from . import other"),
        ("import numpy.testing", "import numpy.testing"),
        ("from numpy import ctypeslib", "from numpy import ctypeslib"),
        ("t = __import__('torch')", "__import__"),
        ("eval('1')", "eval"),
        ("exec('1')", "exec"),
        ("open('a', 'w')", "open"),
        ("getattr(x, 'y')", "getattr"),
        ("globals()", "globals"),
        ("().__class__.__subclasses__()", ".__class__"),
        ("f.__globals__", ".__globals__"),
        ("import dataclasses\ndataclasses.inspect.importlib.import_module('torch')", ".importlib"),
        ("import enum\nenum.sys", ".sys"),
        ("import numpy as np\nnp.save('a', 1)", ".save (line 2)"),
        ("x.tofile('a')", ".tofile"),
        ("import numpy as np\nnp.allclose = print", "a change of np.allclose"),
        ("import numpy as np\ndel np.linalg.norm", "a change of np.linalg.norm"),
        ("from numpy import linalg\nlinalg.norm = print", "a change of linalg.norm"),
        ("import dataclasses\ndataclasses._create_fn('f', [], ['1'])", "._create_fn"),
        ("from dataclasses import _create_fn", "_create_fn"),
        ("import typing\ntyping.get_type_hints(f)", ".get_type_hints"),
        ("from typing import ForwardRef", "ForwardRef"),
        ("class A:\n    __annotations__['x=1'] = int", "__annotations__"),
        ("import numpy as np\nnp._core", "._core"),
        ("h = 1e-30j", "complex numbers"),
        ("complex(1, 2)", "complex numbers"),
        ("import numpy as np\nnp.complex128(1)", "complex numbers"),
    ],
)
def test_it_is_refused_before_it_runs(source: str, what: str) -> None:
    found = broken_rules(source, ALLOWED)

    assert any(what in text for text in found), found


@pytest.mark.parametrize(
    "source",
    [
        "import numpy as np\nimport numpy.linalg\nfrom numpy.typing import NDArray",
        "from __future__ import annotations\nfrom collections.abc import Callable\nimport math",
        "from dataclasses import dataclass\nfrom functools import partial, reduce",
        "class Cache:\n    def __init__(self, x):\n        self.x = x",
        "cache = {}\ncache['x'] = 1\nif __name__ == '__main__':\n    print(cache)",
        "import numpy as np\ny = np.zeros(3)\ny[0] += np.exp(y).sum()",
    ],
)
def test_honest_code_is_not_refused(source: str) -> None:
    assert broken_rules(source, ALLOWED) == []


def test_a_teacher_may_allow_more() -> None:
    source = "from scipy.special import erf"

    assert broken_rules(source, ALLOWED)
    assert broken_rules(source, (*ALLOWED, "scipy.special")) == []
    assert broken_rules("import scipy.optimize", (*ALLOWED, "scipy.special"))


@pytest.fixture
def unruled(attempt, monkeypatch) -> Callable[..., Grade]:
    """Grade as if a submission had found a way past the rules on its syntax tree."""
    monkeypatch.setattr("teach.exercises.grade.broken_rules", lambda *_: [])
    return attempt


@pytest.mark.parametrize(
    ("trick", "what"),
    [
        ("__import__('torch')", "import torch"),
        ("__import__('manual.linear')", "import manual"),
        ("__import__('os').system('true')", "os.system"),
        ("__import__('os').kill(1, 0)", "os.kill"),
        ("__import__('subprocess').run(['true'])", "subprocess.Popen"),
        ("__import__('ctypes').CDLL(None)", "ctypes."),
        ("open('planted', 'w')", "planted"),
        ("open('/etc/hosts')", "open('/etc/hosts')"),
        ("open('solution.py')", "solution.py"),
        (f"open({str(SOLUTION)!r})", "solution.py"),
    ],
)
def test_what_hides_from_the_tree_is_refused_while_it_runs(unruled, trick: str, what: str) -> None:
    result = unruled(f"try: {trick}\nexcept BaseException: pass\n{RIGHT}")

    assert (result.status, result.score) == ("not allowed", 0.0)
    assert what in result.message


def test_a_process_that_ends_itself_has_crashed(unruled) -> None:
    """With the right answer before its eyes: an early end is no verdict."""
    result = unruled(f"__import__('os')._exit(0)\n{RIGHT}")

    assert (result.status, result.score) == ("crashed", 0.0)
    assert "ended by itself, with status 0" in result.message


def test_the_child_has_neither_torch_nor_the_reference(unruled) -> None:
    """What a submission could look for in its own process is not there, nor anybody's tokens."""
    look = (
        "import sys, os\nprint(sorted(n for n in sys.modules if n[:5] in ('torch', 'compa')), "
        "[n for n in os.environ if 'TOKEN' in n])"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADER_TOKEN", "secret")
        result = unruled(f"{look}\n{RIGHT}")

    assert result.status == "right"
    assert result.printed.startswith("[] []")


UNGUARDED = """
import os, resource, socket, sys
frame = sys._getframe()
while frame:
    for value in list(frame.f_locals.values()):
        if type(value).__name__ == "Server":
            value.guard.shut = False  # what Python can guard, Python can open
    frame = frame.f_back
def tried(name, act):
    try: act()
    except BaseException as error: print(name, type(error).__name__)
    else: print(name, "done")
"""


@pytest.mark.skipif(not landlock() or platform.machine() not in ARCHITECTURES,
                    reason="the system has no Landlock, or an unknown machine")  # fmt: skip
def test_the_walls_stand_where_the_guard_has_fallen(unruled) -> None:
    """A shell, a socket, the solution: refused by the system, not by Python."""
    attempts = {
        "solution": f"open({str(SOLUTION)!r})",
        "passwords": "open('/etc/passwd')",
        "folder": f"os.listdir({str(SOLUTION.parent)!r})",
        "writing": f"open({str(SOLUTION.parent / 'planted')!r}, 'w')",
        "shell": "os.execv('/bin/sh', ['sh', '-c', 'true'])",
        "process": "os.fork()",
        "network": "socket.socket()",
        "grader": "os.kill(os.getppid(), 9)",
    }
    lines = [f"tried({name!r}, lambda: {act})" for name, act in attempts.items()]
    result = unruled("\n".join([*UNGUARDED.splitlines(), *lines, RIGHT]))

    assert result.printed.splitlines()[:8] == [f"{name} PermissionError" for name in attempts]
    assert result.status == "right"  # what it has derived counts


def test_an_honest_submission_may_load_what_numpy_and_python_load_late(attempt) -> None:
    late = "np.fft.fft(x)\nnp.polynomial.Polynomial([1.0])\n'é'.encode('latin-1')\nprint(repr(x))"

    assert attempt(f"{late}\n{RIGHT}", head="import numpy as np").status == "right"
