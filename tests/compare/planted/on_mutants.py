"""How often is a mutant's mistake named, and is the name the same on other data?

    python -m tests.compare.planted.on_mutants [MODULE …] [--every N]

Every mutant of `handgrad mutate` in a layer, loss, penalty or optimiser is run in lockstep in a
small network that uses it, on two seeds. Counted are those that run and disagree on both; those
that raise an exception say themselves what is wrong.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from compare.config import Config
from compare.diagnose import first_divergence
from compare.experiment import Experiment, prepare
from compare.lockstep import Lockstep
from compare.mutation.loading import loaded
from compare.mutation.sources import Mutant, compiled, mutants, named
from compare.report import Divergence
from tests.compare.planted.networks import (
    CE,
    NETWORKS,
    PLAIN,
    Network,
    classifier,
    linear,
    network,
)

STEPS, SEEDS = 3, (0, 1)
MODULES = ("activations", "softmax", "linear", "joins", "maxout", "dropout", "losses", "penalties",
           "optimizers")  # fmt: skip
WEIGHT, POS_WEIGHT = [1.0, 2.0, 0.5], [3.0, 0.7, 1.2]
SIGMOID = [*classifier("Tanh"), {"type": "Sigmoid"}]
LOG_P = [*classifier("Tanh"), {"type": "LogSoftmax", "dim": -1}]
L1 = {"type": "L1Penalty", "coefficient": 0.3, "parameters": ["*.weight"]}
JOINED = [
    linear(4, 5, name="a"), linear(4, 2, name="b", inputs=["input"]),
    {"type": "Concatenate", "name": "join", "inputs": ["a", "b"]}, linear(7, 3, name="head"),
]  # fmt: skip
MORE: dict[str, Network] = {
    "log-sigmoid": (classifier("LogSigmoid"), CE, PLAIN),
    "elu": (classifier("ELU", alpha=0.7), CE, PLAIN),
    "gelu-tanh": (classifier("GELU", approximate="tanh"), CE, PLAIN),
    "softplus-2": (classifier("Softplus", beta=2.0), CE, PLAIN),
    "dropout": ([linear(4, 6), {"type": "Dropout", "p": 0.4}, linear(6, 3)], CE, PLAIN),
    "maxout": (
        [{"type": "Maxout", "in_features": 4, "out_features": 6, "num_pieces": 3}, linear(6, 3)],
        CE, PLAIN,
    ),
    "join": (JOINED, CE, PLAIN),
    "logits": (classifier("Tanh"), {"type": "BCEWithLogitsLoss"}, PLAIN),
    "logits-weighted": (
        classifier("Tanh"),
        {"type": "BCEWithLogitsLoss", "weight": WEIGHT, "pos_weight": POS_WEIGHT}, PLAIN,
    ),
    "bce-weighted": (SIGMOID, {"type": "BCELoss", "weight": WEIGHT}, PLAIN),
    "squares": (
        classifier("Tanh"), {"type": "SquaredErrorLoss", "factor": 0.7, "reduction": "mean"}, PLAIN,
    ),
    "sum-of-squares": (classifier("Tanh"), {"type": "SquaredErrorLoss"}, PLAIN),
    "absolute": (classifier("Tanh"), {"type": "L1Loss"}, PLAIN),
    "nll": (LOG_P, {"type": "NLLLoss"}, PLAIN),
    "nll-weighted": (LOG_P, {"type": "NLLLoss", "weight": WEIGHT}, PLAIN),
    "margins": (classifier("Tanh"), {"type": "MultiMarginLoss"}, PLAIN),
    "margins-squared": (
        classifier("Tanh"), {"type": "MultiMarginLoss", "p": 2, "weight": WEIGHT}, PLAIN,
    ),
    "hinge": (classifier("Tanh"), {"type": "MulticlassHingeLoss"}, PLAIN),
    "l1": (classifier("Tanh"), {**CE, "penalties": [L1]}, PLAIN),
    "adagrad": (
        classifier("Tanh"), CE,
        {"type": "Adagrad", "lr": 0.01, "lr_decay": 0.1, "weight_decay": 0.05},
    ),
    "rmsprop-centered": (
        classifier("Tanh"), CE,
        {"type": "RMSprop", "lr": 0.01, "centered": True, "momentum": 0.8, "weight_decay": 0.05},
    ),
    "amsgrad": (classifier("Tanh"), CE, {"type": "Adam", "lr": 0.01, "amsgrad": True}),
    "dampened": (
        classifier("Tanh"), CE, {**PLAIN, "momentum": 0.8, "dampening": 0.3, "weight_decay": 0.05},
    ),
}  # fmt: skip


ALL = NETWORKS | MORE


class Finding(NamedTuple):
    """One mutant that disagrees: the first divergence on each seed."""

    mutant: Mutant
    first: tuple[Divergence, ...]

    @property
    def kinds(self) -> list[str | None]:
        return [d.cause.kind if d.cause else None for d in self.first]

    @property
    def quantity(self) -> str:
        return self.first[0].quantity.partition(":")[0]


def survey(modules: list[str], every: int) -> Iterator[Finding]:
    """Yield every mutant that runs and disagrees on both seeds."""
    for module in named(modules):
        for mutant in mutants(module)[::every]:
            found = [first(mutant, seed) for seed in SEEDS]
            finding = Finding(mutant, tuple(d for d in found if d))
            if all(found) and "exception" not in finding.kinds:
                yield finding


def first(mutant: Mutant, seed: int) -> Divergence | None:
    """Return where the mutant first disagrees, in the first network in which it does."""
    for experiment in experiments(mutant.function.partition(".")[0], seed):
        with loaded(mutant.module, compiled(mutant)):
            try:
                found = _run(replace(experiment, manual=rebuilt(experiment)))
            except (TypeError, ValueError, AttributeError, NameError, ZeroDivisionError):
                continue  # the mutant cannot even be built
        if found is not None:
            return found
    return None


def _run(experiment: Experiment) -> Divergence | None:
    lockstep = Lockstep(experiment)
    with np.errstate(all="ignore"):
        for number, batch in zip(range(STEPS), experiment.batches(), strict=False):
            step = lockstep.step(number, batch)
            if step.rows.bad.size:
                return first_divergence(experiment, lockstep.start, step)  # type: ignore[arg-type]
            lockstep.resynchronise()
    return None


def experiments(owner: str, seed: int) -> list[Experiment]:
    """Return the networks that use a class; all of them for a function that several share."""
    using = [name for name in ALL if owner in _types(name)]
    return [_experiment(name, seed) for name in using or ALL]


@cache
def _experiment(name: str, seed: int) -> Experiment:
    config = network(name, steps=STEPS, networks=ALL)
    train = config.train.model_copy(update={"seed": seed})
    return prepare(config.model_copy(update={"train": train}))


def _types(name: str) -> set[str]:
    layers, loss, optimizer = ALL[name]
    penalties = [p["type"] for p in loss.get("penalties", ())]
    return {*(layer["type"] for layer in layers), loss["type"], optimizer["type"], *penalties}


def rebuilt(experiment: Experiment) -> Any:
    """Return the hand-written side made of the classes that are loaded now."""
    registry, graph = import_module("manual.registry"), import_module("manual.graph")
    config: Config = experiment.config
    nodes = [graph.Node(s.name, registry.LAYERS[s.type](**s.args), s.inputs) for s in config.layers]
    penalties = [
        (registry.PENALTIES[type(p).__name__](p.coefficient), names)  # type: ignore[attr-defined]
        for p, names in experiment.manual.penalties
    ]
    return import_module("compare.manual_side").ManualSide(
        graph.Graph(nodes),
        registry.LOSSES[config.loss.type](**config.loss.args),
        penalties,
        registry.OPTIMIZERS[config.optimizer.type](**config.optimizer.args),
    )


def table(findings: list[Finding]) -> str:
    """Return the counts by what disagrees first."""
    lines = [f"{'seen first in':14} {'mutants':>8} {'named':>8} {'same name on both seeds':>24}"]
    groups = [*dict.fromkeys(f.quantity for f in findings), "all"]
    for group in groups:
        rows = [f for f in findings if group in (f.quantity, "all")]
        told = [f for f in rows if f.kinds[0]]
        same = sum(f.kinds[0] == f.kinds[1] for f in told)
        share = f"{len(told) / max(1, len(rows)):.0%}"
        lines.append(f"{group:14} {len(rows):8} {share:>8} {same / max(1, len(told)):>24.0%}")
    kinds = Counter(f.kinds[0] for f in findings if f.kinds[0])
    return "\n".join([*lines, "", ", ".join(f"{kind} {n}" for kind, n in kinds.most_common())])


def main(arguments: list[str]) -> None:
    every = int(arguments[arguments.index("--every") + 1]) if "--every" in arguments else 1
    modules = [a for a in arguments if not a.startswith("--") and not a.isdigit()]
    print(table(list(survey(modules or list(MODULES), every))))


if __name__ == "__main__":
    main(sys.argv[1:])
