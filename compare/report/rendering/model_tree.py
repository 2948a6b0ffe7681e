"""A mirrored model as a tree: its nodes folded by module path, each part with its worst verdict."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from compare.report.rendering.facts import FAILED, TensorRow
from compare.report.rendering.network_graph import graver
from compare.report.rendering.network_map import Stop, stop_of
from manual.nodes import dotted

if TYPE_CHECKING:
    from compare.report.report import Report

__all__ = ["Part", "model_stops", "model_tree"]

SYMBOLS = {"bad": "✗", "agree": "✓", "vacuous": "∅"}


@dataclass
class Part:
    """A module with what is inside it, or a leaf: a node, a parameter, an input.

    `checked` of its trained `parameters` have a hand-written gradient that was compared, `by_torch`
    of its `nodes` are torch's on both sides.
    """

    name: str
    type: str
    anchor: str = ""
    stop: Stop | None = None
    parts: list[Part] = field(default_factory=list)
    nodes: int = 0
    by_torch: int = 0
    parameters: int = 0
    checked: int = 0

    @property
    def leaves(self) -> Iterator[Stop]:
        if self.stop is not None:
            yield self.stop
        for part in self.parts:
            yield from part.leaves

    @property
    def tone(self) -> str:
        return graver(stop.tone for stop in self.leaves)

    @property
    def symbol(self) -> str:
        return SYMBOLS.get(self.tone, "–")

    @property
    def verdict(self) -> str:
        """The gravest verdict of what is inside, in words."""
        tone = self.tone
        return next((s.verdict for s in self.leaves if s.tone == tone), "not compared")

    @property
    def budget(self) -> float:
        return float(np.fmax.reduce([s.budget for s in self.leaves], initial=np.nan))

    @property
    def first(self) -> bool:
        """Whether the first divergence is here or inside."""
        return any(stop.first for stop in self.leaves)


def model_tree(report: Report, stops: Sequence[Stop]) -> Part:
    """Return the model with its stops as leaves, in their order."""
    root = Part("", report.modules.get("", report.name))
    parts = {"": root}
    owners: dict[str, Part] = {}  # of parameters
    mine, torchs = {node.name for node in report.nodes}, set(report.torch_layers)
    for stop in stops:
        path, _, name = stop.name.rpartition(".")
        inside = _part(parts, path, report.modules)
        leaf = Part(name, stop.type, stop=stop)
        leaf.nodes, leaf.by_torch = int(stop.name in mine), int(stop.name in torchs)
        inside.parts.append(leaf)
        owners.setdefault(stop.name, leaf)
    _count(owners | parts, report)
    return root


def _part(parts: dict[str, Part], path: str, classes: Mapping[str, str]) -> Part:
    """Return a module's part, made with those around it where it is met first."""
    if path not in parts:
        outer, _, name = path.rpartition(".")
        part = Part(name, classes.get(path, ""), f"m-{len(parts)}")
        _part(parts, outer, classes).parts.append(part)
        parts[path] = part
    return parts[path]


def model_stops(report: Report, tensors: Sequence[TensorRow], stops: Sequence[Stop]) -> list[Stop]:
    """Return all that was compared: inputs, nodes, parameters that are no node's.

    That of the first divergence is as grave as the row in which it was seen. A custom Function
    that is to blame is no node: it gets a stop of its own, behind that row's.
    """
    inputs, free = (_others(report, tensors, stops, what) for what in ("input", "parameter"))
    first, found = report.first_divergence, [*inputs, *stops, *free]
    if first is None:
        return found
    row = next((i for i, t in enumerate(tensors) if (t.layer, t.quantity) == first.row[1:]), None)
    used = tensors[row].budget_used if row is not None else float("nan")
    kind = "custom Function" if first.sides else first.layer_type
    name = first.layer or first.quantity
    seen = Stop(name, kind, first.row[1:2], "disagree", used, row, True)
    for i, stop in enumerate(found):
        if stop.first and stop.verdict not in FAILED:
            found[i] = seen._replace(type=stop.type, feeds=stop.feeds)
    if not any(stop.first for stop in found):
        at = next((i for i, s in enumerate(found) if s.name == first.row[1]), len(found) - 1)
        found.insert(at + 1, seen)
    return found


def _others(
    report: Report, tensors: Sequence[TensorRow], stops: Sequence[Stop], what: str
) -> list[Stop]:
    """Return what was compared and is no node's: the inputs, or parameters of modules alone."""
    known = {re.split("[:@]", stop.name)[0] for stop in stops}
    rows: dict[str, list[int]] = {}
    for i, row in enumerate(tensors):
        layer = re.split("[:@]", row.layer)[0]
        if layer not in known and (row.kind == "grad_input") == (what == "input"):
            own = row.quantity.split(":")[1] if ":" in row.quantity else ""
            rows.setdefault(dotted(layer, own) if own else layer or what, []).append(i)
    return [stop_of(report, tensors, name, what, (), of) for name, of in rows.items()]


def _count(parts: Mapping[str, Part], report: Report) -> None:
    """Sum up nodes, and parameters, over all that is inside."""
    for part in _inside_out(parts[""]):
        part.nodes += sum(p.nodes for p in part.parts)
        part.by_torch += sum(p.by_torch for p in part.parts)
    for name, checked in report.parameters.items():
        for path in {name, *_around(name)} & parts.keys():
            parts[path].parameters += 1
            parts[path].checked += checked


def _around(name: str) -> Iterator[str]:
    """Yield the paths of the modules that something is inside of, up to the model's."""
    while name:
        name = name.rpartition(".")[0]
        yield name


def _inside_out(part: Part) -> Iterator[Part]:
    for inner in part.parts:
        yield from _inside_out(inner)
    yield part
