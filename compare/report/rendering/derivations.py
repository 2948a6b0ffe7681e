"""Each row's derivation for the page: equation, lines of code, and one element worked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from compare.explaining.equations import mathml

if TYPE_CHECKING:
    from compare.explaining.worked import Formula, Worked
    from compare.report.report import Report


NAMED = {"loss": "Loss"}


class Derivation(NamedTuple):
    """One element as the page shows it, and the anchor that its row links to."""

    anchor: str
    worked: Worked

    @property
    def element(self) -> str:
        """Name the element: `[3, 5]`; "" for a single number."""
        return f"[{', '.join(map(str, self.worked.index))}]" if self.worked.index else ""

    @property
    def tone(self) -> str:
        """Say how the finding is to be shown."""
        w = self.worked
        if w.problem:
            return "muted"
        if not w.agrees or w.holds is False:
            return "bad"
        return "good" if w.holds and w.settled else "muted"


class OfLayer(NamedTuple):
    """The derivations of one layer."""

    name: str
    found: list[Derivation]


class Group(NamedTuple):
    """The derivations of all layers of one class."""

    type: str
    layers: list[OfLayer]

    @property
    def tensors(self) -> int:
        return sum(len(layer.found) for layer in self.layers)

    @property
    def bad(self) -> int:
        return sum(d.tone == "bad" for layer in self.layers for d in layer.found)


def grouped(report: Report, found: list[Derivation]) -> list[Group]:
    """Return the derivations by class, then by layer, each in the order of the network."""
    types = {node.name: node.type for node in report.nodes}
    groups: dict[str, dict[str, list[Derivation]]] = {t: {} for t in types.values()}
    order = {name: i for i, name in enumerate(types)}
    for d in sorted(found, key=lambda d: order.get(_node(d, types), len(order))):
        name = d.worked.layer
        of_input = d.worked.quantity == "grad_input"
        kind = "Network input" if of_input else types.get(_node(d, types), NAMED.get(name, name))
        groups.setdefault(kind, {}).setdefault(name, []).append(d)
    return [Group(t, [OfLayer(*item) for item in of.items()]) for t, of in groups.items() if of]


def _node(d: Derivation, known: dict[str, str]) -> str:
    """Return the node of a derivation; one of several outputs or calls is its module's."""
    name = d.worked.layer
    return name if name in known else re.split("[:@]", name)[0]


def derivations(report: Report) -> list[Derivation]:
    """Return the report's worked elements in execution order."""
    return [Derivation(f"d-{n}", worked) for n, worked in enumerate(report.worked)]


def anchors(found: list[Derivation]) -> dict[tuple[str, str], str]:
    """Return the anchor of each (layer, quantity)."""
    return {(d.worked.layer, d.worked.quantity): d.anchor for d in found}


def equations(formula: Formula) -> list[Any]:
    """Return a formula's lines as MathML, which needs no network; Unicode where that fails."""
    from markupsafe import Markup

    return [Markup(mathml(latex)) for latex in formula.latex]
