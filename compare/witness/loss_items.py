"""The losses that are certified, with every option and both reductions, and their branch points."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from compare.witness.cases import GradientCase, Item, layer_case, shown
from manual.registry import LOSSES

Rng = np.random.Generator
Settings = dict[str, Any]
CLASSES: dict[str, Any] = {**LOSSES}
WEIGHT = [0.5, 1.5, 2.0]
LABELS = np.array([2, 0, 1, 2])
REAL: dict[str, list[Settings]] = {  # settings beside the reduction
    "MSELoss": [{}],
    "SquaredErrorLoss": [{}, {"factor": 0.5}],
    "L1Loss": [{}],
    "HuberLoss": [{}, {"delta": 0.5}],
    "BCELoss": [{}, {"weight": WEIGHT}],
    "BCEWithLogitsLoss": [{}, {"weight": WEIGHT, "pos_weight": [2.0, 0.25, 1.5]}],
}
LABELLED: dict[str, list[Settings]] = {
    "NLLLoss": [{}, {"weight": WEIGHT, "ignore_index": 0}],
    "CrossEntropyLoss": [
        {}, {"weight": WEIGHT}, {"label_smoothing": 0.125},
        {"weight": WEIGHT, "label_smoothing": 0.125, "ignore_index": 0},
    ],
    "MultiMarginLoss": [{}, {"p": 2}, {"p": 2, "margin": 0.75, "weight": WEIGHT}],
    "MulticlassHingeLoss": [{}, {"margin": 0.5}],
}  # fmt: skip
CLAMPED = "not where it clamps (log p < -100, p (1 - p) < 1e-12): torch's slope there is not this"


def losses() -> Iterator[Item]:
    """Yield one item per loss, option and reduction."""
    for name, options in (REAL | LABELLED).items():
        for option in options:
            for reduction in ("mean", "sum"):
                yield _item(name, {**option, "reduction": reduction})


def _item(name: str, settings: Settings) -> Item:
    loss = CLASSES[name](**settings)

    def case(rng: Rng) -> GradientCase:
        if name in LABELLED:
            x, y = rng.standard_normal((4, 3)), LABELS
        else:
            x, y = _real(name, rng)
        remark = CLAMPED if name == "BCELoss" else ""
        return layer_case(loss, x, fixed=(y,), branches=_branches(loss, name, y), remark=remark)

    return Item(shown(name, settings), "loss", name, case)


def _real(name: str, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Return an input and a target of shape (4, 3): real numbers, or probabilities."""
    x, y = 1.5 * rng.standard_normal((2, 4, 3))
    y = np.round(16 * y) / 16  # y + δ is exact
    if name.startswith("BCE"):
        y = rng.random((4, 3))
    return (rng.uniform(0.05, 0.95, (4, 3)) if name == "BCELoss" else x), y


def _branches(loss: Any, name: str, y: np.ndarray) -> dict[str, np.ndarray]:
    if hasattr(loss, "margin"):
        return {"a margin met exactly": _met(loss.margin)}
    if name == "L1Loss":
        return {"ŷ = y": y}
    if name == "HuberLoss":
        return {"|ŷ - y| = δ": y + loss.delta}
    if name == "BCEWithLogitsLoss":
        return {"x = 0": 0 * y}
    return {"tied scores": np.ones((4, 3))} if name == "CrossEntropyLoss" else {}


def _met(margin: float) -> np.ndarray:
    """Return scores in which each true class leads the next class by just the margin."""
    scores = np.full((4, 3), -4.0)
    rows = np.arange(4)
    scores[rows, LABELS] = 1.0
    scores[rows, (LABELS + 1) % 3] = 1.0 - margin
    return scores
