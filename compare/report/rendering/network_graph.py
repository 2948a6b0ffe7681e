"""The network as a drawing: nodes in layers from top to bottom, edges around what lies between."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import NamedTuple

import networkx as nx

from compare.explaining import format as fmt
from manual.nodes import path_of

__all__ = ["Drawn", "folded", "graver", "network_svg"]

WIDTH, HEIGHT, ACROSS, DOWN = 176, 30, 200, 54  # of a node, and from one to the next, in pixels
MARGIN = 8
PASSING = 28  # width that an edge takes which passes a layer
SWEEPS = 4
TONES = ("bad", "unjudged", "vacuous", "agree")  # gravest first
STYLE = (
    ".network { font-family: system-ui, sans-serif; } "
    ".network .edge { fill: none; stroke: var(--muted); stroke-width: 1.3; } "
    ".network rect { fill: var(--raised); stroke: var(--rule); } "
    ".network .given rect { fill: none; stroke-dasharray: 3 3; } "
    ".network .agree rect { stroke: var(--good); } "
    ".network .vacuous rect { stroke: var(--warn); } "
    ".network .bad rect { fill: var(--bad-soft); stroke: var(--bad); stroke-width: 2; } "
    ".network text { text-anchor: middle; font-size: 12.5px; font-weight: 600; fill: var(--ink); } "
    ".network .type { font-weight: 400; fill: var(--muted); }"
)
LETTERS, LEAST = 20, 6  # of a node's name and type, and of a type that is told


class Drawn(NamedTuple):
    """A node: its name and type, what feeds it, the class of its colour, where a click leads.

    It is hatched, faintly if not all of it, where torch computed it on both sides.
    """

    name: str
    type: str
    inputs: tuple[str, ...]
    tone: str = ""
    link: str = ""
    hatched: float = 0.0


Place = tuple[int, str, str]  # a layer, and a node, or the edge that passes there
Point = tuple[float, float]


class Layout(NamedTuple):
    """Middles of the nodes by name, and where edges pass layers, by both ends; and how large."""

    nodes: dict[str, Point]
    ways: dict[tuple[str, str], list[Point]]
    width: float
    height: float


def network_svg(nodes: Sequence[Drawn], label: str = "The network") -> str:
    """Return the network as SVG, in the page's colours; "" if its edges go round in a circle."""
    known = {node.name: node for node in nodes}
    edges = [(_owner(source, known), node.name) for node in nodes for source in node.inputs]
    given = [source for source, _ in edges if source not in known]
    known = {name: Drawn(name, "", (), "given") for name in given} | known
    if not nx.is_directed_acyclic_graph(nx.DiGraph(edges)):
        return ""
    layout = _laid_out(list(known), edges)
    lines = [_edge(layout, *edge) for edge in edges]
    boxes = [_box(node, *layout.nodes[node.name]) for node in known.values()]
    size = f"{layout.width:.0f} {layout.height:.0f}"
    width, height = size.split()
    return (
        f'<svg class="network" role="img" aria-label="{escape(label)}" width="{width}" '
        f'height="{height}" viewBox="0 0 {size}"><style>{STYLE}</style>'
        f"{''.join(lines)}{''.join(boxes)}</svg>"
    )


def folded(nodes: Sequence[Drawn]) -> list[Drawn]:
    """Return an unrolled network with all calls of a layer as one node, in the worst call's colour.

    What a layer takes from another call than its own (of the step before) is drawn as given.
    """
    known = {node.name: node for node in nodes}
    calls: dict[str, list[Drawn]] = {}
    for node in nodes:
        calls.setdefault(path_of(node.name), []).append(node)
    found = []
    for path, of in calls.items():
        feeds = [_fold(source, node.name, known) for node in of for source in node.inputs]
        tone = graver(node.tone for node in of)
        found.append(Drawn(path, of[0].type, tuple(dict.fromkeys(feeds)), tone, of[0].link))
    return found


def graver(tones: Iterable[str]) -> str:
    """Return the gravest of several tones; one that is not known is as grave as unjudged."""
    return min(tones, key=lambda t: TONES.index(t) if t in TONES else 1, default="unjudged")


def _fold(source: str, reader: str, known: Mapping[str, Drawn]) -> str:
    """Return what a value is called once all calls are one."""
    owner = _owner(source, known)
    call, own = owner.partition("@")[2], reader.partition("@")[2]
    return f"previous {path_of(owner)}" if call and own and call != own else path_of(owner)


def _owner(source: str, known: Mapping[str, Drawn]) -> str:
    """Return the node of a port such as `lstm:h_n`."""
    return source if source in known else source.partition(":")[0]


def _laid_out(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> Layout:
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(names)
    graph.add_edges_from(edges)
    depth = _depths(graph)
    rows: list[list[Place]] = [[] for _ in range(max(depth.values(), default=0) + 1)]
    links = nx.Graph()
    for name in names:
        rows[depth[name]].append((depth[name], name, ""))
    for source, name in dict.fromkeys(edges):
        passing = [(layer, source, name) for layer in range(depth[source] + 1, depth[name])]
        for place in passing:
            rows[place[0]].append(place)
        nx.add_path(links, [(depth[source], source, ""), *passing, (depth[name], name, "")])
    x = _across(_ordered(rows, links))
    left = min(x.values(), default=0.0) - WIDTH / 2 - MARGIN
    at = {
        place: (value - left, MARGIN + HEIGHT / 2 + DOWN * place[0]) for place, value in x.items()
    }
    ways: dict[tuple[str, str], list[Point]] = {}
    for _, source, name in sorted(place for place in at if place[2]):
        ways[source, name] = [at[p] for p in sorted(at) if p[1:] == (source, name)]
    width = max(x.values(), default=0.0) - left + WIDTH / 2 + MARGIN
    nodes = {place[1]: point for place, point in at.items() if not place[2]}
    return Layout(nodes, ways, width, DOWN * (len(rows) - 1) + HEIGHT + 2 * MARGIN)


def _depths(graph: nx.MultiDiGraph) -> dict[str, int]:
    """Return each node's layer: below the lowest that feeds it, right above its first reader."""
    depth: dict[str, int] = {}
    order = list(nx.topological_sort(graph))
    for name in order:
        depth[name] = max((depth[s] + 1 for s in graph.predecessors(name)), default=0)
    for name in reversed(order):
        depth[name] = min((depth[s] - 1 for s in graph.successors(name)), default=depth[name])
    return depth


def _ordered(places: list[list[Place]], links: nx.Graph) -> list[list[Place]]:
    """Order each layer by the mean position of its neighbours, down and up a few times."""
    position = {p: float(i) for row in places for i, p in enumerate(row)}
    for sweep in range(SWEEPS):
        step = 1 if sweep % 2 == 0 else -1
        for row in places[::step]:
            near = {p: [position[q] for q in _neighbours(links, p, -step)] for p in row}
            row.sort(key=lambda p: sum(near[p]) / len(near[p]) if near[p] else position[p])
            position |= {p: float(i) for i, p in enumerate(row)}
    return places


def _neighbours(links: nx.Graph, place: Place, step: int) -> list[Place]:
    """Return what a place is tied to in the layer above or below."""
    tied = links.adj.get(place, ())
    return [other for other in tied if other[0] == place[0] + step]


def _across(places: Iterable[Sequence[Place]]) -> dict[Place, float]:
    """Return each place's x; a layer is centred on its widest node, or on its middle."""
    found: dict[Place, float] = {}
    for row in places:
        x, at = 0.0, {}
        for place in row:
            half = (PASSING if place[2] else ACROSS) / 2
            at[place] = x + half
            x += 2 * half
        nodes = [value for place, value in at.items() if not place[2]]
        middle = sum(nodes) / len(nodes) if nodes else x / 2
        found |= {place: value - middle for place, value in at.items()}
    return found


def _edge(layout: Layout, source: str, name: str) -> str:
    """Draw an edge from below its source, straight past the layers between, to above its reader."""
    half = HEIGHT / 2
    (x, y), (to_x, to_y) = layout.nodes[source], layout.nodes[name]
    path, end = f"M{x:.0f} {y + half:.0f}", (x, y + half)
    for a, b in layout.ways.get((source, name), []):
        path += f"{_bent(end, (a, b - half))}V{b + half:.0f}"
        end = (a, b + half)
    return f'<path class="edge" d="{path}{_bent(end, (to_x, to_y - half))}"/>'


def _bent(start: Point, end: Point) -> str:
    middle = (start[1] + end[1]) / 2
    return f"C{start[0]:.0f} {middle:.0f} {end[0]:.0f} {middle:.0f} {end[0]:.0f} {end[1]:.0f}"


def _box(node: Drawn, x: float, y: float) -> str:
    name, kind = fmt.name(node.name), fmt.name(node.type)
    title = f"<title>{escape(name)} {escape(kind)}</title>"
    text = f"<tspan>{escape(_cut(name))}</tspan>"
    if kind and LETTERS - len(name) >= LEAST:
        kind = escape(_cut(kind, LETTERS - len(name)))
        text += f'<tspan class="type" dx="7">{kind}</tspan>'
    place = f'x="{x - WIDTH / 2:.0f}" y="{y - HEIGHT / 2:.0f}" width="{WIDTH}" height="{HEIGHT}"'
    whole = "" if node.hatched == 1 else " partly"
    hatch = f'<rect class="hatch{whole}" {place} rx="4"/>' if node.hatched else ""
    box = f'<rect {place} rx="4"/>{hatch}<text x="{x:.0f}" y="{y + 4.5:.1f}">{text}</text>'
    group = f'<g class="node {escape(node.tone)}">{title}{box}</g>'
    return f'<a href="{escape(node.link)}">{group}</a>' if node.link else group


def _cut(text: str, most: int = LETTERS) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
