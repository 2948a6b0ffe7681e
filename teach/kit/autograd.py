"""What autograd recorded: its graph of grad_fn nodes, in the order its engine runs them."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from teach.kit.diff import Code, source_of
from teach.kit.show import table
from teach.kit.words import _

FIRST = 2**63  # leaves get their gradient as soon as it is ready


class Step(NamedTuple):
    """One node of autograd's graph: its name, and for a leaf which parameter it feeds."""

    name: str
    leaf: str
    node: Any


def grad_fn_chain(output: Any, leaves: Mapping[str, Any] | None = None) -> list[Step]:
    """Return the nodes that `output.backward()` visits, from the output to the leaves.

    Args:
        output: a tensor with a grad_fn.
        leaves: the leaf tensors by name, so that each AccumulateGrad says whose gradient it is.
    """
    if output.grad_fn is None:
        raise ValueError("grad_fn_chain: this tensor has no grad_fn; nothing was recorded.")
    names = {id(tensor): name for name, tensor in (leaves or {}).items()}
    waiting = _uses(output.grad_fn)
    ready = [(-_number(output.grad_fn), 0, output.grad_fn)]
    steps, pushed = [], 0
    while ready:
        node = heapq.heappop(ready)[2]
        leaf = getattr(node, "variable", None)
        steps.append(Step(node.name().rsplit("::", 1)[-1], names.get(id(leaf), ""), node))
        for source in _sources(node):
            waiting[source] -= 1
            if waiting[source] == 0:
                pushed += 1
                heapq.heappush(ready, (-_number(source), pushed, source))
    return steps


def grad_fn_table(
    output: Any,
    by_hand: Code,
    pairs: Sequence[tuple[str, *tuple[str, ...]]],
    leaves: Mapping[str, Any] | None = None,
) -> None:
    """Show every grad_fn node beside the hand-written line that does its work.

    Args:
        output: the loss tensor.
        by_hand: the hand-written function(s); every line that is named must stand in its source.
        pairs: for every node in the engine's order, its name (without `Backward0`) and the lines
            by hand. A line in parentheses is a remark instead.
        leaves: the leaf tensors by name.

    Raises:
        AssertionError: autograd recorded other nodes, or a line is not in the source.
    """
    steps = grad_fn_chain(output, leaves)
    recorded = [step.name.removesuffix("Backward0") for step in steps]
    assert recorded == [name for name, *lines in pairs], f"autograd recorded {recorded}"
    source = source_of(by_hand)
    for line in (line for name, *lines in pairs for line in lines):
        assert line.startswith("(") or line in source, f"not in the source: {line}"
    table(
        {
            "": range(1, len(steps) + 1),
            "torch's grad_fn": [
                f"`{s.name}`" + (_(" of {leaf}").format(leaf=s.leaf) if s.leaf else "")
                for s in steps
            ],
            "by hand": ["; ".join(map(_code, lines)) for name, *lines in pairs],
        }
    )


def _code(line: str) -> str:
    return _(line[1:-1]) if line.startswith("(") else f"`{line}`"


def _sources(node: Any) -> list[Any]:
    return [source for source, _ in node.next_functions if source is not None]


def _uses(start: Any) -> Counter:
    """Count how many gradients each node waits for."""
    uses: Counter = Counter()
    seen, stack = {start}, [start]
    while stack:
        for source in _sources(stack.pop()):
            uses[source] += 1
            if source not in seen:
                seen.add(source)
                stack.append(source)
    return uses


def _number(node: Any) -> int:
    return FIRST if hasattr(node, "variable") else node._sequence_nr()
