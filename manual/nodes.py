"""Nodes and the names of their values: `path[@call][:port]`.

    path   torch's module path, which the node's parameters and buffers are keyed by
    @call  tells calls of one module apart: `cell@0` and `cell@1` share `cell.weight_ih`
    :port  an output beyond the first: `lstm` is its output, `lstm:h_n` its last hidden state

A graph inside a graph is unfolded, so that there is always one flat list of nodes.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

from manual.layer import Layer

__all__ = [
    "Node",
    "Unfolded",
    "dotted",
    "inputs_of",
    "joined",
    "ordered",
    "path_of",
    "ports_of",
    "unfolded",
]

CALL = re.compile(r"@[^.:]*")


class Node(NamedTuple):
    """A layer's place in a graph: its name, and the values that feed it (None: left out).

    Written `keyword=value`, an input goes to forward's argument of that name.
    """

    name: str
    layer: Layer
    inputs: tuple[Any, ...]  # names


class Unfolded(NamedTuple):
    """The nodes of a graph whose inner graphs are replaced by their own nodes."""

    nodes: list[Node]
    tied: dict[str, str]  # of the inner graphs too
    alias: dict[str, str | None]  # the outputs of inner graphs: which values they are now
    groups: list[tuple[str | None, ...]]  # the outputs of each inner graph: using one is enough
    free: dict[str, Any]  # parameters that no node has, of the inner graphs too


def path_of(node: str) -> str:
    """Return the module's path: the node's name without its call."""
    return CALL.sub("", node)


def dotted(node: str, key: str) -> str:
    """Return the name of a node's parameter or buffer: calls of one module share it."""
    path = path_of(node)
    return f"{path}.{key}" if path else key


def ports_of(node: Node) -> tuple[str, ...]:
    """Return the names of a node's values; the first output has the node's own name."""
    return (node.name, *(f"{node.name}:{port}" for port in node.layer.outputs[1:]))


def joined(prefix: str, name: str) -> str:
    """Return an inner name as seen from outside: `0` in `block` is `block.0`, `@in` `block@in`."""
    return prefix + name if name[:1] in "@:" else f"{prefix}.{name}"


def unfolded(nodes: Iterable[Node], tied: Mapping[str, str], free: Mapping[str, Any]) -> Unfolded:
    """Replace every graph by its nodes, and give every argument of forward a value's name or None.

    Raises:
        ValueError: a node has inputs that its layer does not take, or too few.
    """
    found = Unfolded([], dict(tied), {}, [], dict(free))
    for node in nodes:
        if hasattr(node.layer, "nodes"):
            _unfold(node, found)
        else:
            arguments = _arguments(type(node.layer))
            given = node.inputs if arguments is None else _assigned(node, *arguments)
            found.nodes.append(node._replace(inputs=tuple(given)))
    names = dict(found.alias)  # a port may also be called by its name where it is the first
    names |= {f"{n.name}:{n.layer.outputs[0]}": n.name for n in found.nodes}
    alias = {name: _final(name, names) for name in found.alias}
    groups = [tuple(_final(v, names) for v in group) for group in found.groups]
    flat = [n._replace(inputs=tuple(_final(s, names) for s in n.inputs)) for n in found.nodes]
    owners = {a: str(_final(a, found.tied)) for a in found.tied}
    return Unfolded(flat, owners, alias, groups, found.free)


def _unfold(node: Node, found: Unfolded) -> None:
    name, graph = node.name, node.layer
    given = dict(zip(graph.inputs, _assigned(node, graph.inputs, ()), strict=True))  # type: ignore[attr-defined]

    def outer(inner: str | None) -> str | None:
        if inner is None or inner in given:
            return None if inner is None else given[inner]
        return dotted(name, inner) if inner in graph.params else joined(name, inner)

    for n in graph.nodes:  # type: ignore[attr-defined]
        sources = tuple(outer(s) for s in n.inputs)
        found.nodes.append(Node(joined(name, n.name), n.layer, sources))
    found.tied.update({dotted(name, a): dotted(name, b) for a, b in graph.tied.items()})  # type: ignore[attr-defined]
    found.free.update({dotted(name, a): p for a, p in graph.free.items()})  # type: ignore[attr-defined]
    found.alias.update({joined(name, a): outer(v) for a, v in graph.alias.items()})  # type: ignore[attr-defined]
    results = tuple(outer(value) for value in graph.results)  # type: ignore[attr-defined]
    found.alias[name] = results[0]
    found.alias.update({f"{name}:{p}": v for p, v in zip(graph.outputs, results, strict=True)})
    found.groups.append(results)
    found.groups.extend(tuple(outer(v) for v in group) for group in graph.groups)  # type: ignore[attr-defined]


def _final(name: str | None, names: Mapping[Any, str | None]) -> str | None:
    """Follow a name to the value that it stands for."""
    passed = set()
    while name in names and name not in passed:
        passed.add(name)
        name = names[name]
    return name


@cache
def _arguments(kind: type) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Return the names of forward's inputs and of those it needs; None where it takes any."""
    found = list(inspect.signature(kind.forward).parameters.values())[1:]  # type: ignore[attr-defined]
    if any(p.kind is p.VAR_POSITIONAL for p in found):
        return None
    inputs = [p for p in found if p.kind is not p.KEYWORD_ONLY and p.name != "noise"]
    return tuple(p.name for p in inputs), tuple(p.name for p in inputs if p.default is p.empty)


def inputs_of(kind: type) -> tuple[str, ...] | None:
    """Return the names of forward's inputs; None where it takes any number."""
    found = _arguments(kind)
    return None if found is None else found[0]


def _assigned(node: Node, names: tuple[str, ...], needed: Collection[str]) -> list[str | None]:
    """Return the source of each named input; None where it is left out."""
    plain = [s for s in node.inputs if s is None or "=" not in s]
    by_keyword = dict(s.split("=", 1) for s in node.inputs if s is not None and "=" in s)
    given: dict[str, Any] = dict(zip(names, plain, strict=False))
    twice = not given.keys().isdisjoint(by_keyword)
    given |= by_keyword
    if twice or len(plain) > len(names) or not set(needed) <= given.keys() <= set(names):
        raise ValueError(
            f"Node '{node.name}' ({node.layer!r}) takes the inputs {', '.join(names) or 'none'}, "
            f"of which it needs {', '.join(needed) or 'none'}; received "
            f"{', '.join(map(str, node.inputs)) or 'none'}. Give them in this order, or as "
            "'name=value'."
        )
    return [given.get(name) for name in names]


def ordered(
    nodes: list[Node], leaves: tuple[str, ...], results: tuple[str, ...],
    groups: Iterable[tuple[str | None, ...]] = (),
) -> tuple[Node, ...]:  # fmt: skip
    """Return the nodes so that each follows what feeds it; as they come, if that is so already.

    Args:
        nodes: unfolded.
        leaves: names of inputs and parameters.
        results: the values that leave the graph; without any, the last node's.
        groups: values of which one has to be used.

    Raises:
        ValueError: a name is used twice or unknown, nodes form a cycle, or one leads nowhere.
    """
    if not nodes:
        raise ValueError("A graph needs at least one node; received none.")
    by_name = {node.name: node for node in nodes}
    maker = {value: node.name for node in nodes for value in ports_of(node)}
    _check_names(nodes, leaves, maker, results)
    feeds = {n.name: [maker.get(s, s) for s in n.inputs if s is not None] for n in nodes}
    try:
        order = list(by_name) if _in_order(feeds) else TopologicalSorter(feeds).static_order()
        found = tuple(by_name[name] for name in order if name in by_name)
    except CycleError as error:
        raise ValueError(f"The nodes form a cycle: {' -> '.join(error.args[1])}.") from None
    _check_ends(found, results or (found[-1].name,), groups)
    return found


def _in_order(feeds: Mapping[str, list[str]]) -> bool:
    """Return whether each node stands behind those that feed it already."""
    seen: set[str] = set()
    for name, sources in feeds.items():
        if any(source in feeds and source not in seen for source in sources):
            return False
        seen.add(name)
    return True


def _check_names(
    nodes: list[Node], leaves: tuple[str, ...], maker: Mapping[str, str], results: Iterable[str]
) -> None:
    taken = Counter([*(node.name for node in nodes), *leaves])
    for name, count in taken.items():
        if count > 1:
            raise ValueError(f"The name '{name}' is used twice; every node and input needs one.")
    known = {*maker, *leaves}
    for node in nodes:
        for source in node.inputs:
            if source is not None and source not in known:
                raise ValueError(
                    f"Node '{node.name}' takes its input from '{source}', which is neither a node "
                    f"nor an input. Names: {', '.join(dict.fromkeys([*taken, *maker]))}."
                )
    for result in results:
        if result not in known:
            raise ValueError(
                f"The output '{result}' is neither a node nor an input. Names: "
                f"{', '.join(dict.fromkeys([*taken, *maker]))}."
            )


def _check_ends(
    nodes: tuple[Node, ...], results: tuple[str, ...], groups: Iterable[tuple[str | None, ...]]
) -> None:
    used, waiting = _leading_to(nodes, set(results)), list(groups)
    while alive := [group for group in waiting if not used.isdisjoint(group)]:
        waiting = [group for group in waiting if group not in alive]
        used = _leading_to(nodes, used.union(*alive))
    for node in reversed(nodes):
        if used.isdisjoint(ports_of(node)):
            raise ValueError(
                f"Node '{node.name}' leads nowhere: no node takes it as input, and the network's "
                f"output is '{', '.join(results)}'. Remove it, or join it in (Add, Concatenate)."
            )


def _leading_to(nodes: tuple[Node, ...], values: set[Any]) -> set[Any]:
    """Return the values, and all that they are computed from."""
    for node in reversed(nodes):
        if not values.isdisjoint(ports_of(node)):
            values = values | {source for source in node.inputs if source is not None}
    return values
