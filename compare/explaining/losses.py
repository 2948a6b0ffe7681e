"""Bind the formulas of losses and penalties to the numbers of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compare.explaining.bound import Bound
from manual.losses.binary import SMALLEST_SLOPE


def bind_loss(loss: Any, role: str, output: np.ndarray, target: np.ndarray) -> Bound:
    """Return the bound names of a loss's formula, for `loss` or `grad_input`."""
    bound = BINDERS[type(loss).__name__](loss, role, np.asarray(output), np.asarray(target))
    if loss.reduction == "sum":
        bound.variant = f"{bound.variant}, sum" if bound.variant else "sum"
    return bound


def bind_penalty(penalty: Any, param: np.ndarray) -> Bound:
    means = {"lam": "the penalty's coefficient", "theta": "the parameter"}
    return Bound("", {"theta": param}, {"lam": penalty.coefficient}, means)


def _residual(loss: Any, role: str, output: np.ndarray, target: np.ndarray) -> Bound:
    means = {"yhat": "the network's output", "y": "the target", "M": "the number of elements"}
    return Bound("", {"yhat": output, "y": target}, {"M": output.size}, means)


def _squared(loss: Any, role: str, output: np.ndarray, target: np.ndarray) -> Bound:
    bound = _residual(loss, role, output, target)
    bound.scalars |= {"N": output.shape[0] if output.ndim else 1, "c": loss.factor}
    bound.means |= {"N": "the number of samples", "c": "the loss's factor"}
    return bound


def _huber(loss: Any, role: str, output: np.ndarray, target: np.ndarray) -> Bound:
    bound = _residual(loss, role, output, target)
    bound.scalars["delta"] = loss.delta
    bound.means["delta"] = "delta, where the parabola turns into a line"
    return bound


def _bce(loss: Any, role: str, output: np.ndarray, target: np.ndarray) -> Bound:
    weight = 1.0 if loss.weight is None else loss.weight
    arrays = {"p": output, "y": target, "w": np.broadcast_to(weight, output.shape)}
    means = {
        "p": "the network's output, a probability",
        "y": "the target",
        "w": "the elements' weights" + (", all 1" if loss.weight is None else ""),
        "M": "the number of elements",
    }
    return Bound("", arrays, {"M": output.size, "tiny": SMALLEST_SLOPE}, means)


def _logits(loss: Any, role: str, output: np.ndarray, target: np.ndarray) -> Bound:
    bound = _bce(loss, role, output, target)
    bound.arrays["x"] = bound.arrays.pop("p")
    bound.means["x"] = "the network's output, a logit"
    bound.means.pop("p")
    positive = 1.0 if loss.pos_weight is None else loss.pos_weight
    bound.arrays["q"] = np.broadcast_to(positive, output.shape)
    bound.means["q"] = "pos_weight" + (", all 1" if loss.pos_weight is None else "")
    if role == "grad_input" and loss.pos_weight is not None:
        bound.variant = "pos_weight"
    return bound


def _nll(loss: Any, role: str, output: np.ndarray, target: np.ndarray) -> Bound:
    kept = target != loss.ignore_index
    labels = np.where(kept, target, 0)
    weight = np.ones(output.shape[1]) if loss.weight is None else loss.weight
    arrays = {"a": output, "t": labels, "w": kept * weight[labels]}
    means = {
        "a": "the network's output, log-probabilities",
        "t": "the true class of each sample",
        "w": "the weight of each sample's class, 0 where it is ignored",
    }
    return Bound("", arrays, {}, means)


def _cross_entropy(loss: Any, role: str, output: np.ndarray, target: np.ndarray) -> Bound:
    kept = target != loss.ignore_index
    arrays: dict[str, np.ndarray] = {"z": output, "t": np.where(kept, target, 0)}
    means = {"z": "the network's output, class scores", "t": "the true class of each sample"}
    if loss.weight is None and not loss.label_smoothing and kept.all():
        means["N"] = "the number of samples"
        return Bound("", arrays, {"N": len(output)}, means)
    classes = output.shape[1]
    arrays |= {
        "u": kept.astype(float),
        "w": np.ones(classes) if loss.weight is None else loss.weight,
    }
    means |= {"u": "1 for a sample that counts", "w": "the classes' weights",
              "smoothing": "label_smoothing", "C": "the number of classes"}  # fmt: skip
    scalars = {"smoothing": loss.label_smoothing, "C": classes}
    return Bound("weighted", arrays, scalars, means)


def _hinge(loss: Any, role: str, output: np.ndarray, target: np.ndarray) -> Bound:
    means = {"s": "the network's output, class scores", "t": "the true class of each sample",
             "margin": "the margin", "N": "the number of samples"}  # fmt: skip
    scalars = {"margin": loss.margin, "N": len(output)}
    return Bound("", {"s": output, "t": target}, scalars, means)


def _multi_margin(loss: Any, role: str, output: np.ndarray, target: np.ndarray) -> Bound:
    bound = _hinge(loss, role, output, target)
    weight = np.ones(output.shape[1]) if loss.weight is None else loss.weight
    bound.arrays["w"] = weight[target]
    bound.scalars |= {"C": output.shape[1], "p": loss.p}
    bound.means |= {"w": "the weight of each sample's class", "C": "the number of classes"}
    return bound


BINDERS: dict[str, Callable[[Any, str, np.ndarray, np.ndarray], Bound]] = {
    "MSELoss": _residual,
    "SquaredErrorLoss": _squared,
    "L1Loss": _residual,
    "HuberLoss": _huber,
    "BCELoss": _bce,
    "BCEWithLogitsLoss": _logits,
    "NLLLoss": _nll,
    "CrossEntropyLoss": _cross_entropy,
    "MulticlassHingeLoss": _hinge,
    "MultiMarginLoss": _multi_margin,
}
