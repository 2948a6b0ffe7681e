"""What training steps never ask: compared once, on what torch recorded in the first step.

The loss and the penalties for another upstream gradient than 1; layers that act differently in
evaluation; the learning rates of a schedule.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from compare.gauge import K
from compare.judge.judge import Rows, fixed, judge
from compare.judge.quantities import EVALUATION, OTHER_UPSTREAM, SCHEDULE, Key, Values
from compare.running.alone import Call, Moment, apart
from compare.running.doubt import pieces, turned
from compare.running.experiment import Experiment

UPSTREAM = 0.375  # no other constant of any loss, and exact in every dtype


def asides(moment: Moment) -> Rows:
    """Run and judge them all; what the hand-written side raises makes its rows missing."""
    manual: Values = {}
    torch: Values = {}
    tolerances: dict[Key, Any] = {}
    dtype, k = moment.experiment.dtype, float(moment.experiment.config.compare.k)
    deciding = pieces(moment.experiment.manual)
    for name, prefix, call in (*_scaled(moment), *_evaluated(moment)):
        with _mode(call.module, evaluating=prefix == EVALUATION):
            theirs = {r: v for r, v in call.by_torch().items() if r[:6] != "buffer"}
            if prefix == OTHER_UPSTREAM:
                theirs.pop("output")  # a step has compared it
            try:
                found = call.beside(dtype, k, theirs)
                excused = turned(call, dtype, k) if name in deciding and apart(found) else set()
            except Exception:  # a mistake may raise whatever it likes: its rows are missing
                found, excused = {}, set()
        torch |= {Key(name, f"{prefix}:{r}"): v for r, v in theirs.items() if r not in excused}
        for role in found.keys() - excused:
            key = Key(name, f"{prefix}:{role}")
            manual[key], _, tolerances[key] = found[role]
    _rates(moment.experiment, manual, torch, tolerances)
    own = moment.experiment.config.compare.tolerance
    return judge(list(torch), manual, torch, tolerances if own is None else fixed(torch, *own))


def _scaled(moment: Moment) -> Iterator[tuple[str, str, Call]]:
    """Yield the loss, and every penalty on one of its parameters, with another upstream."""
    penalties = {call.name: call for call in moment.penalties()}
    for call in (moment.loss(), *penalties.values()):
        upstream = np.asarray(UPSTREAM, call.upstream.dtype)
        yield call.name, OTHER_UPSTREAM, call._replace(upstream=upstream)


def _evaluated(moment: Moment) -> Iterator[tuple[str, str, Call]]:
    """Yield every layer that a training step runs otherwise than an evaluation."""
    experiment = moment.experiment
    for name, node in moment.nodes.items():
        layer = node.layer
        if name in experiment.torch_layers or not layer.training:
            continue
        if layer.stochastic or layer.buffers:
            yield name, EVALUATION, moment.call(name)._replace(layer=layer.train(False), noise=None)


@contextmanager
def _mode(module: Any, *, evaluating: bool) -> Iterator[None]:
    """Let torch's module evaluate, if asked."""
    before = module.training
    module.train(before and not evaluating)
    try:
        yield
    finally:
        module.train(before)


def _rates(experiment: Experiment, manual: Values, torch: Values, tolerances: dict) -> None:
    """Compare the schedule's rates; torch computes each from the one before: n roundings."""
    from torch_ref.schedules import SCHEDULERS, rates

    described = experiment.config.optimizer.schedule
    if described is None or described.type not in SCHEDULERS:
        return
    lr = float(experiment.manual.optimizer.lr)
    theirs = rates(described.type, described.args, lr, experiment.steps)
    key, n = SCHEDULE, len(theirs)
    torch[key] = np.array(theirs)
    manual[key] = np.array([experiment.lr(step) for step in range(n)], dtype=float)
    tolerances[key] = np.full(n, K * np.finfo(float).eps / 2 * lr * n)
