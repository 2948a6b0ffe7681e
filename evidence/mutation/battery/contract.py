"""What every layer and graph can be asked besides its two passes; the answers are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from typing import Any, ClassVar
from unittest import mock

import numpy as np

from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import ExactCheck, Lift
from evidence.mutation.battery.dropout import Ladder
from evidence.mutation.battery.layers import build
from evidence.mutation.battery.rules import RULES
from evidence.mutation.battery.sequences import SEQUENCES
from evidence.mutation.battery.wired import WIRED, linear

X = np.arange(-4.0, 4.0).reshape(2, 4)
LADDER = np.arange(8).reshape(2, 4) / 8  # what a generator of the check draws


def _manual() -> Any:
    return import_module("manual")


def _told(*parts: Any) -> list[float]:
    """Return anything as numbers: texts by their characters, arrays in a row."""
    found: list[float] = []
    for part in parts:
        if isinstance(part, str):
            found += [float(ord(c)) for c in part] + [-1.0]
        elif isinstance(part, dict):
            found += _told(*chain_of(part), "end")
        elif isinstance(part, tuple | list):
            found += _told(*part, "end")
        elif part is None:
            found.append(-2.0)
        else:
            found += [float(x) for x in np.ravel(part)] + [-3.0]
    return found


def chain_of(table: dict) -> list[Any]:
    return [x for item in table.items() for x in item]


def _stacks() -> Any:
    """A graph names the weights that hold several maps."""
    nodes = [("maxout", build("Maxout", SIZES), ("input",)), ("t", build("Tanh", ()), ("maxout",))]
    return _manual().Graph(nodes).stacks


def _layer() -> Any:
    """A plain layer has nothing beyond its passes, and goes from one mode to the other."""
    layer = build("Tanh", ())
    cache_ = layer.forward(X)[1]
    modes = layer.training, layer.train(False).training, layer.train(False).train().training
    return modes, layer.next_buffers(cache_), layer.decisions(cache_)


def _buffers() -> Any:
    norm = build("BatchNorm2d", (("num_features", 2),))
    given = {"running_mean": X[0, :2], "running_var": X[1, :2], "num_batches_tracked": np.array(3)}
    other = norm.with_buffers(given)
    return norm.buffers["running_mean"], other.buffers, other.train(False).buffers


def _graph_told() -> Any:
    net = WIRED["ties"].build()
    kept = net.with_layers({"act": build("Sigmoid", ())})
    layers = [type(n.layer).__name__ for n in kept.nodes]
    before = [type(n.layer).__name__ for n in net.nodes]
    names = sorted(net.state_names().items())
    return net.output, net.outputs, names, layers, before, sorted(net.params), net.stochastic


def _graph_shared() -> Any:
    """Calls of one module, and tied names, hold one array; also after an exchange of layers."""
    net = WIRED["ties"].build()
    net = net.with_params({k: p + i for i, (k, p) in enumerate(net.params.items())})
    other = net.with_layers({"dec": linear(3)})
    held = lambda n: [x.layer.params["weight"][0, 0] for x in sorted(n.nodes, key=lambda x: x.name)  # noqa: E731
                      if x.layer.params]  # fmt: skip
    return sorted(net.params), held(net), len({*map(id, _weights(other))}), sorted(other.params)


def _weights(net: Any) -> list[Any]:
    return [n.layer.params["weight"] for n in net.nodes if n.name.startswith(("enc", "dec"))]


def _graph_buffers() -> Any:
    net = WIRED["buffers, training"].build()
    new = {k: b + 2 for k, b in net.buffers.items()}
    other = net.with_buffers(new)
    own = [n.layer.buffers["running_mean"] for n in other.nodes if n.layer.buffers]
    modes = [n.layer.training for n in net.train(False).nodes]
    again = net.train(False).train()
    return other.buffers, own, net.buffers, modes, again.training, net.train(False).training


def _graph_draws() -> Any:
    """Random nodes draw from the generator in their order; in evaluation nothing is drawn."""
    drop = build("Dropout", (("p", 0.5),))
    nodes = [("a", drop, ("input",)), ("b", build("Tanh", ()), ("a",)), ("c", drop, ("b",))]
    net = _manual().Graph(nodes)
    drawn = net.draw(X, rng=Ladder(np.random.PCG64(0)))
    tape = net.run(X, noise=Ladder(np.random.PCG64(0)))
    still = net.train(False).run(X, noise=Ladder(np.random.PCG64(0)))
    partly = net.run(X, noise={"c": LADDER >= 0.25})
    found = [drawn, tape.noise, still.noise, still.output, partly.output, partly.noise["a"]]
    passes = import_module("manual.compiled").compiled(net)
    return [*found, passes(X, noise=Ladder(np.random.PCG64(0))).output, passes(X).output]


def _graph_cut() -> Any:
    """Two outputs are two; where no gradient arrives, no layer has one, whatever its outputs."""
    lstm = build("LSTM", (("input_size", 4), ("hidden_size", 2)))
    nodes = [("l", lstm, ("input", None, None)), ("t", build("Tanh", ()), ("input",))]
    net = _manual().Graph(nodes, outputs={"y": "l", "z": "t"})
    tape = net.run(X.reshape(2, 1, 4))
    found = net.gradients(tape, (None, np.ones((2, 1, 4))), wrt=("input",))
    return len(tape.output), np.shape(tape.output[1]), sorted(found.params)


def _graph_owner() -> Any:
    """A shared parameter is its owner's, also if who borrows it comes first."""
    square = build("Linear", (("in_features", 2), ("out_features", 2), ("bias", False)))
    one, two = (square.with_params({"weight": np.full((2, 2), i)}) for i in (1.0, 2.0))
    nodes = [("a", one, ("input",)), ("b", two, ("a",))]
    net = _manual().Graph(nodes, tied={"a.weight": "b.weight"})
    return net.params, [n.layer.params["weight"] for n in net.nodes]


def _graph_decisions() -> Any:
    relu, flat = build("ReLU", ()), build("Flatten", (("start_dim", 0),))
    net = _manual().Graph([("a", relu, ("input",)), ("b", flat, ("a",)), ("c", relu, ("b",))])
    tanh = build("Tanh", ())
    plain = _manual().Graph([("b", tanh, ("input",))])
    return net.decisions(net.forward(X)[1]), plain.decisions(plain.forward(X)[1])


def _graph_values() -> Any:
    """The tape holds every value by name; an interceptor sees each node and changes its inputs."""
    shapes = WIRED["states"].inputs
    inputs = {k: np.ones(s) * 0.5 for k, s in shapes.items()}
    net = WIRED["states"].build()
    seen: list[Any] = []

    def halved(node: Any, given: tuple) -> tuple:
        seen.append(node.name)
        return tuple(x * 0.0 for x in given) if node.name == "act" else given

    net = net.with_params({k: p + 0.25 for k, p in net.params.items()})
    tape, other = net.run(inputs), net.run(inputs, intercept=halved)
    return sorted(tape.values), sorted(tape.caches), seen, other.output[1], tape.noise, tape.buffers


def _random() -> Any:
    """Layers that drop draw in a graph."""
    lstm = (("input_size", 2), ("hidden_size", 2), ("num_layers", 2), ("dropout", 0.5))
    heads = (("embed_dim", 2), ("num_heads", 1), ("dropout", 0.5))
    x = X.reshape(2, 2, 2)
    one = _manual().Graph([("a", build("LSTM", lstm), ("input",))])
    two = _manual().Graph([("a", build("MultiheadAttention", heads), ("input",) * 3)])
    nets = [(net, net.run(x, noise=Ladder(np.random.PCG64(0)))) for net in (one, two)]
    return [(net.stochastic, tape.noise) for net, tape in nets]


def _one_mask() -> Any:
    """Two layers drop once; the mask may come alone."""
    layer = build("LSTM", (("input_size", 2), ("hidden_size", 2), ("num_layers", 2),
                           ("dropout", 0.5)))  # fmt: skip
    layer = layer.with_params({k: p + 0.5 for k, p in layer.params.items()})
    x, mask = X.reshape(2, 2, 2), LADDER.reshape(2, 2, 2) >= 0.5
    (alone, *_), (in_tuple, *_) = (layer.forward(x, noise=n)[0] for n in (mask, (mask,)))
    return alone - in_tuple, bool(np.any(alone != layer.forward(x)[0][0]))


def _padding() -> Any:
    """What lies beyond a sequence's end is not read, whatever it is."""
    layer = build("GRU", (("input_size", 2), ("hidden_size", 2)))
    layer = layer.with_params({k: p + 0.5 for k, p in layer.params.items()})
    x, lengths = X.reshape(2, 2, 2), np.array([1, 2])
    found = []
    for beyond in (0.0, np.nan):
        spoiled = np.where(np.arange(2)[:, None, None] < lengths[:, None], x, beyond)
        y, cache_ = layer.forward(spoiled, None, lengths)
        found.append((y, layer.backward(tuple(map(np.ones_like, y)), cache_)))
    (y, ((dx, *_), grads)), (again, (_, spoiled)) = found
    apart = [float(np.abs(grads[k] - g).sum()) for k, g in spoiled.items()]
    return y[0][1, 0], dx[1, 0], again[1] - y[1], apart


def _blind() -> Any:
    """A query that sees nothing has no weights: nan, as in torch, where they are asked for."""
    hidden = np.array([[False, True], [True, True]])
    x = X.reshape(2, 1, 4)
    layer = build("MultiheadAttention", (("embed_dim", 4), ("num_heads", 2)))
    found = [np.isnan(y) for y in layer.forward(x, x, x, None, hidden)[0]]
    return found, np.isnan(layer.forward(x, x, x, None, hidden * 1.0)[0][0])


def _no_noise() -> Any:
    """No draws are no noise."""
    x = X.reshape(2, 1, 4)
    layer = build("MultiheadAttention", (("embed_dim", 4), ("num_heads", 2), ("dropout", 0.5)))
    layer = layer.with_params({k: p + 0.5 for k, p in layer.params.items()})
    return layer.forward(x, x, x, noise=())[0][0] - layer.forward(x, x, x)[0][0]


def _no_images() -> Any:
    """A batch may be empty."""
    x = np.zeros((0, 2, 4, 3))
    sizes = (("in_channels", 2), ("out_channels", 3), ("kernel_size", 2))
    layers = build("Conv2d", sizes), build("MaxPool2d", (("kernel_size", 2),))
    runs = [(layer, *layer.forward(x)) for layer in layers]
    backs = [layer.backward(y, cache_) for layer, y, cache_ in runs]
    return [(np.shape(y), np.shape(dx)) for (_, y, _), ((dx,), _) in zip(runs, backs, strict=True)]


def _blocks() -> Any:
    """Each sample lies in one block."""
    blocks = import_module("manual.blocks")
    found = []
    with mock.patch.object(blocks, "BLOCK", 64):
        for count, each in ((1, 0), (5, 64), (100, 4), (7, 1000), (65, 1)):
            samples = np.arange(count)
            found.append(np.concatenate([samples[at] for at in blocks.blocks(count, each)]))
    return found


def _endless() -> Any:
    """A score of +inf is no number to weigh: nan, as in torch; only -inf hides."""
    mask = np.array([[np.inf, 0.0], [-np.inf, 0.0]])
    x = X.reshape(2, 1, 4)
    with np.errstate(all="ignore"):
        layer = build("MultiheadAttention", (("embed_dim", 4), ("num_heads", 2)))
        return [np.isnan(y) for y in layer.forward(x, x, x, None, mask)[0]]


def _ones() -> Any:
    """Without an upstream gradient the compiled passes begin with ones of the output's kind."""
    square = [("a", build("Multiply", ()), ("input", "input"))]
    found = []
    for outputs in (None, {"y": "a", "again": "a"}):
        net = _manual().Graph(square, outputs=outputs)
        passes = import_module("manual.compiled").compiled(net, ("input",))
        grad = passes(X).gradients["input"]
        found.append((grad, grad.dtype.name))
    return found


def _bad_layer(fails: str) -> Any:
    """Return a layer that fails in one method; it has two ports, noise and a buffer."""

    class Bad(import_module("manual.layer").Layer):  # type: ignore[misc]
        outputs = ("output", "other")
        stochastic = True

        def __init__(self) -> None:
            self.buffers = {"count": np.zeros(1)}

        def forward(self, x: Any, *, noise: Any = None) -> Any:
            _fail_if(fails == "forward" or (fails == "noisy" and noise is not None))
            return (x * 1.0, x * 2.0)[: 1 if fails == "ports" else 2], x

        def backward(self, grad_output: Any, cache: Any) -> Any:
            _fail_if(fails == "backward")
            one, two = grad_output
            return ((), {}) if fails == "count" else ((one + 2 * two,), {})

        def draw(self, *inputs: Any, rng: Any) -> Any:
            _fail_if(fails == "draw")
            return np.ones(1)

        def next_buffers(self, cache: Any) -> Any:
            _fail_if(fails == "next")
            return {} if fails == "key" else {"count": self.buffers["count"] + 1}

        def with_buffers(self, buffers: Any) -> Any:
            _fail_if(fails == "with")
            return super().with_buffers(buffers)

    return Bad()


def _fail_if(fails: bool) -> None:
    if fails:
        raise RuntimeError("as it was told to")


FAILS = ("", "forward", "noisy", "ports", "backward", "count", "draw", "next", "key", "with")


def _both_ways(net: Any, noise: Any) -> Any:
    return net.gradients(net.run(X, noise=noise), X, wrt=("input",))


def _places() -> Any:
    """Errors say in which node and method they were raised, interpreted and compiled."""
    found = []
    for fails in FAILS:
        nodes = [
            ("a", build("Tanh", ()), ("input",)), ("bad", _bad_layer(fails), ("a",)),
            ("c", build("Tanh", ()), ("bad:other",)), ("d", build("Tanh", ()), ("c",)),
        ]  # fmt: skip
        net = _manual().Graph(nodes)
        for noise in (None, Ladder(np.random.PCG64(0))):
            passes = import_module("manual.compiled").compiled(net, ("input",))
            found.append(_place(partial(_both_ways, net, noise)))
            found.append(_place(partial(passes, X, X, noise=noise)))
    return found


def _place(run: Callable[[], Any]) -> Any:
    try:
        run()
    except Exception as error:
        return getattr(error, "place", ("nowhere",))
    return ("none",)


def _where_failed() -> Any:
    found: list[Any] = []
    for fails in FAILS:
        place = ("bad", "backward" if fails in ("backward", "count") else "forward")
        quiet: Any = ("none",) if fails in ("", "noisy", "draw") else place
        loud = place if fails else ("none",)
        found += [quiet, quiet, loud, loud]
    return found


def _dropout(scale: float, *masks: np.ndarray) -> np.ndarray:
    first, last = masks
    return np.tanh(X * first * scale) * last * scale


HALF = LADDER >= 0.5
ONES = np.ones(2)
TIED = ["dec.bias", "enc.bias", "enc.weight", "top.bias", "top.weight"]
SIZES = (("in_features", 3), ("out_features", 2))
STATE = [f"{norm}.{key}" for norm in ("norm", "other")
         for key in ("running_mean", "running_var", "num_batches_tracked")]  # fmt: skip
ASKED: dict[str, tuple[Callable[[], Any], Any]] = {
    "a plain layer": (_layer, ((True, False, True), {}, None)),
    "parameters that hold several maps": (_stacks, ("maxout.weight",)),
    "buffers of a layer": (
        _buffers,
        (
            np.zeros(2),
            *[{"running_mean": X[0, :2], "running_var": X[1, :2], "num_batches_tracked": 3}] * 2,
        ),
    ),
    "a graph's names": (
        _graph_told,
        (
            "top",
            ("output", "w", "raw", "mid"),
            [
                ("dec.bias", "dec.bias"),
                ("dec.weight", "enc.weight"),
                ("enc.bias", "enc.bias"),
                ("enc.weight", "enc.weight"),
                ("top.bias", "top.bias"),
                ("top.weight", "top.weight"),
            ],
            ["Linear", "Sigmoid", "Sigmoid", "Linear", "Linear", "Add", "Linear"],
            ["Linear", "Sigmoid", "Tanh", "Linear", "Linear", "Add", "Linear"],
            ["dec.bias", "enc.bias", "enc.weight", "top.bias", "top.weight"],
            False,
        ),
    ),
    "a graph's draws": (
        _graph_draws,
        [
            {"a": HALF, "c": HALF}, {"a": HALF, "c": HALF}, {}, np.tanh(X),
            np.tanh(X) * (LADDER >= 0.25) * 2.0, None, _dropout(2.0, HALF, HALF), np.tanh(X),
        ],
    ),
    "what a graph shares": (_graph_shared, (TIED, [0.0, 0.0, 0.0, 3.0], 1, TIED)),
    "where no gradient arrives": (_graph_cut, (2, (2, 1, 4), [])),
    "whose a shared parameter is": (
        _graph_owner, ({"b.weight": np.full((2, 2), 2.0)}, [np.full((2, 2), 2.0)] * 2),
    ),
    "a graph's buffers": (
        _graph_buffers,
        (
            dict(zip(STATE, [2 * ONES, 3 * ONES, 2] * 2, strict=True)),
            [2 * ONES] * 3,
            dict(zip(STATE, [0 * ONES, ONES, 0] * 2, strict=True)),
            [False] * 6, True, False,
        ),
    ),
    "a graph's values": (
        _graph_values,
        (
            ["act", "c", "h", "lstm", "lstm:c_n", "lstm:h_n", "spare", "state", "x"],
            ["act", "lstm", "state"], ["lstm", "act", "state"], np.zeros((1, 2, 2)), {}, {},
        ),
    ),
    "what layers draw in a graph": (
        _random,
        [
            (True, {"a": (HALF.reshape(2, 2, 2),)}),
            (True, {"a": HALF.reshape(2, 2, 2)}),
        ],
    ),
    "a mask that comes alone": (_one_mask, (np.zeros((2, 2, 2)), True)),
    "what is beyond a sequence's end": (
        _padding, (ONES * 0, ONES * 0, np.zeros((1, 2, 2)), [0.0] * 4),
    ),
    "a query that sees nothing": (
        _blind,
        (
            [np.array([[[False] * 4], [[True] * 4]]), np.array([[[False] * 2, [True] * 2]])],
            np.zeros((2, 1, 4)),
        ),
    ),
    "a mask with +inf": (
        _endless, [np.array([[[True] * 4], [[False] * 4]]), np.array([[[True] * 2, [False] * 2]])],
    ),
    "a tuple of no masks": (_no_noise, np.zeros((2, 1, 4))),
    "no images": (
        _no_images, [((0, 3, 3, 2), (0, 2, 4, 3)), ((0, 2, 2, 1), (0, 2, 4, 3))],
    ),
    "blocks of a batch": (_blocks, [np.arange(n) for n in (1, 5, 100, 7, 65)]),
    "ones upstream": (_ones, [(2 * X, "float64"), (4 * X, "float64")]),
    "where errors were raised": (_places, _where_failed()),
    "a graph's decisions": (
        _graph_decisions,
        (np.concatenate([X.ravel() > 0] * 2), None),
    ),
    **RULES,
    **SEQUENCES,
}  # fmt: skip


@dataclass(frozen=True)
class AskedCheck(ExactCheck):
    """One question; what a mutant answers is compared with the answer, which is known."""

    dtypes: ClassVar[tuple[str, ...]] = ("float64",)
    question: str

    @property
    def name(self) -> str:
        return f"Asked: {self.question}"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        return {Key("", "answer"): np.array(_told(ASKED[self.question][0]()))}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        return {Key("", "answer"): np.array(_told(ASKED[self.question][1]))}


@cache
def contract_checks() -> list[AskedCheck]:
    """Return every question."""
    return [AskedCheck(question) for question in ASKED]
