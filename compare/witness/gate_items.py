"""The elementary gates that are certified, broadcasting included, and a graph of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from compare.witness.cases import GradientCase, Item, layer_case
from compare.witness.layer_items import Branches
from manual.expression import expression
from manual.registry import GATES

Rng = np.random.Generator
ROWS, ROW = (3, 4), (4,)
FORMULA = "1 / (1 + exp((W @ x + x) @ x))"


def gates() -> Iterator[Item]:
    """Yield every gate that has an input, then a whole expression."""
    for name in ("AddGate", "SubtractGate", "MultiplyGate", "DivideGate"):
        yield _item(name, ROWS, ROW)
    tie = {"input 0": np.array([-3.0, 1.0]), "input 1": np.ones(1)}
    yield _item("MaxGate", ROWS, ROW, branches={"x = y": tie})
    yield _item("AddConstantGate", ROWS, arguments=(0.75,))
    yield _item("MultiplyConstantGate", ROWS, arguments=(-2.5,))
    for exponent in (1.0, 2.0, 3.0):
        yield _item("PowerGate", ROWS, arguments=(exponent,))
    for exponent in (0.5, -1.0):
        yield _item("PowerGate", ROWS, arguments=(exponent,), draw=_positive)
    yield _item("LogGate", ROWS, draw=_positive)
    yield _item("SigmoidGate", ROWS, branches={"x = 0": np.zeros(1)})
    for name in ("NegateGate", "ReciprocalGate", "ExpGate", "TanhGate"):
        yield _item(name, ROWS)
    yield _item("SumGate", ROWS)
    yield _item("SquaredNormGate", ROWS)
    shapes = {"matrix, matrix": (ROWS, (4, 2)), "matrix, vector": (ROWS, ROW),
              "vector, matrix": (ROW, (4, 2)),
              "matrices, matrix": ((2, 3, 4), (4, 2))}  # fmt: skip
    for label, pair in shapes.items():
        yield _item("MatMulGate", *pair, label=f" of {label}")
    yield Item(f"Expression {FORMULA}", "network", "Expression", _expression)


def _normal(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal(shape) + 0.01


def _positive(rng: Rng, shape: tuple[int, ...]) -> np.ndarray:
    return np.abs(rng.standard_normal(shape)) + 0.1


def _item(
    name: str,
    *shapes: tuple[int, ...],
    arguments: tuple = (),
    draw: Callable[[Rng, tuple[int, ...]], np.ndarray] = _normal,
    branches: Branches | None = None,
    label: str = "",
) -> Item:
    gate = GATES[name](*arguments)

    def case(rng: Rng) -> GradientCase:
        return layer_case(gate, *(draw(rng, shape) for shape in shapes), branches=branches)

    return Item(f"{gate!r}{label}", "gate", name, case)


def _expression(rng: Rng) -> GradientCase:
    """Return the pair of a graph that was parsed, x being used twice."""

    inputs = {"W": _normal(rng, (3, 3)) / 4, "x": _normal(rng, (3,)) / 2}
    formula = expression(FORMULA, **inputs)

    def forward(*values: object) -> tuple:
        found = formula.at(dict(zip(inputs, values, strict=True)))
        return found.value, found

    def backward(dout: object, found: object) -> tuple:
        grads = found.backward(dout)  # type: ignore[attr-defined]
        return tuple(grads[name] for name in inputs)

    return GradientCase(forward, backward, inputs)
