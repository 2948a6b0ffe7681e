"""What is known of a loss's value element by element, or sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from compare.diagnose.causes.alone import MOST, Alone
from compare.diagnose.causes.cause import Context
from compare.diagnose.causes.losses import numbers_of, of_yes_or_no
from compare.diagnose.causes.one_by_one import rows_with
from compare.diagnose.causes.piece import attempt
from compare.diagnose.causes.settings import numbers

Named = dict[str, np.ndarray]


def rows_context(alone: Alone, sizes: Mapping[str, int]) -> Context:
    """Return what each element's or sample's loss is made of."""
    output, target = alone.output()[:MOST], alone.start.target[:MOST]
    known: Named = {}
    factors: Named = {}
    terms: Named = {}
    if output.shape == target.shape:
        output, target = np.ravel(alone.output())[:MOST], np.ravel(alone.start.target)[:MOST]
        known = {"the output": output, "the target": target, "(output − target)": output - target}
        factors = of_yes_or_no(type(alone.experiment.torch.loss_module).__name__, output)
    elif output.ndim == 2 and target.ndim == 1:
        true = output[np.arange(len(output)), target]
        logs = np.logaddexp.reduce(output, axis=1)
        known = {"the true class's score": true, "softmax there": np.exp(true - logs)}
        factors = {"log Σ e^score": logs, "the largest score": output.max(axis=1)}
        factors["(the true class's score − the largest)"] = true - output.max(axis=1)
        factors["log Σ e^(score − the largest)"] = logs - output.max(axis=1)
        terms = _smoothed(alone, output, true, logs)
    known = {name: a.astype(np.float64) for name, a in known.items()}
    return Context(
        sizes=sizes,
        constants=numbers_of(alone),
        others=known,
        places=known,
        factors=factors,
        terms=terms,
        settings=lambda: _settings(alone),
    )


def _smoothed(alone: Alone, output: np.ndarray, true: Any, logs: Any) -> Named:
    """Return the two terms of a smoothed cross-entropy."""
    module: Any = alone.experiment.torch.loss_module
    share = float(getattr(module, "label_smoothing", 0.0))
    if not share or module.weight is not None:
        return {}
    return {
        "the true class's term": (1 - share) * (logs - true),
        "the smoothing's term": share * (logs - output.mean(axis=1)),
    }


def _settings(alone: Alone) -> Iterator[tuple[str, float, Callable]]:
    """Yield the numbers among torch's arguments, with each row's loss for other values."""
    owner: Any = type(alone.experiment.torch.loss_module)
    for name, now, arguments in numbers(owner, alone.experiment.config.loss.args):
        if "[" not in name:
            yield name, now, lambda v, a=arguments: attempt(lambda: _rows(alone, owner, a(v)))


def _rows(alone: Alone, owner: Any, args: dict[str, Any]) -> np.ndarray:
    import torch

    lists = {k: torch.tensor(v) if isinstance(v, list | tuple) else v for k, v in args.items()}
    return rows_with(alone, alone.module(owner(**lists)))
