"""A planted mistake is read, or refused in a sentence: one that changes nothing, too."""

from __future__ import annotations

import pytest

from compare.errors import UserError
from compare.pair.plant import NEUTRAL, OPERATIONS, Plant, parse
from manual import Linear, Tanh
from manual.graph import Graph, Node

GRAPH = Graph(
    [Node("0", Linear(3, 2), ("input",)), Node("1", Tanh(), ("0",))], inputs=("input",)
)  # fmt: skip


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_mistake_is_read(operation: str) -> None:
    found = parse(f" 0.weight.grad{operation}1.5", GRAPH)

    assert found == Plant(
        f"0.weight.grad{operation}1.5", "0", "grad:weight", operation, 1.5
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0.weight.grad", "Cannot read the planted mistake '0.weight.grad'"),
        ("0.weight.grad*=much", "'much' in .* is not a number"),
        ("0.wieght.grad*=2", "no '0.wieght.grad' .*'0.weight.grad'"),
        *((f"0.bias{op}{value:g}", "changes nothing") for op, value in NEUTRAL.items()),
    ],
)
def test_what_is_no_mistake_is_refused(text: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        parse(text, GRAPH)
