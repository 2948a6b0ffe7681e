"""Workers that each hold rows of a batch, beside one torch process that has all of them.

What torch's side counts a row for and whose rows they are is worked out here again: no worker of
torch's takes part.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import Check, Lift
from evidence.mutation.battery.layers import build

SIZES = {"one": (3, 4), "two": (4, 2)}  # I, O


def ours(module: str, name: str) -> Any:
    """Return what a module of manual.parallel has, as it is loaded now."""
    return getattr(import_module(f"manual.parallel.{module}"), name)


@dataclass(frozen=True)
class BatchCheck(Check):
    """Two Linears on workers that each hold a shard, their gradients before and after the exchange.

    Args:
        shards: rows of every worker.
        micro: micro-batches of each.
        reduce, whole_batch: as for `manual.parallel.plan.Plan`.
        reduction: of the squared error.
        norm: arguments of a SyncBatchNorm that stands there instead of the Linears.
        image: whether each row has 5 places, for the norm.
        mode: of the norm: "synchronised", "alone" or "evaluated"; of the Linears: "cell" puts a
            recurrent cell without a state before them, "tied" ties biases and adds a parameter
            that no layer has.
        factor: what all losses are multiplied by besides.
    """

    shards: tuple[int, ...]
    micro: int = 1
    reduce: str = "mean"
    whole_batch: bool = False
    reduction: str = "mean"
    norm: tuple[tuple[str, Any], ...] | None = None
    image: bool = False
    mode: str = ""
    factor: float = 1.0

    @property
    def name(self) -> str:
        return f"workers with {self.shards} rows: {', '.join(map(str, vars(self).values()))}"

    @property
    def x_shape(self) -> tuple[int, ...]:
        return (sum(self.shards), 3, 5) if self.image else (sum(self.shards), 3)

    def plan(self) -> Any:
        parts = ours("plan", "shards")(self.shards, self.micro)
        return ours("plan", "Plan")(parts, self.reduce, self.whole_batch, self.reduction == "sum")

    def network(self) -> Any:
        if self.norm is not None:
            norm = build("SyncBatchNorm", (("num_features", 3), *self.norm))
            norm = norm.train(False) if self.mode == "evaluated" else norm
            normed = [("norm", norm, ("x",)), ("act", build("Tanh", ()), ("norm",))]
            return import_module("manual").Graph(normed, inputs=("x",))
        outs, more = 4 if self.mode == "tied" else 2, {}
        nodes: list[tuple] = [
            ("one", build("Linear", (("in_features", 3), ("out_features", 4))), ("x",)),
            ("act", build("Tanh", ()), ("one",)),
            ("two", build("Linear", (("in_features", 4), ("out_features", outs))), ("act",)),
        ]
        if self.mode == "cell":
            cell = build("RNNCell", (("input_size", 3), ("hidden_size", 4)))
            nodes[:2] = [("act", cell, ("x", None))]
        if self.mode == "tied":
            nodes.append(("matrix", build("MatMulGate", ()), ("two", "free")))
            more = {"tied": {"two.bias": "one.bias"}, "parameters": {"free": np.zeros((4, 2))}}
        return import_module("manual").Graph(nodes, inputs=("x",), **more)

    def target(self, seed: int) -> np.ndarray:
        rows = self.x_shape[0]
        return self.draw(seed, (rows, 2) if self.norm is None else self.x_shape, "t")

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        plan, name_of = self.plan(), ours("workers", "name_of")
        loss = build("MSELoss", (("reduction", self.reduction),))
        how: dict[str, Any] = {"synchronised": False} if self.mode == "alone" else {}
        how |= {} if self.factor == 1.0 else {"factor": self.factor}
        joined = ours("workers", "of_workers")(self.network(), loss, plan, **how)
        joined = joined.with_params(
            {
                n: lift(self.draw(seed, p.shape, n.partition(".")[2]))
                for n, p in joined.params.items()
            }
        )
        joined = joined.with_buffers(
            {n: lift(b) if b.dtype.kind == "f" else b for n, b in joined.buffers.items()}
        )
        x, t = self.draw(seed, self.x_shape, "x"), self.target(seed)
        given, places = {}, []
        for worker, slices in enumerate(plan.slices()):
            for micro, place in enumerate(slices):
                call = micro if self.micro > 1 else None
                given[name_of(worker, "x", call)] = lift(x[place])
                given[ours("workers", "target_of")(worker, call)] = lift(t[place])
                places.append((worker, micro, name_of(worker, "x", call)))
        tape = joined.run(given)
        joined.run({name: array * 0.5 for name, array in given.items()})  # a cache of its own
        found = joined.gradients(tape, np.ones_like(tape.output), wrt=tuple(p for *_, p in places))
        half = joined.gradients(tape, 0.5 * np.ones_like(tape.output)).params
        asked = () if plan.reduce == "mean" else (plan.reduce,)
        reduced = ours("reduction", "reduced")(found.params, plan.workers, *asked)
        values: Values = {
            Key("", "loss"): tape.output,
            Key("", "workers"): np.float64(plan.workers),
        }
        values |= {Key(f"{w}@{m}", "grad_x"): found.values[p] for w, m, p in places}
        values |= {Key(n, "own"): g for n, g in found.params.items()}
        values |= {Key(n, "half as much"): g for n, g in half.items()}
        for worker, micro, _ in places:
            call = micro if self.micro > 1 else None
            values[Key(f"{worker}@{micro}", "loss")] = tape.values[name_of(worker, "loss", call)]
        values |= {Key(n, "reduced"): g for n, g in reduced.items()}
        return values | {Key(n, "buffer"): b for n, b in tape.buffers.items()}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch

        from evidence.mutation.battery.torch_side import tensor
        from torch_ref.side import array_of

        of, ranks = sum(self.shards), range(len(self.shards))
        x, t = tensor(self.draw(seed, self.x_shape, "x"), dtype), tensor(self.target(seed), dtype)
        rows = torch.arange(of).split(list(self.shards))
        calls = [own.tensor_split(self.micro) for own in rows]
        copies = [self._copies(seed, dtype) for _ in ranks]
        leaves = {(w, m): x[calls[w][m]].requires_grad_() for w in ranks for m in range(self.micro)}
        buffers = [self._buffers(dtype) for _ in ranks]
        total: Any = 0.0
        values: Values = {}
        for m in range(self.micro):
            ys = self._outputs([leaves[w, m] for w in ranks], copies, buffers)
            for w, y in enumerate(ys):
                part = torch.nn.functional.mse_loss(y, t[calls[w][m]], reduction=self.reduction)
                values[Key(f"{w}@{m}", "loss")] = array_of(part)
                total = total + part * (self.factor * self._counts(len(calls[w][m]), of))
        total.backward()
        values |= {Key("", "loss"): array_of(total), Key("", "workers"): np.float64(len(rows))}
        values |= {Key(f"{w}@{m}", "grad_x"): grad_of(x) for (w, m), x in leaves.items()}
        for n in copies[0]:
            grads = [copies[w][n].grad for w in ranks]
            both = sum(grads[1:], grads[0]) / (len(ranks) if self.reduce == "mean" else 1)
            for w in ranks:
                values[Key(f"worker{w}.{n}", "own")] = array_of(grads[w])
                values[Key(f"worker{w}.{n}", "half as much")] = array_of(0.5 * grads[w])
                values[Key(f"worker{w}.{n}", "reduced")] = array_of(both)
        for w, held in enumerate(buffers):
            values |= {Key(f"worker{w}.{k}", "buffer"): array_of(b) for k, b in held.items()}
        return values

    def _copies(self, seed: int, dtype: np.dtype) -> dict[str, Any]:
        from evidence.mutation.battery.torch_side import tensor

        shapes: dict[str, tuple[int, ...]] = {"one.weight": (4, 3), "one.bias": (4,),
                                              "two.weight": (2, 4), "two.bias": (2,)}  # fmt: skip
        if self.mode == "cell":
            del shapes["one.weight"], shapes["one.bias"]
            shapes |= {"act.weight_ih": (4, 3), "act.weight_hh": (4, 4)}
            shapes |= {"act.bias_ih": (4,), "act.bias_hh": (4,)}
        if self.mode == "tied":
            del shapes["two.bias"]
            shapes |= {"two.weight": (4, 4), "free": (4, 2)}
        if self.norm is not None:
            shapes = {} if dict(self.norm).get("affine") is False else {
                "norm.weight": (3,), "norm.bias": (3,)}  # fmt: skip
        return {n: tensor(self.draw(seed, s, n), dtype).requires_grad_() for n, s in shapes.items()}

    def _buffers(self, dtype: np.dtype) -> dict[str, Any]:
        import torch

        if self.norm is None or dict(self.norm).get("track_running_stats") is False:
            return {}
        module = torch.nn.BatchNorm1d(3, **dict(self.norm), dtype=getattr(torch, dtype.name))
        return {f"norm.{k}": b for k, b in module.named_buffers()}

    def _output(self, x: Any, p: dict[str, Any]) -> Any:
        """Return one worker's output without a norm."""
        import torch

        linear = torch.nn.functional.linear
        if self.mode == "cell":
            h = (linear(x, p["act.weight_ih"], p["act.bias_ih"]) + p["act.bias_hh"]).tanh()
            h = h + 0 * p["act.weight_hh"].sum()  # no state comes through it
        else:
            h = linear(x, p["one.weight"], p["one.bias"]).tanh()
        y = linear(h, p["two.weight"], p["one.bias" if self.mode == "tied" else "two.bias"])
        return y @ p["free"] if self.mode == "tied" else y

    def _normed(self, x: Any, held: dict[str, Any]) -> Any:
        """Return rows less their mean, over their deviation; what was seen moves on."""
        import torch

        how = {"eps": 1e-5, "momentum": 0.1} | dict(self.norm or ())
        training = self.mode != "evaluated"
        if held and training:
            held["norm.num_batches_tracked"] += 1
        rate = how["momentum"]
        rate = 1 / float(held["norm.num_batches_tracked"]) if rate is None else rate
        return torch.nn.functional.batch_norm(
            x, held.get("norm.running_mean"), held.get("norm.running_var"),
            training=training, momentum=rate, eps=how["eps"],
        )  # fmt: skip

    def _outputs(self, xs: list[Any], copies: list[dict], buffers: list[dict]) -> list[Any]:
        """Return every worker's output; a norm's statistics are those of all rows together."""
        import torch

        if self.norm is None:
            return [self._output(x, p) for x, p in zip(xs, copies, strict=True)]
        if self.mode == "alone":
            hats = [self._normed(x, held) for x, held in zip(xs, buffers, strict=True)]
        else:
            hats = self._normed(torch.cat(xs), buffers[0]).split([len(x) for x in xs])
            for held in buffers[1:]:
                held |= buffers[0]
        shape = [1, 3] + [1] * (xs[0].dim() - 2)
        return [
            (h * p["norm.weight"].view(shape) + p["norm.bias"].view(shape) if p else h).tanh()
            for h, p in zip(hats, copies, strict=True)
        ]

    def _counts(self, rows: int, of: int) -> float:
        """Return what a call's loss counts, such that a row counts what the plan says.

        In the whole batch's mean each row counts 1/n after the exchange, in its sum 1.
        """
        lost = len(self.shards) if self.reduce == "mean" else 1
        if not self.whole_batch:
            return 1 / self.micro
        return lost * (rows / of if self.reduction == "mean" else 1.0)


def grad_of(leaf: Any) -> np.ndarray:
    from torch_ref.side import array_of

    return array_of(leaf.grad)
