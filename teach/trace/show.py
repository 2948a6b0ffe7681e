"""A trace as tables for the terminal, and as plain data."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.words import _, said
from teach.trace.numbers import share, short
from teach.trace.symbols import symbol

if TYPE_CHECKING:
    from teach.trace.tracer import Judged, Trace

WIDTH = 118  # where the output is no terminal
LEFT, RIGHT = "left", "right"  # how a column stands


def text(trace: Trace) -> str:
    """Return the tables and the verdict as plain text."""
    buffer = io.StringIO()
    write(trace, buffer, width=WIDTH)
    return buffer.getvalue().rstrip()


def write(trace: Trace, file: Any = None, width: int | None = None) -> None:
    """Print the way forward, the way back, the gradients of the inputs, and the verdict."""
    from rich.console import Console

    file = file or sys.stdout
    if width is None and not file.isatty():
        width = WIDTH
    console = Console(file=file, width=width, highlight=False)
    labels, formula = trace.expression.labels, trace.expression
    console.print(_plain(f"f = {labels['f']}"))
    given = ", ".join(f"{name} = {short(x)}" for name, x in formula.inputs.items())
    console.print(_plain(_("at {values}").format(values=given) + "\n"))
    console.print(_table(_("Forward"), _forward(trace)))
    console.print(_plain(f"\n{upstream_sentence(trace)}"))
    console.print(_table(_("Backward"), _backward(trace)))
    console.print()
    console.print(_table(_("Gradients"), _sums(trace)))
    console.print(_plain(f"\n{conclusion(trace)}"))


def upstream_sentence(trace: Trace) -> str:
    """Say what the way back starts from."""
    if np.ndim(trace.upstream) == 0 and trace.upstream == 1:
        return _("The way back starts from ∂f/∂f = 1.")
    told = _("The way back starts from the upstream gradient {upstream}.")
    if trace.seed is not None:
        told = _("The way back starts from the upstream gradient {upstream}, drawn with seed {n}.")
    return told.format(upstream=short(trace.upstream), n=trace.seed)


def conclusion(trace: Trace) -> str:
    """Return the last line: agree or disagree, and where the two sides part."""
    judged = [step.gradient for step in trace.steps] + list(trace.sums.values())
    zeros = sum(found.verdict == "vacuous" for found in judged)
    if trace.verdict == "disagree":
        return _("disagree: {first}.").format(first=said(trace.first or ""))
    unjudged = sum(found.unjudged for found in judged)
    if unjudged:
        return _(
            "incomplete: {n} of {all} gradients are smaller than what rounding may do to them "
            "here, and cannot be judged. Choose other values."
        ).format(n=unjudged, all=len(judged))
    if trace.verdict == "incomplete":
        return _("incomplete: every gradient is zero, and zeros would pass without any gate.")
    told = _("agree: all {all} gradients are torch's.")
    note = " " + _("{n} of them are zero on both sides.").format(n=zeros) if zeros else ""
    return told.format(all=len(judged)) + note


def as_dict(trace: Trace) -> dict[str, Any]:
    """Return plain data for JSON."""
    formula = trace.expression
    return {
        "expression": formula.labels["f"],
        "inputs": {name: _data(x) for name, x in formula.inputs.items()},
        "upstream": _data(trace.upstream),
        "seed": trace.seed,
        "forward": [
            {"node": n.name, "formula": formula.labels[n.name], "gate": type(n.layer).__name__,
             "inputs": list(n.inputs), **_judged(trace.values[n.name])}
            for n in formula.graph.nodes
        ],
        "backward": [
            {"node": s.edge.node.name, "gate": type(s.edge.node.layer).__name__,
             "to": s.edge.source, "local": _data(s.local), "upstream": _data(s.upstream),
             **_judged(s.gradient), "remark": s.remark}
            for s in trace.steps
        ],
        "gradients": {name: _judged(found) for name, found in trace.sums.items()},
        "first": trace.first,
        "verdict": trace.verdict,
    }  # fmt: skip


def _forward(trace: Trace) -> dict[tuple[str, str], list[str]]:
    nodes, labels = trace.expression.graph.nodes, trace.expression.labels
    values = [trace.values[n.name] for n in nodes]
    return {
        (_("node"), LEFT): [n.name for n in nodes],
        (_("formula"), LEFT): [labels[n.name] for n in nodes],
        (_("gate"), LEFT): [symbol(n.layer) for n in nodes],
        (_("value"), RIGHT): [short(found.manual) for found in values],
        ("torch", RIGHT): [_theirs(found) for found in values],
        (_("verdict"), LEFT): [verdict(found) for found in values],
    }


def _backward(trace: Trace) -> dict[tuple[str, str], list[str]]:
    steps = trace.steps
    return {
        (_("gate"), LEFT): [f"{symbol(s.edge.node.layer)} ({s.edge.node.name})" for s in steps],
        (_("to"), LEFT): [s.edge.source for s in steps],
        (_("local"), RIGHT): [said(short(s.local)) for s in steps],
        (_("× upstream"), RIGHT): [short(s.upstream) for s in steps],
        (_("= gradient"), RIGHT): [short(s.gradient.manual) for s in steps],
        ("torch", RIGHT): [_theirs(s.gradient) for s in steps],
        (_("of tolerance"), RIGHT): [share(s.gradient.budget) for s in steps],
        (_("verdict"), LEFT): [verdict(s.gradient) for s in steps],
        (_("remark"), LEFT): [_remark(s.remark) for s in steps],
    }


def _sums(trace: Trace) -> dict[tuple[str, str], list[str]]:
    found = list(trace.sums.values())
    return {
        ("∂f/∂", LEFT): [_sum_of(trace, name) for name in trace.sums],
        (_("gradient"), RIGHT): [short(one.manual) for one in found],
        ("torch", RIGHT): [_theirs(one) for one in found],
        (_("of tolerance"), RIGHT): [share(one.budget) for one in found],
        (_("verdict"), LEFT): [verdict(one) for one in found],
    }


def _sum_of(trace: Trace, name: str) -> str:
    """Return the name, with the shares that add up where its value branches."""
    shares = [short(s.gradient.manual, 4) for s in trace.steps if s.edge.source == name]
    return name if len(shares) < 2 else f"{name} = {' + '.join(map(_bracketed, shares))}"


def _bracketed(number: str) -> str:
    return f"({number})" if number.startswith("-") else number


def _theirs(found: Judged) -> str:
    return "–" if found.torch is None else short(found.torch)


def verdict(found: Judged) -> str:
    """Return a row's verdict in a word: of vacuous rows whether zeros or mere rounding."""
    if found.unjudged:
        return _("not judged")
    words = {"agree": _("agree"), "disagree": _("disagree"), "incomplete": _("incomplete"),
             "vacuous": _("zero")}  # fmt: skip
    return words.get(found.verdict, found.verdict)


def _remark(text: str) -> str:
    """Return what a gate does with gradients, in a word or two."""
    words = {"distributes": _("distributes"), "switches": _("switches"), "routes": _("routes"),
             "passes": _("passes"), "scales": _("scales"),
             "half at a tie": _("half at a tie")}  # fmt: skip
    return ", ".join(words.get(part) or said(part) for part in text.split(", "))


def _table(title: str, columns: dict[tuple[str, str], list[str]]) -> Any:
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold",
                  title_style="bold")  # fmt: skip
    for name, side in columns:
        table.add_column(name, justify=side, overflow="fold")  # type: ignore[arg-type]
    verdicts = columns[_("verdict"), LEFT]
    for said_of, *row in zip(verdicts, *columns.values(), strict=True):
        fine = said_of in (_("agree"), _("zero"))
        table.add_row(*map(_plain, row), style=None if fine else "red")
    return table


def _plain(text: str) -> Any:
    from rich.text import Text

    return Text(text)


def _judged(found: Judged) -> dict[str, Any]:
    budget = found.budget if np.isfinite(found.budget) else None
    return {
        "manual": _data(found.manual), "torch": _data(found.torch),
        "budget_used": budget, "verdict": found.verdict,
    }  # fmt: skip


def _data(x: Any) -> Any:
    """Return lists of floats, None for what JSON has no number for."""
    if x is None or isinstance(x, str):
        return x
    values = np.asarray(x, dtype=float)
    finite = values.astype(object)
    finite[~np.isfinite(values)] = None
    return finite.tolist()
