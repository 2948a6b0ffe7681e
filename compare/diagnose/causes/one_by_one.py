"""The loss of one element or sample at a time, a penalty of one weight: many numbers for one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from compare.diagnose.causes.alone import MOST, Alone, torch_tensor
from compare.diagnose.causes.cause import Tensors
from compare.gauge import gauge, gauging
from compare.judge.judge import gauged
from compare.judge.quantities import Key
from compare.running.alone import F64, wide


def loss_rows(alone: Alone) -> Tensors | None:
    """Run the loss on one element at a time, or on one sample: its value in many places."""
    pairs, loss = rows(alone), alone.experiment.manual.loss
    try:
        mine = np.array([loss.forward(x, t)[0] for x, t in pairs])
        theirs = rows_with(alone, alone.module())
        with gauging(F64):
            gauges = [loss.forward(gauge(x), t)[0] for x, t in pairs]
    except (ValueError, RuntimeError):
        return None  # the loss refuses single samples
    room = gauged({Key("", str(i)): g for i, g in enumerate(gauges)}, F64, alone.k)
    return Tensors(mine, theirs, np.array([np.max(r) for r in room.values()]))


def rows(alone: Alone) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return batches that hold one element, or one sample, over and over.

    They are of the batch's own size: what a mean divides by shows as it does there.
    """
    output, target = alone.output(), wide(alone.start.target)
    if output.shape == target.shape:
        pairs = zip(output.ravel()[:MOST], target.ravel()[:MOST], strict=True)
        return [(np.full_like(output, x), np.full_like(output, t)) for x, t in pairs]
    pairs = zip(output[:MOST], target[:MOST], strict=True)
    return [(np.full_like(output, x), np.full_like(target, t)) for x, t in pairs]


def rows_with(alone: Alone, module: Any) -> np.ndarray:
    """Return what torch's loss gives for each of them."""
    import torch

    return np.array([module(torch.tensor(x), torch.tensor(t)).item() for x, t in rows(alone)])


def penalties(alone: Alone) -> Iterator[tuple[str, np.ndarray, Tensors]]:
    """Yield every penalty with weights, and what each of them by itself costs on both sides."""
    sides = zip(alone.experiment.manual.penalties, alone.experiment.torch.penalties, strict=True)
    for (mine, names), (theirs, _) in sides:
        all_of_them = np.concatenate([wide(alone.start.params[n]).ravel() for n in names])
        weights = all_of_them[:MOST]
        each = [w.reshape(1, 1) for w in weights]
        values = np.array([mine.forward(w)[0] for w in each])
        right = np.array([theirs(torch_tensor(w)).item() for w in each])
        yield type(mine).__name__, weights, Tensors(values, right, 1e-13 * np.abs(right))
        for array in (wide(alone.start.params[n]) for n in names):
            total = np.array(theirs(torch_tensor(array)).item())
            both = Tensors(np.asarray(mine.forward(array)[0]), total, 1e-13 * np.abs(total))
            yield type(mine).__name__, array, both
