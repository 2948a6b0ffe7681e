"""report.html: one self-contained page; and the fragment that a notebook shows."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from compare.explaining import format as fmt
from compare.explaining.evaluate import DIGITS
from compare.report.against import OFF, STATUSES
from compare.report.rendering import text
from compare.report.rendering.against import TOLD, counted, parts_first
from compare.report.rendering.coverage import missing, share
from compare.report.rendering.derivations import (
    Derivation,
    anchors,
    derivations,
    equations,
    grouped,
)
from compare.report.rendering.elsewhere import wrong_rows
from compare.report.rendering.facts import (
    FAILED,
    KINDS,
    VERDICTS,
    TensorRow,
    accuracies,
    budget_sentence,
    evidence_facts,
    extent,
    gap,
    headline,
    notices,
    per_tensor,
    sample_title,
    sampled_text,
    severity,
    sides,
    totals,
    words,
    worst_rows,
)
from compare.report.rendering.heat_map import hover
from compare.report.rendering.kills import HEADINGS, kills_of
from compare.report.rendering.model_graph import Level, levels
from compare.report.rendering.model_tree import Part, model_stops, model_tree
from compare.report.rendering.network_graph import Drawn, folded, network_svg
from compare.report.rendering.network_map import Stop, network_map
from compare.report.rendering.neurons import columns_of, neurons_svg
from compare.report.rendering.palette import DARK, LIGHT, css_variables
from compare.report.rendering.plots import Plot, make_plots
from compare.report.rendering.svg import for_page
from compare.report.rendering.verdict import config_toml

if TYPE_CHECKING:
    from jinja2 import Environment

    from compare.explaining.worked import Worked
    from compare.report.report import Report

TEMPLATES = Path(__file__).parent.parent / "templates"
DRAWN = 200  # nodes; a larger network is not drawn
UNFOLDED = 100  # nodes; of a larger network all calls of a layer are drawn as one
QUICK = 600  # rows of a table that is laid out at once; of a model a longer one is folded
DECADES = 4  # a bar spans this many decades below the limit


class Docstring(NamedTuple):
    """A layer type's derivation, and the nodes that use it."""

    type: str
    nodes: list[str]
    text: str


def report_html(report: Report, plots: Sequence[Plot] | None = None) -> str:
    """Return the page. `plots` may be given if they are drawn already."""
    from markupsafe import Markup

    plots = make_plots(report) if plots is None else plots
    script = (TEMPLATES / "report.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    tensors = per_tensor(report.differences)
    worked = derivations(report)
    stops = network_map(report, tensors)
    stops = model_stops(report, tensors, stops) if report.coverage else stops
    tree = model_tree(report, stops) if report.coverage else None
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            _common(report),
            light=Markup(css_variables(LIGHT)),
            dark=Markup(css_variables(DARK)),
            css=Markup((TEMPLATES / "report.css").read_text("utf-8")),
            script=Markup(script),
            script_digest=digest,
            tensors=tensors,
            slow=tree is not None and len(tensors) > QUICK,
            layers=list({row.layer: None for row in tensors}),
            stops=stops,
            tree=tree,
            missing=missing(report),
            shares={name: (v, share(v)) for name, v in report.coverage.items()},
            levels=_levels(report, stops, tree),
            neurons=Markup(_neurons(report)),
            graph=Markup("" if tree else _graph(report, stops)),
            folded=len(report.nodes) > UNFOLDED,
            hover=json.dumps(hover(report, tensors), ensure_ascii=False, separators=(",", ":")),
            facts=evidence_facts(report),
            **_against(report),
            sampled=sampled_text(report),
            kinds=_kinds_of(tensors),
            found=_found(report),
            drawn=[(plot, Markup(for_page(plot.svg, plot.title))) for plot in plots if plot.svg],
            absent=[plot for plot in plots if not plot.svg],
            kinks=_kinks(report),
            docstrings=_docstrings(report),
            derivations=worked,
            groups=grouped(report, worked),
            anchors=anchors(worked),
            worked_digits=DIGITS,
            config=config_toml(report),
            largest=_largest(report),
            sample_title=sample_title(report),
            kills=kills_of(report),
            kill_headings=list(HEADINGS.values()),
        )
    )


def _against(report: Report) -> dict[str, Any]:
    """Return what the page says of a second torch."""
    found = report.against
    if found is None:
        return {"against": None, "OFF": OFF}
    tensors = found.tensors()
    return {
        "against": found,
        "against_tensors": tensors,
        "against_counts": counted(tensors),
        "against_first": parts_first(found),
        "against_failed": [totals(side).failed for side in (found.this, found.that)],
        "told_of": TOLD,
        "OFF": OFF,
        "STATUSES": STATUSES,
    }


def notebook_html(report: Report) -> str:
    """Return a fragment without script, whose style stays inside it."""
    template = _environment().get_template("notebook.html.j2")
    return template.render(_common(report, rows=5))


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup, escape

    def clean(value: Any) -> Any:
        return value if isinstance(value, Markup) else fmt.block(value)

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=clean,
    )
    environment.filters |= {
        "budget": fmt.budget,
        "short": fmt.short,
        "exact": fmt.exact,
        "count": fmt.count,
        "bar": bar_width,
        "breakable": lambda text: escape(fmt.name(text)).replace(":", Markup(":<wbr>")),
        "coded": _coded,
        "dedent": lambda source: textwrap.dedent(str(source)).strip("\n"),
    }
    environment.globals |= {
        "equations": equations,
        "gap": gap,
        "split_common": fmt.split_common,
        "plural": fmt.plural,
        "wrong_rows": wrong_rows,
    }
    return environment


def _common(report: Report, rows: int = 10) -> dict[str, Any]:
    first = report.first_divergence
    return {
        "report": report,
        "head": headline(report),
        "notices": notices(report),
        "totals": totals(report),
        "accuracies": accuracies(report),
        "first": first,
        "whose": text.whose(first) if first else "",
        "sides": sides(report),
        "inside": text.INSIDE if first and first.sides else "",
        "shown_cause": text.shown_cause(report),
        "last_agreed": text.last_agreed(report, first) if first else "",
        "words": words(report),
        "extent": extent(report),
        "checked": report.mode == "check",
        "first_budget": _budget_at(report) if first else math.nan,
        "worst": worst_rows(report, rows),
        "budget_sentence": budget_sentence(report),
        "FAILED": FAILED,
        "VERDICTS": VERDICTS,
    }


def _coded(value: Any) -> Any:
    """Return a sentence whose `code` stands in <code>, all of it escaped."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`\n]+)`", r"<code>\1</code>", str(escape(fmt.block(value)))))


def bar_width(budget: float) -> str:
    """Return a bar's length in per cent: logarithmic, full at the limit.

    >>> bar_width(0.01), bar_width(1.0), bar_width(3e9)
    ('50.0', '100.0', '100.0')
    """
    if not budget > 0:
        return "0"
    share = 1.0 if math.isinf(budget) else 1 + math.log10(budget) / DECADES
    return f"{100 * min(1.0, max(0.0, share)):.1f}"


def _budget_at(report: Report) -> float:
    """Return the budget used by the row in which the first divergence was seen."""
    assert report.first_divergence is not None
    step, layer, quantity = report.first_divergence.row
    table = report.differences
    hit = (table["step"] == step) & (table["layer"] == layer) & (table["quantity"] == quantity)
    used = severity(table[hit])
    return float(used[0]) if len(used) else math.nan


def _largest(report: Report) -> float:
    """Return the largest budget used, ∞ for a failure without a number, NaN if none was judged."""
    used = severity(report.differences)
    return float(np.fmax.reduce(used, initial=np.nan))


def _graph(report: Report, stops: Sequence[Stop]) -> str:
    """Return the network drawn, each node a click away from its class's derivation; "" of none."""
    entries = {name: i for i, entry in enumerate(_docstrings(report)) for name in entry.nodes}
    links = {name: f"#of-{i}" for name, i in entries.items()}
    nodes = _drawn(report, stops, links) if stops else []
    shown = nodes if len(nodes) <= UNFOLDED else folded(nodes)
    return network_svg(shown) if stops and len(shown) <= DRAWN else ""


def _neurons(report: Report) -> str:
    """Return a chain of fully connected layers drawn as neurons; "" of another network."""
    columns = columns_of(report.config.get("layers", ()))
    return neurons_svg(columns, "The network's neurons") if columns else ""


def _levels(report: Report, stops: Sequence[Stop], tree: Part | None) -> list[Level]:
    """Return a mirrored model drawn; a box leads to its worst tensor or its part of the tree."""
    links = {stop.name: f"#t-{stop.row}" for stop in stops if stop.row is not None}
    nodes = _drawn(report, stops, links)
    return levels(nodes, tree, report.functions) if tree is not None else []


def _drawn(report: Report, stops: Sequence[Stop], links: Mapping[str, str]) -> list[Drawn]:
    tones, torchs = {stop.name: stop.tone for stop in stops}, set(report.torch_layers)
    return [
        Drawn(n.name, n.type, n.inputs, tones.get(n.name, ""), links.get(n.name, ""),
              float(bool(report.coverage) and n.name in torchs))
        for n in report.nodes
    ]  # fmt: skip


def _found(report: Report) -> list[str]:
    """Return the verdicts that occur, gravest first."""
    seen = set(report.differences["verdict"].unique())
    return [v for v in VERDICTS if v in seen] + sorted(seen - set(VERDICTS))


def _kinds_of(tensors: Sequence[TensorRow]) -> list[str]:
    """Return the kinds that occur, the usual ones first."""
    seen = {row.kind: None for row in tensors}
    return [kind for kind in KINDS if kind in seen] + [kind for kind in seen if kind not in KINDS]


def _kinks(report: Report) -> list[tuple[str, int, int]]:
    """Return per layer: its name, how many elements flipped, in how many steps."""
    if not len(report.kinks):
        return []
    grouped = report.kinks.groupby("layer", sort=False, observed=True)
    return [(str(name), int(g["flips"].sum()), int(g["step"].nunique())) for name, g in grouped]


def _docstrings(report: Report) -> list[Docstring]:
    """Return each distinct derivation once."""
    found: dict[tuple[str, str], Docstring] = {}
    for node in report.nodes:
        if node.derivation:
            key = (node.type, node.derivation)
            found.setdefault(key, Docstring(node.type, [], node.derivation)).nodes.append(node.name)
    return list(found.values())


def fragment(worked: Worked) -> str:
    """Return one derivation by itself, for a notebook; its style stays inside it."""
    template = _environment().get_template("derivation_alone.html.j2")
    return template.render(d=Derivation("d", worked))
