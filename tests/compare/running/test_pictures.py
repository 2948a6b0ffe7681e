"""A free run longer than the lockstep, and pictures of what an unrolled network did over time."""

from __future__ import annotations

import numpy as np
import pytest

import compare
from compare.description.config import load
from compare.report.rendering.plots import make_plots
from compare.report.rendering.text import summary_markdown
from compare.running.experiment import prepare
from compare.running.pictures import pictures

SMALL = {"network__length": 1, "data__length": 1, "data__n": 32, "steps": 1}


@pytest.fixture(scope="module")
def report() -> compare.Report:
    return compare.run("ntm", drift=6, **SMALL)


def test_a_free_run_has_as_many_steps_as_were_asked_for(report: compare.Report) -> None:
    assert report.agrees, report
    assert report.steps == 1
    assert report.drift["step"].tolist() == list(range(6))
    assert report.scores["step"].iloc[-1] == 6
    assert report.scores["loss_manual"].iloc[-1] < report.scores["loss_manual"].iloc[0]


def test_each_head_leaves_its_weighting_at_every_step(report: compare.Report) -> None:
    assert set(report.pictures) == {"writer.weights", "reader.weights"}
    for weights in report.pictures.values():
        assert weights.shape == (4, 8)
        np.testing.assert_allclose(weights.sum(axis=1), 1)


def test_they_are_drawn_and_the_loss_is_told(report: compare.Report) -> None:
    plots = {plot.name: plot for plot in make_plots(report)}

    assert "reader.weights" in plots["over_time"].svg
    assert "Trained by themselves for 6 steps, loss: " in summary_markdown(report)
    assert {"over_time", "scored_loss"}.isdisjoint(
        plot.name for plot in make_plots(compare.run("three-rows", steps=1, drift=False))
    )


def test_a_network_that_is_not_unrolled_or_that_fails_has_no_pictures() -> None:
    plain = prepare(load("three-rows"))
    assert pictures(plain.manual.graph, plain.weights, {}, plain.features) == {}

    machine = prepare(load("ntm", {"data.n": 32}))
    assert pictures(machine.manual.graph, machine.weights, {}, machine.features[:, :2]) == {}


@pytest.mark.parametrize(
    ("mistake", "layer"), [("reader.weights@3.grad_input*=1.01", "reader.weights"),
                           ("writer.key@2.weight.grad*=1.01", "writer.key")],
)  # fmt: skip
def test_a_mistake_in_one_layer_of_the_unrolled_graph_is_found_there(
    mistake: str, layer: str
) -> None:
    found = compare.run("ntm", plant=mistake, drift=False, **SMALL)

    assert found.verdict == "disagree"
    assert found.first_divergence is not None
    assert found.first_divergence.layer.partition("@")[0] == layer
