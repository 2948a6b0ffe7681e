"""Layers made of other layers: on complex pairs, as functions, in a row, on packed rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import Check, FixedCheck, Lift, lifted
from evidence.mutation.battery.data import make
from manual.dropout import Dropout

Shape = tuple[int, ...]
MASK = np.array([[[True, False], [False, False]], [[True, True], [False, True]]])  # of each part
OWN = {"weight": np.zeros((2, 3)), "bias": np.array([0.5, -1.25])}
STATISTICS = ("running_mean", "running_var")
SIZES, ORDER = np.array([3, 2, 2, 1]), np.array([2, 0, 1])


class Case(NamedTuple):
    """A layer of the `manual` that is loaded, torch's function of (params, inputs), the inputs."""

    build: Callable[[], Any]
    function: Callable[..., Any]
    inputs: tuple[Any, ...]
    more: tuple[Callable[..., Any], Callable[..., Any]] | None = None  # of (layer, inputs, cache)
    ready: bool = False  # whether its parameters are set by its inputs


@dataclass(frozen=True)
class ComposedCheck(Check):
    """Outputs and gradients of one layer: two calls forward, then each backward, twice."""

    case: str

    @property
    def name(self) -> str:
        return self.case

    def inputs(self, seed: int, call: str) -> tuple[Any, ...]:
        found = enumerate(CASES[self.case].inputs)
        return tuple(
            make("random", self.rng(seed, call, i), s) if isinstance(s, tuple) else s
            for i, s in found
        )

    def params(self, seed: int, shapes: dict[str, Shape]) -> dict[str, np.ndarray]:
        return {k: self.draw(seed, shape, k) for k, shape in shapes.items()}

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        layer = CASES[self.case].build()
        if not CASES[self.case].ready:
            shapes = {k: np.shape(p) for k, p in layer.params.items()}
            layer = layer.with_params({k: lift(p) for k, p in self.params(seed, shapes).items()})
        calls = {c: self.inputs(seed, c) for c in ("first", "second")}
        lift_all = lambda xs: [x if x is None else lifted(lift, x) for x in xs]  # noqa: E731
        runs = {c: layer.forward(*lift_all(xs)) for c, xs in calls.items()}
        values: Values = {Key("", "ports"): np.float64(len(layer.outputs))}
        for call, (y, own) in runs.items():
            ports = y if isinstance(y, tuple) else (y,)
            ups = [lift(self.draw(seed, np.shape(p), call, i)) for i, p in enumerate(ports)]
            values |= {Key(call, f"output#{i}"): p for i, p in enumerate(ports)}
            if (more := CASES[self.case].more) is not None:
                values[Key(call, "more")] = np.asarray(more[0](layer, calls[call], own), np.float64)
            for again in ("", " again"):
                grads, params = layer.backward(tuple(ups) if isinstance(y, tuple) else ups[0], own)
                values |= _told(call + again, grads, params, calls[call], dtype)
        return values

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch

        from evidence.mutation.battery.torch_side import tensor
        from torch_ref.captured import tensors_of
        from torch_ref.side import array_of

        case = CASES[self.case]
        values: Values = {}
        layer = case.build()
        shapes = {} if case.ready else {k: np.shape(p) for k, p in layer.params.items()}
        for call in ("first", "second"):
            xs = self.inputs(seed, call)
            own = self.params(seed, shapes).items()
            params = {k: tensor(p, dtype).requires_grad_() for k, p in own}
            leaves: list[Any] = [x if x is None else tensor(x, dtype) for x in xs]
            wanted = {i: leaves[i].requires_grad_() for i in _real(xs)}
            found = tensors_of(case.function(params, *leaves))
            values[Key("", "ports")] = np.float64(len(found))
            values |= {Key(call, f"output#{i}"): array_of(p).copy() for i, p in enumerate(found)}
            if case.more is not None:
                values[Key(call, "more")] = np.asarray(case.more[1](xs), np.float64)
            ends = [(i, p) for i, p in enumerate(found) if p.requires_grad]
            ups = [tensor(self.draw(seed, tuple(p.shape), call, i), dtype) for i, p in ends]
            grads = torch.autograd.grad(
                [p for _, p in ends], [*wanted.values(), *params.values()], ups,
                materialize_grads=True, allow_unused=True,
            )  # fmt: skip
            arrays = [array_of(g).copy() for g in grads]
            placed = dict(zip(wanted, arrays, strict=False))
            named = dict(zip(params, arrays[len(wanted) :], strict=True))
            each = [placed.get(i) for i in range(len(xs))]
            for again in ("", " again"):
                values |= _told(call + again, each, named, xs, dtype)
        return values


def _real(inputs: tuple[Any, ...]) -> list[int]:
    return [i for i, x in enumerate(inputs) if x is not None and x.dtype.kind == "f"]


def _told(call: str, grads: Any, params: Any, inputs: Any, dtype: np.dtype) -> Values:
    found: Values = {Key(call, f"grad:{k}"): g for k, g in params.items()}
    others = set(range(len(inputs))) - set(_real(inputs))
    found[Key(call, "gradients")] = np.float64(len(grads))
    found[Key(call, "others")] = np.float64(sum(grads[i] is not None for i in others))
    for i in _real(inputs):
        none = grads[i] is None
        found[Key(call, f"grad_input#{i}")] = np.zeros(inputs[i].shape, dtype) if none else grads[i]
    return found


def _manual(module: str, name: str) -> Any:
    return getattr(import_module(f"manual.{module}"), name)


def _gate(name: str, **arguments: Any) -> Any:
    return import_module("manual.registry").find(name)(**arguments)


def _pairs(inner: str, **arguments: Any) -> Any:
    return _manual("gates.complex_numbers", "OnPairs")(_gate(inner, **arguments))


def _functional(layer: Any, *rest: Any, **named: Any) -> Any:
    return _manual("gates.functional", "Functional")(layer, *rest, **named)


def _complex(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what a function of complex tensors is on pairs."""
    import torch

    def on_pairs(_: Any, *inputs: Any) -> Any:
        found = function(*(torch.view_as_complex(x.contiguous()) for x in inputs))
        found = found if isinstance(found, tuple) else (found,)
        return tuple(torch.view_as_real(y) for y in found)

    return on_pairs


class PackedCheck(FixedCheck):
    """Packed rows: outputs without a gradient count as if it were zeros; modes and draws."""

    name = "packed: an LSTM's parts"  # type: ignore[assignment]

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        inner = _gate("LSTM", input_size=1, hidden_size=1)
        own = {key: np.full(p.shape, 0.5) for key, p in inner.params.items()}
        layer = _manual("recurrent.packed", "PackedRecurrent")(inner, [2, 1], [1, 0])
        layer = layer.with_params(own)
        outputs, past = layer.forward(np.array([[1.0], [2.0], [-1.0]]))
        some: list[Any] = [np.ones_like(y) for y in outputs]
        values: Values = {}
        for k, one in enumerate(some):
            none, zero = ((*some[:k], x, *some[k + 1 :]) for x in (None, 0 * one))
            found = [layer.backward(given, past)[0][0] for given in (none, zero)]
            values[Key(f"without #{k}", "grad")] = found[0] - found[1]
        still, again = layer.train(False), layer.train(False).train()
        told = [layer.stochastic, still.training, still.layer.training, again.training]
        return values | {Key("", "modes"): np.array([*told, again.layer.training], float)}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        zeros = {Key(f"without #{k}", "grad"): np.zeros((3, 1)) for k in range(3)}
        return zeros | {Key("", "modes"): np.array([1.0, 0.0, 0.0, 1.0, 1.0])}


def _norm() -> Any:
    layer = _gate("BatchNorm1d", num_features=3).train(False)
    return _functional(layer, ("running_mean", "running_var", "weight", "bias"))


def _left(_: Any, x: Any, mean: Any, var: Any, *own: Any, function: Any = None) -> tuple:
    """Return a batch norm's output in torch, and the statistics that it leaves."""
    from torch.nn import functional

    kept = (mean.detach().clone(), var.detach().clone())
    if function is not None:
        return (function(x, *kept), *kept)
    weight, bias = own
    return (functional.batch_norm(x, *kept, weight, bias, training=True, momentum=0.25), *kept)


def _packed(kind: str, order: Any = ORDER, **more: Any) -> Any:
    layer = _gate(kind, input_size=2, hidden_size=3, **more)
    listed = None if order is None else order.tolist()
    return _manual("recurrent.packed", "PackedRecurrent")(layer, SIZES.tolist(), listed)


def _torch_packed(kind: str, order: Any = ORDER, **more: Any) -> Callable[..., Any]:
    import torch
    from torch.func import functional_call
    from torch.nn.utils.rnn import PackedSequence

    def run(params: Any, rows: Any, *states: Any) -> Any:
        twin = getattr(torch.nn, kind)(2, 3, dtype=rows.dtype, **more)
        places: Any = None if order is None else torch.as_tensor(order)
        back = None if order is None else torch.argsort(places)
        given = PackedSequence(rows, torch.as_tensor(SIZES), places, back)
        first = (states if len(states) > 1 else states[0],) if states else ()
        return functional_call(twin, params, (given, *first))

    return run


def _cases() -> dict[str, Case]:
    import torch
    from torch.nn import functional

    linear = {"in_features": 3, "out_features": 2}
    unread: Any = {"beta": 0, "alpha": 2.0}
    return {
        "added to what is not read": Case(
            lambda: _gate("AddProductGate", equation="ij,j->i", **unread),
            lambda _, x, a, b: torch.addmv(x, a, b, **unread),
            (np.array([np.inf, 1.0]), (2, 3), (3,)),
        ),
        "pairs: a transpose": Case(
            lambda: _pairs("PermuteGate", dims=(1, 0)), _complex(lambda z: z.T), ((2, 3, 2),)
        ),
        "pairs: two stacked": Case(
            lambda: _pairs("StackGate", dim=0), _complex(lambda *z: torch.stack(z)),
            ((3, 2), (3, 2)),
        ),
        "pairs: a split": Case(
            lambda: _pairs("SplitGate", sizes=[1, 2], dim=0),
            _complex(lambda z: z.split([1, 2])), ((3, 2, 2),),
        ),
        "pairs: chosen": Case(
            lambda: _pairs("WhereGate"), lambda _, c, x, y: torch.where(c, x, y),
            (MASK, (2, 2, 2), (2, 2, 2)),
        ),
        "a function: linear": Case(
            lambda: _functional(_gate("Linear", **linear), ("weight", "bias"), 1),
            lambda _, x, w, b: functional.linear(x, w, b), ((4, 3), (2, 3), (2,)), ready=True,
        ),
        "a function: its weight alone": Case(
            lambda: _functional(_gate("Linear", bias=False, **linear), ("weight",)),
            lambda _, x, w: functional.linear(x, w), ((4, 3), (2, 3)), ready=True,
        ),
        "a function: one slope in another shape": Case(
            lambda: _functional(_gate("PReLU"), ("weight",)),
            lambda _, x, w: functional.prelu(x, w), ((4, 3), ()),
            (lambda layer, _, own: layer.decisions(own), lambda xs: xs[0] > 0), ready=True,
        ),
        "a function: with a bias of its own": Case(
            lambda: _functional(_gate("Linear", **linear).with_params(OWN), ("weight",)),
            lambda _, x, w: functional.linear(x, w, torch.tensor(OWN["bias"], dtype=x.dtype)),
            ((4, 3), (2, 3)), ready=True,
        ),
        "a function: what it draws": Case(
            lambda: _functional(_gate("Dropout", p=0.25)), lambda _, x: 1 * x, ((4, 3),),
            (lambda layer, xs, _: layer.draw(*xs, rng=np.random.default_rng(3)),
             lambda xs: Dropout(p=0.25).draw(*xs, rng=np.random.default_rng(3))), ready=True,
        ),
        "a function: the statistics that it leaves": Case(
            lambda: _manual("gates.functional", "Tracking")(
                _gate("BatchNorm1d", num_features=3, momentum=0.25), (*STATISTICS, "weight", "bias")
            ),
            _left, ((4, 3), (3,), (3,), (3,), (3,)), ready=True,
        ),
        "a function: statistics of an instance": Case(
            lambda: _manual("gates.functional", "Tracking")(
                _gate("InstanceNorm1d", num_features=3, track_running_stats=True), STATISTICS, 1
            ),
            lambda _, x, *kept: _left(_, x, *kept, function=functional.instance_norm),
            ((2, 3, 4), (3,), (3,)), ready=True,
        ),
        "a function: two inputs of its own": Case(
            lambda: _functional(
                _gate("Bilinear", in1_features=3, in2_features=2, out_features=2),
                ("weight", "bias"), 2,
            ),
            lambda _, *xs: functional.bilinear(*xs), ((4, 3), (4, 2), (2, 3, 2), (2,)), ready=True,
        ),
        "a function: nothing is given": Case(
            lambda: _functional(_gate("Tanh")), lambda _, x: torch.tanh(x), ((4, 3),), ready=True
        ),
        "in a row": Case(
            lambda: _manual("gates.functional", "Chain")(
                _gate("AddGate"), _gate("TanhGate"), _gate("SumGate", dim=0)
            ),
            lambda _, x, y: torch.tanh(x + y).sum(0), ((4, 3), (3,)),
        ),
        "in a row, two outputs": Case(
            lambda: _manual("gates.functional", "Chain")(_gate("ExpGate"), _gate("VarMeanGate")),
            lambda _, x: torch.var_mean(x.exp()), ((4, 3),),
        ),
        "beside": Case(
            lambda: _manual("gates.functional", "Beside")(_gate("ExpGate"), more=np.ones(2)),
            lambda _, x: (x.exp(), torch.ones(2, dtype=torch.float64)), ((4, 3),),
        ),
        **{
            f"packed: {kind} {told}": Case(
                partial(_packed, kind, order, **more),
                _torch_packed(kind, order, **more), ((8, 2), *states),
            )
            for kind, order, more, states, told in (
                ("RNN", ORDER, {}, (), "by length"),
                ("GRU", None, {}, ((1, 3, 3),), "in order"),
                ("LSTM", ORDER, {}, ((1, 3, 3), (1, 3, 3)), "with states"),
                ("LSTM", ORDER, {"bidirectional": True}, (), "both ways"),
                ("GRU", ORDER, {"num_layers": 2}, ((2, 3, 3),), "twice"),
                ("GRU", ORDER, {}, (None,), "without a state"),
            )
        },
    }  # fmt: skip


CASES = _cases()


@cache
def composed_checks() -> list[Check]:
    """Return them all."""
    return [PackedCheck(), *(ComposedCheck(case) for case in CASES)]
