"""The plots: drawn from the right numbers, deterministic, in the page's or their own colours."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from compare.report.rendering.axes import POINTS, power, thin
from compare.report.rendering.figures import layer_norms
from compare.report.rendering.heat_map import HEAT_ROWS, heat_grid, heat_levels
from compare.report.rendering.palette import LIGHT
from compare.report.rendering.plots import Plot, make_plots
from compare.report.rendering.svg import SENTINEL, for_file, for_page
from tests.compare.report.report_factory import (
    HOSTILE,
    KINDS,
    agreeing,
    disagreeing,
    make_drift,
    make_losses,
)

ALL = {
    "accuracy", "budget_map", "budget_per_step", "drift", "gradient_norms", "loss", "ulps",
}  # fmt: skip


@cache
def plots_of(kind: str) -> dict[str, Plot]:
    return {plot.name: plot for plot in make_plots(KINDS[kind]())}


@pytest.mark.parametrize(
    ("kind", "absent"),
    [
        ("agreeing", {"accuracy", "drift"}),
        ("free", {"accuracy", "budget_map", "budget_per_step"}),
        ("tiny", {"accuracy", "drift"}),
        ("empty", ALL),
    ],
)
def test_plots_without_data_are_left_out_with_a_reason(kind: str, absent: set[str]) -> None:
    plots = plots_of(kind)

    assert plots.keys() == ALL
    assert {name for name, plot in plots.items() if not plot.svg} == absent
    assert all(plot.title and plot.caption.endswith(".") for plot in plots.values())


@pytest.mark.parametrize("kind", KINDS)
def test_drawings_are_xml_without_sentinel_colours_dates_or_scripts(kind: str) -> None:
    for plot in plots_of(kind).values():
        if plot.svg:
            page, file = for_page(plot.svg, "a <title>"), for_file(plot.svg, "a <title>")

            assert ElementTree.fromstring(file).tag.endswith("svg")
            for text in (page, file):
                assert not re.search("|".join(SENTINEL.values()), text)
                assert not re.search("<script|<metadata|<style|<image|dc:date", text)
            assert set(re.findall(r"#[0-9a-f]{6}\b", page)) <= {"#000000", "#ffffff"}
            assert "var(--" in page
            assert "var(--" not in file


def test_a_file_is_drawn_in_the_light_theme_on_white() -> None:
    file = for_file(plots_of("disagreeing")["budget_map"].svg, "x")

    assert LIGHT["h8"] in file
    assert 'fill="#ffffff"' in file


def test_drawing_twice_gives_the_same_and_ids_differ_between_plots() -> None:
    again = {plot.name: plot for plot in make_plots(agreeing())}

    assert again == plots_of("agreeing")
    ids = [i for plot in again.values() for i in set(re.findall(r' id="([^"]*)"', plot.svg))]
    assert len(ids) == len(set(ids)) > 0


def test_the_users_matplotlib_settings_neither_matter_nor_change() -> None:
    with mpl.rc_context({"axes.facecolor": "red", "font.size": 30, "axes.grid": False}):
        before = dict(mpl.rcParams)
        again = {plot.name: plot for plot in make_plots(agreeing())}

        assert again == plots_of("agreeing")
        assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("text", [HOSTILE, "$\\frac{1}{0}$", "層 🧪", "a\x00b", "#010001"])
def test_names_are_drawn_as_they_are(text: str) -> None:
    report = agreeing(steps=2)
    table = report.differences.copy()
    table["layer"] = text
    for plot in make_plots(replace(report, differences=table)):
        if plot.svg:
            root = ElementTree.fromstring(for_file(plot.svg, plot.title))
            drawn = " ".join(root.itertext())

            if plot.name == "budget_map":
                assert text.replace("\x00", "\ufffd")[:20] in drawn


def test_heat_levels_change_at_their_borders() -> None:
    grid = np.array([[np.nan, 0.0, 1e-9, 0.001, 0.0011, 0.3, 0.31, 1.0, 1.0001, np.inf]])

    assert heat_levels(grid).tolist() == [[-1, 0, 1, 1, 2, 6, 7, 7, 8, 8]]


def test_a_single_disagreement_survives_the_joining_of_steps() -> None:
    report = agreeing(steps=POINTS * 3 + 7)
    table = report.differences.copy()
    at = len(table) // 2
    table.loc[at, ["budget_used"]] = 7.0
    grid, names, steps = heat_grid(table)
    row = names.index((str(table.loc[at, "layer"]), str(table.loc[at, "quantity"])))

    assert grid.shape[1] == len(steps) <= POINTS
    assert np.argwhere(grid == 7.0).tolist() == [[row, table["step"].to_numpy()[at] // 4]]
    assert (heat_levels(grid) == 8).sum() == 1


def test_of_many_tensors_the_heat_map_keeps_the_worst_in_execution_order() -> None:
    n = HEAT_ROWS * 2
    table = pd.DataFrame(
        {
            "step": 0,
            "layer": [f"{i}" for i in range(n)],
            "quantity": "output",
            "verdict": "agree",
            "budget_used": np.random.default_rng(0).permutation(n) / n,
        }
    )
    grid, names, _ = heat_grid(table)
    kept = [int(layer) for layer, _ in names]

    assert len(grid) == HEAT_ROWS
    assert kept == sorted(kept)
    assert grid.min() == 0.5


def test_a_failure_without_a_number_is_above_the_limit() -> None:
    report = KINDS["troubled"]()
    grid, names, _ = heat_grid(report.differences)

    assert np.isinf(grid[names.index(("5", "output")), 0])
    assert np.isinf(grid[names.index(("6", "output")), 0])


def test_steps_that_were_not_judged_are_left_out_and_told() -> None:
    report = agreeing(steps=20)
    table = report.differences.copy()
    table.loc[table["step"] % 5 != 0, "budget_used"] = np.nan
    plots = {plot.name: plot for plot in make_plots(replace(report, differences=table))}
    grid, _, steps = heat_grid(table)

    assert steps.tolist() == [0, 5, 10, 15]
    assert not np.isnan(grid).any()
    assert "Steps in which nothing was judged are left out" in plots["budget_map"].caption
    assert "left out" not in plots["loss"].caption


def test_long_runs_say_that_steps_were_joined() -> None:
    steps = POINTS + 1
    report = replace(agreeing(steps=2), steps=steps, losses=make_losses(steps))
    captions = {plot.name: plot.caption for plot in make_plots(report)}

    assert "by their largest value" in captions["budget_map"]
    assert "by their mean value" in captions["loss"]
    assert "Neighbouring" not in captions["ulps"]


def test_thinning_keeps_extremes_or_means() -> None:
    x = np.arange(POINTS * 10)
    y = np.zeros(len(x))
    y[1234] = 5.0
    xs, largest = thin(x, y, np.fmax)
    _, mean = thin(x, y, None)

    assert len(xs) == len(largest) == POINTS
    assert largest.max() == 5.0
    assert mean.max() == 0.5
    assert thin(x[:7], y[:7], np.fmax)[1] is not None


def test_layer_norms_join_a_layers_parameters_in_forward_order() -> None:
    table = agreeing(steps=3).differences
    layers, steps, norms = layer_norms(table)
    rows = table.query("step == 1 and layer == '3' and quantity.str.startswith('grad:')")

    assert layers == ["0", "3", "5", "7"]
    assert norms.shape == (4, len(steps))
    assert norms[1, 1] == pytest.approx(np.sqrt((rows["norm"] ** 2).sum()))


def test_a_step_alone_is_drawn_as_a_dot() -> None:
    svg = plots_of("tiny")["budget_per_step"].svg

    assert svg.count("<use ") >= 6  # one marker per kind, beside the ticks


def test_a_disagreement_is_drawn_in_the_colour_of_failure() -> None:
    bad = f"stroke: {SENTINEL['h8']}"

    assert bad in plots_of("disagreeing")["budget_map"].svg
    assert bad not in plots_of("agreeing")["budget_map"].svg


def test_an_infinite_budget_and_loss_can_be_drawn() -> None:
    report = disagreeing()
    table = report.differences.assign(budget_used=np.inf, norm=np.inf)
    losses = report.losses.assign(manual=np.nan)
    plots = make_plots(replace(report, differences=table, losses=losses))

    assert {plot.name for plot in plots if not plot.svg} == {"accuracy", "drift", "gradient_norms"}


@pytest.mark.parametrize(
    ("x", "text"),
    [(1e-16, "1e-16"), (2e-9, "2e-09"), (0.1, "0.1"), (1.0, "1"), (1000.0, "1000"), (1e6, "1e6")],
)
def test_ticks_of_a_log_axis_are_short(x: float, text: str) -> None:
    assert power(x, None) == text


def test_two_sides_that_never_part_have_no_drift_to_draw() -> None:
    drift = make_drift(5).assign(loss_manual=1.0, loss_torch=1.0, max_param_diff=0.0)
    plots = {plot.name: plot for plot in make_plots(replace(agreeing(steps=2), drift=drift))}

    assert plots["drift"] == (
        *("drift", "Drift of a free run", "the two sides stayed bitwise equal.", ""),
    )


def test_sides_that_are_bitwise_equal_throughout_can_be_drawn() -> None:
    report = agreeing(steps=3)
    table = report.differences.assign(budget_used=0.0, max_abs_diff=0.0)
    plots = {plot.name: plot for plot in make_plots(replace(report, differences=table))}

    assert f"stroke: {SENTINEL['h0']}" in plots["budget_map"].svg
    assert plots["budget_per_step"].svg
