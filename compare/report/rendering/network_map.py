"""The network at a glance: every node with the gravest verdict that any of its tensors has."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from compare.report.rendering.facts import FAILED, VERDICTS, TensorRow

if TYPE_CHECKING:
    from compare.report.report import Report


class Stop(NamedTuple):
    """A node of the map: `row` is the number of the tensor that a click leads to."""

    name: str
    type: str
    feeds: tuple[str, ...]  # named where they are not just the node before
    verdict: str
    budget: float
    row: int | None
    first: bool  # the first divergence is here

    @property
    def tone(self) -> str:
        if self.verdict in FAILED:
            return "bad"
        return self.verdict if self.verdict in ("agree", "vacuous") else "unjudged"


def network_map(report: Report, tensors: Sequence[TensorRow]) -> list[Stop]:
    """Return the nodes in the order of the forward pass, then the loss; nothing for a check."""
    if report.mode == "check" or len(report.nodes) < (1 if report.coverage else 2):
        return []
    of: dict[str, list[int]] = {}
    for i, row in enumerate(tensors):
        of.setdefault(re.split("[:@]", row.layer)[0], []).append(i)
        if row.layer not in of:
            of[row.layer] = of[re.split("[:@]", row.layer)[0]]
    stops, before = [], "input"
    for node in report.nodes:
        feeds = () if node.inputs == (before,) else node.inputs
        rows = of.get(node.name) or of.get(re.split("[:@]", node.name)[0], [])
        stops.append(stop_of(report, tensors, node.name, node.type, feeds, rows))
        before = node.name
    if "loss" in of:
        stops.append(stop_of(report, tensors, "loss", "", (), of["loss"]))
    return stops


def stop_of(
    report: Report,
    tensors: Sequence[TensorRow],
    name: str,
    kind: str,
    feeds: tuple[str, ...],
    rows: list[int],
) -> Stop:
    """Return what a node of the map says: the gravest of its rows, by verdict and budget."""
    first = report.first_divergence
    here = first is not None and first.layer == name
    if not rows:
        return Stop(name, kind, feeds, "not compared", float("nan"), None, here)
    gravity = {verdict: i for i, verdict in enumerate((*FAILED, "agree", "vacuous"))}
    known = [i for i in rows if tensors[i].verdict in VERDICTS] or rows

    def rank(i: int) -> tuple[int, float]:
        used = tensors[i].budget_used
        return gravity.get(tensors[i].verdict, 9), -(used if used == used else -1.0)

    worst = min(known, key=rank)
    return Stop(name, kind, feeds, tensors[worst].verdict, tensors[worst].budget_used, worst, here)
