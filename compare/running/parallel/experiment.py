"""From a configuration with [parallel] to two sides of several workers each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from types import SimpleNamespace
from typing import Any

import numpy as np
from torch import distributed

from compare.description import build
from compare.description.config import Config, ParallelConfig
from compare.description.data.dataset import Inputs, named
from compare.errors import UserError, nearest
from compare.pair import plant as planting
from compare.pair.manual_side import ManualSide
from compare.running import experiment as single
from compare.running.experiment import Experiment
from compare.running.mirror.experiment import Whole
from compare.running.parallel.side import TensorSide, WorkersGraph, WorkersSide, idle, mistakes
from compare.running.parallel.torch_side import DistributedSide
from manual.parallel.plan import Plan, shards, split
from manual.parallel.tensor import PARTIAL, cut
from manual.parallel.workers import TOTAL, name_of, target_of
from torch_ref.workers import RefusedError, WorkersError, started

__all__ = ["ParallelExperiment", "mistaken", "prepared"]


@dataclass(frozen=True)
class ParallelExperiment(Experiment):
    """Two sides of several workers; a batch's rows lie with the workers in their order."""

    plan: Plan = None  # type: ignore[assignment]
    one: Experiment = None  # type: ignore[assignment]  # the same on one process

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(
            name_of(worker, name, micro)
            for worker, micro, _ in self.places()
            for name in self.config.inputs
        )

    @property
    def layers(self) -> Sequence[Any]:
        loss = SimpleNamespace(name="loss", type=self.config.loss.type, args=self.config.loss.args)
        found = [
            SimpleNamespace(name=name_of(worker, s.name, micro), type=s.type, args=s.args)
            for worker, micro, _ in self.places()
            for s in (*self.config.layers, loss, *self._shares())
        ]
        return [*found, SimpleNamespace(name=TOTAL, type="WeightedSum", args={})]

    def _shares(self) -> list[Any]:
        """Return what split layers compute before their sum."""
        rows = [s for s in self.config.layers if self.plan.split.get(s.name) == "rows"]
        return [SimpleNamespace(name=s.name + PARTIAL, type=s.type, args=s.args) for s in rows]

    def places(self) -> Iterator[tuple[int, int | None, slice]]:
        """Yield the rows of each worker's micro-batches (None: the only one)."""
        several = self.plan.micro_batches > 1
        for worker, places in enumerate(self.plan.slices()):
            for micro, place in enumerate(places):
                yield worker, micro if several else None, place

    def rows(self, batch: np.ndarray) -> tuple[Inputs, np.ndarray]:
        """Return every worker's features and targets by name; the loss is in the graph."""
        x, targets = super().rows(batch)
        found = {}
        for worker, micro, place in self.places():
            for name, array in named(x).items():
                found[name_of(worker, name, micro)] = array[place]
            found[target_of(worker, micro)] = targets[place]
        return Dealt(found, (dict(named(x)), targets)), np.zeros(len(targets), self.dtype)


class Dealt(dict):
    """What the hand-written workers get of a batch, by name, and the batch as it was."""

    def __init__(self, found: Mapping[str, np.ndarray], batch: tuple[Inputs, np.ndarray]) -> None:
        super().__init__(found)
        self.batch = batch


@contextmanager
def prepared(config: Config, *, mistake: str | None = None) -> Iterator[ParallelExperiment]:
    """Build both sides, and end torch's workers afterwards.

    Raises:
        UserError: the configuration cannot be used, or a worker ended or hung.
    """
    parallel = config.parallel
    assert parallel is not None
    _refuse(config)
    one = single.prepare(config.model_copy(update={"parallel": None}))
    plan = _plan(config, parallel, len(one.targets))
    manual, planted = _planted(config, one, plan, mistake)
    try:
        with started(plan.workers, parallel.timeout) as workers:
            how = parallel.model_dump(exclude={"workers", "timeout", "split"})
            how = {"split": dict(parallel.split)} if parallel.split else how
            side = DistributedSide(one.torch, workers, plan, how, one.weights, config.train.seed)
            yield _experiment(config, one, plan, (manual, side, planted))
    except WorkersError as error:
        raise UserError(f"{config.name}: {error}") from None
    except RefusedError as error:
        raise UserError(f"{config.name}: torch refuses this network: {error}.") from None


def _planted(
    config: Config, one: Experiment, plan: Plan, mistake: str | None
) -> tuple[ManualSide, planting.Plant | None]:
    """Return the hand-written side, with the mistake in it if there is one."""
    right, known = TensorSide if plan.split else WorkersSide, mistakes(plan)
    if mistake in known:
        side = _side(known[mistake], one, plan, config)
        if needed := idle(mistake, side, one.manual):
            raise UserError(
                f"{config.name}: the mistake '{mistake}' would change nothing here: it needs "
                f"{needed}."
            )
        return side, planting.Plant(mistake, "workers", "param:", "=", 0.0)
    side = _side(right, one, plan, config)
    if not mistake:
        return side, None
    found = _parsed(mistake, side, known)
    return planting.plant(side, found), found


def _experiment(
    config: Config, one: Experiment, plan: Plan, sides: tuple[ManualSide, DistributedSide, Any]
) -> ParallelExperiment:
    manual, side, planted = sides
    held = {field.name: getattr(one, field.name) for field in fields(one)}
    weights = {
        name_of(worker, name): weight
        for worker in range(plan.workers)
        for name, weight in cut(one.weights, plan.split, worker, plan.workers).items()
    }
    held |= {"config": config, "manual": manual, "torch": side, "mistake": planted}
    return ParallelExperiment(**held | {"weights": weights}, plan=plan, one=one)


def mistaken(experiment: ParallelExperiment, cls: type[WorkersSide]) -> ManualSide:
    """Return the hand-written side as it would be with one of the classic mistakes."""
    return _side(cls, experiment.one, experiment.plan, experiment.config)


def _side(cls: type[WorkersSide], one: Experiment, plan: Plan, config: Config) -> WorkersSide:
    own, graph = (
        one.manual,
        WorkersGraph.of(cls.joined(one.manual.graph, one.manual.loss, plan), plan),
    )
    sizes = {name: np.shape(p) for name, p in own.graph.params.items()}
    groups = [
        ([name_of(w, name) for w in range(plan.workers) for name in names], group)
        for names, group in single._groups(config, sizes)
    ]
    optimizer = build.build_optimizer(config, groups)
    return cls(graph, Whole(), (), optimizer, own.clip_norm, own.clip_value)


def _parsed(mistake: str, side: WorkersSide, known: Iterable[str]) -> planting.Plant:
    if not any(sign in mistake for sign in "=*/"):
        raise UserError(
            f"No mistake of workers is called '{mistake}'. {nearest(mistake, list(known))} Or "
            'plant a number: --plant "worker0.0.weight.grad*=1.01".'
        )
    found = planting.parse(mistake, side.graph)
    return found


def _plan(config: Config, parallel: ParallelConfig, rows: int) -> Plan:
    batch = config.train.rows_per_step(rows)
    if rows % batch and not config.train.drop_last:
        raise UserError(
            f"{config.name}: [parallel]: every step needs the same shards, but {rows} rows in "
            f"batches of {batch} leave {rows % batch} for the last. Set [train] drop_last = true, "
            "or another batch_size."
        )
    if parallel.split:
        return Plan(((batch,),) * parallel.workers, split=parallel.split)
    sizes = parallel.shards or split(batch, parallel.workers)
    if sum(sizes) != batch:
        raise UserError(
            f"{config.name}: [parallel] shards {list(sizes)} hold {sum(sizes)} rows, and a batch "
            f"has {batch} ([train] batch_size). They must be the same."
        )
    if min(sizes) < parallel.micro_batches:
        raise UserError(
            f"{config.name}: [parallel] micro_batches is {parallel.micro_batches}, but the "
            f"smallest shard has {min(sizes)} rows. Every micro-batch needs one."
        )
    return Plan(
        shards(sizes, parallel.micro_batches), parallel.reduce, parallel.whole_batch,
        config.loss.args.get("reduction") == "sum", parallel.sharded_states,
    )  # fmt: skip


def _refuse(config: Config) -> None:
    """Raise a UserError for what a run on several workers does not follow."""
    if not (distributed.is_available() and distributed.is_gloo_available()):
        raise UserError(
            f"{config.name}: [parallel] needs torch.distributed with gloo, which this torch was "
            "built without. Take the table out, or install torch from its own index."
        )
    parallel, optimizer = config.parallel, config.optimizer
    assert parallel is not None
    shared, split = parallel.sharded_states, bool(parallel.split)
    reasons = (
        ("[[loss.penalties]]: let the optimiser decay (weight_decay)", config.loss.penalties),
        ("[compare] torch_layers", config.compare.torch_layers),
        ('[train] mode = "free"', config.train.mode == "free"),
        ("[train] evaluate", config.train.evaluate),
        ("[train] device: workers are local processes on the CPU", config.train.device != "cpu"),
        ("optimizer.groups with sharded_states", shared and optimizer.groups),
        (
            f"{optimizer.type} with sharded_states: its rule is not one per element",
            shared and optimizer.type in ("LBFGS", "Muon", "Adafactor"),
        ),
        ("clip_norm with split: the norm is over parts on all workers",
         split and (optimizer.clip_norm or optimizer.clip_value)),
        ("tied parameters with split", split and config.tied),
    )  # fmt: skip
    for reason, given in reasons:
        if given:
            raise UserError(f"{config.name}: a run on several workers does not follow {reason}.")
