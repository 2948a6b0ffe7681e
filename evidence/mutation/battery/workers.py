"""Several workers by hand, in this process: shards, a cut Linear, what is exchanged and dealt.

Who gets which block of a weight is worked out here again: no worker of torch's takes part.
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
from evidence.mutation.battery.shards import BatchCheck, grad_of, ours


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
        plan = ours("plan", "Plan")(((self.lead[0],),) * self.workers, split=shared)
        joined = ours("tensor", "of_tensor_workers")(graph, build("MSELoss", ()), plan)
        name_of, cut = ours("workers", "name_of"), ours("tensor", "cut")
        ranks = range(self.workers)
        params: dict[str, Any] = {}
        for w in ranks:
            own = cut(whole, shared, w, self.workers)
            params |= {name_of(w, n): lift(own[n]) for n in whole}
        x, t = self.draw(seed, (*self.lead, 2), "x"), self.draw(seed, (*self.lead, 5), "t")
        given = {name_of(w, "x"): lift(x[plan.slices()[w][0]]) for w in ranks}
        given |= {ours("workers", "target_of")(w): lift(t[plan.slices()[w][0]]) for w in ranks}
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
            values[Key(f"{w}", "y")], values[Key(f"{w}", "dx")] = array_of(y), grad_of(x)
        return values


def _partial(name: str, held: Any) -> str:
    """Return what a worker's parameter is called in the graph: a row's share has a node."""
    layer, _, key = name.rpartition(".")
    return name if name in held else f"{layer}{ours('tensor', 'PARTIAL')}.{key}"


@dataclass(frozen=True)
class ExchangeCheck(Check):
    """What workers exchange, beside torch's sums, means and concatenations."""

    sizes: tuple[int, ...] = (1, 3, 2)
    name: ClassVar[str] = "exchanges of workers"  # type: ignore[misc]

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        alike = [lift(self.draw(seed, (6, 2), w)) for w in range(3)]
        parts = [lift(self.draw(seed, (n, 2), "part", n)) for n in self.sizes]
        found = {
            "sum": ours("collectives", "all_reduce")(alike),
            "mean": ours("collectives", "all_reduce")(alike, "mean"),
            "first": ours("collectives", "broadcast")(alike),
            "last": ours("collectives", "broadcast")(alike, 2),
            "gathered": ours("collectives", "all_gather")(parts),
            "scattered": ours("collectives", "reduce_scatter")(alike, self.sizes),
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
        found = [ours("plan", "split")(rows, parts) for rows, parts in ((12, 4), (7, 3), (2, 5))]
        own = [ours("reduction", "owners")(self.held, w) for w in (1, 2, 3)]
        keepers = [[kept[n] for n in self.held] for kept in own]
        order = [[list(self.held).index(n) for n in kept] for kept in own]
        several = ours("plan", "shards")((4, 3, 2), 2)
        plan = ours("plan", "Plan")(several)
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
        reduce, gather = ours("collectives", "all_reduce"), ours("collectives", "all_gather")
        scatter = ours("collectives", "reduce_scatter")
        one = np.ones((2, 2))

        def split(how: dict[str, str], *layers: Any, workers: int = 2) -> Any:
            names = [str(i) for i in range(len(layers))]
            nodes = [(n, a, (names[i - 1] if i else "x",))
                     for i, (n, a) in enumerate(zip(names, layers, strict=True))]  # fmt: skip
            graph = import_module("manual").Graph(nodes, inputs=("x",))
            plan = ours("plan", "Plan")(((4,),) * workers, split=how)
            return lambda: ours("tensor", "check_split")(graph, plan)

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
