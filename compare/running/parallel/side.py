"""The hand-written side of a run on several workers, and the classic mistakes in what they do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from compare.judge.quantities import Values, of_exchange
from compare.pair.manual_side import Forward, Given, ManualSide, States
from manual.clipping import clip_grad_norm, clip_grad_value
from manual.graph import Array, Arrays, Gradients, Graph
from manual.layer import Layer
from manual.nodes import path_of
from manual.norm import SyncBatchNorm
from manual.parallel.plan import Plan
from manual.parallel.reduction import owners, reduced
from manual.parallel.tensor import ColumnShare, RowSum, of_tensor_workers
from manual.parallel.workers import name_of, of_workers, owned, target_of

__all__ = ["TensorSide", "WorkersGraph", "WorkersSide", "idle", "mistakes"]


class WorkersGraph(Graph):
    """The graph of all workers, and who they are."""

    plan: Plan

    @classmethod
    def of(cls, graph: Graph, plan: Plan) -> WorkersGraph:
        found = object.__new__(cls)
        found.__dict__ = {**vars(graph), "plan": plan}
        return found


class WorkersSide(ManualSide):
    """W workers: each finds its own gradients, all exchange them, and each takes the step."""

    @classmethod
    def joined(cls, graph: Graph, loss: Layer, plan: Plan) -> Graph:
        """Return the graph of all workers' forward and backward passes."""
        return of_workers(graph, loss, plan)

    @property
    def plan(self) -> Plan:
        return self.graph.plan  # type: ignore[attr-defined]

    def forward(
        self, params: Mapping[str, Array], x: Given, target: Array, *,
        buffers: Mapping[str, Array] | None = None, **options: Any,
    ) -> Forward:  # fmt: skip
        """Run all workers, each from worker 0's buffers, which it broadcasts before every step."""
        if buffers:
            buffers = {name: buffers[name_of(0, name.partition(".")[2])] for name in buffers}
        return super().forward(params, x, target, buffers=buffers, **options)

    def backward(self, forward: Forward, *, input_grad: bool = False) -> Gradients:
        """Run all workers' backward passes; the targets have no gradient."""
        found = super().backward(forward, input_grad=input_grad)
        targets = {n for n in self.graph.inputs if path_of(n).endswith(target_of(0)[7:])}
        values = {name: grad for name, grad in found.values.items() if name not in targets}
        return Gradients(values, found.params)

    def reduced(self, grads: Arrays) -> Arrays:
        """Return every worker's gradients after the exchange."""
        return reduced(grads, self.plan.workers, self.plan.reduce)

    def exchanged(self, grads: Arrays, into: Values) -> Arrays:
        """Return what each worker's update takes, and put it among what is compared."""
        found = self.reduced(grads)
        into |= of_exchange(found)
        return found

    def clipped(self, grads: Arrays) -> Arrays:
        """Return each worker's gradients, clipped by the norm of all that it holds."""
        found: Arrays = {}
        for worker in range(self.plan.workers):
            own = owned(grads, worker)
            if self.clip_norm is not None:
                own, _ = clip_grad_norm(own, self.clip_norm)
            if self.clip_value is not None:
                own = clip_grad_value(own, self.clip_value)
            found |= own
        return found

    def update(
        self, params: Arrays, grads: Arrays, states: States, lr: float
    ) -> tuple[Arrays, States]:
        """Return all workers' parameters and states after the step.

        With states in shares a parameter's owner alone works it out, and gives it to all.
        """
        grads = self.clipped(grads)
        if not self.plan.sharded_states:
            return self.optimizer.step(params, grads, states, lr)
        own = {name: grad for name, grad in grads.items() if self.owner(name)[0] == name}
        stepped, states = self.optimizer.step(params, own, states, lr)
        return self.gathered(params, stepped), states

    def gathered(self, before: Arrays, stepped: Arrays) -> Arrays:
        """Return every parameter as its owner worked it out, on every worker."""
        return {name: stepped[self.owner(name)[0]] for name in stepped}

    def owner(self, name: str) -> tuple[str, int]:
        """Return the worker that keeps a parameter's state: its copy's name, and its number."""
        plain = name.partition(".")[2]
        params = owned(self.graph.params, 0).items()
        sizes = {name.partition(".")[2]: int(np.size(p)) for name, p in params}
        worker = owners(sizes, self.plan.workers)[plain]
        return name_of(worker, plain), worker


class TensorSide(WorkersSide):
    """W workers that share layers: all see the whole batch, and there is nothing to reduce."""

    parts: tuple[type, type] = (ColumnShare, RowSum)

    @classmethod
    def joined(cls, graph: Graph, loss: Layer, plan: Plan) -> Graph:
        return of_tensor_workers(graph, loss, plan, *cls.parts)

    def exchanged(self, grads: Arrays, into: Values) -> Arrays:
        return grads


# ── the classic mistakes: each is planted by its name, and named where it is found ───────────────
class ReducedTwice(WorkersSide):
    """The mean is divided by the number of workers once more."""

    def reduced(self, grads: Arrays) -> Arrays:
        return {name: grad / self.plan.workers for name, grad in super().reduced(grads).items()}


class Summed(WorkersSide):
    """The workers' gradients are added, and not divided by their number."""

    def reduced(self, grads: Arrays) -> Arrays:
        return reduced(grads, self.plan.workers, "sum")


class Averaged(WorkersSide):
    """The mean is taken where the sum is wanted."""

    def reduced(self, grads: Arrays) -> Arrays:
        return reduced(grads, self.plan.workers, "mean")


class ByRows(WorkersSide):
    """Gradients are weighed by the rows of their shards, though nobody else does."""

    def reduced(self, grads: Arrays) -> Arrays:
        plan = self.plan
        again = 1 if plan.reduce == "mean" else plan.workers
        shares = [sum(sizes) / plan.rows * again for sizes in plan.shards]
        weighed = {name: grad * shares[_worker(name)] for name, grad in grads.items()}
        return reduced(weighed, plan.workers, "sum")


class LeftOut(WorkersSide):
    """The last worker's gradients do not arrive: the mean is that of the others."""

    def reduced(self, grads: Arrays) -> Arrays:
        return _without_last(grads, self.plan, divisor=self.plan.workers - 1)


class LeftOutOfTheSum(WorkersSide):
    """The last worker's gradients do not arrive, and the sum is divided by all the same number."""

    def reduced(self, grads: Arrays) -> Arrays:
        return _without_last(grads, self.plan, divisor=self.plan.workers)


class ClippedBefore(WorkersSide):
    """Each worker clips its own gradients, and only then are they reduced."""

    def reduced(self, grads: Arrays) -> Arrays:
        return super().reduced(super().clipped(grads))

    def clipped(self, grads: Arrays) -> Arrays:
        return grads


class NotExchanged(WorkersSide):
    """Every worker goes on with its own gradients."""

    def reduced(self, grads: Arrays) -> Arrays:
        return grads


class NotGathered(WorkersSide):
    """Every worker moves the parameters that it owns, and keeps the others as they were."""

    def gathered(self, before: Arrays, stepped: Arrays) -> Arrays:
        return {
            name: stepped[name] if self.owner(name)[0] == name else before[name] for name in stepped
        }


class NotDivided(WorkersSide):
    """The losses of micro-batches are not divided by their number."""

    @classmethod
    def joined(cls, graph: Graph, loss: Layer, plan: Plan) -> Graph:
        return of_workers(graph, loss, plan, factor=plan.micro_batches)


class MeanOfMeans(WorkersSide):
    """Every worker's mean counts the same, though their shards differ."""

    @classmethod
    def joined(cls, graph: Graph, loss: Layer, plan: Plan) -> Graph:
        from dataclasses import replace

        return of_workers(graph, loss, replace(plan, whole_batch=False))


class OwnStatistics(WorkersSide):
    """SyncBatchNorm normalises by the statistics of the worker's own shard."""

    @classmethod
    def joined(cls, graph: Graph, loss: Layer, plan: Plan) -> Graph:
        return of_workers(graph, loss, plan, synchronised=False)


MISTAKES: dict[str, type[WorkersSide]] = {
    "divided twice": ReducedTwice,
    "sum instead of mean": Summed,
    "mean instead of sum": Averaged,
    "weighed by rows": ByRows,
    "mean of means": MeanOfMeans,
    "worker left out": LeftOut,
    "worker left out of the sum": LeftOutOfTheSum,
    "clipped before the exchange": ClippedBefore,
    "not exchanged": NotExchanged,
    "not gathered": NotGathered,
    "micro-batches not divided": NotDivided,
    "own statistics": OwnStatistics,
}


class OwnShare(RowSum):
    def summed(self, shares: tuple[Array, ...]) -> Array:
        return shares[self.rank]


class OwnGradient(ColumnShare):
    def shares(self, share: Array, copies: int) -> tuple[Array, ...]:
        return tuple(share * (worker == self.rank) for worker in range(copies))


class BiasedShares(RowSum):
    def forward(self, *shares: Array) -> tuple[Array, Any]:
        y, cache = super().forward(*shares)
        return y + self.params.get("bias", 0.0) * (len(shares) - 1), cache


class SummedGradient(RowSum):
    def backward(self, grad_output: Array, cache: Any) -> tuple[tuple[Array | None, ...], Arrays]:
        _, own = super().backward(grad_output, cache)
        return (grad_output,) * cache.workers, own


class NoForwardReduce(TensorSide):
    """A row split's shares are not added: every worker goes on with its own."""

    parts = (ColumnShare, OwnShare)


class NoBackwardReduce(TensorSide):
    """A column split's input gets the gradient of the worker's own units alone."""

    parts = (OwnGradient, RowSum)


class BiasPerWorker(TensorSide):
    """A row split's bias is added to every share, and so counts once for each worker."""

    parts = (ColumnShare, BiasedShares)


class LossPerWorker(TensorSide):
    """The gradients of all workers' losses are added behind a row split: it is one loss."""

    parts = (ColumnShare, SummedGradient)


TENSOR_MISTAKES: dict[str, type[WorkersSide]] = {
    "no all-reduce forward": NoForwardReduce,
    "no all-reduce backward": NoBackwardReduce,
    "bias per worker": BiasPerWorker,
    "loss per worker": LossPerWorker,
}


def mistakes(plan: Plan) -> dict[str, type[WorkersSide]]:
    """Return the classic mistakes of workers who share layers, or the batch."""
    return TENSOR_MISTAKES if plan.split else MISTAKES


def idle(name: str, side: WorkersSide, one: ManualSide) -> str:
    """Return what a mistake needs to make a difference and the run has not got, or nothing."""
    plan, unequal = side.plan, len({sum(sizes) for sizes in side.plan.shards}) > 1
    synchronised = any(isinstance(node.layer, SyncBatchNorm) for node in one.graph.nodes)
    has = {
        "divided twice": ('reduce = "mean"', plan.reduce == "mean"),
        "sum instead of mean": ('reduce = "mean"', plan.reduce == "mean"),
        "mean instead of sum": ('reduce = "sum"', plan.reduce == "sum"),
        "weighed by rows": ("unequal shards", unequal),
        "mean of means": ("whole_batch = true with unequal shards", plan.whole_batch and unequal),
        "clipped before the exchange": (
            "[optimizer] clip_norm", (one.clip_norm, one.clip_value) != (None, None)
        ),
        "not gathered": ("sharded_states = true", plan.sharded_states),
        "micro-batches not divided": ("micro_batches of 2 or more", plan.micro_batches > 1),
        "own statistics": ("a SyncBatchNorm layer", synchronised),
    }  # fmt: skip
    needed, there = has.get(name, ("", True))
    return "" if there else needed


def _worker(name: str) -> int:
    return int(name.partition(".")[0].removeprefix("worker"))


def _without_last(grads: Arrays, plan: Plan, divisor: int) -> Arrays:
    divisor = divisor if plan.reduce == "mean" else 1
    last = plan.workers - 1
    kept = {n: g * (_worker(n) != last) / divisor for n, g in grads.items()}
    return reduced(kept, plan.workers, "sum")
