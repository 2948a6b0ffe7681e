"""The report of a mirrored model: its tree, its drawings, and what of it is not hand-written."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import compare
from compare.report.rendering import html
from compare.report.rendering.coverage import missing, share
from compare.report.rendering.facts import headline, per_tensor
from compare.report.rendering.html import report_html
from compare.report.rendering.model_graph import BOXES, Level, levels
from compare.report.rendering.model_tree import Part, model_stops, model_tree
from compare.report.rendering.network_graph import WIDTH, Drawn
from compare.report.rendering.network_map import Stop, network_map
from compare.report.rendering.terminal import terminal_text
from compare.report.rendering.text import summary_markdown
from compare.report.rendering.verdict import verdict_dict
from compare.report.report import Report
from tests.compare.mirror.mistakes import MISTAKES


class Scaled(nn.Module):
    """Holds a parameter that is no layer's."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.scale = nn.Linear(3, 3), nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.layer(x) * self.scale)


@cache
def agreeing() -> Report:
    torch.manual_seed(0)
    return compare.mirror(nn.Sequential(Scaled(), nn.Linear(3, 2)), torch.randn(4, 3))


@cache
def blaming() -> Report:
    mistake = MISTAKES["SwishSign"]
    e = mistake.example(mistake.wrong)
    return compare.mirror(e.module, e.args, e.kwargs, loss=e.loss)


def with_failure(layer: str, quantity: str) -> Report:
    """Plant a disagreement in one row."""
    table = agreeing().differences.copy()
    hit = (table["layer"] == layer) & (table["quantity"] == quantity)
    assert hit.sum() == 1
    table.loc[hit, "verdict"] = "disagree"
    return replace(agreeing(), differences=table, verdict="disagree")


def partly(report: Report, node: str) -> Report:
    """Let torch have computed one node."""
    return replace(
        report,
        torch_layers=(node,),
        coverage={"nodes": 0.9996, "parameters": 0.5, "gradients": 1.0},
        missing=(("fft.fft", 1, "nothing stands for it"), ("sum", 2, "it has no such option")),
        parameters=report.parameters | {"1.weight": False},
    )


def tree_of(report: Report) -> Part:
    tensors = per_tensor(report.differences)
    return model_tree(report, model_stops(report, tensors, network_map(report, tensors)))


def part(report: Report, *path: str) -> Part:
    found = tree_of(report)
    for name in path:
        found = next(p for p in found.parts if p.name == name)
    return found


def test_the_tree_has_every_node_and_parameter_once_and_knows_the_classes() -> None:
    tree, report = tree_of(agreeing()), agreeing()
    names = [stop.name for stop in tree.leaves]

    assert len(names) == len(set(names))
    assert tree.nodes == len(report.nodes) == len({n.name for n in report.nodes} & {*names})
    assert (tree.checked, tree.parameters) == (5, 5)
    assert (tree.type, part(report, "0").type) == ("Sequential", "Scaled")
    assert tree.tone == "agree"


@pytest.mark.parametrize("row", [("0.layer", "grad:weight"), ("0", "grad:scale")])
def test_a_part_is_as_bad_as_the_worst_row_inside_it(row: tuple[str, str]) -> None:
    bad = with_failure(*row)

    assert (tree_of(bad).tone, part(bad, "0").tone) == ("bad", "bad")
    assert part(bad, "1").tone == "agree"


def test_the_path_to_the_first_divergence_alone_is_open() -> None:
    page = report_html(blaming())
    parts = re.findall(r'<details class="part[^>]*>', page)

    assert [("open" in p) for p in parts].count(True) == 1
    assert not re.search(r'<details class="part[^>]* open', report_html(agreeing()))


def test_a_custom_function_to_blame_stands_in_its_module_and_makes_it_bad() -> None:
    inside = part(blaming(), "1")
    bad = next(p for p in inside.parts if p.name == "SwishSign")

    assert (bad.type, bad.tone, bad.nodes) == ("custom Function", "bad", 0)
    assert inside.first
    assert all(p.tone == "agree" for p in inside.parts if p is not bad)


def test_a_custom_function_to_blame_is_told_in_its_own_words() -> None:
    report = blaming()
    first, text = report.first_divergence, terminal_text(report)
    assert first is not None
    assert report.cause is not None

    assert first.quantity == "grad:x"
    assert first.sides == ("SwishSign.backward", "derived from forward")
    assert "manual" not in report.cause.evidence
    assert f"SwishSign.backward {first.manual!r}, derived from forward {first.torch!r}" in text
    assert "SwishSign.backward</dt>" in report_html(report)
    assert "def backward" in first.manual_source
    assert "def forward" in first.torch_source


def test_of_a_users_own_piece_the_users_source_is_shown() -> None:
    def outer(x: Any, weight: Any, bias: Any) -> Any:
        return x @ weight.T + bias, (x, weight)

    def outer_back(dy: Any, cache: Any) -> Any:
        x, weight = cache
        return dy @ weight, dy.T @ x, dy.mean(axis=0)

    pieces = {"1": (outer, outer_back)}
    model = nn.Sequential(nn.Tanh(), nn.Linear(4, 2))
    first = compare.mirror(model, torch.ones(5, 4), twin=pieces).first_divergence

    assert first is not None
    assert first.manual_source.startswith("def outer_back(")
    assert first.derivation == ""


def test_what_torch_computed_is_hatched_and_its_parameters_are_not_counted() -> None:
    report = partly(agreeing(), "1")
    page = report_html(report)

    assert (part(report, "1").by_torch, part(report, "1").checked) == (1, 1)
    assert 'class="leaf agree hatched"' in page
    assert "1 of 2 parameters" in page
    assert '<rect class="hatch"' in page
    assert "hatched" not in re.sub(r"<style>.*?</style>", "", report_html(agreeing()), flags=re.S)


def test_what_is_not_hand_written_is_told_everywhere_and_where_to_add_it() -> None:
    report = partly(agreeing(), "1")
    rows = missing(report)
    told = verdict_dict(report)

    assert [row.operation for row in rows] == ["sum", "fft.fft"]
    assert rows[0].where.endswith("functions/reductions.py")
    assert "manual/gates/" in rows[1].where
    assert "99.9 % of the nodes, 50 % of the parameters" in headline(report).qualifier
    assert told["coverage"] == report.coverage
    assert told["missing"] == [row._asdict() for row in rows]
    for text in (terminal_text(report), summary_markdown(report), report_html(report)):
        assert all(row.where in text and row.why in text for row in rows)


def test_a_whole_model_says_so_and_lists_nothing() -> None:
    assert headline(agreeing()).qualifier == ""
    assert "Hand-written: 100 % of the nodes" in terminal_text(agreeing())
    assert "h-missing" not in report_html(agreeing())
    assert share(0.99999) != share(1.0)


def test_derivations_stand_by_class_and_name_their_nodes_folded() -> None:
    page = report_html(agreeing())

    assert len(re.findall(r"<summary>Derivation: Linear: 2 nodes</summary>", page)) == 1


def test_a_long_table_is_folded_so_that_the_page_opens_fast(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folded = '<details class="rows">'
    assert folded not in report_html(agreeing())
    monkeypatch.setattr(html, "QUICK", 3)

    assert folded in report_html(agreeing())


def drawn(names: str, **given: Any) -> list[Level]:
    """Draw a chain of nodes."""
    chain = ["x", *names.split()]
    nodes = [Drawn(b, "Linear", (a,), "agree") for a, b in pairwise(chain)]
    nodes = [n._replace(**given.get(n.name, {})) for n in nodes]
    return levels(nodes, Part("", "Model"))


def boxes(level: Level) -> list[str]:
    return re.findall(r"<title>(\S+(?: … \S+| \(\d+\))?) ", level.svg)


def test_a_model_is_drawn_to_every_depth_that_tells_more() -> None:
    found = drawn("stem blocks.0.a blocks.0.b blocks.1.a blocks.1.b head")

    assert [level.boxes for level in found] == [3, 4, 6]
    assert boxes(found[0]) == ["x", "stem", "blocks", "head"]
    assert [level.shown for level in found] == [False, True, False]


def test_a_module_that_is_called_again_is_drawn_apart_rather_than_not_at_all() -> None:
    assert boxes(drawn("a.0 b a.1")[0]) == ["x", "a", "b", "a (2)"]


def test_a_box_has_the_gravest_tone_and_is_hatched_as_far_as_torch_computed_it() -> None:
    bad, by_torch = {"tone": "bad"}, {"hatched": 1.0}
    level = drawn("a.0 a.1 b", **{"a.0": bad, "a.1": by_torch, "b": by_torch})[0]

    assert 'class="node bad"><title>a ' in level.svg
    assert level.svg.count('class="hatch partly"') == 1
    assert level.svg.count('class="hatch"') == 1


def functional(blamed: bool = False, twice: bool = False) -> list[Level]:
    """Draw a custom Function of two nodes between others, and perhaps once more."""
    chain = ["x", "first", "sin", "cos", "last", *(("sin_1", "cos_1") if twice else ()), "end"]
    nodes = [Drawn(b, "Gate", (a,), "agree", f"#t-{b}") for a, b in pairwise(chain)]
    stop = Stop("Wave", "custom Function", ("first",), "disagree", 9.0, 3, True)
    tree = Part("", "Model", parts=[Part("Wave", "custom Function", stop=stop)] if blamed else [])
    return levels(nodes, tree, {"Wave": ("sin", "cos", "sin_1", "cos_1")})


@pytest.mark.parametrize("blamed", [False, True])
def test_a_custom_function_is_a_box_that_arrows_lead_into_and_out_of(blamed: bool) -> None:
    (level,) = functional(blamed)

    assert boxes(level) == ["x", "first", "Wave", "last", "end"]
    assert level.svg.count('class="edge"') == 4
    assert ('<a href="#t-3"><g class="node bad">' in level.svg) == blamed
    assert "Wave Function</title>" in level.svg


def test_a_custom_function_that_is_called_again_is_a_second_box() -> None:
    assert boxes(functional(twice=True)[0])[2:] == ["Wave", "last", "Wave (2)", "end"]


def test_no_text_is_longer_than_its_box() -> None:
    svg = drawn("MishFunctionWithAName", MishFunctionWithAName={"type": "custom Function"})[0].svg
    (text,) = re.findall(r"<tspan>(MishF[^<]*)", svg)

    assert 8.7 * len(text) <= WIDTH  # a bold letter of this size, on average


def test_more_children_than_boxes_are_folded_and_nothing_is_lost() -> None:
    names = [f"n{i}" for i in range(3 * BOXES + 1)]
    level = drawn(" ".join(names), n7={"tone": "bad"})[0]

    assert level.boxes <= BOXES
    assert level.svg.count('class="node bad"') == 1
    assert (boxes(level)[1][:4], boxes(level)[-1][-4:]) == ("n0 …", "n180")
