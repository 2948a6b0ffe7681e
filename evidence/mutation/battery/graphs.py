"""The graph by itself: a sequence, several inputs, an interceptor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import Any

import numpy as np

from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import Check, Lift
from evidence.mutation.battery.layers import build

SIDES = (("in_features", 3), ("out_features", 4))
BACK = (("in_features", 4), ("out_features", 2))


@dataclass(frozen=True)
class SequenceCheck(Check):
    """manual.Sequential beside torch.nn.Sequential; `doubled` lets both double a node's input."""

    doubled: bool = False

    @property
    def name(self) -> str:
        return f"Sequential(Linear, Tanh, Linear){' with an interceptor' * self.doubled}"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        manual = import_module("manual")
        net = manual.Sequential(build("Linear", SIDES), build("Tanh", ()), build("Linear", BACK))
        net = net.with_params({k: lift(self.draw(seed, p.shape, k)) for k, p in net.params.items()})
        double: Any = lambda node, x: (x[0] * 2.0,) if node.name == "1" else x  # noqa: E731
        tape = net.run(
            lift(self.draw(seed, (5, 3), "x")), intercept=double if self.doubled else None
        )
        values = {Key(k, "param"): p for k, p in net.params.items()}
        values[Key("", "output")] = tape.output
        if not self.doubled:
            dy = lift(self.draw(seed, (5, 2), "dy"))
            grads = net.gradients(tape, dy, wrt=net.inputs)
            values |= {Key(k, "grad"): g for k, g in grads.params.items()}
            values[Key("input", "grad")] = grads.values["input"]
            least = net.gradients(tape, dy).values
            values |= {Key(k, "grad, if only parameters need one"): g for k, g in least.items()}
        return values

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        from torch import nn

        from evidence.mutation.battery.torch_side import run_module

        net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
        params = {k: self.draw(seed, tuple(p.shape), k) for k, p in net.state_dict().items()}
        if self.doubled:
            net[1].register_forward_pre_hook(lambda _, x: (x[0] * 2.0,))
        upstream = lambda shape: self.draw(seed, shape, "dy")  # noqa: E731
        y, (dx,), own = run_module(net, params, (self.draw(seed, (5, 3), "x"),), upstream, dtype)
        values = {Key(k, "param"): p.astype(dtype) for k, p in params.items()}
        values[Key("", "output")] = y
        if not self.doubled:
            values |= {Key(k, "grad"): g for k, g in own.items()}
            values[Key("input", "grad")] = dx
            values |= self._taps(net, params, upstream, dtype, seed)
        return values

    def _taps(self, net: Any, params: Any, upstream: Any, dtype: np.dtype, seed: int) -> Values:
        """Return the gradients that autograd leaves at outputs when the input needs none."""
        from evidence.mutation.battery.torch_side import tensor
        from torch_ref.side import array_of

        net.double() if dtype == np.float64 else net.float()
        net.load_state_dict({k: tensor(p, dtype) for k, p in params.items()})
        taps = [tensor(self.draw(seed, (5, 3), "x"), dtype)]
        for layer in net:
            taps.append(layer(taps[-1]))
            taps[-1].retain_grad()
        taps[-1].backward(tensor(upstream((5, 2)), dtype))
        grads = [array_of(tap.grad) for tap in taps[1:] if tap.grad is not None]
        return {Key(str(i), "grad, if only parameters need one"): g for i, g in enumerate(grads)}


@dataclass(frozen=True)
class TwoInputsCheck(Check):
    """A graph of two named inputs, one of which feeds two nodes."""

    @property
    def name(self) -> str:
        return "Graph of two inputs: (Linear(x) + tanh(y)) y"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        nodes = [
            ("a", build("Linear", SIDES), ("x",)), ("b", build("Tanh", ()), ("y",)),
            ("c", build("Add", ()), ("a", "b")), ("d", build("Multiply", ()), ("c", "y")),
        ]  # fmt: skip
        net = import_module("manual").Graph(nodes, inputs=("x", "y"))
        net = net.with_params({k: lift(self.draw(seed, p.shape, k)) for k, p in net.params.items()})
        inputs = {k: lift(self.draw(seed, s, k)) for k, s in self.shapes.items()}
        tape = net.run(MappingProxyType(inputs))  # read-only: it is the caller's
        grads = net.gradients(tape, lift(self.draw(seed, (5, 4), "dy")), wrt=net.inputs)
        values = {Key("d", "output"): tape.output}
        values |= {Key(k, "grad"): grads.values[k] for k in ("x", "y")}
        return values | {Key(k, "grad"): g for k, g in grads.params.items()}

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        return {"x": (5, 3), "y": (5, 4)}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        from torch import nn

        from evidence.mutation.battery.torch_side import run_module

        class Twin(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.a = nn.Linear(3, 4)

            def forward(self, x: Any, y: Any) -> Any:
                return (self.a(x) + y.tanh()) * y

        params = {k: self.draw(seed, tuple(p.shape), k) for k, p in Twin().state_dict().items()}
        inputs = [self.draw(seed, s, k) for k, s in self.shapes.items()]
        upstream = lambda shape: self.draw(seed, shape, "dy")  # noqa: E731
        y, (dx, dy), own = run_module(Twin(), params, inputs, upstream, dtype)
        values = {Key("d", "output"): y, Key("x", "grad"): dx, Key("y", "grad"): dy}
        return values | {Key(k, "grad"): g for k, g in own.items()}


@dataclass(frozen=True)
class ExchangedCheck(Check):
    """A network with one layer exchanged for another; the first network stays as it was."""

    @property
    def name(self) -> str:
        return "Sequential(Linear, Tanh), then Sigmoid in the place of Tanh"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        net = import_module("manual").Sequential(build("Linear", SIDES), build("Tanh", ()))
        net = net.with_params({k: lift(self.draw(seed, p.shape, k)) for k, p in net.params.items()})
        other = net.with_layers({"1": build("Sigmoid", ())})
        x = lift(self.draw(seed, (5, 3), "x"))
        return {Key(k, "output"): n.run(x).output for k, n in (("new", other), ("old", net))}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        from torch.nn.functional import linear

        from evidence.mutation.battery.torch_side import tensor

        shapes = {"x": (5, 3), "0.weight": (4, 3), "0.bias": (4,)}
        z = linear(*(tensor(self.draw(seed, s, k), dtype) for k, s in shapes.items()))
        return {Key("new", "output"): z.sigmoid().numpy(), Key("old", "output"): z.tanh().numpy()}


@dataclass(frozen=True)
class SpareInputCheck(Check):
    """A graph that does not use its second input: a bare array is the first one."""

    @property
    def name(self) -> str:
        return "Graph of two inputs, given one: tanh(x)"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        nodes = [("a", build("Tanh", ()), ("x",))]
        net = import_module("manual").Graph(nodes, inputs=("x", "spare"))
        return {Key("a", "output"): net.run(lift(self.draw(seed, (4, 3), "x"))).output}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        from evidence.mutation.battery.torch_side import tensor

        return {Key("a", "output"): tensor(self.draw(seed, (4, 3), "x"), dtype).tanh().numpy()}


@dataclass(frozen=True)
class FreeParameterCheck(Check):
    """A parameter of the graph's own, and an inner graph of two outputs, of which one is used."""

    @property
    def name(self) -> str:
        return "Graph with a parameter that no node has: tanh(x) scale"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        graph = import_module("manual").Graph
        ends = [("t", build("Tanh", ()), ("input",)), ("s", build("Sigmoid", ()), ("input",))]
        inner = graph(ends, outputs={"t": "t", "s": "s"})
        nodes = [("a", inner, ("input",)), ("b", build("Multiply", ()), ("a.t", "scale"))]
        x, scale, dy = (lift(self.draw(seed, (4,), name)) for name in ("x", "scale", "dy"))
        net = graph(nodes, parameters={"scale": scale})
        tape = net.run(x)
        grads = net.gradients(tape, dy, wrt=net.inputs)
        values = {Key("b", "output"): tape.output, Key("x", "grad"): grads.values["input"]}
        own = {key: grads.params[name] for key, name in net.state_names().items()}
        return values | {Key(key, "grad"): grad for key, grad in own.items()}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        from evidence.mutation.battery.torch_side import tensor
        from torch_ref.side import array_of

        x, scale, dy = (tensor(self.draw(seed, (4,), n), dtype) for n in ("x", "scale", "dy"))
        x, scale = x.requires_grad_(), scale.requires_grad_()
        y = x.tanh() * scale
        y.backward(dy)
        found: dict[Any, Any] = {
            ("b", "output"): y,
            ("x", "grad"): x.grad,
            ("scale", "grad"): scale.grad,
        }
        return {Key(*key): array_of(value).copy() for key, value in found.items()}


@cache
def graph_checks() -> list[Check]:
    """Return what the graph does beyond a training step."""
    return [
        SequenceCheck(),
        SequenceCheck(doubled=True),
        TwoInputsCheck(),
        ExchangedCheck(),
        SpareInputCheck(),
        FreeParameterCheck(),
    ]
