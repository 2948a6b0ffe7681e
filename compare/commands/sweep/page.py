"""What all points of a sweep found, for people: a page, and lines for the terminal."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from compare.commands.sweep.rows import AGREE, DEAD, DISAGREE, ERROR, FAILURES, INCOMPLETE, MOST
from compare.explaining import format as fmt

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from compare.commands.sweep.report import SweepReport

OFFENDERS = 20
PAIRED = 5  # axes that are crossed with each other
WIDE = 12  # columns of a crossed table
TOLD = 5  # failures that a terminal shows
STEPS = 30  # points along a drawn axis


class Cross(NamedTuple):
    """Two axes crossed: of each pair of values how many points failed, of how many."""

    down: str
    across: str
    columns: list[str]
    rows: list[tuple[str, list[tuple[int, int]]]]


def html(report: SweepReport, told: dict[str, Any]) -> str:
    """Return the page: self-contained, without a script, of a size that no sweep's size changes.

    `told` is what verdict.json holds.
    """
    from markupsafe import Markup

    from compare.report.rendering.html import TEMPLATES, _environment
    from compare.report.rendering.palette import DARK, LIGHT, css_variables

    return (
        _environment()
        .get_template("sweep.html.j2")
        .render(
            report=report, axes=report.axes, counts=report.counts, told=told,
            tables=[(axis, _lines(report, axis)) for axis in report.axes],
            plots=[(axis, Markup(svg)) for axis in report.axes if (svg := drawn(report, axis))],
            crossed=list(crossed(report)), layers=report.layers().to_dict("records"),
            worst=report.worst(OFFENDERS).to_dict("records"), paired=PAIRED,
            failures=report.failures.head(FAILURES).to_dict("records"),
            order=(DISAGREE, DEAD, ERROR, INCOMPLETE, AGREE), largest=_largest(report), most=MOST,
            cell=_cell,
            css=Markup((TEMPLATES / "report.css").read_text("utf-8")),
            light=Markup(css_variables(LIGHT)), dark=Markup(css_variables(DARK)),
        )
    )  # fmt: skip


def _largest(report: SweepReport) -> float:
    return float(np.fmax.reduce(report.runs["budget_used"].to_numpy(float), initial=np.nan))


def _cell(value: Any) -> str:
    """Return an axis's value as a cell shows it."""
    text = f"{value:.4g}" if isinstance(value, float) else fmt.name(value) or "(none)"
    return text if len(text) <= 60 else f"{text[:59]}…"


def _lines(report: SweepReport, axis: str) -> list[dict[str, Any]]:
    frame = report.by_axis(axis)
    return frame.assign(value=frame["value"].map(_cell).astype(str)).to_dict("records")  # type: ignore[return-value]


def crossed(report: SweepReport) -> list[Cross]:
    """Return the first axes crossed with each other; many values stand in bins, or as others."""
    import pandas as pd

    varied = [axis for axis in report.axes if len(report.runs[axis].unique()) > 1]
    bad = (report.runs["verdict"] != AGREE).astype(int)
    found = []
    for down, across in combinations(varied[:PAIRED], 2):
        if report.runs[down].nunique() < report.runs[across].nunique():
            down, across = across, down
        keys = (report.binned(down), report.binned(across, WIDE))
        failed = pd.crosstab(*keys, values=bad, aggfunc="sum").fillna(0).astype(int)
        points = pd.crosstab(*keys).reindex_like(failed)
        rows = [
            (_cell(name), list(zip(failed.loc[name], points.loc[name], strict=True)))
            for name in failed.index
        ]
        found.append(Cross(down, across, list(map(_cell, failed.columns)), rows))
    return found


def drawn(report: SweepReport, axis: str) -> str:
    """Return the budget used along an axis of many numbers, drawn; "" of any other."""
    from compare.report.rendering.svg import drawing, for_page, to_svg

    values = report.runs[axis]
    if (
        values.dtype.kind not in "if"
        or values.nunique() < 5
        or _largest(report) != _largest(report)
    ):
        return ""
    with drawing():
        name = "".join(c if c.isalnum() else "_" for c in axis)
        return for_page(to_svg(_along(report.runs, axis), name), f"Budget used along {axis}")


def _along(runs: pd.DataFrame, axis: str) -> Figure:
    """Draw the largest and the median budget used, in bins of equally many points."""
    import pandas as pd

    from compare.report.rendering.axes import LARGEST, new_figure, set_legend, set_ticks
    from compare.report.rendering.svg import SENTINEL

    used = runs["budget_used"]
    finite = used[np.isfinite(used)].max()
    used = used.clip(upper=min(LARGEST, 10 * max(1.0, np.nan_to_num(finite))))  # ∞ above the others
    bins = pd.qcut(runs[axis], min(STEPS, runs[axis].nunique()), duplicates="drop")
    groups = used.where(used > 0).groupby(bins, observed=True)
    middle = runs[axis].groupby(bins, observed=True).median().to_numpy(float)
    largest, median = groups.max().to_numpy(float), groups.median().to_numpy(float)
    figure, axes = new_figure()
    axes.plot(middle, largest, color=SENTINEL["s2"], marker="o", markersize=3, label="largest")
    axes.plot(middle, median, color=SENTINEL["s1"], marker="o", markersize=3, label="median")
    axes.axhline(1.0, color=SENTINEL["bad"], linewidth=1.2, linestyle=(0, (5, 3)))
    logarithmic = middle.min() > 0 and middle.max() > 100 * middle.min()
    lowest = np.nanmin(median, initial=0.3) / 3
    highest = min(np.nanmax(largest, initial=1.0), LARGEST) * 4
    axes.set(yscale="log", xscale="log" if logarithmic else "linear", xlabel=axis,
             ylim=(lowest, highest))  # fmt: skip
    set_ticks(axes, budget=True, steps=False)
    set_legend(axes)
    return figure


def terminal(report: SweepReport) -> str:
    """Return the verdict, what each axis says of failures, and the worst of them."""
    lines = [f"{report.verdict.upper()}  {report.name}: {report.reason}"]
    largest = _largest(report)
    if largest == largest:
        worst = report.worst(1).iloc[0]
        place = " ".join(filter(None, (str(worst["layer"]), str(worst["quantity"]))))
        lines.append(f"Most of its budget: {fmt.budget(largest)}, {fmt.name(place)}.")
    if len(report.failures):
        lines += [line for axis in report.axes if (line := _where(report, axis))]
        lines += ["", *_failures(report)]
    return "\n".join(lines)


def _where(report: SweepReport, axis: str) -> str:
    """Return the values of an axis at which most failed."""
    table = report.by_axis(axis)
    failed = table["points"] - table[AGREE]
    if len(table) < 2 or failed.eq(0).all():
        return ""
    order = (failed / table["points"]).sort_values(ascending=False, kind="stable").index[:4]
    told = [f"{_cell(table['value'][i])} {failed[i]:,} of {table['points'][i]:,}" for i in order]
    return f"Not agreeing by {axis}: {', '.join(told)}{', …' if len(table) > 4 else ''}."


def _failures(report: SweepReport) -> list[str]:
    lines = []
    for row in report.failures.head(TOLD).to_dict("records"):
        place = fmt.name(" ".join(filter(None, (str(row["layer"]), str(row["quantity"])))))
        what = f"{place}, {fmt.budget(row['budget_used'])}" if place else fmt.name(row["reason"])
        cause = f" ({row['cause']})" if row["cause"] else ""
        lines += [f"  {row['verdict']}: {what[:300]}{cause}", f"    {row['replay']}"]
    more = len(report.failures) - TOLD
    return [*lines, f"  … and {more:,} more, in the report."] if more > 0 else lines
