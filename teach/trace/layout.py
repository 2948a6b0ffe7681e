"""Where to draw a graph: columns from left to right, few crossings, every edge with room for text.

The method is Sugiyama's: each edge that spans columns gets a point in each of them, the points of
a column are ordered by the mean place of their neighbours, then moved apart.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

import networkx as nx

TRIES, SWEEPS = 8, 12
GAP_X, GAP_Y = 18.0, 14.0


@dataclass
class Box:
    """Something with a size and, in the end, a place (its centre)."""

    width: float
    height: float
    x: float = 0.0
    y: float = 0.0
    column: int = 0


@dataclass
class Lane:
    """An edge: its text, and the boxes that it runs through from its source to its target."""

    source: str
    target: str
    text: Box
    path: list[Box] = field(default_factory=list)


def place(nodes: dict[str, Box], lanes: list[Lane]) -> tuple[float, float]:
    """Give every box its place; return the width and height of the drawing."""
    _columns(nodes, lanes)
    graph = nx.Graph()
    boxes = dict(enumerate(_boxes(nodes, lanes)))
    number = {id(box): i for i, box in boxes.items()}
    graph.add_nodes_from(boxes)
    for lane in lanes:
        graph.add_edges_from((number[id(a)], number[id(b)]) for a, b in pairwise(lane.path))
    columns: list[list[int]] = [[] for _ in range(1 + max(b.column for b in boxes.values()))]
    for i, box in boxes.items():
        columns[box.column].append(i)
    near = {i: [boxes[j] for j in graph[i]] for i in boxes}
    _place_x([[boxes[i] for i in column] for column in columns])
    _place_y(columns, boxes, near)
    left = min(b.x - b.width / 2 for b in boxes.values())
    top = min(b.y - b.height / 2 for b in boxes.values())
    for box in boxes.values():
        box.x, box.y = box.x - left, box.y - top
    return (
        max(b.x + b.width / 2 for b in boxes.values()),
        max(b.y + b.height / 2 for b in boxes.values()),
    )


def _columns(nodes: dict[str, Box], lanes: list[Lane]) -> None:
    """Put nodes into even columns by their longest way from an input, texts into odd ones."""
    graph = nx.DiGraph((lane.source, lane.target) for lane in lanes)
    for depth, generation in enumerate(nx.topological_generations(graph)):
        for name in generation:
            nodes[name].column = 2 * depth
    for lane in lanes:
        start, end = nodes[lane.source], nodes[lane.target]
        lane.text.column = start.column + 1
        bends = [Box(0, 8, column=c) for c in range(start.column + 2, end.column)]
        lane.path = [start, lane.text, *bends, end]


def _boxes(nodes: dict[str, Box], lanes: list[Lane]) -> Iterable[Box]:
    yield from nodes.values()
    for lane in lanes:
        yield from lane.path[1:-1]


def _place_x(columns: list[list[Box]]) -> None:
    x = 0.0
    for column in columns:
        width = max(box.width for box in column)
        for box in column:
            box.x = x + width / 2
        x += width + GAP_X


def _place_y(columns: list[list[int]], boxes: dict[int, Box], near: dict[int, list[Box]]) -> None:
    """Take the order with the fewest crossings of several tries, then straighten the edges."""
    tries = random.Random(0)
    best: tuple[int, list[list[int]]] | None = None
    for attempt in range(TRIES):
        order = [list(column) for column in columns]
        for column in order if attempt else ():
            tries.shuffle(column)
        for column in order:
            for y, i in enumerate(column):
                boxes[i].y = y
        for sweep in range(SWEEPS):
            _sweep(order, boxes, near, rightward=sweep % 2 == 0, sort=True)
            found = _crossings(order, boxes, near)
            if best is None or found < best[0]:
                best = found, [list(column) for column in order]
    assert best is not None
    for column in best[1]:
        _apart([boxes[i] for i in column])
    for sweep in range(SWEEPS + 1):  # the last one to the right: chains become straight
        _sweep(best[1], boxes, near, rightward=sweep % 2 == 0, sort=False)


def _sweep(
    columns: list[list[int]],
    boxes: dict[int, Box],
    near: dict[int, list[Box]],
    *,
    rightward: bool,
    sort: bool,
) -> None:
    """Move every box to the mean place of its neighbours on one side, column by column."""
    for column in columns if rightward else columns[::-1]:
        for i in column:
            here = boxes[i]
            seen = [b for b in near[i] if (b.column < here.column) == rightward]
            here.y = sum(b.y for b in seen) / len(seen) if seen else here.y
        if sort:
            column.sort(key=lambda i: boxes[i].y)
        _apart([boxes[i] for i in column])


def _crossings(columns: list[list[int]], boxes: dict[int, Box], near: dict[int, list[Box]]) -> int:
    """Count the pairs of edges that cross between neighbouring columns."""
    count = 0
    for column in columns:
        ends = [(boxes[i].y, b.y) for i in column for b in near[i] if b.column > boxes[i].column]
        count += sum((a - c) * (b - d) < 0 for k, (a, b) in enumerate(ends) for c, d in ends[:k])
    return count


def _apart(column: list[Box]) -> None:
    """Move the boxes of a column apart, in their order, around the places that they want."""
    groups: list[tuple[list[Box], float]] = []  # boxes that touch, and the centre of their wishes
    for box in column:
        members, wish = [box], box.y
        while groups and _bottom(groups[-1]) + GAP_Y > _top((members, wish)):
            others, other = groups.pop()
            wish = (other * len(others) + wish * len(members)) / (len(others) + len(members))
            members = others + members
        groups.append((members, wish))
    for members, wish in groups:
        y = _top((members, wish))
        for box in members:
            box.y = y + box.height / 2
            y += box.height + GAP_Y


def _height(members: list[Box]) -> float:
    return sum(box.height for box in members) + GAP_Y * (len(members) - 1)


def _top(group: tuple[list[Box], float]) -> float:
    return group[1] - _height(group[0]) / 2


def _bottom(group: tuple[list[Box], float]) -> float:
    return group[1] + _height(group[0]) / 2
