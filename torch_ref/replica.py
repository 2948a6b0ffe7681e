"""One worker of a data-parallel run, in a process of its own: `python -m torch_ref.replica`.

Gradients are exchanged by torch alone: DistributedDataParallel over gloo, ZeroRedundancyOptimizer.
Commands come from `torch_ref.workers` by a pipe, and answers go back.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import timedelta
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from torch_ref import optimizers
from torch_ref.side import TorchSide, array_of

Arrays = dict[str, np.ndarray]


class Replica:
    """A worker's copy of the network, wrapped in DistributedDataParallel.

    Which rows are its own, and what its losses count, it works out itself: nothing is taken over
    from the hand-written side.

    Args:
        side: the network, its loss and optimiser; the same for all workers.
        seed: of this worker's random layers.
        shards: rows of every worker; as equal as can be without it.
        micro_batches: calls whose gradients add up before the exchange.
        reduce: "mean", DistributedDataParallel's own, or "sum", by a communication hook.
        whole_batch: whether the losses are weighed so that the step is that of one process.
        sharded_states: whether the optimiser is a ZeroRedundancyOptimizer.
    """

    def __init__(
        self, side: TorchSide, seed: int, *, shards: Sequence[int] | None = None,
        micro_batches: int = 1, reduce: str = "mean", whole_batch: bool = False,
        sharded_states: bool = False,
    ) -> None:  # fmt: skip
        torch.backends.mha.set_fastpath_enabled(False)
        torch.manual_seed(seed)
        self.side, self.sharded, self.reduce = side, sharded_states, reduce
        self.shards, self.micro_batches, self.whole_batch = shards, micro_batches, whole_batch
        self.local: Arrays = {}
        self.model = self.wrapped(reduce)
        for name, parameter in side.parameters.items():
            parameter.register_hook(partial(self._found, name))

    def wrapped(self, reduce: str) -> Any:
        """Return the network as it is called."""
        for module in self.side.network.modules():
            if isinstance(module, nn.SyncBatchNorm):
                module.__class__ = SummedBatchNorm  # type: ignore[assignment]
        model = DistributedDataParallel(self.side.network)
        if reduce == "sum":
            model.register_comm_hook(None, lambda _, bucket: _summed(bucket))
        return model

    def _found(self, name: str, grad: Tensor) -> None:
        """Add up what this worker alone finds: the hook runs before anything is exchanged."""
        found = _array(grad)
        self.local[name] = self.local[name] + found if name in self.local else found

    def load(self, weights: Arrays, buffers: Arrays) -> dict[str, Any]:
        """Start from these weights, with an optimiser that has no state; return what is held."""
        self.side.load(weights, buffers)
        if self.sharded:
            from torch.distributed.optim import ZeroRedundancyOptimizer

            name, args = self.side.optimizer_spec
            plain = {} if name in optimizers.LOOPS else {"foreach": False}
            self.side.optimizer = ZeroRedundancyOptimizer(
                list(self.side.parameters.values()), getattr(torch.optim, name),
                **plain, **optimizers.tuples(args),
            )  # fmt: skip
        return self.held()

    def dealt(self, of: int) -> Iterator[tuple[Tensor, float]]:
        """Yield the rows of this worker's micro-batches, and what the loss of each counts."""
        rows = torch.arange(of)
        shards = rows.split(list(self.shards)) if self.shards else rows.tensor_split(_workers())
        for own in shards[dist.get_rank()].tensor_split(self.micro_batches):
            yield own, self.weight(len(own), of)

    def weight(self, rows: int, of: int) -> float:
        """Return what a micro-batch's loss is multiplied by before its backward."""
        if not self.whole_batch:
            return 1 / self.micro_batches
        lost = _workers() if self.reduce == "mean" else 1  # what the exchange divides by
        return float(lost) if self.side.loss_module.reduction == "sum" else lost * rows / of

    def forward_backward(
        self, x: Mapping[str, np.ndarray], target: np.ndarray, input_grad: bool
    ) -> dict[str, Any]:
        """Run all micro-batches; the last one's backward exchanges the gradients."""
        self.local = {}
        for parameter in self.side.parameters.values():
            parameter.grad = None
        calls: list[dict[str, Any]] = []
        for rows, weight in self.dealt(len(target)):
            last = len(calls) == self.micro_batches - 1
            own = {name: self.side.tensor(array)[rows] for name, array in x.items()}
            with nullcontext() if last else self.model.no_sync():
                calls.append(self._call(own, self.side.tensor(target)[rows], weight, input_grad))
            calls[-1] |= {"weight": weight, "rows": _array(rows)}
        held = self.side.parameters.items()
        grads = {name: _array(p.grad) for name, p in held if p.grad is not None}
        buffers = {name: b.copy() for name, b in self.side.buffers().items()}
        return {"calls": calls, "local": self.local, "reduced": grads, "buffers": buffers}

    def _call(
        self, leaves: dict[str, Tensor], target: Tensor, weight: float, input_grad: bool
    ) -> dict[str, Any]:
        side = self.side
        for leaf in leaves.values():
            leaf.requires_grad_(input_grad and leaf.is_floating_point())
        loss = side.loss_module(self.model(leaves), target)
        loss.retain_grad()
        (loss * weight).backward()
        taps = {**side.network.taps, "loss": loss}
        grads = {name: t.grad for name, t in taps.items() if t.requires_grad}
        return {
            "outputs": {name: _array(t) for name, t in taps.items() if name not in leaves},
            "grad_outputs": {name: _array(g) for name, g in grads.items() if g is not None},
            "noise": side.noise(),
            "winners": side.winners(),
        }

    def update(self, lr: float) -> dict[str, Any]:
        """Clip if asked, and take the step; return what this worker holds then."""
        self.side.update(lr)
        return self.held()

    def held(self) -> dict[str, Any]:
        """Return this worker's parameters and its optimiser's state."""
        side = self.side
        optimizer: Any = side.optimizer.optim if self.sharded else side.optimizer  # type: ignore[attr-defined]
        return {
            "params": {name: _array(p) for name, p in side.parameters.items()},
            "state": {
                name: {key: _array(v) for key, v in entry.items()}
                for name, entry in optimizers.state_of(optimizer, side.parameters).items()
            },
            "overflowed": side.overflowed,
        }


class TensorReplica(Replica):
    """A worker's part of a network whose Linears are split by torch's tensor parallelism.

    Args:
        split: the layers that are split, by "columns" or "rows".
    """

    def __init__(self, side: TorchSide, seed: int, *, split: Mapping[str, str]) -> None:
        self.split = split
        super().__init__(side, seed)

    def dealt(self, of: int) -> Iterator[tuple[Tensor, float]]:
        """Yield the whole batch, which every worker sees."""
        yield torch.arange(of), 1.0

    def wrapped(self, reduce: str) -> Any:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.tensor.parallel import (
            ColwiseParallel,
            RowwiseParallel,
            parallelize_module,
        )

        styles = {"columns": ColwiseParallel, "rows": RowwiseParallel}
        mesh = init_device_mesh("cpu", (dist.get_world_size(),))
        model = self.side.network.model
        parallelize_module(model, mesh, {name: styles[how]() for name, how in self.split.items()})
        self.side.parameters = dict(model.named_parameters())
        return self.side.network

    def load(self, weights: Arrays, buffers: Arrays) -> dict[str, Any]:
        """Let torch cut these weights, for an optimiser that has no state; return what is held."""
        from torch.distributed.tensor import DTensor, distribute_tensor

        side = self.side
        with torch.no_grad():
            for name, p in side.parameters.items():
                whole = torch.tensor(weights[name])
                if isinstance(p, DTensor):
                    whole = distribute_tensor(whole, p.device_mesh, p.placements)
                p.copy_(whole)
        name, args = side.optimizer_spec
        side.optimizer = optimizers.build(name, side.parameters, args, side.groups)
        return self.held()


class SummedBatchNorm(_BatchNorm):
    """SyncBatchNorm on a CPU, where torch's own refuses to run: sums by torch's all_reduce.

    Autograd differentiates through the exchange: torch's backward of all_reduce is all_reduce.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise by the mean and variance of all workers' rows."""
        if not self.training:
            return super().forward(input)
        axes = [axis for axis in range(input.dim()) if axis != 1]
        shape = [1, -1] + [1] * (input.dim() - 2)
        count = _all_reduced(input.new_tensor(input.numel() / input.size(1)))
        mean = _all_reduced(input.sum(axes)) / count
        centred = input - mean.view(shape)
        var = _all_reduced((centred**2).sum(axes)) / count
        self._move(mean.detach(), var.detach(), count)
        y = centred / (var + self.eps).sqrt().view(shape)
        y = y if self.weight is None else y * self.weight.view(shape)
        return y if self.bias is None else y + self.bias.view(shape)

    @torch.no_grad()
    def _move(self, mean: Tensor, var: Tensor, count: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        rate = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
        self.running_mean += rate * (mean - self.running_mean)
        self.running_var += rate * (var * count / (count - 1) - self.running_var)


def _workers() -> int:
    return int(dist.get_world_size())


def _all_reduced(tensor: Tensor) -> Tensor:
    from torch.distributed.nn.functional import all_reduce

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # its successor has no gradient
        return all_reduce(tensor)


def _array(tensor: Any) -> np.ndarray:
    """Return what this worker holds of a tensor, which may be a DTensor or not have arrived."""
    tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    tensor = tensor.wait() if hasattr(tensor, "wait") else tensor
    return array_of(tensor).copy()


def _summed(bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    future = dist.all_reduce(bucket.buffer(), async_op=True).get_future()
    return future.then(lambda done: done.value()[0])


def serve(rank: int, count: int, store: str, seconds: float, asked: Connection) -> None:
    """Do what is asked until there is nobody to ask: the process ends with who started it."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", store=dist.FileStore(store, count), rank=rank, world_size=count,
        timeout=timedelta(seconds=seconds),
    )  # fmt: skip
    asked.send((True, None))
    replica: Any = None
    while True:
        try:
            what, arguments = pickle.loads(asked.recv_bytes())
        except EOFError:
            return
        try:
            if what == "build":
                *given, how = arguments
                replica = TensorReplica(*given, **how) if "split" in how else Replica(*given, **how)
                found = None
            else:
                found = getattr(replica, what)(*arguments)
            asked.send((True, found))
        except Exception as error:
            traceback.print_exc()
            asked.send((False, f"{type(error).__name__}: {error}"))


def main() -> None:
    """Serve on the pipe whose descriptor comes first."""
    descriptor, rank, count, store, seconds = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started it, who ends all
    if sys.platform == "linux":  # one machine needs no name that others could find it by
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    serve(int(rank), int(count), store, float(seconds), Connection(int(descriptor)))
    os._exit(0)  # the others may have ended already: there is nobody to say goodbye to


if __name__ == "__main__":
    main()
