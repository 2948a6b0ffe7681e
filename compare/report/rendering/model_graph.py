"""A mirrored model as drawings: its nodes folded by module path, to one depth after the other."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import networkx as nx

from compare.report.rendering.model_tree import Part
from compare.report.rendering.network_graph import Drawn, graver, network_svg

__all__ = ["BOXES", "Level", "levels"]

BOXES = 60  # more are not drawn: neighbours become one
FEW = 4  # boxes that say too little to be shown first
FUNCTION = "Function"  # what the box of a custom one is told to be
Functions = Mapping[str, Sequence[str]]  # custom Functions, and the nodes that each consists of


class Level(NamedTuple):
    """The model folded at a depth of its module paths."""

    depth: int
    boxes: int
    svg: str
    shown: bool  # at first


def levels(nodes: Sequence[Drawn], tree: Part, functions: Functions | None = None) -> list[Level]:
    """Draw the model's children, then their children, as long as a drawing has few boxes.

    A custom Function is one box at any depth.
    """
    functions = functions or {}
    parts = dict(_modules(tree)) | _function_parts(nodes, tree, functions)
    nodes = _whole_functions(list(_with_others(nodes, tree, functions)), functions, parts)
    found: dict[int, list[Drawn]] = {}
    for depth in range(1, 1 + max((n.name.count(".") + 1 for n in nodes), default=0)):
        boxes = at_depth(nodes, depth, parts)
        if found and len(boxes) > BOXES:
            break
        if len(boxes) > BOXES:
            boxes = _together(at_depth(nodes, depth, parts, apart=True))
        if not found or len(boxes) > len(found[max(found)]):
            found[depth] = boxes
    first = next((d for d, b in found.items() if len(b) >= FEW), max(found, default=0))
    return [
        Level(depth, len(boxes), network_svg(boxes, f"The model, {depth} deep"), depth == first)
        for depth, boxes in found.items()
    ]


def _function_parts(nodes: Sequence[Drawn], tree: Part, functions: Functions) -> dict[str, Part]:
    """Return what the boxes of custom Functions are called and lead to: if to blame, their row."""
    links = {node.name: node.link for node in nodes}
    links |= {stop.name: f"#t-{stop.row}" for stop in tree.leaves if stop.name in functions}
    return {
        name: Part(name, FUNCTION, next(filter(None, map(links.get, (name, *of))), "#")[1:])
        for name, of in functions.items()
    }


def _whole_functions(
    nodes: Sequence[Drawn], functions: Functions, parts: Mapping[str, Part]
) -> list[Drawn]:
    """Return the nodes with those inside a custom Function as one."""
    inside = {node: name for name, of in functions.items() for node in of}
    owner = {node.name: inside.get(node.name, node.name) for node in nodes}
    boxes = _boxes(nodes, owner, parts)
    return boxes if _acyclic(boxes) else _boxes(nodes, _visits(owner), parts)


def _with_others(nodes: Sequence[Drawn], tree: Part, functions: Functions) -> Iterator[Drawn]:
    """Yield the nodes with what else was compared: parameters, inputs, a Function to blame.

    Each before the first node that reads it, or that stands in the same module; a Function before
    the first of its own nodes, which have its inputs.
    """
    begins = {of[0]: name for name, of in functions.items() if of}
    known = {"loss", *(node.name for node in nodes)}
    others = {
        stop.name: Drawn(stop.name, stop.type, feeds, stop.tone, f"#t-{stop.row}")
        for stop in tree.leaves
        for feeds in [() if stop.name in functions else stop.feeds]
        if stop.name not in known
    }
    for node in nodes:
        module = node.name.rpartition(".")[0]
        beside = [name for name in others if module and name.rpartition(".")[0] == module]
        for name in dict.fromkeys((begins.get(node.name, ""), *node.inputs, *beside)):
            if name in others:
                yield others.pop(name)
        yield node
    yield from others.values()


def at_depth(
    nodes: Sequence[Drawn], depth: int, parts: Mapping[str, Part], *, apart: bool = False
) -> list[Drawn]:
    """Return the nodes with what is deeper than `depth` names as one box.

    A module that is called again is one box too, unless its edges would go round in a circle, or
    its visits are to stand `apart`.
    """
    owner = {node.name: _path(node.name, depth) for node in nodes}
    boxes = _boxes(nodes, owner, parts)
    return _boxes(nodes, _visits(owner), parts) if apart or not _acyclic(boxes) else boxes


def _together(boxes: Sequence[Drawn]) -> list[Drawn]:
    """Return at most BOXES boxes, each of neighbours in the order of the run."""
    size = math.ceil(len(boxes) / BOXES)
    owner: dict[str, str] = {}
    for at in range(0, len(boxes), size):
        run = boxes[at : at + size]
        name = run[0].name if len(run) == 1 else f"{run[0].name} … {run[-1].name}"
        owner |= {box.name: name for box in run}
    return _boxes(boxes, owner, {})


def _path(name: str, depth: int) -> str:
    """Return the first parts of a path; a call of a module inside is the module's."""
    parts = name.split(".")
    return name if len(parts) <= depth else ".".join(parts[:depth])


def _visits(owner: Mapping[str, str]) -> dict[str, str]:
    """Tell visits of a module apart, which follow each other in the order of the run."""
    count: Counter[str] = Counter()
    found, before = {}, None
    for node, path in owner.items():
        count[path] += path != before
        found[node], before = f"{path} ({count[path]})" if count[path] > 1 else path, path
    return found


def _boxes(
    nodes: Sequence[Drawn], owner: Mapping[str, str], parts: Mapping[str, Part]
) -> list[Drawn]:
    inside: dict[str, list[Drawn]] = {}
    for node in nodes:
        inside.setdefault(owner[node.name], []).append(node)
    return [_box(name, of, owner, set(inside), parts) for name, of in inside.items()]


def _box(
    name: str, of: Sequence[Drawn], owner: Mapping[str, str], known: set[str],
    parts: Mapping[str, Part],
) -> Drawn:  # fmt: skip
    feeds = {_source(source, owner, known): None for node in of for source in node.inputs}
    read = tuple(source for source in feeds if source not in ("", name))
    module = parts.get(name.partition(" (")[0])
    alone = len(of) == 1 and of[0].name == name
    return Drawn(
        name,
        of[0].type if alone else module.type if module else "",
        read,
        graver(node.tone for node in of),
        of[0].link if alone else f"#{module.anchor}" if module and module.anchor else "",
        sum(node.hatched for node in of) / len(of),
    )


def _source(source: str, owner: Mapping[str, str], known: set[str]) -> str:
    """Return the box that a value comes from; data inside a module is nobody's."""
    node = source if source in owner else source.partition(":")[0]
    if node in owner:
        return owner[node]
    return "" if "." in node or node in known else node


def _acyclic(boxes: Iterable[Drawn]) -> bool:
    edges = [(source, box.name) for box in boxes for source in box.inputs]
    return nx.is_directed_acyclic_graph(nx.DiGraph(edges))


def _modules(part: Part, path: str = "") -> list[tuple[str, Part]]:
    """Return the modules of a tree by path."""
    found = []
    for inner in part.parts:
        if inner.stop is None:
            own = f"{path}.{inner.name}" if path else inner.name
            found += [(own, inner), *_modules(inner, own)]
    return found
