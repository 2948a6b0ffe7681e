"""A trace as tables for the terminal, and as plain data."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from teach.trace.numbers import share, short
from teach.trace.symbols import symbol

if TYPE_CHECKING:
    from teach.trace.tracer import Judged, Trace

ZERO, UNJUDGED = "zero", "not judged"  # said of vacuous rows: of zeros, and of mere rounding
WIDTH = 118  # where the output is no terminal
FORWARD = ("node", "formula", "gate", "value", "torch", "verdict")
BACKWARD = ("gate", "to", "local", "× upstream", "= gradient", "torch", "of tolerance",
            "verdict", "remark")  # fmt: skip
SUMS = ("∂f/∂", "gradient", "torch", "of tolerance", "verdict")


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
    console.print(_plain(f"at {given}\n"))
    console.print(_table("Forward", FORWARD, _forward(trace)))
    console.print(_plain(f"\n{upstream_sentence(trace)}"))
    console.print(_table("Backward", BACKWARD, _backward(trace)))
    console.print()
    console.print(_table("Gradients", SUMS, _sums(trace)))
    console.print(_plain(f"\n{conclusion(trace)}"))


def upstream_sentence(trace: Trace) -> str:
    """Say what the way back starts from."""
    where = "" if trace.seed is None else f", drawn with seed {trace.seed}"
    if np.ndim(trace.upstream) == 0 and trace.upstream == 1:
        return "The way back starts from ∂f/∂f = 1."
    return f"The way back starts from the upstream gradient {short(trace.upstream)}{where}."


def conclusion(trace: Trace) -> str:
    """Return the last line: agree or disagree, and where the two sides part."""
    judged = [step.gradient for step in trace.steps] + list(trace.sums.values())
    zeros = sum(found.verdict == "vacuous" for found in judged)
    if trace.verdict == "disagree":
        return f"disagree: {trace.first}."
    unjudged = sum(found.unjudged for found in judged)
    if unjudged:
        return (
            f"incomplete: {unjudged} of {len(judged)} gradients are smaller than what rounding may "
            "do to them here, and cannot be judged. Choose other values."
        )
    if trace.verdict == "incomplete":
        return "incomplete: every gradient is zero, and zeros would pass without any gate."
    note = f" {zeros} of them are zero on both sides." if zeros else ""
    return f"agree: all {len(judged)} gradients are torch's.{note}"


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


def _forward(trace: Trace) -> list[tuple]:
    labels = trace.expression.labels
    return [
        (n.name, labels[n.name], symbol(n.layer), *_both(trace.values[n.name]),
         said(trace.values[n.name]))
        for n in trace.expression.graph.nodes
    ]  # fmt: skip


def _backward(trace: Trace) -> list[tuple]:
    return [
        (f"{symbol(s.edge.node.layer)} ({s.edge.node.name})", s.edge.source, short(s.local),
         short(s.upstream), *_both(s.gradient), share(s.gradient.budget), said(s.gradient),
         s.remark)
        for s in trace.steps
    ]  # fmt: skip


def _sums(trace: Trace) -> list[tuple]:
    return [
        (_sum_of(trace, name), *_both(found), share(found.budget), said(found))
        for name, found in trace.sums.items()
    ]


def _sum_of(trace: Trace, name: str) -> str:
    """Return the name, with the shares that add up where its value branches."""
    shares = [short(s.gradient.manual, 4) for s in trace.steps if s.edge.source == name]
    return name if len(shares) < 2 else f"{name} = {' + '.join(map(_bracketed, shares))}"


def _bracketed(number: str) -> str:
    return f"({number})" if number.startswith("-") else number


def _both(found: Judged) -> tuple[str, str]:
    return short(found.manual), "–" if found.torch is None else short(found.torch)


def said(found: Judged) -> str:
    """Return a row's verdict in a word."""
    if found.unjudged:
        return UNJUDGED
    return ZERO if found.verdict == "vacuous" else found.verdict


def _table(title: str, header: tuple[str, ...], rows: list[tuple]) -> Any:
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold",
                  title_style="bold")  # fmt: skip
    left = {"node", "formula", "gate", "to", "verdict", "remark", "∂f/∂"}
    for name in header:
        table.add_column(name, justify="left" if name in left else "right", overflow="fold")
    place = header.index("verdict")
    for row in rows:
        style = None if row[place] in ("agree", ZERO) else "red"
        table.add_row(*map(_plain, row), style=style)
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
