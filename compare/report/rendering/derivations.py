"""Each row's derivation for the page: equation, lines of code, and one element worked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from compare.explaining.equations import mathml

if TYPE_CHECKING:
    from compare.explaining.worked import Formula, Worked
    from compare.report.report import Report


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
