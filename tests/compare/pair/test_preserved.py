"""Runs on strange numbers leave nothing behind in a user's state, wherever that is kept."""

from __future__ import annotations

import types
from collections.abc import Callable

import numpy as np
import pytest

import compare
from compare.pair.preserved import preserved

appears: float  # not there before the first call
KEPT = {"w": 0.0}


def forward(x, w):
    return x @ w, (x, w)


class Layer:
    total = 0.0


def in_a_module(dout, cache):
    x, w = cache
    KEPT["w"] = KEPT["w"] + x.T @ dout
    return dout @ w.T, KEPT["w"]


def in_a_class(dout, cache):
    x, w = cache
    Layer.total = Layer.total + x.T @ dout
    return dout @ w.T, Layer.total


def in_a_default(dout, cache, kept=[0.0]):  # noqa: B006
    x, w = cache
    kept[0] = kept[0] + x.T @ dout
    return dout @ w.T, kept[0]


def on_itself(dout, cache):
    x, w = cache
    on_itself.total = getattr(on_itself, "total", 0.0) + x.T @ dout  # type: ignore[attr-defined]
    return dout @ w.T, on_itself.total  # type: ignore[attr-defined]


def in_a_new_global(dout, cache):
    global appears
    x, w = cache
    appears = globals().get("appears", 0.0) + x.T @ dout
    return dout @ w.T, appears


@pytest.mark.parametrize(
    "backward", [in_a_module, in_a_class, in_a_default, on_itself, in_a_new_global]
)
def test_a_gradient_that_accumulates_in_state_is_wrong_and_no_traceback(backward: Callable) -> None:
    report = compare.check(forward, backward, lambda x, w: x @ w, {"x": (4, 3), "w": (3, 5)})

    assert report.verdict == "disagree"
    assert "grad:w" in report.reason


def test_a_module_of_the_users_own_is_given_back() -> None:
    module = types.ModuleType("theirs")
    module.__file__ = "/home/somebody/theirs.py"
    module.total = np.zeros(2)  # type: ignore[attr-defined]
    space = {"theirs": module}
    exec("def add(g):\n    theirs.total = theirs.total + g\n    theirs.new = g", space)
    add = space["add"]
    with preserved(add):
        add(1.0)  # type: ignore[operator]

    assert module.total.tolist() == [0.0, 0.0]  # type: ignore[attr-defined]
    assert not hasattr(module, "new")
