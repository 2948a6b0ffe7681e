"""Which plots a report has, and what each one says."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from compare.report.rendering import figures
from compare.report.rendering.axes import POINTS
from compare.report.rendering.facts import accuracies, judged_steps, severity, tensor_codes
from compare.report.rendering.heat_map import HEAT_ROWS, heat_map
from compare.report.rendering.over_time import over_time
from compare.report.rendering.svg import drawing, to_svg
from compare.report.rendering.who_moved import who_moved

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from compare.report.report import Report


class Plot(NamedTuple):
    """A drawn plot; where there is nothing to draw, `svg` is empty and `caption` says why."""

    name: str
    title: str
    caption: str
    svg: str


class Recipe(NamedTuple):
    name: str
    title: str
    caption: str
    why_not: Callable[[Report], str]  # why there is nothing to draw; empty if there is something
    draw: Callable[[Report], Figure]


def _unjudged(report: Report) -> str:
    return "nothing was judged." if np.isnan(severity(report.differences)).all() else ""


def _no_steps(report: Report) -> str:
    return "a check has cases, not steps." if report.mode == "check" else _unjudged(report)


def _no_losses(report: Report) -> str:
    if report.mode == "check":
        return "a check does not train."
    return "" if len(report.losses) else "no step was finished."


def _no_drift(report: Report) -> str:
    if report.mode == "check":
        return "a check does not train."
    if not len(report.drift):
        return "no free run was asked for."
    parted = (report.drift["max_param_diff"] > 0) | (
        report.drift["loss_manual"] != report.drift["loss_torch"]
    )
    return "" if parted.any() else "the two sides stayed bitwise equal."


def _no_accuracy(report: Report) -> str:
    if report.mode == "check":
        return "a check does not train."
    return "" if accuracies(report) else "the targets are no classes, or no free run was asked for."


def _no_ulps(report: Report) -> str:
    return "" if len(report.ulps) and report.ulps["elements"].sum() else "no element was counted."


def _no_norms(report: Report) -> str:
    if report.mode == "check":
        return "a check does not train."
    norms = figures.layer_norms(report.differences)[2]
    return "" if norms.any() else "no parameter gradient was compared."


RECIPES = (
    Recipe(
        "budget_map",
        "Budget used by every tensor at every step",
        "Each row is a tensor in execution order, each column a step; faint is far from the "
        "limit, strong is near it, red is beyond it, and an empty cell was not judged.",
        _unjudged,
        heat_map,
    ),
    Recipe(
        "budget_per_step",
        "Largest budget used per step",
        "Each line is the worst tensor of its kind and must stay below the dashed limit at every "
        "step; where it breaks off, both sides are bitwise equal.",
        _no_steps,
        figures.budget_lines,
    ),
    Recipe(
        "loss",
        "Loss on both sides",
        "The thin line is the hand-written side, the broad one torch: the thin line should lie "
        "inside the broad one.",
        _no_losses,
        figures.losses,
    ),
    Recipe(
        "accuracy",
        "Accuracy while training",
        "Each side trains by itself; the thin lines are the hand-written side and should lie "
        "inside torch's. Rows held out were never trained on: a gap to the others is overfitting.",
        _no_accuracy,
        figures.accuracy,
    ),
    Recipe(
        "drift",
        "Drift of a free run",
        "Left alone, two correct programs part by rounding alone, often exponentially: this shows "
        "how fast, and is no verdict (a line breaks off where both sides are bitwise equal).",
        _no_drift,
        figures.drift,
    ),
    Recipe(
        "ulps",
        "Differences in units in the last place",
        "How many elements differ by how many representable numbers: correct code peaks at the "
        "left; a long tail comes from cancellation near zero.",
        _no_ulps,
        figures.ulps,
    ),
    Recipe(
        "gradient_norms",
        "Gradient norm per layer",
        "The norm of each layer's parameter gradients, from the first layer (faint) to the "
        "last (strong): lines far apart mean vanishing or exploding gradients.",
        _no_norms,
        figures.gradient_norms,
    ),
)


SOMETIMES = (  # not missed where there is nothing to draw
    Recipe(
        "who_moved",
        "Who moved",
        "Three shares of each tensor's tolerance: both torches against the hand-written side, and "
        "one torch against the other; marks on the ground stand for no difference.",
        lambda report: "" if report.against is not None else "there is one torch.",
        who_moved,
    ),
    Recipe(
        "scored_loss",
        "Loss while training",
        "Each side trains by itself, from its own gradients alone; the thin lines are the "
        "hand-written side and should lie inside torch's.",
        lambda report: "" if len(report.scores) and not accuracies(report) else "accuracies tell.",
        figures.scored_losses,
    ),
    Recipe(
        "over_time",
        "Where the network looks, step by step",
        "The first row of the data in the network that the hand-written gradients trained: each "
        "column is a step, each row a place, and a place is the darker the more weight it has.",
        lambda report: "" if report.pictures else "no layer is worth a picture.",
        over_time,
    ),
)


def make_plots(report: Report) -> list[Plot]:
    """Draw every plot that the report has data for."""
    with drawing():
        chosen = [*RECIPES, *(r for r in SOMETIMES if not r.why_not(report))]
        return [_plot(recipe, report) for recipe in chosen]


def _plot(recipe: Recipe, report: Report) -> Plot:
    if why_not := recipe.why_not(report):
        return Plot(recipe.name, recipe.title, why_not, "")
    title, caption = recipe.title, recipe.caption
    if report.mode == "check":
        title = title.replace("at every step", "in every case")
        caption = caption.replace("each column a step", "each column a case")
    caption += _shortened(recipe.name, report)
    return Plot(recipe.name, title, caption, to_svg(recipe.draw(report), recipe.name))


def _shortened(name: str, report: Report) -> str:
    """Return what a plot leaves out, in a sentence or two, or nothing."""
    told = []
    if report.steps > POINTS and name != "ulps":
        how = "mean" if name in ("loss", "gradient_norms") else "largest"
        told.append(f" Neighbouring steps are drawn as one, by their {how} value.")
    if name.startswith("budget"):
        judged = judged_steps(report.differences)[0]
        if len(judged) < len(report.differences):
            told.append(" Steps in which nothing was judged are left out.")
        tensors = len(tensor_codes(judged)[1])
        if name == "budget_map" and tensors > HEAT_ROWS:
            told.append(f" Of {tensors:,} tensors these are the {HEAT_ROWS} that used most.")
    return "".join(told)
