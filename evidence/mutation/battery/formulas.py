"""Formulas with what they mean in torch; the same composed in Python; and some that are refused."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from evidence.mutation.battery.data import Shape

Shapes = tuple[tuple[str, Shape], ...]


def numbers(names: str) -> Shapes:
    return tuple((name, ()) for name in names.split())


X, XY, XYZ = numbers("x"), numbers("x y"), numbers("x y z")
PRODUCT: Shapes = (("W", (3, 2)), ("x", (2,)))
SQUARE: Shapes = (("W", (3, 3)), ("x", (3,)))
ROWS: Shapes = (("x", (2, 3)), ("y", (3,)))


def _torch() -> Any:
    return import_module("torch")


def _largest(*xs: Any) -> Any:
    torch = _torch()
    found = xs[0]
    for x in xs[1:]:
        like = next(a for a in (found, x) if isinstance(a, torch.Tensor))
        found, x = (torch.as_tensor(a, dtype=like.dtype) for a in (found, x))
        found = torch.maximum(found, x)
    return found


_FORMULAS: list[tuple[str, Callable, Shapes]] = [
    ("(x + y) * z", lambda x, y, z: (x + y) * z, XYZ),
    (
        "1/(1+exp(-(w0*x0 + w1*x1 + w2)))",
        lambda a, b, c, d, e: (a * b + c * d + e).sigmoid(),
        numbers("w0 x0 w1 x1 w2"),
    ),
    ("(x*y + max(z, w)) * 2", lambda x, y, z, w: (x * y + _largest(z, w)) * 2, numbers("x y z w")),
    ("norm2(W @ x)", lambda W, x: (W @ x).square().sum(), PRODUCT),
    ("sum((W @ x)**2)", lambda W, x: (W @ x).square().sum(), PRODUCT),
    ("x - y - (x - z) / (y / z) / 2", lambda x, y, z: x - y - (x - z) / (y / z) / 2, XYZ),
    ("-x**2 * -y + (-x)**2", lambda x, y: -(x**2) * -y + (-x) ** 2, XY),
    ("x - (y - z) + (x + (y + z))", lambda x, y, z: x - (y - z) + (x + (y + z)), XYZ),
    ("x / (y * z) - (x - 1) / (x + y)", lambda x, y, z: x / (y * z) - (x - 1) / (x + y), XYZ),
    ("3 - x / 4 + 5 / y - 1 / (x * y)", lambda x, y: 3 - x / 4 + 5 / y - 1 / (x * y), XY),
    ("1 / x / (1 / y)", lambda x, y: 1 / x / (1 / y), XY),
    ("1 / (1 / x) * 3 - 1 / (x + 1)", lambda x: x * 3 - 1 / (x + 1), X),
    ("(x + 1)**2 - (2*x)**3 + (x**2)**3 - (x * y)**2", lambda x, y:
        (x + 1) ** 2 - (2 * x) ** 3 + (x**2) ** 3 - (x * y) ** 2, XY),
    ("(x - 2) * (y + 3) * 4 - -(x * y)", lambda x, y: (x - 2) * (y + 3) * 4 + x * y, XY),
    ("relu(x - y) + 2*relu(y - x)", lambda x, y: (x - y).relu() + 2 * (y - x).relu(), XY),
    ("(1 / x)**2 - -x * 2 * (y * 3)", lambda x, y: (1 / x) ** 2 + x * 6 * y, XY),
    ("max(x, 0.5, y) + max(-1, x) - max(-2, -x)", lambda x, y:
        _largest(x, 0.5, y) + _largest(-1, x) - _largest(-2, -x), XY),
    ("max(-1, x) * (-2) * y", lambda x, y: _largest(-1, x) * -2 * y, XY),
    ("sqrt(x) + log(y) * tanh(z) - sigmoid(x) * exp(-y) + reciprocal(z)", lambda x, y, z:
        x.sqrt() + y.log() * z.tanh() - x.sigmoid() * (-y).exp() + 1 / z, XYZ),
    ("(exp(x) - max(x, y))**2 / (tanh(x) + sum(y))", lambda x, y:
        (x.exp() - _largest(x, y)) ** 2 / (x.tanh() + y), XY),
    ("x @ W @ x + x @ x", lambda W, x: x @ W @ x + x @ x, SQUARE),
    ("(W @ (W @ x)) * (x @ (W @ W)) / 2", lambda W, x: (W @ (W @ x)) * (x @ (W @ W)) / 2, SQUARE),
    ("(W * 2 - W) @ -x", lambda W, x: (W * 2 - W) @ -x, SQUARE),
    ("x * x + x", lambda x: x * x + x, X),
    ("(x - x)**1 * y + x * y", lambda x, y: (x - x) * y + x * y, XY),
    ("x * y - x / y + x", lambda x, y: x * y - x / y + x, ROWS),
    ("+x + 2*3*y - 2 - 1e-1 + (1 + 2) * x", lambda x, y: x + 6 * y - 2 - 0.1 + 3 * x, XY),
    ("x * -2 + x / -4 - -1 - x", lambda x: x * -2 + x / -4 + 1 - x, X),
    ("2**x + 0.5**x", lambda x: 2**x + 0.5**x, X),
    ("(max(2, 3) + exp(0)) * x + max(1, 2) / x", lambda x: 4 * x + 2 / x, X),
    ("q1 + q1 * q3 - q2", lambda a, b, c: a + a * b - c, numbers("q1 q3 q2")),
    ("\n x\n + y ", lambda x, y: x + y, XY),
]  # fmt: skip


def _shared(x: Any, y: Any) -> Any:
    s = x * y
    return s * s + 3 - s / 2 + 1 / s - (2 - s) + 2**s * 4 + (5 + s) / np.float64(2) + (+s)


def _functions(x: Any, y: Any) -> Any:
    e = import_module("manual.expression")
    return e.exp(x) - e.log(y) + e.maximum(x, y, 1) * e.tanh(y) + e.sigmoid(x) / e.sqrt(y) + (
        e.reciprocal(x) + e.norm2(x) * e.summed(y))  # fmt: skip


_COMPOSED: list[tuple[str, Callable, Shapes, Callable]] = [
    ("s s + 3 - … of s = x y", _shared, XY, _shared),
    ("every function", lambda x, y: x.exp() - y.log() + _largest(x, y, 1) * y.tanh()
        + x.sigmoid() / y.sqrt() + 1 / x + x * x * y, XY, _functions),
    ("x @ W - -W @ x", lambda W, x: x @ W + W @ x, SQUARE, lambda W, x: x @ W - -W @ x),
]  # fmt: skip

GATES = {
    "x + 1": "AddConstantGate", "2 + x": "AddConstantGate", "x - 1": "AddConstantGate",
    "x * 2": "MultiplyConstantGate", "3 * x": "MultiplyConstantGate",
    "x / 2": "MultiplyConstantGate", "x + y": "AddGate", "x - y": "SubtractGate",
    "x * y": "MultiplyGate", "x / y": "DivideGate", "1 / x": "ReciprocalGate",
    "3 / x": "ReciprocalGate MultiplyConstantGate", "2 - x": "NegateGate AddConstantGate",
    "-x": "NegateGate", "x**2": "PowerGate", "2**x": "MultiplyConstantGate ExpGate",
    "max(x, 0)": "ConstantGate MaxGate", "x @ y": "MatMulGate",
}  # fmt: skip
FORMULAS = {text: (twin, shapes) for text, twin, shapes in _FORMULAS}
COMPOSED = {name: (twin, shapes, compose) for name, twin, shapes, compose in _COMPOSED}
REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("x.y", {"x": 1}), ("x[0]", {"x": 1}), ("foo(x)", {"x": 1}), ("x.exp(y)", {"x": 1, "y": 2}),
    ("x ^ 2", {"x": 1}), ("x = 3", {"x": 1}), ("max(x) + 1", {"x": 1}), ("exp(x, x)", {"x": 1}),
    ("exp()", {}), ("exp(x=2)", {"x": 1}), ("max(x, x, key=x)", {"x": 1}),
    ("exp + x", {"x": 1, "exp": 2}),
    ("x if x else x", {"x": 1}), ("x == 2", {"x": 1}), ("x and x", {"x": 1}), ("not x", {"x": 1}),
    ("1/0 * x", {"x": 1}), ("(-8)**0.5 * x", {"x": 1}), ("1e999 * x", {"x": 1}),
    ("9**9**9 * x", {"x": 1}), ("x ** x", {"x": 1}), ("(-2) ** x", {"x": 1}), ("0 ** x", {"x": 1}),
    ("x / 0", {"x": 1}), ("True * x", {"x": 1}), ("'a' * x", {"x": 1}),
    ("2j * x", {"x": 1}), ("[1] @ x", {"x": 1}), ("x // 2", {"x": 1}), ("~x", {"x": 1}),
    ("x +", {"x": 1}), ("(x", {"x": 1}), ("", {}), ("x; x", {"x": 1}), ("x \0", {"x": 1}),
    ("2 + 3", {}), ("x", {"x": 1}), ("max(1, 2)", {}), ("log(-1) * x", {"x": 1}),
    ("exp(1000) + x", {"x": 1}),    ("f * 2", {"f": 1}),
    ("x * y", {"x": 1}), ("x * 2", {"x": 1, "y": 2}), ("x * 2", {"x": [[1], [1, 2]]}),
    ("x * 2", {"x": "two"}), ("x * 2", {"x": None}), ("x @ y", {"x": [1, 2], "y": [1, 2, 3]}),
    ("x @ y", {"x": [[1, 2]], "y": [[1, 2]]}), ("x @ 2", {"x": [1, 2]}), ("2 @ x", {"x": [1, 2]}),
    ("x + y", {"x": [1, 2], "y": [1, 2, 3]}), ("-" * 4000 + "x", {"x": 1}),
    ("x" + " + x" * 2600, {"x": 1}), ("lambda: x", {"x": 1}), ("x if", {"x": 1}),
]  # fmt: skip
REFUSED_TERMS: dict[str, Callable[[Any], Any]] = {
    "no names": lambda e: e.variables(" "),
    "a name that is none": lambda e: e.variables("x 2y"),
    "an array in a formula": lambda e: e.variables("x")[0] + np.ones(3),
    "an array on the left": lambda e: np.ones(3) * e.variables("x")[0],
    "an array below": lambda e: np.ones(3) / e.variables("x")[0],
    "an array less a term": lambda e: np.ones(3) - e.variables("x")[0],
    "an array to a term": lambda e: np.ones(3) ** e.variables("x")[0],
    "an array times": lambda e: np.ones(3) @ e.variables("x")[0],
    "less a text": lambda e: e.variables("x")[0] - "2",
    "by a text": lambda e: e.variables("x")[0] / "2",
    "plus a text": lambda e: e.variables("x")[0] + "2",
    "a text": lambda e: e.variables("x")[0] * "2",
    "a function of text": lambda e: e.exp("2"),
    "no upstream for an array": lambda e: e.expression("x * 2", x=[1, 2]).gradients,
    "an upstream of another shape": lambda e: e.expression("x * 2", x=[1, 2]).backward([1, 2, 3]),
    "an upstream that is text": lambda e: e.expression("x * 2", x=1).backward("one"),
    "another point without a value": lambda e: e.expression("x * y", x=1, y=2).at({"x": 1}),
}
