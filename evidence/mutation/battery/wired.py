"""Graphs of several ports, ties, repeated calls, buffers and noise: interpreted, compiled, nested.

Every way of running a graph is held against the same torch code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import chain, combinations
from typing import Any, NamedTuple

import numpy as np

from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import Check, Lift
from evidence.mutation.battery.layers import build as layer_of

Shapes = dict[str, tuple[int, ...]]


class Wiring(NamedTuple):
    """A graph and the same in torch.

    Args:
        build: returns the graph.
        twin: from tensors by name (inputs, parameters, buffers, masks) the outputs, in order, and
            the buffers after it.
        inputs, masks: shapes by name; masks are noise by node.
        training: the mode of both.
    """

    build: Callable[[], Any]
    twin: Callable[[dict[str, Any]], tuple[list[Any], dict[str, Any]]]
    inputs: Shapes
    masks: Shapes = {}
    training: bool = True


def linear(out_features: int, in_features: int = 3) -> Any:
    return layer_of("Linear", (("in_features", in_features), ("out_features", out_features)))


def graph(*arguments: Any, **rest: Any) -> Any:
    return import_module("manual").Graph(*arguments, **rest)


# ── the graphs ───────────────────────────────────────────────────────────────────────────────────
def _states() -> Any:
    """A layer of three ports, one of which nothing uses; one value is two outputs."""
    lstm = layer_of("LSTM", (("input_size", 3), ("hidden_size", 2)))
    nodes = [
        ("lstm", lstm, ("x", "h", "c")),
        ("act", layer_of("Tanh", ()), ("lstm:h_n",)),
        ("state", layer_of("Multiply", ()), ("act", "lstm:h_n")),
    ]
    ports = {"sequence": "lstm", "state": "state", "again": "lstm"}
    return graph(nodes, inputs=("x", "h", "c", "spare"), outputs=ports)


def _lstm(t: dict[str, Any]) -> tuple[Any, Any, Any]:
    h, c, ys = t["h"][0], t["c"][0], []
    for x in t["x"]:
        z = x @ t["lstm.weight_ih_l0"].T + h @ t["lstm.weight_hh_l0"].T
        i, f, g, o = (z + t["lstm.bias_ih_l0"] + t["lstm.bias_hh_l0"]).chunk(4, dim=-1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        ys.append(h)
    return import_module("torch").stack(ys), h[None], c[None]


def _states_twin(t: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    y, h, _ = _lstm(t)
    return [y, h.tanh() * h, y], {}


def _ties() -> Any:
    """One module called twice, a weight that two modules share, parameters that nodes read."""
    nodes = [
        ("dec", linear(3), ("enc@1",)),
        ("enc@0", linear(3), ("x",)),
        ("act", layer_of("Tanh", ()), ("enc@0",)),
        ("enc@1", linear(3), ("act",)),
        ("w", layer_of("Sigmoid", ()), ("enc.weight",)),
        ("both", layer_of("Add", ()), ("dec", "y")),
        ("top", linear(2), ("both",)),
    ]
    ports = {"output": "top", "w": "w", "raw": "enc.bias", "mid": "act"}
    return graph(nodes, ("x", "y"), ports, {"dec.weight": "enc.weight"})


def _ties_twin(t: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    act = (t["x"] @ t["enc.weight"].T + t["enc.bias"]).tanh()
    again = act @ t["enc.weight"].T + t["enc.bias"]
    both = again @ t["enc.weight"].T + t["dec.bias"] + t["y"]
    top = both @ t["top.weight"].T + t["top.bias"]
    return [top, t["enc.weight"].sigmoid(), t["enc.bias"] * 1, act], {}


def _state() -> Any:
    """A module with buffers called twice, with dropout between the calls."""
    norm = layer_of("BatchNorm2d", (("num_features", 2),))
    other = layer_of("BatchNorm2d", (("num_features", 2), ("momentum", 0.5)))
    nodes = [
        ("norm@a", norm, ("x",)),
        ("drop", layer_of("Dropout", (("p", 0.25),)), ("norm@a",)),
        ("norm@b", norm, ("drop",)),
        ("other", other, ("norm@b",)),
        ("drop2", layer_of("Dropout", (("p", 0.5),)), ("x",)),
        ("sum", layer_of("Add", ()), ("other", "drop2")),
    ]
    return graph(nodes, inputs=("x",))


def _state_twin(training: bool) -> Callable:
    def run(t: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        f = import_module("torch.nn.functional")
        found = {k: b.clone() for k, b in t.items() if "running" in k or "num_b" in k}

        def norm(x: Any, name: str, momentum: float) -> Any:
            own = [found[f"{name}.running_{k}"] for k in ("mean", "var")]
            weights = [t[f"{name}.{k}"] for k in ("weight", "bias")]
            if training:
                found[f"{name}.num_batches_tracked"] += 1
            return f.batch_norm(x, *own, *weights, training, momentum)

        kept = t["drop"] / 0.75 if training else 1
        y = norm(norm(t["x"], "norm", 0.1) * kept, "norm", 0.1)
        return [norm(y, "other", 0.5) + t["x"] * (t["drop2"] / 0.5 if training else 1)], found

    return run


def _nested() -> Any:
    inner = _ties()
    nodes = [
        ("first", layer_of("Tanh", ()), ("x",)),
        ("in", inner, ("first", "y=x")),
        ("last", layer_of("Multiply", ()), ("in:mid", "x")),
    ]
    return graph(nodes, ("x",), {"output": "in", "w": "in:w", "last": "last"})


def _nested_twin(t: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    own = {k.removeprefix("in."): v for k, v in t.items()}
    (top, w, _, mid), _ = _ties_twin({**own, "x": t["x"].tanh(), "y": t["x"]})
    return [top, w, mid * t["x"]], {}


def _mixed() -> Any:
    """Integers have no gradient: what leads to nothing else is left out of the way back."""
    table = layer_of("Embedding", (("num_embeddings", 5), ("embedding_dim", 3)))
    nodes = [
        ("table", table, ("words",)),
        ("act", layer_of("Tanh", ()), ("x",)),
        ("sum", layer_of("Add", ()), ("table", "act")),
        ("prod", layer_of("Multiply", ()), ("sum", "sum")),
        ("free", layer_of("Tanh", ()), ("act",)),
        ("prod2", layer_of("Multiply", ()), ("prod", "free")),
    ]
    return graph(nodes, inputs=("words", "x"))


def _mixed_twin(t: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    act = t["x"].tanh()
    s = t["table.weight"][t["words"]] + act
    return [s * s * act.tanh()], {}


IMAGES: Shapes = {"x": (3, 2, 2, 2)}
MASKS: Shapes = {"drop": (3, 2, 2, 2), "drop2": (3, 2, 2, 2)}
WIRED = {
    "states": Wiring(_states, _states_twin, {"x": (3, 2, 3), "h": (1, 2, 2), "c": (1, 2, 2)}),
    "ties": Wiring(_ties, _ties_twin, {"x": (4, 3), "y": (4, 3)}),
    "buffers, training": Wiring(_state, _state_twin(True), IMAGES, MASKS),
    "buffers, evaluation": Wiring(_state, _state_twin(False), IMAGES, MASKS, training=False),
    "nested": Wiring(_nested, _nested_twin, {"x": (4, 3)}),
    "integers": Wiring(_mixed, _mixed_twin, {"words": (4,), "x": (4, 3)}),
}


# ── the ways ─────────────────────────────────────────────────────────────────────────────────────
class Found(NamedTuple):
    """What a way of running finds: outputs, gradients and buffers by name."""

    outputs: Any
    grads: dict[str, Any]
    buffers: dict[str, Any]


def _interpreted(net: Any, inputs: Any, dy: Any, noise: Any, wrt: tuple[str, ...]) -> Found:
    tape = net.run(inputs, noise=noise)
    found = net.gradients(tape, dy, wrt=wrt)
    values = {k: found.values[k] for k in wrt if k in found.values}
    return Found(tape.output, values | found.params, tape.buffers)


def _compiled(net: Any, inputs: Any, dy: Any, noise: Any, wrt: tuple[str, ...]) -> Found:
    passes = import_module("manual.compiled").Compiled(net, wrt)
    return Found(*passes(inputs, dy, noise=noise))


def _bound(net: Any, inputs: Any, dy: Any, noise: Any, wrt: tuple[str, ...]) -> Found:
    """Compiled with zeros, then bound to the parameters; with buffers given to the call."""
    zero = net.with_params({k: p * 0 for k, p in net.params.items()})
    zero = zero.with_buffers({k: b * 0 for k, b in net.buffers.items()})
    passes = import_module("manual.compiled").compiled(zero, wrt)
    passes.bind(net.params)
    return Found(*passes(inputs, dy, noise=noise, buffers=net.buffers))


def _as_layer(net: Any, inputs: Any, dy: Any, noise: Any, wrt: tuple[str, ...]) -> Found:
    y, cache_ = net.forward(*(inputs[k] for k in net.inputs if k in inputs), noise=noise)
    if wrt:
        found, own = net.backward(dy, cache_)
        grads = {k: g for k, g in zip(net.inputs, found, strict=True) if g is not None and k in wrt}
        return Found(y, grads | own, net.next_buffers(cache_))
    return Found(y, net.grad_params(dy, cache_), net.next_buffers(cache_))


WAYS: dict[str, Callable] = {
    "interpreted": _interpreted, "compiled": _compiled, "bound": _bound, "as a layer": _as_layer,
}  # fmt: skip


@dataclass(frozen=True)
class WiredCheck(Check):
    """One graph in one way, for every choice of outputs with a gradient and of inputs asked."""

    wiring: str
    way: str

    @property
    def name(self) -> str:
        return f"Graph: {self.wiring}, {self.way}"

    def inputs(self, seed: int) -> dict[str, np.ndarray]:
        found = {k: self.draw(seed, s, k) for k, s in WIRED[self.wiring].inputs.items()}
        if "words" in found:
            found["words"] = np.array([1, 4, 1, 0])
        return found

    def masks(self, seed: int) -> dict[str, np.ndarray]:
        shapes = WIRED[self.wiring].masks.items()
        return {k: (self.draw(seed, s, k) > -0.5).astype(np.float64) for k, s in shapes}

    def numbers(self, seed: int, net: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return parameters and buffers."""
        params = {k: self.draw(seed, np.shape(p), k) for k, p in net.params.items()}
        buffers = {k: b if b.dtype.kind == "i" else np.abs(self.draw(seed, b.shape, k)) + 0.5
                   for k, b in net.buffers.items()}  # fmt: skip
        return params, buffers

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        wiring = WIRED[self.wiring]
        fresh = wiring.build().train(not wiring.training)
        params, buffers = self.numbers(seed, fresh)
        net = fresh.with_params({k: lift(p) for k, p in params.items()})
        net = net.with_buffers({k: _lifted(lift, b) for k, b in buffers.items()})
        net = net.train(wiring.training)
        inputs = {k: _lifted(lift, x) for k, x in self.inputs(seed).items()}
        noise: Any = self.masks(seed) or None
        values: Values = {}
        for kept, wrt in _choices(len(net.outputs), tuple(inputs)):
            y = net.run(inputs, noise=noise).output
            shapes = [p.shape for p in (y if isinstance(y, tuple) else (y,))]
            ups = tuple(lift(self.draw(seed, s, "up", i)) if i in kept else None
                        for i, s in enumerate(shapes))  # fmt: skip
            dy: Any = ups if len(ups) > 1 else ups[0]
            found = WAYS[self.way](net, inputs, dy, noise, wrt)
            values |= _keyed(kept, wrt, found)
        return values

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch

        from evidence.mutation.battery.torch_side import tensor
        from torch_ref.side import array_of

        wiring, net = WIRED[self.wiring], WIRED[self.wiring].build()
        params, buffers = self.numbers(seed, net)
        inputs = self.inputs(seed)
        given = {**inputs, **params, **buffers, **self.masks(seed)}
        leaves = {k: tensor(v, dtype) for k, v in given.items()}
        for k in (*inputs, *params):
            if leaves[k].is_floating_point():
                leaves[k].requires_grad_()
        values: Values = {}
        for kept, wrt in _choices(len(net.outputs), tuple(inputs)):
            ys, after = wiring.twin(leaves)
            ups = [tensor(self.draw(seed, tuple(ys[i].shape), "up", i), dtype) for i in kept]
            asked = [k for k in (*params, *wrt) if leaves[k].requires_grad]
            grads = torch.autograd.grad(
                [ys[i] for i in kept], [leaves[k] for k in asked], ups, allow_unused=True
            )
            found = {k: array_of(g).copy() for k, g in zip(asked, grads, strict=True)
                     if g is not None}  # fmt: skip
            outputs = tuple(array_of(y).copy() for y in ys)
            buffers_after = {k: array_of(b).copy() for k, b in after.items()}
            values |= _keyed(kept, wrt, Found(outputs, found, buffers_after))
        return values


def _keyed(kept: tuple[int, ...], wrt: tuple[str, ...], found: Found) -> Values:
    where = f"of {kept} to {wrt}"
    ys = found.outputs if isinstance(found.outputs, tuple) else (found.outputs,)
    values = {Key(where, f"output {i}"): y for i, y in enumerate(ys)}
    values |= {Key(where, f"grad:{k}"): g for k, g in found.grads.items()}
    return values | {Key(where, f"buffer:{k}"): b for k, b in found.buffers.items()}


def _choices(outputs: int, inputs: tuple[str, ...]) -> list[tuple[Any, tuple[str, ...]]]:
    """Return which outputs have an upstream gradient, and which inputs are asked for one."""
    sizes = range(1, outputs + 1)
    kept = list(chain.from_iterable(combinations(range(outputs), n) for n in sizes))
    return [(k, wrt) for k in kept for wrt in ((), inputs)] + [(kept[-1], inputs[-1:])]


def _lifted(lift: Lift, x: np.ndarray) -> Any:
    return lift(x) if x.dtype.kind == "f" else x


@cache
def wired_checks() -> list[Check]:
    """Return every graph in every way."""
    return [WiredCheck(wiring, way) for wiring in WIRED for way in WAYS]
