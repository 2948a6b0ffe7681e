"""What is not allowed: on the syntax tree, and, for what hides from that, while it runs."""

from __future__ import annotations

import pytest

from teach.exercises.rules import ALLOWED, broken_rules

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
        ("import numpy as np\nnp.save('a', 1)", "line 2: .save"),
        ("x.tofile('a')", ".tofile"),
        ("import numpy as np\nnp.allclose = print", "a change of np.allclose"),
        ("import numpy as np\ndel np.linalg.norm", "a change of np.linalg.norm"),
        ("from numpy import linalg\nlinalg.norm = print", "a change of linalg.norm"),
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


@pytest.mark.parametrize(
    ("trick", "what"),
    [
        ("__import__('torch')", "import torch"),
        ("__import__('manual.linear')", "import manual"),
        ("__import__('os').system('true')", "os.system"),
        ("__import__('os').kill(1, 0)", "os.kill"),
        ("__import__('subprocess').run(['true'])", "subprocess.Popen"),
        ("__import__('ctypes').CDLL(None)", "ctypes."),
        ("open('planted', 'w')", "open('planted')"),
        ("open('/etc/hosts')", "open('/etc/hosts')"),
    ],
)
def test_what_hides_from_the_tree_is_refused_while_it_runs(attempt, trick: str, what: str) -> None:
    """typing evaluates annotations that are strings."""
    hide = f'def hidden(v: "{trick}"): pass'
    body = f"{hide}\ntry:\n    typing.get_type_hints(hidden)\nexcept BaseException: pass\n{RIGHT}"
    result = attempt(body, head="import typing")

    assert (result.status, result.score) == ("not allowed", 0.0)
    assert what in result.message


def test_a_process_that_ends_itself_has_crashed(attempt) -> None:
    """With the right answer before its eyes: an early end is no verdict."""
    hide = "def hidden(v: \"__import__('os')._exit(0)\"): pass"
    result = attempt(f"{hide}\ntyping.get_type_hints(hidden)\n{RIGHT}", head="import typing")

    assert (result.status, result.score) == ("crashed", 0.0)
    assert "ended by itself, with status 0" in result.message


def test_the_child_has_neither_torch_nor_the_reference(attempt) -> None:
    """What a submission could look for in its own process is not there."""
    trick = "print(sorted(n for n in __import__('sys').modules if n[:5] in ('torch', 'compa')))"
    hide = f'def hidden(v: "{trick}"): pass'
    result = attempt(f"{hide}\ntyping.get_type_hints(hidden)\n{RIGHT}", head="import typing")

    assert result.status == "right"
    assert result.printed.startswith("[]")
