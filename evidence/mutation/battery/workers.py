"""Several workers by hand, in this process, beside one torch process that has all their rows.

What torch's side counts a row for, whose rows they are and who gets which block of a weight is
worked out here again: no worker of torch's takes part.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, ClassVar

import numpy as np

from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import Check, ExactCheck, Lift
from evidence.mutation.battery.layers import build

SIZES = {"one": (3, 4), "two": (4, 2)}  # I, O


def _of(module: str, name: str) -> Any:
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
        parts = _of("plan", "shards")(self.shards, self.micro)
        return _of("plan", "Plan")(parts, self.reduce, self.whole_batch, self.reduction == "sum")

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
        plan, name_of = self.plan(), _of("workers", "name_of")
        loss = build("MSELoss", (("reduction", self.reduction),))
        how: dict[str, Any] = {"synchronised": False} if self.mode == "alone" else {}
        how |= {} if self.factor == 1.0 else {"factor": self.factor}
        joined = _of("workers", "of_workers")(self.network(), loss, plan, **how)
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
                given[_of("workers", "target_of")(worker, call)] = lift(t[place])
                places.append((worker, micro, name_of(worker, "x", call)))
        tape = joined.run(given)
        joined.run({name: array * 0.5 for name, array in given.items()})  # a cache of its own
        found = joined.gradients(tape, np.ones_like(tape.output), wrt=tuple(p for *_, p in places))
        half = joined.gradients(tape, 0.5 * np.ones_like(tape.output)).params
        asked = () if plan.reduce == "mean" else (plan.reduce,)
        reduced = _of("reduction", "reduced")(found.params, plan.workers, *asked)
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
        values |= {Key(f"{w}@{m}", "grad_x"): _grad(x) for (w, m), x in leaves.items()}
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


@dataclass(frozen=True)
class SplitCheck(Check):
    """A Linear cut by columns, a function, and one cut by rows, beside both whole."""

    workers: int
    bias: bool = True
    lead: tuple[int, ...] = (6,)
    cell: bool = False  # a recurrent cell without a state comes first, no Linear

    @property
    def name(self) -> str:
        shown = f"bias {self.bias}, {self.lead} rows{', a cell' * self.cell}"
        return f"{self.workers} workers share two Linears, {shown}"

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        sizes = {"in.weight": (3, 2), "up.weight": (12, 3), "down.weight": (5, 12)}
        biases = {"in.bias": (3,), "up.bias": (12,), "down.bias": (5,)}
        if self.cell:
            sizes |= {"in.weight_ih": sizes.pop("in.weight"), "in.weight_hh": (3, 3)}
            biases |= {"in.bias_ih": biases.pop("in.bias"), "in.bias_hh": (3,)}
        return sizes | (biases if self.bias else {})  # type: ignore[operator, return-value]

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        def linear(i: int, o: int) -> Any:
            return build("Linear", (("in_features", i), ("out_features", o), ("bias", self.bias)))

        whole = {n: self.draw(seed, s, n) for n, s in self.shapes.items()}
        first: tuple = ("in", linear(2, 3), ("x",))
        if self.cell:
            cell = build("RNNCell", (("input_size", 2), ("hidden_size", 3), ("bias", self.bias)))
            first = ("in", cell, ("x", None))
        nodes = [first, ("up", linear(3, 12), ("in",)),
                 ("act", build("Tanh", ()), ("up",)),
                 ("down", linear(12, 5), ("act",))]  # fmt: skip
        graph = import_module("manual").Graph(nodes, inputs=("x",)).with_params(whole)
        shared = {"up": "columns", "down": "rows"}
        plan = _of("plan", "Plan")(((self.lead[0],),) * self.workers, split=shared)
        joined = _of("tensor", "of_tensor_workers")(graph, build("MSELoss", ()), plan)
        name_of, cut = _of("workers", "name_of"), _of("tensor", "cut")
        ranks = range(self.workers)
        params: dict[str, Any] = {}
        for w in ranks:
            own = cut(whole, shared, w, self.workers)
            params |= {name_of(w, n): lift(own[n]) for n in whole}
        x, t = self.draw(seed, (*self.lead, 2), "x"), self.draw(seed, (*self.lead, 5), "t")
        given = {name_of(w, "x"): lift(x[plan.slices()[w][0]]) for w in ranks}
        given |= {_of("workers", "target_of")(w): lift(t[plan.slices()[w][0]]) for w in ranks}
        held = dict(joined.params)
        joined = joined.with_params({_partial(n, held): p for n, p in params.items()})
        others = [{name: array * c for name, array in given.items()} for c in (2.0, 0.5)]
        joined.run(others[0])
        tape = joined.run(given)
        joined.run(others[1])  # neither the first cache nor the latest is its own
        wanted = tuple(name_of(w, "x") for w in ranks)
        found = joined.gradients(tape, np.ones_like(tape.output), wrt=wanted)
        dealt = np.array([plan.rows, len(plan.slices())], np.float64)
        values: Values = {Key("", "weights"): np.array(plan.weights()), Key("", "rows"): dealt}
        values[Key("", "loss")] = tape.output
        for n in params:
            values[Key(n, "grad")] = found.params[_partial(n, held)]
            values[Key(n, "held")] = np.asarray(held[_partial(n, held)], dtype)
        for w in ranks:
            values[Key(f"{w}", "y")] = tape.values[name_of(w, "down")]
            values[Key(f"{w}", "loss")] = tape.values[name_of(w, "loss")]
            values[Key(f"{w}", "dx")] = found.values[name_of(w, "x")]
        return values

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch

        from evidence.mutation.battery.torch_side import tensor
        from torch_ref.side import array_of

        p = {
            n: tensor(self.draw(seed, s, n), dtype).requires_grad_() for n, s in self.shapes.items()
        }
        x = tensor(self.draw(seed, (*self.lead, 2), "x"), dtype).requires_grad_()
        t, f = tensor(self.draw(seed, (*self.lead, 5), "t"), dtype), torch.nn.functional
        if self.cell:  # the state before it is zero
            state = torch.zeros(*self.lead, 3, dtype=x.dtype)
            held = [p[f"in.{k}"] for k in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            z = torch.rnn_tanh_cell(x, state, *held)
        else:
            z = f.linear(x, p["in.weight"], p.get("in.bias"))
        h = f.linear(z, p["up.weight"], p.get("up.bias"))
        y = f.linear(h.tanh(), p["down.weight"], p.get("down.bias"))
        loss = f.mse_loss(y, t)
        loss.backward()
        axes = {"up.weight": 0, "up.bias": 0, "down.weight": 1}
        dealt = np.array([self.lead[0], self.workers], np.float64)
        values: Values = {Key("", "weights"): np.ones((self.workers, 1)), Key("", "rows"): dealt}
        values[Key("", "loss")] = array_of(loss * self.workers)
        for w in range(self.workers):
            for n, own in p.items():
                whole: dict[str, Any] = {"grad": own.grad, "held": own.detach()}
                for kind, array in whole.items():
                    part = array.chunk(self.workers, axes[n])[w] if n in axes else array
                    values[Key(f"worker{w}.{n}", kind)] = array_of(part)
            values[Key(f"{w}", "loss")] = array_of(loss)
            values[Key(f"{w}", "y")], values[Key(f"{w}", "dx")] = array_of(y), _grad(x)
        return values


def _grad(leaf: Any) -> np.ndarray:
    from torch_ref.side import array_of

    return array_of(leaf.grad)


def _partial(name: str, held: Any) -> str:
    """Return what a worker's parameter is called in the graph: a row's share has a node."""
    layer, _, key = name.rpartition(".")
    return name if name in held else f"{layer}{_of('tensor', 'PARTIAL')}.{key}"


@dataclass(frozen=True)
class ExchangeCheck(Check):
    """What workers exchange, beside torch's sums, means and concatenations."""

    sizes: tuple[int, ...] = (1, 3, 2)
    name: ClassVar[str] = "exchanges of workers"  # type: ignore[misc]

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        alike = [lift(self.draw(seed, (6, 2), w)) for w in range(3)]
        parts = [lift(self.draw(seed, (n, 2), "part", n)) for n in self.sizes]
        found = {
            "sum": _of("collectives", "all_reduce")(alike),
            "mean": _of("collectives", "all_reduce")(alike, "mean"),
            "first": _of("collectives", "broadcast")(alike),
            "last": _of("collectives", "broadcast")(alike, 2),
            "gathered": _of("collectives", "all_gather")(parts),
            "scattered": _of("collectives", "reduce_scatter")(alike, self.sizes),
        }
        return {Key(str(w), kind): a for kind, got in found.items() for w, a in enumerate(got)}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch

        from evidence.mutation.battery.torch_side import tensor
        from torch_ref.side import array_of

        alike = torch.stack([tensor(self.draw(seed, (6, 2), w), dtype) for w in range(3)])
        parts = [tensor(self.draw(seed, (n, 2), "part", n), dtype) for n in self.sizes]
        found = {
            "sum": [alike.sum(0)] * 3, "mean": [alike.mean(0)] * 3, "first": [alike[0]] * 3,
            "last": [alike[2]] * 3, "gathered": [torch.cat(parts)] * 3,
            "scattered": alike.sum(0).split(list(self.sizes)),
        }  # fmt: skip
        named = ((kind, w, a) for kind, got in found.items() for w, a in enumerate(got))
        return {Key(str(w), kind): array_of(a) for kind, w, a in named}


@dataclass(frozen=True)
class DealtCheck(ExactCheck):
    """Who gets how many rows, and who keeps which parameter's state."""

    dtypes: ClassVar[tuple[str, ...]] = ("float64",)
    name: ClassVar[str] = "rows and states dealt to workers"  # type: ignore[misc]
    held: ClassVar[dict[str, int]] = {"a": 3, "b": 8, "c": 5, "d": 2, "e": 2, "f": 1}

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        found = [_of("plan", "split")(rows, parts) for rows, parts in ((12, 4), (7, 3), (2, 5))]
        own = [_of("reduction", "owners")(self.held, w) for w in (1, 2, 3)]
        keepers = [[kept[n] for n in self.held] for kept in own]
        order = [[list(self.held).index(n) for n in kept] for kept in own]
        several = _of("plan", "shards")((4, 3, 2), 2)
        plan = _of("plan", "Plan")(several)
        workers = [plan.workers, plan.micro_batches, plan.rows]
        usual = [
            *workers,
            plan.whole_batch,
            plan.loss_sums,
            plan.sharded_states,
            plan.reduce == "mean",
        ]
        return _listed([*found, *several, *keepers, *order, usual])

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch

        def dealt(rows: int, parts: int) -> list[int]:
            return [len(own) for own in torch.arange(rows).tensor_split(parts)]

        found = [dealt(*asked) for asked in ((12, 4), (7, 3), (2, 5))]
        keepers = [[0] * 6, [1, 0, 1, 0, 1, 0], [2, 0, 1, 2, 1, 2]]
        order = [list(range(6))] * 3
        return _listed([*found, *(dealt(rows, 2) for rows in (4, 3, 2)), *keepers, *order,
                        [3, 2, 9, 0, 0, 0, 1]])  # fmt: skip


def _listed(found: Any) -> Values:
    return {Key(str(i), "list"): np.array(list(a), np.float64) for i, a in enumerate(found)}


@dataclass(frozen=True)
class RefusedCheck(ExactCheck):
    """What cannot be exchanged or cut is refused, and nothing else."""

    dtypes: ClassVar[tuple[str, ...]] = ("float64",)
    name: ClassVar[str] = "what workers refuse"  # type: ignore[misc]
    answers: tuple[int, ...] = (1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0)

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        linear = build("Linear", (("in_features", 6), ("out_features", 6)))
        act, norm = build("ReLU", ()), build("LayerNorm", (("normalized_shape", (6,)),))
        reduce, gather = _of("collectives", "all_reduce"), _of("collectives", "all_gather")
        scatter = _of("collectives", "reduce_scatter")
        one = np.ones((2, 2))

        def split(how: dict[str, str], *layers: Any, workers: int = 2) -> Any:
            names = [str(i) for i in range(len(layers))]
            nodes = [(n, a, (names[i - 1] if i else "x",))
                     for i, (n, a) in enumerate(zip(names, layers, strict=True))]  # fmt: skip
            graph = import_module("manual").Graph(nodes, inputs=("x",))
            plan = _of("plan", "Plan")(((4,),) * workers, split=how)
            return lambda: _of("tensor", "check_split")(graph, plan)

        both = {"0": "columns", "2": "rows"}
        asked = [
            lambda: reduce([one], "max"), lambda: reduce([one, one[:1]]),
            lambda: gather([one, one[:, :1]]), lambda: gather([one, one[:1]]),
            lambda: scatter([one, one], [1, 2]), lambda: scatter([one, one], [2]),
            split({"1": "columns"}, linear, act), split(both, linear, act, linear, workers=4),
            split({"0": "columns"}, linear, act), split({"0": "rows"}, linear),
            split(both, linear, norm, linear), split(both, linear, act, linear),
            split(both, linear, act, linear, workers=3),
            split({"0": "columns", "3": "rows"}, linear, act, act, linear),
        ]  # fmt: skip
        return {Key(str(i), "refused"): np.float64(_refuses(ask)) for i, ask in enumerate(asked)}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        return {Key(str(i), "refused"): np.float64(a) for i, a in enumerate(self.answers)}


def _refuses(ask: Any) -> bool:
    try:
        ask()
    except ValueError:
        return True
    return False


@cache
def worker_checks() -> list[Check]:
    """Return equal and unequal shards, both means, norms; shared Linears; what is dealt."""
    unequal = (4, 2, 3)
    plain = (("eps", 1e-3),)
    return [
        BatchCheck((2, 2)), BatchCheck(unequal), BatchCheck(unequal, reduce="sum"),
        BatchCheck(unequal, micro=2), BatchCheck(unequal, whole_batch=True),
        BatchCheck(unequal, micro=2, whole_batch=True),
        BatchCheck(unequal, reduce="sum", whole_batch=True),
        BatchCheck(unequal, whole_batch=True, reduction="sum"),
        BatchCheck(unequal, 2, "sum", whole_batch=True, reduction="sum"),
        BatchCheck(unequal, norm=plain), BatchCheck(unequal, norm=plain, image=True),
        BatchCheck(unequal, micro=2, norm=(("momentum", None),)),
        BatchCheck(unequal, norm=(("affine", False), ("track_running_stats", False))),
        BatchCheck(unequal, norm=plain, mode="alone"),
        BatchCheck(unequal, norm=plain, mode="evaluated"),
        BatchCheck(unequal, micro=2, mode="tied"), BatchCheck((3, 2), mode="cell", factor=3.0),
        SplitCheck(2), SplitCheck(3, bias=False), SplitCheck(2, lead=(2, 3)),
        SplitCheck(2, cell=True),
        ExchangeCheck(), DealtCheck(), RefusedCheck(),
    ]  # fmt: skip
