"""Torch's side of a run on several workers: their processes are asked together."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from manual.parallel.plan import Plan
from manual.parallel.tensor import PARTIAL
from manual.parallel.workers import TOTAL, name_of, owned, target_of
from torch_ref.side import TorchSide
from torch_ref.workers import Workers

Arrays = dict[str, np.ndarray]

__all__ = ["DistributedSide"]


class DistributedSide(TorchSide):
    """The workers' networks, read back as arrays under the names of the hand-written graph.

    Args:
        single: the same network in this process: what is asked of one piece alone, it answers.
        workers: their processes.
        plan: their shards, after which their values are called.
        how: what is asked of them (`torch_ref.replica`); what that means for a worker, it finds.
        weights: of the network; each worker takes its own part.
        seed: of the random layers; each worker draws by itself.
    """

    def __init__(
        self, single: TorchSide, workers: Workers, plan: Plan, how: Mapping[str, Any],
        weights: Arrays, seed: int,
    ) -> None:  # fmt: skip
        self.__dict__.update(vars(single))
        self.workers, self.plan, self.weights = workers, plan, weights
        nodes = [_plain(node) for node in single.network.nodes]
        single.network.nodes = nodes
        workers.ask("build", [(single, seed + rank, how) for rank in range(plan.workers)])
        self.calls: list[list[dict[str, Any]]] = []
        self.found: list[dict[str, Any]] = []
        self.held: list[dict[str, Any]] = []
        self._name_pieces()

    def _name_pieces(self) -> None:
        """Let every worker's pieces be found under their names (see `alone`)."""
        modules = dict(self.network.modules_by_node)
        for worker, micro, _ in self._each():
            for name, module in modules.items():
                piece = module
                if isinstance(module, nn.SyncBatchNorm):
                    piece = JoinedBatchNorm.of(module, self._sizes(micro), worker)
                elif name in self.plan.split:
                    piece = Share.of(module, self.plan.split[name], worker)
                    self.network.modules_by_node[name_of(worker, name) + PARTIAL] = module
                self.network.modules_by_node[name_of(worker, name, micro)] = piece
            self.network.modules_by_node[name_of(worker, "loss", micro)] = self.loss_module
        self.network.modules_by_node[TOTAL] = self.sum = WeightedSum()
        self.loss_module = Whole()

    def _sizes(self, micro: int | None) -> list[int]:
        return [sizes[micro or 0] for sizes in self.plan.shards]

    def _each(self) -> Iterator[tuple[int, int | None, int]]:
        """Yield each worker's micro-batches: worker, call (None: the only one), place."""
        several = self.plan.micro_batches > 1
        for place in range(self.plan.micro_batches):
            for worker in range(self.plan.workers):
                yield worker, place if several else None, place

    def tensor(self, array: Any) -> Any:
        """Return the array: each worker makes its own tensors."""
        return array

    def load(
        self, weights: Mapping[str, np.ndarray], buffers: Mapping[str, np.ndarray] | None = None
    ) -> None:
        """Give the network's weights to each worker (and buffers); the optimisers forget.

        The parts of `weights`, cut by hand, are what their own are compared with.
        """
        own = [_stripped(buffers or {}, worker) for worker in range(self.plan.workers)]
        self.held = self.workers.ask("load", [(self.weights, mine) for mine in own])
        single = {n: b.numpy().copy() for n, b in self.network.model.named_buffers()}
        self.found = [{"buffers": single | mine} for mine in own]

    def forward_backward(self, x: Any, target: Any, *, input_grad: bool = False) -> float:
        """Run one step of all workers up to the exchange of their gradients.

        Args:
            x: dealt to the workers by hand; each takes its rows of the whole batch by itself.
        """
        batch = (*x.batch, input_grad)
        self.found = self.workers.ask("forward_backward", [batch] * self.plan.workers)
        self.calls = [found["calls"] for found in self.found]
        calls = [self.calls[worker][place] for worker, _, place in self._each()]
        self.sum.weights = [call["weight"] for call in calls]
        losses = [call["weight"] * call["outputs"]["loss"] for call in calls]
        self.total = np.asarray(sum(losses[1:], losses[0]))
        return float(self.total)

    def update(self, lr: float) -> None:
        """Let every worker clip and take its step."""
        self.held = self.workers.ask("update", [(lr,)] * self.plan.workers)
        self.overflowed = any(held["overflowed"] for held in self.held)

    def _of_calls(self, what: str) -> dict[str, Any]:
        return {
            name_of(worker, name, micro): value
            for worker, micro, place in self._each()
            for name, value in self.calls[worker][place][what].items()
        }

    def _of_workers(self, answers: list[dict[str, Any]], what: str) -> dict[str, Any]:
        return {
            name_of(worker, name): value
            for worker, answer in enumerate(answers)
            for name, value in answer[what].items()
        }

    def rows(self) -> Arrays:
        """Return which rows of the batch each worker took, by the name of its targets."""
        each = self._each()
        return {target_of(w, micro): self.calls[w][place]["rows"] for w, micro, place in each}

    def outputs(self) -> Arrays:
        found = self._of_calls("outputs")
        return found | self._shares(found) | {TOTAL: self.total}

    def _shares(self, outputs: Arrays) -> Arrays:
        """Return the shares of layers that are split by rows, which torch adds without a trace.

        Torch's matrix product works them out again, from what its workers had.
        """
        found = {}
        for node in self.network.nodes:
            for worker in range(self.plan.workers if self._by_rows(node.name) else 0):
                x = torch.tensor(outputs[name_of(worker, node.inputs[0])])
                weight = torch.tensor(self.held[worker]["params"][f"{node.name}.weight"])
                share = torch.nn.functional.linear(x, weight)
                found[name_of(worker, node.name) + PARTIAL] = share.numpy()
        return found

    def _by_rows(self, name: str) -> bool:
        return self.plan.split.get(name) == "rows"

    def grad_outputs(self) -> Arrays:
        found = self._of_calls("grad_outputs")
        sums = [n for node in self.network.nodes if self._by_rows(n := node.name)]
        shares = {
            name_of(worker, name) + PARTIAL: found[name_of(worker, name)]
            for name in sums
            for worker in range(self.plan.workers)
        }
        return found | shares | {TOTAL: np.ones_like(self.total)}

    def grads(self) -> Arrays:
        """Return what each worker found by itself, before the exchange."""
        return self._of_workers(self.found, "local")

    def reduced(self) -> Arrays:
        """Return what each worker's update takes, after the exchange and before clipping."""
        return self._of_workers(self.found, "reduced")

    def params(self) -> Arrays:
        return self._of_workers(self.held, "params")

    def buffers(self) -> Arrays:
        return self._of_workers(self.found, "buffers")

    def state(self) -> dict[str, dict[str, Any]]:
        return self._of_workers(self.held, "state")

    def winners(self) -> Arrays:
        return self._of_calls("winners")

    def noise(self) -> dict[str, Any]:
        return self._of_calls("noise")


class JoinedBatchNorm(_BatchNorm):
    """One worker's SyncBatchNorm as one process sees it: torch's own, on all workers' rows."""

    sizes: list[int]
    rank: int

    @classmethod
    def of(cls, module: nn.SyncBatchNorm, sizes: list[int], rank: int) -> JoinedBatchNorm:
        found: Any = copy.copy(module)
        found.__class__, found.sizes, found.rank = cls, sizes, rank
        return found

    def _check_input_dim(self, input: Tensor) -> None:
        """Take any, as SyncBatchNorm does."""

    def forward(self, *inputs: Tensor) -> Tensor:  # type: ignore[override]
        if len(inputs) != len(self.sizes):  # whoever asks does not know of the other workers
            return super().forward(*inputs)
        return super().forward(torch.cat(inputs)).split(self.sizes)[self.rank]


class Share(nn.Linear):
    """One worker's part of a Linear that is split; copies of a value are that value."""

    how: str
    rank: int

    @classmethod
    def of(cls, module: nn.Module, how: str, rank: int) -> Share:
        found: Any = copy.copy(module)
        found.__class__, found.how, found.rank = cls, how, rank
        return found

    def forward(self, *inputs: Tensor) -> Tensor:  # type: ignore[override]
        own, others = inputs[self.rank], [*inputs[: self.rank], *inputs[self.rank + 1 :]]
        if self.how == "columns":
            return super().forward(own + sum(x - x.detach() for x in others))
        y = own + sum(x.detach() for x in others)
        return y if self.bias is None else y + self.bias


class Whole(nn.Module):
    """Stands where a loss stands: the workers' losses are among the nodes."""

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return output * 1


class WeightedSum(nn.Module):
    """Σ_i w_i x_i, by the weights that torch's workers took in their last step."""

    weights: Sequence[float]

    def forward(self, *inputs: Tensor) -> Tensor:
        first, *rest = [x * w for x, w in zip(inputs, self.weights, strict=True)]
        return sum(rest, first)


def _stripped(values: Mapping[str, np.ndarray], worker: int) -> Arrays:
    """Return a worker's values under the names that the network itself has for them."""
    return {name.partition(".")[2]: array for name, array in owned(values, worker).items()}


def _plain(node: Any) -> Any:
    return SimpleNamespace(
        name=node.name, type=node.type, args=dict(node.args), inputs=tuple(node.inputs)
    )
