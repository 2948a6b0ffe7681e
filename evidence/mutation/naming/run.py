"""Run a mutant in small networks until it disagrees, and take the cause that is named there."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from compare.description.config import Config
from compare.diagnose.divergence import Divergence
from compare.diagnose.locate import first_divergence
from compare.running.experiment import Experiment, prepare
from compare.running.lockstep import Lockstep
from evidence.mutation.loading import loaded
from evidence.mutation.naming.networks import ALL, network
from evidence.mutation.sources import Mutant, compiled
from evidence.mutation.survey import Unit, tracing
from evidence.mutation.worker import time_limit

STEPS = 3
MOST = 12  # networks that a mutant of shared code is run in
CLEAR = 3  # networks in which it must raise before it counts as one that raises
TIMEOUT = 60.0


class Finding(NamedTuple):
    """What a mutant shows: where it first disagrees, or the exception that it raises."""

    mutant: Mutant
    network: str = ""
    divergence: Divergence | None = None
    raised: str = ""

    @property
    def kind(self) -> str | None:
        """The named cause's kind; None is silence."""
        cause = self.divergence.cause if self.divergence else None
        return cause.kind if cause else None


def find(mutant: Mutant, seed: int = 0) -> Finding:
    """Return the first disagreement, in the first network that shows one."""
    raised: list[str] = []
    for name in _spread(networks_of(mutant)):
        if len(raised) == CLEAR:
            break
        experiment = _experiment(name, seed)
        try:
            with time_limit(TIMEOUT), loaded(mutant.module, compiled(mutant)):
                found = _first(replace(experiment, manual=_rebuilt(experiment)))
        except Exception as error:  # the mutant cannot even be built, or used alone
            raised.append(type(error).__name__)
            continue
        if found is not None and found.cause is not None and found.cause.kind == "exception":
            raised.append(found.cause.evidence.partition(" raised ")[2].partition(":")[0])
        elif found is not None:
            return Finding(mutant, name, found)
    return Finding(mutant, raised=next(iter(raised), ""))


def _spread(names: list[str]) -> list[str]:
    """Return at most MOST of the networks, from first to last."""
    step = max(1, -(-len(names) // MOST))
    return names[::step]


def networks_of(mutant: Mutant) -> list[str]:
    """Return the networks that run what the mutant changes."""
    return [name for name, unit in _units().items() if unit.concerns(mutant)]


@cache
def _units() -> dict[str, Unit]:
    """Run the right code in every network: which functions does each of them call?"""
    units = {}
    for name in ALL:
        experiment = _experiment(name, 0)
        with loaded(), tracing() as touched:
            _first(replace(experiment, manual=_rebuilt(experiment)))
        units[name] = Unit(None, experiment.dtype, frozenset(), frozenset(touched))  # type: ignore
    return units


def _first(experiment: Experiment) -> Divergence | None:
    lockstep = Lockstep(experiment)
    with np.errstate(all="ignore"):
        for number, batch in zip(range(STEPS), experiment.batches(), strict=False):
            step = lockstep.step(number, batch)
            if step.rows.bad.size:
                return first_divergence(experiment, lockstep.start, step)  # type: ignore[arg-type]
            lockstep.resynchronise()
    return None


@cache
def _experiment(name: str, seed: int) -> Experiment:
    return prepare(network(name, steps=STEPS, seed=seed))


def _rebuilt(experiment: Experiment) -> Any:
    """Return the hand-written side made of the classes that are loaded now."""
    registry, graph = import_module("manual.registry"), import_module("manual.graph")
    config: Config = experiment.config
    nodes = [graph.Node(s.name, registry.LAYERS[s.type](**s.args), s.inputs) for s in config.layers]
    penalties = [
        (registry.PENALTIES[type(p).__name__](p.coefficient), names)  # type: ignore[attr-defined]
        for p, names in experiment.manual.penalties
    ]
    return import_module("compare.pair.manual_side").ManualSide(
        graph.Graph(nodes),
        registry.LOSSES[config.loss.type](**config.loss.args),
        penalties,
        registry.OPTIMIZERS[config.optimizer.type](**config.optimizer.args),
        experiment.manual.clip_norm,
        experiment.manual.clip_value,
    )
