"""Which losses and penalties are checked, with which arguments, on inputs of which kinds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from evidence.mutation.battery.base import Check
from evidence.mutation.battery.data import Shape
from evidence.mutation.battery.losses import (
    PENALTIES,
    ExactLossCheck,
    Float64LossCheck,
    LossCheck,
    MaskedLossCheck,
)

HALVES = ("mean", "sum")
WEIGHTS = (0.3, 1.7, 3.1)  # not exact in float32
ZERO_WEIGHT = (0.5, 0.0, 2.0)


@cache
def loss_checks() -> list[Check]:
    """Return every loss and penalty with its options."""
    return [*_regression(), *_binary(), *_classes(), *_margins(), *_penalties()]


def _regression() -> Iterator[Check]:
    kinds = ("random", "grid", "large", "small")
    shapes: tuple[Shape, ...] = ((4, 3), (1, 3), (2, 3, 4), ())
    options: dict[str, tuple[dict[str, Any], ...]] = {
        "MSELoss": ({}, {"reduction": "sum"}),
        "L1Loss": ({}, {"reduction": "sum"}),
        "SquaredErrorLoss": ({}, {"factor": 0.5}, {"factor": 0.75, "reduction": "mean"}),
        "HuberLoss": ({}, {"delta": 2.5}, {"reduction": "sum", "delta": 0.5}),
    }
    for name, settings in options.items():
        for given in settings:
            for kind in kinds:
                yield LossCheck(name, tuple(given.items()), shapes, (kind,))
            yield ExactLossCheck(name, tuple(given.items()))


def _binary() -> Iterator[Check]:
    for name in ("BCELoss", "BCEWithLogitsLoss"):
        options: list[dict[str, Any]] = [{}, {"reduction": "sum"}, {"weight": WEIGHTS}]
        if name == "BCEWithLogitsLoss":
            options += [{"pos_weight": WEIGHTS}, {"weight": WEIGHTS, "pos_weight": WEIGHTS[::-1]}]
        for given in options:
            yield LossCheck(name, tuple(given.items()))
            yield LossCheck(name, tuple(given.items()), coarse=True)
            if "weight" not in given and "pos_weight" not in given:
                yield LossCheck(name, tuple(given.items()), kinds=("grid",))
                make_check = LossCheck if name == "BCEWithLogitsLoss" else Float64LossCheck
                yield make_check(name, tuple(given.items()), kinds=("large",))


def _classes() -> Iterator[Check]:
    shapes: tuple[Shape, ...] = ((5, 3), (1, 3))
    for name in ("NLLLoss", "CrossEntropyLoss"):
        smoothing = [0.0] if name == "NLLLoss" else [0.0, 0.3, 1.0]
        for reduction in HALVES:
            for weight in (None, WEIGHTS, ZERO_WEIGHT):
                for share in smoothing:
                    given: dict[str, Any] = {"reduction": reduction}
                    given |= {} if weight is None else {"weight": weight}
                    given |= {"label_smoothing": share} if share else {}
                    for ignored in (None, -100, -1, 0, 2, 3, 7):
                        index = {} if ignored in (None, -100) else {"ignore_index": ignored}
                        arguments = tuple((given | index).items())
                        yield LossCheck(name, arguments, shapes, ("random",), ignored)
        kinds = ("random", "small", "ties") + (("large",) if name == "CrossEntropyLoss" else ())
        for arguments in ((), (("weight", WEIGHTS),)):
            yield LossCheck(name, arguments, ((6, 3), (1, 3), (3, 3)), kinds)
    below = (("ignore_index", -1),)
    yield LossCheck("CrossEntropyLoss", below, ((5, 3),), ("positive",), -1)
    yield MaskedLossCheck("CrossEntropyLoss", kinds=("random",))
    alone = (("reduction", "sum"), ("ignore_index", -7))
    yield LossCheck("CrossEntropyLoss", alone, ((3, 1),), ("random",), -7)
    wide: tuple[Shape, ...] = ((3, 70), (70, 3))
    yield LossCheck("CrossEntropyLoss", (("label_smoothing", 0.1),), wide, ("random",))


def _margins() -> Iterator[Check]:
    for name in ("MulticlassHingeLoss", "MultiMarginLoss"):
        options: list[dict[str, Any]] = [{}, {"reduction": "sum"}, {"margin": 2.0}, {"margin": 0.3}]
        if name == "MultiMarginLoss":
            options += [
                {"p": 2},
                {"weight": WEIGHTS},
                {"p": 2, "weight": WEIGHTS, "reduction": "sum"},
            ]
        for given in options:
            shapes: tuple[Shape, ...] = ((5, 3), (1, 3), (3, 3))
            kinds = ("random", "ties", "large", "small")
            yield LossCheck(name, tuple(given.items()), shapes, kinds)


def _penalties() -> Iterator[Check]:
    for name in sorted(PENALTIES):
        arguments = (("coefficient", 0.75),)
        yield LossCheck(name, arguments, kinds=("random", "ties", "large", "small"))
        yield ExactLossCheck(name, arguments)
