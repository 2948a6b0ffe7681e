"""A report as Markdown for a pull request, and what all its texts say in the same words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from compare.explaining import format as fmt
from compare.report.rendering.against import counted, furthest, parts_first
from compare.report.rendering.coverage import missing, shares, whole
from compare.report.rendering.elsewhere import places
from compare.report.rendering.facts import (
    VERDICTS,
    Totals,
    budget_sentence,
    evidence_facts,
    extent,
    gap,
    headline,
    notices,
    per_tensor,
    place,
    sample_title,
    sampled_text,
    sides,
    totals,
    trained_line,
    words,
    worst_rows,
)
from compare.report.rendering.kills import kills_line

if TYPE_CHECKING:
    from compare.diagnose.divergence import Divergence
    from compare.report.against import Against
    from compare.report.report import Report


def worst_head(report: Report) -> tuple[str, ...]:
    """Return the columns of the table of worst rows."""
    said = words(report)
    return (*said.place, "quantity", "index", "manual", said.theirs, "|diff|", "budget used")


def scope(report: Report, total: Totals) -> str:
    """Return what was compared, in one phrase."""
    text = (
        f"{fmt.plural(total.tensors, 'tensor')} ({fmt.plural(total.elements, 'element')}) "
        f"compared over {extent(report)}"
    )
    parts = [text, sampled_text(report)]
    parts += [f"{fmt.plural(total.left_out, 'element')} left out"] if total.left_out else []
    return "; ".join(filter(None, [*parts, *report.abridged]))


def verdict_counts(total: Totals) -> str:
    parts = [f"{verdict} {fmt.count(total.verdicts[verdict])}" for verdict in reversed(VERDICTS)]
    return ", ".join(
        parts + ([f"not judged {fmt.count(total.unjudged)}"] if total.unjudged else [])
    )


def shown_cause(report: Report) -> str:
    """Return where the first mistake is and what it looks like, in one line; "" if unknown."""
    first, cause = report.first_divergence, report.cause
    if first is None:
        return ""
    said = words(report)
    layer = "custom Function" if first.sides else said.layer
    where = f"{fmt.name(first.quantity)} in {layer} {fmt.name(first.layer)}"
    told = "" if said.checked else first.explanation  # of a check the reason tells it
    told = f"{cause.kind}: {cause.evidence}" if cause is not None else told
    return f"{where}: {fmt.name(told)}" if told else ""


INSIDE = "manual is derived from forward by hand, torch is the model with its backward"


def whose(first: Divergence) -> str:
    """Return whose mistake the first divergence is, in a few words."""
    if first.sides:
        name = fmt.name(first.sides[0])
        return f"{name} is wrong by itself: on its own inputs, under a random upstream gradient"
    return {
        "own": "its own formula, given torch's inputs and upstream gradient, still disagrees",
        "inherited": "its own formula, given torch's inputs and upstream gradient, agrees",
    }.get(first.own_or_inherited, "")


def last_agreed(report: Report, first: Divergence) -> str:
    return place(report, *first.last_agreed) if first.last_agreed else "nothing before it"


def over_all(report: Report) -> str:
    return "" if report.mode == "check" else ", over all steps"


def at_worst(report: Report) -> str:
    return "" if report.mode == "check" else ", each at its worst step"


def worst_cells(report: Report, row: dict[str, Any]) -> tuple[str, ...]:
    return (
        *words(report).at(str(row["step"]), _clip(fmt.name(row["layer"]), 24)),
        _clip(fmt.name(row["quantity"]), 30),
        fmt.name(row["worst_index"]),
        f"{row['manual']:.6g}",
        f"{row['torch']:.6g}",
        fmt.short(gap(row["manual"], row["torch"], row["max_abs_diff"])),
        fmt.budget(row["budget_used"]) if row["verdict"] == "agree" else _judged(row),
    )


def _judged(row: dict[str, Any]) -> str:
    used = fmt.budget(row["budget_used"])
    return row["verdict"] if used == "–" else f"{used} {row['verdict']}"


def _clip(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


SYMBOLS = {"agree": "✅", "disagree": "❌", "incomplete": "⚠️", "none": "ℹ️"}


def summary_markdown(report: Report) -> str:
    """Return the report in the size of a pull request's comment."""
    head, total = headline(report), totals(report)
    qualifier = f" ({head.qualifier})" if head.qualifier else ""
    parts = [
        f"## {SYMBOLS[head.tone]} {head.word}{qualifier}: {_escape(report.name)}",
        f"**{_escape(report.reason)}**",
    ]
    for notice in notices(report):
        parts.append(f"> ⚠️ **{notice.title}.** {_escape(notice.text)}")
    parts.append(f"{scope(report, total)}. {_escape(verdict_counts(total))}.")
    parts += [f"Hand-written: {shares(report)}."] if whole(report) else []
    if report.first_divergence is not None:
        parts.append(_divergence_markdown(report, report.first_divergence))
    if report.elsewhere:
        told = [f"- {_escape(title)}: {_escape(element)}" for title, element in places(report)]
        parts += ["### Wrong on other inputs", "\n".join(told)]
    worst = [[_code(cell) for cell in worst_cells(report, row)] for row in worst_rows(report, 5)]
    if worst:
        parts += [
            f"### Worst tensors{at_worst(report)}",
            _table(worst_head(report), worst, right=len(worst_head(report)) - 1),
        ]
    if rows := missing(report):
        cells = [
            [_code(r.operation), f"{r.times:,}", _escape(r.why), _escape(r.where)] for r in rows
        ]
        columns = ("operation", "times", "why", "what to add")
        parts += ["### Not hand-written", _table(columns, cells, right=1)]
    if report.against is not None:
        parts += ["### Two torches", _moved(report.against)]
    if report.notes:
        parts += ["### Notes", "\n".join(f"- {_escape(note)}" for note in report.notes)]
    parts += [f"<details><summary>Every tensor{over_all(report)}</summary>", _tensors(report)]
    parts += ["</details>", _escape(f"{budget_sentence(report)} Tolerance: {report.tolerance}.")]
    parts += [_escape(line) for line in [kills_line(report), trained_line(report)] if line]
    if report.sample is not None:
        parts += [f"{sample_title(report)}:", _block("".join(report.sample))]
    parts += [_escape(line) for line in evidence_lines(report)]
    versions = ", ".join(f"{_escape(k)} {_code(v)}" for k, v in report.environment.items())
    return "\n\n".join([*parts, versions]).rstrip() + "\n"


def _moved(found: Against) -> str:
    tensors = found.tensors()
    told = ", ".join(f"{name} {a} → {b}" for name, (a, b) in found.differing.items())
    counts = ", ".join(f"{status} {n:,}" for status, n in counted(tensors).items())
    said = [f"Against {_code(found.other)}: {_escape(told or 'nothing that torch tells of')}."]
    said += [f"Who moved, by tensors: {_escape(counts)}.", _escape(parts_first(found))]
    rows = [
        [_code(t.layer), _code(t.quantity), _escape(t.status), *map(fmt.budget, t[2:5])]
        for t in furthest(tensors, 10)
    ]
    columns = ("layer", "quantity", "who", "hand − this", "hand − other", "this − other")
    return "\n\n".join(filter(None, [*said, _table(columns, rows, right=5) if rows else ""]))


def evidence_lines(report: Report) -> list[str]:
    """Return by what, of what and when the report was found."""
    return [f"{name}: {value}" for name, value in evidence_facts(report)]


def _divergence_markdown(report: Report, first: Divergence) -> str:
    step = "" if report.mode == "check" else f"step {first.step}, "
    where = f"{step}{words(report).layer} {_code(first.layer)} ({_code(first.layer_type)})"
    own = f"**{_escape(first.own_or_inherited)}**: {_escape(whose(first) or '–')}"
    rows = [
        ("where", where),
        ("quantity", _code(first.quantity)),
        ("worst element", _code(first.worst_index)),
        (sides(report)[0], _code(fmt.exact(first.manual))),
        (sides(report)[1], _code(fmt.exact(first.torch))),
        ("difference", _code(fmt.short(gap(first.manual, first.torch, first.max_abs_diff)))),
        *([] if report.mode == "check" else [("whose mistake", own)]),
        ("what it looks like", _escape(first.explanation or "–")),
        ("cause", _escape("–" if report.cause is None else report.cause)),
        *([("witnesses", _escape(first.witnesses.text))] if first.witnesses is not None else []),
        *([("in the tables", _escape(INSIDE))] if first.sides else []),
        ("last agreed", _escape(last_agreed(report, first))),
    ]
    return "### First divergence\n\n" + _table(("", ""), rows)


def _tensors(report: Report, most: int = 60) -> str:
    rows, said = per_tensor(report.differences), words(report)
    cells = [
        (
            _code(row.layer),
            _code(row.quantity),
            fmt.budget(row.budget_used),
            *([] if said.checked else [str(row.step)]),
            fmt.short(row.max_abs_diff),
            _escape(", ".join(f"{n:,} {verdict}" for verdict, n in row.verdicts.items())),
        )
        for row in rows[:most]
    ]
    at = [] if said.checked else ["at step"]
    columns = (said.layer, "quantity", "budget used", *at, "max abs diff", "verdicts")
    more = f"\n\n{len(rows) - most:,} more are in differences.csv." if len(rows) > most else ""
    return _table(columns, cells, right=2) + more


def _table(head: Iterable[str], rows: Iterable[Iterable[str]], right: int | None = None) -> str:
    head = [cell.replace("|", "\\|") for cell in head]
    rule = ["---:" if right is not None and i == right else "---" for i in range(len(head))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *map(list, rows)])


def _code(text: object) -> str:
    """Return a code span that is safe inside a table."""
    clean = fmt.name(text).replace("`", "ˋ").replace("|", "\\|")
    return f"`{clean}`" if clean.strip() else "–"


def _block(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _escape(text: object) -> str:
    """Return prose in which nothing acts as Markdown or HTML."""
    clean = fmt.name(text).replace("&", "&amp;").replace("<", "&lt;").replace("@", "&#64;")
    clean = clean.replace("$", "&#36;")
    return re.sub(r"([\\`*_\[\]|~#!])", r"\\\1", clean)
