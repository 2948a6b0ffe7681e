"""The network as a drawing: every node once, every edge, nothing on top of another."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from compare.report.rendering.network_graph import Drawn, folded, network_svg

SVG = "{http://www.w3.org/2000/svg}"


def drawn(nodes: list[Drawn]) -> ElementTree.Element:
    text = network_svg(nodes).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return ElementTree.fromstring(text)


def boxes(svg: ElementTree.Element) -> dict[str, tuple[float, ...]]:
    found = {}
    for group in svg.iter(f"{SVG}g"):
        rect = group.find(f"{SVG}rect")
        assert rect is not None
        name = "".join(group.find(f"{SVG}title").itertext()).split()[0]  # type: ignore[union-attr]
        found[name] = tuple(float(rect.get(k, "nan")) for k in ("x", "y", "width", "height"))
    return found


def residual(blocks: int) -> list[Drawn]:
    nodes, before = [], "input"
    for i in range(blocks):
        nodes += [
            Drawn(f"conv{i}", "Conv2d", (before,), "agree", "#of-Conv2d"),
            Drawn(f"bn{i}", "BatchNorm2d", (f"conv{i}",)),
            Drawn(f"down{i}", "Conv2d", (before,)),
            Drawn(f"add{i}", "Add", (f"bn{i}", f"down{i}")),
        ]
        before = f"add{i}"
    return nodes


def test_sixty_nodes_and_the_input_are_drawn_once_without_touching() -> None:
    svg = drawn(residual(15))
    found = list(boxes(svg).values())

    assert len(found) == 61
    for i, (x, y, w, h) in enumerate(found):
        assert 0 <= x <= float(svg.get("width", 0)) - w
        assert 0 <= y <= float(svg.get("height", 0)) - h
        assert all(abs(x - a) >= w or abs(y - b) >= h for a, b, _, _ in found[i + 1 :])


def test_readers_stand_below_what_feeds_them() -> None:
    nodes = residual(3)
    found = boxes(drawn(nodes))

    assert all(found[n.name][1] > found[source][1] for n in nodes for source in n.inputs)


def test_every_edge_is_drawn_and_a_long_one_passes_beside_the_nodes() -> None:
    nodes = [Drawn("a", "", ("x",)), Drawn("b", "", ("a",)), Drawn("c", "", ("b", "x"))]
    svg = drawn(nodes)
    paths = [path.get("d", "") for path in svg.iter(f"{SVG}path")]
    x, _, width, _ = boxes(svg)["b"]

    assert len(paths) == 4
    passing = {float(v) for v in re.findall(r"(\d+) \d+V", paths[-1])}
    assert passing
    assert all(v < x or v > x + width for v in passing)


def test_names_are_escaped_and_lead_to_the_derivation() -> None:
    text = network_svg([Drawn("<b>", "Conv2d", ("lstm:h_n",), link="#of-Conv2d")])

    assert "<b>" not in text
    assert 'href="#of-Conv2d"' in text
    assert "lstm</tspan>" in text


def test_all_calls_of_a_layer_are_drawn_as_one_and_the_step_before_as_given() -> None:
    nodes = [
        Drawn("at", "Unbind", ("input",)),
        Drawn("cell@0", "RNNCell", ("at",), "agree", "#of-0"),
        Drawn("cell@1", "RNNCell", ("at:1", "cell@0"), "bad", "#of-0"),
        Drawn("head", "Linear", ("cell@1",)),
    ]
    cell = folded(nodes)[1]

    assert [node.name for node in folded(nodes)] == ["at", "cell", "head"]
    assert cell == Drawn("cell", "RNNCell", ("at", "previous cell"), "bad", "#of-0")
    assert folded(nodes)[2].inputs == ("cell",)
    assert "previous" in boxes(drawn(folded(nodes)))


def test_a_node_stands_right_above_its_first_reader() -> None:
    nodes = [Drawn(c, "ReLU", (b,)) for b, c in zip(["input", *"abc"], "abcd", strict=True)]
    found = boxes(
        drawn([*nodes, Drawn("late", "Linear", ("a",)), Drawn("e", "Add", ("d", "late"))])
    )

    assert found["late"][1] == found["d"][1]
