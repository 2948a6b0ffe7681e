"""The cause of a disagreement between workers: a whole step with a classic mistake in it.

The step is run again, from where it started, once for each mistake in what workers exchange. A
mistake is believed only if its step is the hand-written one in every tensor that is compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from compare.diagnose.causes.cause import Cause
from compare.judge.quantities import Values
from compare.pair.manual_side import ManualSide
from compare.running.kinks import Referee, settled
from compare.running.lockstep import Step
from compare.running.moment import Start, attempt
from compare.running.parallel.experiment import ParallelExperiment, mistaken
from compare.running.parallel.side import idle, mistakes

__all__ = ["workers_cause"]

ADVICE = {
    "divided twice": "The all-reduce has taken the mean already; DistributedDataParallel divides.",
    "sum instead of mean": "DistributedDataParallel divides by the number of workers.",
    "mean instead of sum": "A loss that sums wants the workers' sum; [parallel] reduce says which.",
    "weighed by rows": "DistributedDataParallel takes the plain mean; weigh the losses, if at all.",
    "mean of means": "Multiply each worker's mean loss by W n_r / n, or let all shards be equal.",
    "worker left out": "Every worker takes part in every exchange, and counts.",
    "worker left out of the sum": "Every worker takes part in every exchange.",
    "clipped before the exchange": "Reduce first: clipping is not linear, and workers' gradients "
    "may cancel.",
    "not exchanged": "Without the exchange every worker trains a network of its own.",
    "not gathered": "After its own share each worker needs the others': all_gather (or broadcast).",
    "micro-batches not divided": "Gradients of micro-batches add up: divide each loss by their "
    "number.",
    "no all-reduce forward": "Behind a row split add the shares of all workers, then the bias.",
    "no all-reduce backward": "All workers' units use x: dx is the sum of their shares.",
    "bias per worker": "Add the bias behind the sum, once.",
    "loss per worker": "It is one loss: behind a row split dy goes on as it is.",
    "own statistics": "Sum x and (x − μ)² over all workers; a worker's own mean is another one.",
}


def workers_cause(experiment: ParallelExperiment, start: Start, step: Step) -> Cause | None:
    """Return the classic mistake that gives this very step; with others that give it, too."""
    known = mistakes(experiment.plan)
    found = [
        name
        for name, cls in known.items()
        if not idle(name, experiment.manual, experiment.one.manual)  # type: ignore[arg-type]
        and any(_explains(v, step) for v in _steps(mistaken(experiment, cls), start, step))
    ]
    if not found:
        return None
    first, *also = found
    told = f" The same numbers fit: {', '.join(also)}." if also else ""
    text = known[first].__doc__ or ""
    evidence = f"{text} A step with that gives all of manual's {len(step.manual)} tensors.{told}"
    return Cause(first, evidence, ADVICE[first], tuple(also))


def _steps(side: ManualSide, start: Start, step: Step) -> Iterator[Values]:
    """Yield what the step gives, by its own decisions at kinks and by torch's."""
    yield attempt(side, start).values
    yield attempt(settled(side, start), start, Referee(start, step.torch, {})).values


def _explains(values: dict, step: Step) -> bool:
    """Return whether the hand-written side computed these very values, and torch did not."""
    if values.keys() != step.manual.keys():
        return False
    near = all(_near(values[key], step.manual[key], step, key) for key in values)
    bad = (step.rows.keys[i] for i in step.rows.bad)
    return near and any(not _near(values[k], step.torch[k], step, k) for k in bad if k in values)


def _near(a: Any, b: Any, step: Step, key: Any) -> bool:
    with np.errstate(all="ignore"):
        return bool((np.abs(np.subtract(a, b)) <= step.tolerances.get(key, 0.0)).all())
