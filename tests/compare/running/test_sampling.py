"""A network that was trained on a text writes some: by its own scores, from the seed alone."""

from __future__ import annotations

import numpy as np

import compare
from compare.description.config import load
from compare.running.experiment import prepare
from compare.running.sampling import LENGTH, sample


def test_what_is_written_follows_from_the_seed() -> None:
    one, same, other = (
        compare.run("tied-characters", steps=3, seed=seed, mode="free").sample for seed in (0, 0, 1)
    )

    assert one is not None
    assert one == same != other
    assert one.given == "'Twas br"
    assert len(one.written) == LENGTH


def test_likely_characters_are_written() -> None:
    experiment = prepare(load("tied-characters"))
    alphabet = experiment.data.alphabet
    silent = {name: np.zeros_like(w) for name, w in experiment.weights.items()}
    silent["lm_head.bias"][alphabet.index("x")] = 100

    found = sample(experiment, silent, {})

    assert found is not None
    assert set(found.written) == {"x"}


def test_the_report_shows_it_everywhere(tmp_path: object) -> None:
    report = compare.run("tied-characters", steps=2)
    path = report.save(str(tmp_path))

    assert report.sample is not None
    for name in ("report.html", "summary.md", "verdict.json"):
        text = (path.parent if path.is_file() else path).joinpath(name).read_text("utf-8")
        assert report.sample.written.splitlines()[0][:20].replace('"', "") or name in text
    assert "Written by the hand-written network, trained by itself for 2 steps" in str(report)


def test_without_a_text_or_a_free_run_there_is_none() -> None:
    assert compare.run("iris", steps=2).sample is None
    assert compare.run("tied-characters", steps=2, drift=False).sample is None
