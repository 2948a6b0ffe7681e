"""The graph as SVG: values in green above the edges, gradients in red below."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from compare.report.rendering.palette import DARK, LIGHT, css_variables
from teach.trace.layout import Box, Lane, place
from teach.trace.numbers import lines
from teach.trace.symbols import symbol

if TYPE_CHECKING:
    from teach.trace.tracer import Judged, Trace

MARGIN, LINE, CHARACTER, GATE = 22.0, 16.0, 7.4, 34.0
COLOURS = ("paper", "raised", "ink", "muted", "rule", "bad", "good", "bad-soft")
END = "→"  # where the result leaves the graph; no input is called so


class Text(NamedTuple):
    """Lines of text in one colour, from a place downwards."""

    kind: str
    x: float
    y: float
    lines: list[str]


class Wire(NamedTuple):
    """An edge as an SVG path; `wrong` if its gradient is not torch's."""

    path: str
    wrong: bool


def to_svg(trace: Trace) -> str:
    """Return a drawing that stands alone, in light and dark."""
    from jinja2 import Environment, PackageLoader

    formula = trace.expression
    nodes = {name: _input_box(trace, name) for name in formula.graph.inputs}
    nodes |= {n.name: _gate_box(symbol(n.layer)) for n in formula.graph.nodes}
    nodes[END] = Box(18, 28)
    lanes, wires, texts = [], [], []
    for source, target, value, gradient, wrong in _edges(trace):
        above, below = lines(value), [] if gradient is None else lines(gradient)
        lanes.append(Lane(source, target, _text_box(above, below)))
        wires.append((wrong, above, below))
    width, height = place(nodes, lanes)
    for lane, (_, above, below) in zip(lanes, wires, strict=True):
        x, y = lane.text.x, lane.text.y
        texts.append(Text("value", x, y - 6 - LINE * (len(above) - 1), above))
        texts.append(Text("gradient", x, y + LINE - 1, below))
    texts += [_sum(trace, name, nodes[name]) for name in formula.graph.inputs]
    template = Environment(loader=PackageLoader("teach", "templates"), autoescape=True)
    return template.get_template("graph.svg.j2").render(
        width=width + 2 * MARGIN,
        height=height + 2 * MARGIN,
        margin=MARGIN,
        title=f"f = {formula.labels['f']}",
        light=css_variables({k: LIGHT[k] for k in COLOURS}),
        dark=css_variables({k: DARK[k] for k in COLOURS}),
        inputs=[(name, nodes[name]) for name in formula.graph.inputs],
        end=nodes[END],
        gates=[(symbol(n.layer), nodes[n.name], n) for n in formula.graph.nodes],
        wires=[Wire(_path(lane), wrong) for lane, (wrong, *_) in zip(lanes, wires, strict=True)],
        texts=[text for text in texts if text.lines],
        line=LINE,
    )


def _edges(trace: Trace) -> list[tuple[str, str, Any, Any, bool]]:
    """Return source, target, value, gradient and whether it is wrong, of every edge."""
    steps = {(s.edge.node.name, s.edge.position): s.gradient for s in trace.steps}
    values = trace.expression.values
    found: list[tuple[str, str, Any, Any, bool]] = []
    for node in trace.expression.graph.nodes:
        for position, source in enumerate(node.inputs):
            judged = steps.get((node.name, position))
            gradient = None if judged is None else judged.manual
            found.append((source, node.name, values[source], gradient, _is_wrong(judged)))
    result = trace.expression.graph.output
    return [*found, (result, END, trace.expression.value, trace.upstream, False)]


def _is_wrong(judged: Judged | None) -> bool:
    return judged is not None and judged.verdict not in ("agree", "vacuous")


def _shares(trace: Trace, name: str) -> list[Any]:
    return [s.gradient.manual for s in trace.steps if s.edge.source == name]


def _sum(trace: Trace, name: str, box: Box) -> Text:
    """Return the whole gradient of an input whose value branches, to stand below its name."""
    total = trace.sums[name].manual
    if len(_shares(trace, name)) < 2:
        return Text("gradient", 0, 0, [])
    return Text("gradient", box.x, box.y + 29, [_total(total)])


def _total(x: Any) -> str:
    return f"Σ = {' '.join(lines(x))}"


def _input_box(trace: Trace, name: str) -> Box:
    if len(_shares(trace, name)) < 2:
        return Box(max(30.0, CHARACTER * len(name) + 20), 28)
    width = CHARACTER * max(len(name) + 3, len(_total(trace.sums[name].manual)))
    return Box(width, 28 + 2 * LINE)  # its sum stands below


def _gate_box(sign: str) -> Box:
    return Box(max(GATE, CHARACTER * len(sign) + 16), GATE)


def _text_box(above: list[str], below: list[str]) -> Box:
    """Return room for the longest line; the wire runs through the middle, hence both halves."""
    longest = max(map(len, above + below))
    return Box(CHARACTER * longest + 8, 2 * (LINE * max(len(above), len(below)) + 5))


def _path(lane: Lane) -> str:
    """Return a wire that is level along its text and bends between the boxes."""
    points: list[tuple[float, float]] = []
    for k, box in enumerate(lane.path):
        points += [(box.x - box.width / 2, box.y)] if k else []
        points += [(box.x + box.width / 2, box.y)] if k < len(lane.path) - 1 else []
    path = f"M{points[0][0]:.1f},{points[0][1]:.1f}"
    for (x0, y0), (x1, y1) in pairwise(points):
        middle = (x0 + x1) / 2
        straight = f" L{x1:.1f},{y1:.1f}"
        bent = f" C{middle:.1f},{y0:.1f} {middle:.1f},{y1:.1f} {x1:.1f},{y1:.1f}"
        path += straight if y0 == y1 else bent
    return path
