"""Accuracy while both sides train by themselves, on rows trained on and rows held out."""

from __future__ import annotations

import numpy as np
import pytest

import compare
from compare.description.config import load
from compare.errors import UserError
from compare.running import scores
from compare.running.batches import split
from compare.running.experiment import prepare


@pytest.fixture(scope="module")
def report() -> compare.Report:
    return compare.run("iris", steps=40, data__held_out=0.2)


def test_both_sides_are_scored_alike_on_both_kinds_of_rows(report: compare.Report) -> None:
    found = report.scores

    assert report.agrees
    assert set(found["rows"]) == {"train", "held out"}
    assert found["step"].iloc[[0, -1]].tolist() == [0, 40]
    np.testing.assert_array_equal(found["accuracy_manual"], found["accuracy_torch"])
    np.testing.assert_allclose(found["loss_manual"], found["loss_torch"], rtol=1e-9)
    assert found["accuracy_manual"].iloc[-1] > 0.6 > found["accuracy_manual"].iloc[0]


def test_a_side_that_learns_wrongly_scores_worse() -> None:
    wrong = compare.run("iris", steps=40, data__held_out=0.2, plant="2.weight.grad*=-1").scores

    last = wrong[wrong["step"] == wrong["step"].max()]
    assert (last["accuracy_manual"] < last["accuracy_torch"]).all()


def test_rows_held_out_are_never_trained_on_and_have_every_class() -> None:
    config = load("iris", {"data.held_out": 0.2})
    experiment = prepare(config)
    train, held_out = split(experiment.data.targets, config)

    assert not {*train} & {*held_out}
    assert sorted((*train, *held_out)) == list(range(150))
    assert np.bincount(experiment.held_out[1]).tolist() == [10, 10, 10]
    assert max(map(max, experiment.batches())) < len(train) == len(experiment.features)


def test_running_statistics_are_those_of_the_free_run() -> None:
    found = compare.run("digits-cnn", steps=6, batch_size=32, data__held_out=0.2).scores

    np.testing.assert_allclose(found["loss_manual"], found["loss_torch"], rtol=1e-9)


def test_numbers_have_a_loss_and_no_accuracy() -> None:
    found = compare.run("diabetes", steps=3, data__held_out=0.2).scores

    assert found["accuracy_torch"].isna().all()
    assert np.isfinite(found["loss_torch"]).all()


def test_a_single_output_counts_by_its_side_of_one_half() -> None:
    scores = compare.run("breast-cancer", steps=30, data__held_out=0.2).scores

    assert scores["accuracy_manual"].iloc[-1] > 0.8


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(UserError, match=r"held_out is 0\.001"):
        compare.run("iris", steps=1, data__held_out=0.001)


def test_the_report_says_it(report: compare.Report) -> None:
    from compare.report.rendering.html import report_html
    from compare.report.rendering.plots import make_plots
    from compare.report.rendering.terminal import terminal_text
    from compare.report.rendering.verdict import verdict_dict

    assert "Trained by themselves for 40 steps, right: " in terminal_text(report)
    assert "right, held out" in report_html(report)
    assert {plot.name: bool(plot.svg) for plot in make_plots(report)}["accuracy"]
    assert set(verdict_dict(report)["accuracies"]) == {"train", "held out"}


def test_of_large_networks_fewer_rows_are_scored_evenly_apart_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scores, "VALUES", 20 * values_of_a_row())
    report = compare.run("iris", steps=1, data__held_out=0.2)
    few = scores.Scores(prepare(load("iris", {"data.held_out": 0.2})), 1)

    assert few.sizes == {"train": 120, "held out": 30}
    assert [len(target) for _, target in few.sets.values()] == [20, 20]
    assert len({*few.sets["train"][1]}) == 3  # every class: they lie one after the other
    assert report.notes[-1] == (
        "Scores are of 20 rows, evenly taken of 120 trained on and of 30 held out."
    )


def values_of_a_row() -> int:
    experiment = prepare(load("iris", {"data.held_out": 0.2}))
    tape = experiment.manual.graph.run(experiment.features[:1])
    return sum(v.size for v in tape.values.values())
