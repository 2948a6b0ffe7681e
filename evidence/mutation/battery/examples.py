"""Layers of images, normalised axes and look-ups beside torch's modules, as their examples say.

They have what layers of rows have not: integer inputs, buffers, two modes, several outputs. All
calls of a case go forward before any goes backward, on one layer, and backward runs twice.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

from compare.judge.quantities import Key, Values, real
from compare.pair.example import argument_names
from evidence.mutation.battery.base import Check, ExactCheck, Lift, frozen, lifted
from evidence.mutation.battery.data import Shape, make
from evidence.mutation.battery.grids import whole_ways
from evidence.mutation.battery.layers import build
from manual import registry
from manual.examples import Draw, Example
from manual.layer import Layer

KINDS = ("random", "large", "small", "ties")
GIVEN = (
    "integers",
    "uniform",
    "simplex",
)  # kinds of inputs that a layer needs: not to be replaced by KINDS
WIDER = 2  # samples more than an example has


TABLE: dict[str, Any] = {"num_embeddings": 4, "embedding_dim": 3}
ROW = {"type": "Linear", "in_features": 3, "out_features": 2}
PADDED = np.array([[0, 1, 2], [9, 9, 9]])  # what lies behind a sample's labels is no class
ROWS = np.array([[3, 1, 1], [1, 3, 3]])  # no row has its own number
MANY = np.arange(16)[::-1].copy()
MORE = {
    "GridSample": whole_ways(),
    "AffineGrid": (Example({"size": (1, 2, 1, 3), "align_corners": True}, ((1, 2, 3),)),),
    "Embedding": tuple(
        Example({**TABLE, "num_embeddings": 16, "max_norm": 1, "norm_type": p}, (MANY,))
        for p in (0, 1, 3.0, np.inf, -np.inf)
    ),
    "EmbeddingBag": (
        Example({**TABLE, "max_norm": 0.75, "mode": "sum"}, (ROWS,)),
        Example({**TABLE, "max_norm": 40.0, "norm_type": 1}, (ROWS[:, :1],)),
        Example({**TABLE, "mode": "sum", "padding_idx": 1}, (ROWS, None, (2, 3))),
        Example({**TABLE, "mode": "sum", "sparse": True}, (ROWS,)),
        Example({**TABLE, "mode": "max"}, (ROWS[0], np.array([0, 0, 2, 3]))),
        Example({**TABLE, "mode": "max", "padding_idx": 1, "max_norm": 1}, (ROWS,)),
        Example({**TABLE, "mode": "max"}, (ROWS[:, :0].reshape(-1), np.array([0]))),
        Example(TABLE, (ROWS[:1],)),
    ),
    "CTCLoss": (
        Example({"reduction": "none"}, ((3, 2), np.array([1]), np.array(3), np.array(1))),
        Example({"blank": 3}, ((8, 2, 4), PADDED, np.array([8, 7]), np.array([3, 0]))),
        Example(
            {"zero_infinity": True, "reduction": "none"},
            ((5, 3, 4), np.array([[1, 2, 3], [1, 2, 9], [3, 9, 9]]), np.array([2, 3, 0]),
             np.array([3, 2, 1])),
            note="the first and last are too short for their labels",
        ),
        Example(
            {"reduction": "none"},
            ((3, 2, 3), np.array([[1], [2]]), np.array([0, 3]), np.array([0, 1])),
        ),
    ),
    "SpectralNorm": (
        Example({"module": ROW, "name": "bias", "eps": 4.0}, ((4, 3),)),
        Example({"module": {"type": "BatchNorm1d", "num_features": 3, "eps": 1e-12}}, ((4, 3),)),
    ),
}  # fmt: skip


def examples(name: str) -> tuple[Example, ...]:
    """Return the class's own, and those that only mutants need."""
    return (*registry.find(name).examples, *MORE.get(name, ()))


class Call(NamedTuple):
    """One way of calling a layer: a name, and the input arrays."""

    name: str
    inputs: tuple[np.ndarray | None, ...]


@dataclass(frozen=True)
class ExampleCheck(Check):
    """One example of a class, on its own inputs, on others of the shape, and on a larger batch.

    Args:
        type, number: the class on both sides, and which of its examples.
        kind: of real numbers; integers and fixed arrays are as the example has them.
        block: elements that one block of a batch may work on; None as it is.
    """

    type: str
    number: int
    kind: str = "random"
    block: int | None = None

    @property
    def name(self) -> str:
        blocked = "" if self.block is None else f", in blocks of {self.block}"
        return f"example {self.number} of {self.type} on {self.kind}{blocked}"

    @property
    def example(self) -> Example:
        return examples(self.type)[self.number]

    @property
    def settings(self) -> list[str]:
        """The constructor's arguments that both sides keep as one number each."""
        new = build(self.type, tuple(self.example.arguments.items()))
        twin = _default_twin(self.type, self.number)
        names = registry.LAYERS[self.type].__signature__.parameters  # type: ignore[attr-defined]
        return [n for n in names if all(_is_number(getattr(x, n, None)) for x in (new, twin))]

    @cache  # noqa: B019  # checks live as long as the program
    def calls(self, seed: int) -> tuple[Call, ...]:
        """Return the example as it is, turned around, and with more samples if the layer can."""
        return tuple(self._calls(seed))

    def _calls(self, seed: int) -> Iterator[Call]:
        specs = self.example.inputs
        for name in ("as it is", "another", "wider"):
            rng = self.rng(seed, name)
            found = [_array(spec, name, self.kind, rng) for spec in specs]
            found = [x if x is None else frozen(x, x.dtype) for x in found]  # all mutants get it
            if name != "wider" or _takes(self.type, self.number, tuple(map(np.shape, found))):
                yield Call(name, tuple(found))

    def upstream(self, seed: int, call: str, shape: Shape) -> np.ndarray:
        return self.draw(seed, shape, call, "upstream")

    def params(self, seed: int, shapes: dict[str, Shape]) -> dict[str, np.ndarray]:
        return {key: self.draw(seed, shape, key) for key, shape in shapes.items()}

    def buffers(self, seed: int, buffers: Any) -> dict[str, np.ndarray]:
        """Return other buffers than a new layer has; those of real numbers are positive."""
        return {
            key: make("positive", self.rng(seed, key), np.shape(b)) if real(b) else np.array(3)
            for key, b in buffers.items()
        }

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        blocks = import_module("manual.blocks")
        with mock.patch.object(blocks, "BLOCK", self.block or blocks.BLOCK):
            return self._values(lift, seed)

    def _values(self, lift: Lift, seed: int) -> Values:
        new = build(self.type, tuple(self.example.arguments.items())).train(self.example.training)
        shapes = {key: p.shape for key, p in new.params.items()}
        layer = new.with_params({k: lift(p) for k, p in self.params(seed, shapes).items()})
        buffers = self.buffers(seed, layer.buffers)
        layer = layer.with_buffers({k: lifted(lift, b) for k, b in buffers.items()})
        layer.with_params({k: lift(p) for k, p in self.params(seed + 1, shapes).items()})
        calls = self.calls(seed)
        inputs = [[None if x is None else lifted(lift, x) for x in call.inputs] for call in calls]
        runs = [layer.forward(*given) for given in inputs]
        values = _as_built(new, new.params, new.buffers, self.settings)
        for call, given, (y, cache_) in zip(calls, inputs, runs, strict=True):
            ports = y if isinstance(y, tuple) else (y,)
            values |= {Key(call.name, f"output#{i}"): port for i, port in enumerate(ports)}
            values[Key(call.name, "outputs")] = np.array(len(layer.outputs), float)
            values[Key(call.name, "outputs in an input's memory")] = _shared(ports, given)
            after = layer.next_buffers(cache_)
            values |= {Key(call.name, f"buffer:{k}"): b for k, b in after.items()}
            new = layer.rewritten(cache_)
            values |= {Key(call.name, f"rewritten:{k}"): p for k, p in new.items()}
            dy = lift(self.upstream(seed, call.name, ports[0].shape))
            upstream = (dy, *(None for _ in ports[1:])) if isinstance(y, tuple) else dy
            for again in ("", " again"):
                grads, own = layer.backward(upstream, cache_)
                values |= _gradients(call.name + again, grads, own)
                alone = layer.grad_params(upstream, cache_)
                values |= {Key(call.name + again, f"alone:{k}"): g for k, g in alone.items()}
        return values

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch

        from evidence.mutation.battery.torch_side import tensor
        from torch_ref.side import array_of

        new = _twin(self.type, self.number, dtype)
        built = {key: array_of(b) for key, b in new.named_buffers()}
        values = _as_built(new, dict(new.named_parameters()), built, self.settings)
        rewritten = registry.LAYERS[self.type](**self.example.arguments).rewrites
        for call in self.calls(seed):
            twin = _twin(self.type, self.number, dtype)
            own = dict(twin.named_parameters())
            params = self.params(seed, {key: tuple(p.shape) for key, p in own.items()})
            start = self.buffers(seed, {k: array_of(b) for k, b in twin.named_buffers()})
            twin.load_state_dict({k: tensor(a, dtype) for k, a in (params | start).items()})
            leaves = [None if x is None else tensor(x, dtype) for x in call.inputs]
            names = argument_names(
                registry.LAYERS[self.type](**self.example.arguments), len(leaves)
            )
            wanted = {
                i: x.requires_grad_()
                for i, (name, x) in enumerate(zip(names, leaves, strict=True))
                if x is not None and x.is_floating_point() and name not in self.example.fixed
            }
            y = _quiet(twin, *leaves)
            ports = y if isinstance(y, tuple) else (y,)
            values |= {Key(call.name, f"output#{i}"): array_of(p) for i, p in enumerate(ports)}
            values[Key(call.name, "outputs")] = np.array(len(ports), float)
            storages = [x.untyped_storage().data_ptr() for x in leaves if x is not None]
            shared = sum(p.untyped_storage().data_ptr() in storages for p in ports)
            values[Key(call.name, "outputs in an input's memory")] = np.array(shared, float)
            after = {k: array_of(b).copy() for k, b in twin.named_buffers()}
            values |= {Key(call.name, f"buffer:{k}"): b for k, b in after.items()}
            values |= {Key(call.name, f"rewritten:{k}"): array_of(own[k]).copy()
                       for k in rewritten}  # fmt: skip
            dy = tensor(self.upstream(seed, call.name, tuple(ports[0].shape)), dtype)
            found = torch.autograd.grad(ports[0], [*wanted.values(), *own.values()], dy)
            grads = [array_of(g).copy() for g in found]
            named = dict(zip(own, grads[len(wanted) :], strict=True))
            for again in ("", " again"):
                places = dict(zip(wanted, grads, strict=False))
                placed = [places.get(i) for i in range(len(leaves))]
                values |= _gradients(call.name + again, placed, named)
                values |= {Key(call.name + again, f"alone:{k}"): g for k, g in named.items()}
        return values


@dataclass(frozen=True)
class ExactExampleCheck(ExampleCheck, ExactCheck):
    """The same on whole numbers, with a whole upstream gradient: not one bit may differ."""

    kind: str = "ties"

    @property
    def name(self) -> str:
        return f"{super().name}, bit for bit"

    @cache  # noqa: B019
    def upstream(self, seed: int, call: str, shape: Shape) -> np.ndarray:
        return make("ties", self.rng(seed, call, "upstream"), shape) + 0.5

    def params(self, seed: int, shapes: dict[str, Shape]) -> dict[str, np.ndarray]:
        return {k: make("ties", self.rng(seed, k), shape) for k, shape in shapes.items()}


def beyond_rows(cls: type[Layer]) -> bool:
    """Return whether a class needs these checks: its examples say more than shapes of numbers."""
    return any(
        not example.training
        or any(isinstance(value, tuple | list) for value in example.arguments.values())
        or any(isinstance(spec, Draw) and spec.kind in GIVEN for spec in example.inputs)
        or any(isinstance(spec, np.ndarray) and not real(spec) for spec in example.inputs)
        for example in cls.examples
    )


def example_checks(name: str) -> Iterator[Check]:
    """Yield the checks of a class: every example, with every kind of numbers that it may have."""
    cls = registry.LAYERS[name]
    fixed = [(n, e) for n, e in enumerate(examples(name)) if not cls(**e.arguments).stochastic]
    for number, example in fixed:
        drawn = any(not isinstance(s, np.ndarray | None) and
                    real(_array(s, "", "random", np.random.default_rng(0)))
                    for s in example.inputs)  # fmt: skip
        kinds = (
            ("random", "ties") if example.exact else KINDS
        )  # what only adds has no large numbers
        for kind in kinds if drawn else KINDS[:1]:
            exact = example.exact and (kind == "ties" or not drawn)
            yield (ExactExampleCheck if exact else ExampleCheck)(name, number, kind)
    for number, example in fixed:
        if example.exact and drawn:
            yield ExampleCheck(name, number, block=64)


def _as_built(new: Any, params: Any, buffers: Any, settings: list[str]) -> Values:
    """Return what a layer has before anything is set: sizes of parameters, buffers, settings."""
    values = {Key("new", f"size:{k}"): np.array(p.shape, float) for k, p in params.items()}
    values |= {Key("new", f"buffer:{k}"): np.array(b, float) for k, b in buffers.items()}
    border = getattr(new, "before", getattr(new, "_reversed_padding_repeated_twice", [])[-2::-2])
    values[Key("new", "before")] = np.array(border, float)  # of every axis, in order
    return values | {Key("new", name): np.array(getattr(new, name), float) for name in settings}


def _shared(ports: Any, inputs: list[Any]) -> Any:
    """Count outputs that lie in the memory of an input: writing into one would change both."""
    pairs = [(a, b) for a in ports for b in inputs if isinstance(a, np.ndarray)]
    return np.float64(sum(np.shares_memory(a, b) for a, b in pairs))


def _is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float) and abs(value) < float("inf")


def _gradients(call: str, grads: Any, own: Any) -> Values:
    values = {Key(call, f"grad_input#{i}"): g for i, g in enumerate(grads) if g is not None}
    return values | {Key(call, f"grad:{k}"): g for k, g in own.items()}


def _array(spec: Any, call: str, kind: str, rng: np.random.Generator) -> Any:
    """Return one input; what is fixed is turned around for `another` call, but for offsets."""
    if spec is None:
        return None
    if isinstance(spec, np.ndarray):
        offsets = spec.ndim == 1 and spec[:1].sum() == 0 and (np.diff(spec) >= 0).all()
        return np.flip(spec).copy() if call == "another" and not offsets else spec
    draw = spec if isinstance(spec, Draw) else Draw(tuple(spec))
    if call == "wider" and len(draw.shape) > 1:
        draw = draw._replace(shape=(draw.shape[0] + WIDER, *draw.shape[1:]))
    return draw(rng) if draw.kind in GIVEN else make(kind, rng, draw.shape)


def _twin(name: str, number: int, dtype: np.dtype) -> Any:
    """Build torch's module as an example says."""
    import torch

    from evidence.mutation.battery.torch_side import DTYPES
    from torch_ref.classes import module_class

    example = examples(name)[number]
    own = {
        k: torch.tensor(v, dtype=torch.float64) if isinstance(v, list) else v
        for k, v in example.arguments.items()
    }
    twin = module_class(name)(**own)
    return twin.to(DTYPES[dtype.name]).train(example.training)


@cache
def _default_twin(name: str, number: int) -> Any:
    return _twin(name, number, np.dtype(np.float64))


def _quiet(twin: Any, *inputs: Any) -> Any:
    """Call torch's module; that "same" costs it a copy for an even kernel is no concern here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using padding='same' with even kernel")
        warnings.filterwarnings("ignore", "input's size at dim=. does not match num_features")
        return twin(*inputs)


@cache
def _takes(name: str, number: int, shapes: tuple[Shape, ...]) -> bool:
    """Return whether the layer of an example takes inputs of other shapes than its own."""
    from evidence.mutation.battery.torch_side import tensor

    double = np.dtype(np.float64)
    example = examples(name)[number]
    own = [_array(s, "", "random", np.random.default_rng(0)) for s in example.inputs]
    if shapes == tuple(map(np.shape, own)):
        return False
    try:
        _quiet(_twin(name, number, double), *(tensor(np.ones(s), double) for s in shapes))
    except (ValueError, IndexError, RuntimeError):
        return False
    return True
