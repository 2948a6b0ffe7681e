"""Every model of the zoo agrees with its hand-written twin, and most of it is by hand."""

from __future__ import annotations

from functools import cache

import pytest

import compare
from compare.report.report import Report
from tests.compare.mirror.models import MODELS, made

MODES = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])


@cache
def mirrored(name: str, training: bool) -> Report:
    example = made(name, training)
    return compare.mirror(example.module, example.args, example.kwargs, loss=example.loss)


INACCURATE = {"mobilenet": "hardsigmoid"}  # of which torch's float64 gradient is not one


@MODES
@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_the_zoo_agrees_with_its_twin(name: str, training: bool) -> None:
    report = mirrored(name, training)

    assert report.verdict == "agree", str(report)
    assert ("Reference inaccurate" in report.reason) == (name in INACCURATE)
    assert INACCURATE.get(name, "") in report.reason


@MODES
def test_nearly_all_gradients_of_the_zoo_are_by_hand(training: bool) -> None:
    shares = [mirrored(name, training).coverage["gradients"] for name in MODELS]

    assert sum(shares) / len(shares) > 0.95


def test_the_zoo_is_small() -> None:
    sizes = {name: sum(p.numel() for p in made(name).module.parameters()) for name in MODELS}

    assert max(sizes.values()) < 20_000, sizes
