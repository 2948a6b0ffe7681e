"""Layers of several outputs, optional inputs or many draws beside torch's: recurrent, attention.

What torch drops, both drop: its masks are recorded and handed to the hand-written layer as noise.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any, ClassVar, NamedTuple

import numpy as np

from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import Check, ExactCheck, Lift, exact
from evidence.mutation.battery.dropout import Ladder
from evidence.mutation.battery.layer_table import OF_PORTS
from evidence.mutation.battery.layers import build
from manual import registry  # the right code's: a mutant is loaded without its examples
from manual.activations import Tanh
from manual.layer import Example, Layer

SCALES = (1.0, 40.0)  # the second one beyond where exponentials overflow float32
HEADS = {"embed_dim": 4, "num_heads": 2}
CELL = {"input_size": 2, "hidden_size": 3}
BLIND = np.array([[False, True, False], [True, True, True]])  # the second query sees nothing
PADDING = np.array([[False, False, True], [False, True, False]])
CAUSAL = np.triu(np.ones((3, 3), bool), 1)
HIDES = np.array([[0.5, -np.inf, 0.0], [-1.0, 0.25, -np.inf], [0.0, 0.0, 2.0]])
MORE = {
    "LSTM": (
        Example({"input_size": 2, "hidden_size": 2, "num_layers": 2, "dropout": 1.0},
                ((3, 2, 2), None, None)),
        Example({"input_size": 2, "hidden_size": 2, "num_layers": 4, "dropout": 0.4},
                ((1, 3, 2), None, None)),  # one step, three masks
    ),
    **{
        name: (Example(CELL, ((2,), *((3,),) * states)), Example(CELL, ((2, 2), *(None,) * states)))
        for name, states in (("RNNCell", 1), ("GRUCell", 1), ("LSTMCell", 2))
    },
    "MultiheadAttention": (
        Example({**HEADS, "dropout": 1.0}, (*((3, 2, 4),) * 3, None, None)),
        Example({**HEADS, "kdim": 3}, ((2, 1, 4), (2, 1, 3), (2, 1, 4), None, None)),
        Example(HEADS, (*((3, 2, 4),) * 3, PADDING, (3, 3))),  # one hides, the other is added
        Example(HEADS, (*((3, 2, 4),) * 3, (2, 3), CAUSAL)),
        Example(HEADS, (*((2, 3, 4),) * 3, None, (6, 2, 2))),  # more samples than heads
        Example({**HEADS, "dropout": 0.4}, ((2, 3, 4), (4, 3, 4), (4, 3, 4), None, None)),
        Example({**HEADS, "batch_first": True}, ((2, 4), (3, 4), (3, 4), None, None)),
        Example({**HEADS, "need_weights": False},
                ((2, 3, 4), (3, 3, 4), (3, 3, 4), None, np.where(BLIND, -np.inf, 0.5))),
        Example(HEADS, (*((3, 2, 4),) * 3, np.where(PADDING, -np.inf, 0.5), HIDES)),
        Example({**HEADS, "dropout": 0.4, "add_bias_kv": True}, (*((2, 1, 4),) * 3, None, None)),
        Example({**HEADS, "need_weights": False, "is_causal": True},
                (*((3, 2, 4),) * 3, None, (3, 3))),  # causal, whatever the mask says
    ),
}  # fmt: skip
SMALL = {"d_model": 4, "nhead": 2, "dim_feedforward": 3, "dropout": 0.0}
STACKS = {"num_encoder_layers": 2, "num_decoder_layers": 3}
THREES = ((3, 2, 4), (3, 2, 4))
WRONG = np.zeros((3, 3), bool)  # a hint in its place hides what comes later
MORE |= {
    "ScaledDotProductAttention": (
        Example({"dropout_p": 1.0}, ((2, 2), (3, 2), (3, 2))),
        Example({"enable_gqa": True, "dropout_p": 0.5}, ((2, 4, 2, 3), (4, 3, 3), (2, 2, 3, 2))),
        Example({"enable_gqa": True, "dropout_p": 0.5}, ((4, 2, 3), (2, 2, 3, 3), (1, 3, 2))),
        Example({"dropout_p": 0.5}, ((1, 2, 3), (2, 1, 3, 3), (3, 2))),
        Example({"dropout_p": 0.5}, ((3, 1, 2, 3), (2, 3, 3), (3, 2, 3, 2))),
        Example({}, ((2, 3, 3), (3, 3), (2, 3, 3), BLIND[:1])),
        Example({}, ((1, 2, 3), (2, 1, 3, 3), (3, 2), ~BLIND)),
        Example({"is_causal": True}, ((4, 3), (2, 3), (2, 2))),
    ),
    "TransformerEncoderLayer": (
        Example({**SMALL, "is_causal": True}, ((3, 2, 4), WRONG)),
        Example({**SMALL, "dropout": 1.0}, ((3, 2, 4),)),
        Example({**SMALL, "activation": Tanh()}, ((3, 2, 4),)),
        Example({"d_model": 2, "nhead": 1}, ((2, 2),)),
    ),
    "TransformerEncoder": (
        Example({"encoder_layer": SMALL, "num_layers": 1, "is_causal": True,
                 "enable_nested_tensor": False},
                ((3, 2, 4), WRONG)),
    ),
    "TransformerDecoderLayer": (
        Example({**SMALL, "tgt_is_causal": True},
                ((3, 2, 4), (3, 2, 4), WRONG, WRONG)),
        Example({**SMALL, "memory_is_causal": True},
                ((3, 2, 4), (3, 2, 4), WRONG, WRONG)),
        Example({"d_model": 2, "nhead": 1}, ((2, 2), (1, 2))),
    ),
    "TransformerDecoder": (
        Example({"decoder_layer": SMALL, "num_layers": 1, "tgt_is_causal": True},
                ((3, 2, 4), (3, 2, 4), WRONG, WRONG)),
        Example({"decoder_layer": SMALL, "num_layers": 1},
                (*THREES, (3, 3), (3, 3), (2, 3), (2, 3))),
        Example({"decoder_layer": SMALL, "num_layers": 1, "memory_is_causal": True},
                ((3, 2, 4), (3, 2, 4), WRONG, WRONG)),
    ),
    "Transformer": (
        Example({**SMALL, **STACKS, "nhead": 1, "batch_first": True, "tgt_is_causal": True},
                ((2, 3, 4), (2, 3, 4), WRONG, WRONG, WRONG)),
        Example({**SMALL, **STACKS, "src_is_causal": True}, (*THREES, WRONG, WRONG, WRONG)),
        Example({**SMALL, **STACKS, "norm_first": True, "memory_is_causal": True},
                (*THREES, WRONG, WRONG, WRONG)),
        Example({**SMALL, **STACKS, "custom_encoder": {"encoder_layer": SMALL, "num_layers": 1}},
                THREES),
        Example({**SMALL, **STACKS, "custom_decoder": {"decoder_layer": SMALL, "num_layers": 1}},
                THREES),
    ),
}  # fmt: skip


def examples(type_name: str) -> tuple[Example, ...]:
    """Return the class's own, and those whose numbers no certificate can be asked about."""
    return (*registry.LAYERS[type_name].examples, *MORE.get(type_name, ()))


class Sample(NamedTuple):
    """One call: its name, its mode, and arrays by argument (None: left out)."""

    name: str
    training: bool
    inputs: tuple[Any, ...]


@dataclass(frozen=True)
class PortsCheck(Check):
    """One example: all outputs at once, each alone (the others' gradients are None), no noise.

    All calls go forward before any goes backward, and backward runs twice.
    """

    type: str
    number: int  # of the example

    @property
    def dtypes(self) -> tuple[str, ...]:  # type: ignore[override]
        """Errors in saturated stacks have no first order in float32."""
        return ("float64",) if self.type.startswith("Transformer") else Check.dtypes

    @property
    def name(self) -> str:
        arguments = ", ".join(f"{k}={v}" for k, v in self.example.arguments.items())
        return f"{self.type}({arguments}), example {self.number + 1}"

    @property
    def example(self) -> Any:
        return examples(self.type)[self.number]

    def samples(self, seed: int) -> list[Sample]:
        found = []
        for scale in SCALES:
            drawn = self.example.draw(self.rng(seed, scale))
            inputs = tuple(exact(x * scale) if _is_float(x) else x for x in drawn)
            found.append(Sample(f"times {scale:g}", self.example.training, inputs))
        if _chances(self.type, self.example):
            found.append(Sample("the other mode", not self.example.training, found[0].inputs))
        return found

    def params(self, seed: int, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
        return {key: self.draw(seed, shape, key) for key, shape in shapes.items()}

    def upstream(self, seed: int, sample: Sample, port: int, shape: Any) -> np.ndarray:
        return self.draw(seed, tuple(shape), sample.name, port)

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        layer = build(self.type, tuple(self.example.arguments.items()))
        shapes = {key: p.shape for key, p in layer.params.items()}
        layer = layer.with_params({k: lift(p) for k, p in self.params(seed, shapes).items()})
        masks, samples = _beside(self, dtype, seed)[1], self.samples(seed)
        runs = []
        modes = {True: layer.train(False).train(), False: layer.train(False)}
        for sample in samples:
            inputs = [lift(x) if _is_float(x) else x for x in sample.inputs]
            noise = {"noise": masks[sample.name] or None} if layer.stochastic else {}
            runs.append((sample, *modes[sample.training].forward(*inputs, **noise)))
        values = {Key(k, "param"): p for k, p in layer.params.items()}
        for sample, _, cache_ in runs if self.type.startswith("Transformer") else ():
            found = layer.decisions(cache_)
            values[Key(sample.name, "decisions")] = np.array([] if found is None else found, float)
        for run in runs:
            values |= self._calls(layer, lift, seed, *run)
        return values

    def _calls(
        self, layer: Any, lift: Lift, seed: int, sample: Sample, y: Any, cache_: Any
    ) -> Values:
        several = isinstance(y, tuple)
        ys = y if several else (y,)
        ups = [lift(self.upstream(seed, sample, i, part.shape)) for i, part in enumerate(ys)]
        named = zip(layer.outputs, ys, strict=True)
        values = {Key(sample.name, f"output {n}"): p for n, p in named}
        for kept in _kept(len(ys)):
            dy: Any = tuple(up if i in kept else None for i, up in enumerate(ups))
            where = f"{sample.name}, of {kept}"
            for again in ("", " again"):
                grads, own = layer.backward(dy if several else dy[0], cache_)
                alone = layer.grad_params(dy if several else dy[0], cache_)
                found = {Key(where + again, f"input {i}"): g for i, g in enumerate(grads)
                         if g is not None}  # fmt: skip
                values |= found
                values[Key(where + again, "gradients in shared memory")] = _shared(own)
                values[Key(where + again, "gradients of inputs")] = np.float64(len(grads))
                values |= {Key(where + again, f"grad:{k}"): g for k, g in own.items()}
                values |= {Key(where + again, f"alone:{k}"): g for k, g in alone.items()}
        return values

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        return _beside(self, dtype, seed)[0]


Masks = dict[str, tuple[np.ndarray, ...]]


def _for_torch(value: Any) -> Any:
    """Return a constructor's argument as torch takes it: a layer as torch's of that name."""
    from torch_ref.classes import module_class

    return module_class(type(value).__name__)() if isinstance(value, Layer) else value


@cache
def _beside(check: PortsCheck, dtype: np.dtype, seed: int) -> tuple[Values, Masks]:
    """Return torch's values, and the masks that it drew, by sample."""
    from evidence.mutation.battery.torch_side import DTYPES, tensor
    from torch_ref.classes import module_class
    from torch_ref.side import array_of

    cls = registry.LAYERS[check.type]
    arguments = dict(check.example.arguments)
    called = getattr(cls, "call_arguments", ())
    theirs = {k: _for_torch(v) for k, v in arguments.items() if k not in called}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of options that do nothing, and of slow paths
        twin = module_class(check.type)(**theirs).to(DTYPES[dtype.name])
    shapes = {k: tuple(p.shape) for k, p in twin.named_parameters()}
    own = {k: tensor(p, dtype) for k, p in check.params(seed, shapes).items()}
    twin.load_state_dict(own)
    options = {k: arguments.get(k, inspect.signature(cls).parameters[k].default) for k in called}
    values: Values = {Key(k, "param"): array_of(p).copy() for k, p in own.items()}
    masks: Masks = {}
    for sample in check.samples(seed):
        twin.train(sample.training)
        found, masks[sample.name] = _torch_run(check, twin, options, sample, dtype, seed)
        if sample.training and set(_chances(check.type, check.example)) == {1}:
            # torch draws nothing to drop all
            drawn = cls(**arguments).draw(*sample.inputs, rng=np.random.default_rng(0))
            masks[sample.name] = drawn if isinstance(drawn, tuple) else (drawn,)
        values |= found
    return values, masks


def _torch_run(
    check: PortsCheck, twin: Any, options: dict, sample: Sample, dtype: np.dtype, seed: int
) -> tuple[Values, tuple[np.ndarray, ...]]:
    import torch

    from evidence.mutation.battery.torch_side import tensor
    from torch_ref.draws import Recorder
    from torch_ref.side import array_of

    inputs = [None if x is None else tensor(x, dtype) for x in sample.inputs]
    wanted = [i for i, x in enumerate(inputs) if _has_gradient(check, options, i, x, inputs)]
    for i in wanted:
        inputs[i].requires_grad_()  # type: ignore[union-attr]
    recorder = Recorder()
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        with recorder, _inner(twin) as before_relu:
            ys = _call(check.type, twin, inputs, options)
    outputs = _outputs(check)
    values = {Key(sample.name, f"output {n}"): array_of(y).copy()
              for n, y in zip(outputs, ys, strict=False)}  # fmt: skip
    if check.type.startswith("Transformer"):
        relu = not any(name in str(check.example.arguments) for name in ("gelu", "Tanh"))
        signs = [(array_of(x) > 0).ravel() for x in before_relu if relu]
        values[Key(sample.name, "decisions")] = np.concatenate([[], *signs]).astype(float)
    ups = [tensor(check.upstream(seed, sample, i, y.shape), dtype) for i, y in enumerate(ys)]
    own = dict(twin.named_parameters())
    leaves = [*(inputs[i] for i in wanted), *own.values()]
    for kept in _kept(len(ys)):
        chosen = [ys[i] for i in kept]
        grads = torch.autograd.grad(
            chosen, leaves, [ups[i] for i in kept], retain_graph=True, allow_unused=True,
            materialize_grads=True,
        )  # fmt: skip
        arrays = [array_of(g).copy() for g in grads]
        for again in ("", " again"):
            where = f"{sample.name}, of {kept}{again}"
            values[Key(where, "gradients in shared memory")] = np.zeros(())
            values[Key(where, "gradients of inputs")] = np.array(float(_places(check.type)))
            values |= {Key(where, f"input {i}"): g for i, g in zip(wanted, arrays, strict=False)}
            for k, g in zip(own, arrays[len(wanted) :], strict=True):
                values |= {Key(where, f"grad:{k}"): g, Key(where, f"alone:{k}"): g}
    return values, tuple(d.numpy().astype(np.float64) for d in recorder.draws)


def _places(type_name: str) -> int:
    parameters = inspect.signature(registry.LAYERS[type_name].forward).parameters
    return len(parameters.keys() - {"self", "noise"})


@contextmanager
def _inner(twin: Any) -> Iterator[list[Any]]:
    """Gather what a Transformer's first linear layers give, in their order."""
    found: list[Any] = []
    keep = lambda module, inputs, output: found.append(output)  # noqa: E731
    parts = [m for name, m in twin.named_modules() if name.rpartition(".")[2] == "linear1"]
    hooks = [part.register_forward_hook(keep) for part in parts]
    yield found
    for hook in hooks:
        hook.remove()


def _outputs(check: PortsCheck) -> tuple[str, ...]:
    if check.type == "Unbind":  # as many as there are elements
        return registry.LAYERS["Unbind"](**check.example.arguments).outputs
    return registry.LAYERS[check.type].outputs


def _has_gradient(check: PortsCheck, options: dict, i: int, x: Any, inputs: list) -> bool:
    """Say whether an input has a gradient; a causal hint replaces its mask, as in torch."""
    if x is None or not x.is_floating_point():
        return False
    if check.type != "MultiheadAttention":
        return True
    replaced = options.get("is_causal") and not options["need_weights"] and inputs[3] is None
    return not (i == 4 and replaced)


def _call(type_name: str, twin: Any, inputs: list, options: dict) -> list[Any]:
    if type_name.startswith(("Transformer", "ScaledDot")):
        return [twin(*inputs, **options)]
    if type_name in ("Interpolation", "Unbind"):
        found = twin(*(x for x in inputs if x is not None))
        return list(found) if isinstance(found, tuple) else [found]
    if type_name != "MultiheadAttention":
        from torch.utils._pytree import tree_leaves

        from torch_ref.recurrent import call_of

        places, named = call_of(twin, inputs)
        return tree_leaves(twin(*places, **named))
    found = twin(*inputs[:3], key_padding_mask=inputs[3], attn_mask=inputs[4], **options)
    return [y for y in found if y is not None]


def _shared(own: dict[str, Any]) -> Any:
    """Count the pairs of gradients that lie in one memory: writing into one would change both."""
    arrays = [g for g in own.values() if isinstance(g, np.ndarray)]
    pairs = combinations(arrays, 2)
    return np.float64(sum(np.shares_memory(a, b) for a, b in pairs))


def _kept(count: int) -> list[tuple[int, ...]]:
    """Return which outputs have an upstream gradient: all, and each alone."""
    each: list[tuple[int, ...]] = [(i,) for i in range(count)]
    return [tuple(range(count)), *each] if count > 1 else each


def _is_float(x: Any) -> bool:
    return x is not None and x.dtype.kind == "f"


@dataclass(frozen=True)
class DrawCheck(ExactCheck):
    """The masks that a layer draws itself: how many, in which shape, and the share they keep."""

    dtypes: ClassVar[tuple[str, ...]] = ("float64",)
    type: str
    number: int

    @property
    def name(self) -> str:
        return f"{self.ports.name}, its own draws"

    @property
    def ports(self) -> PortsCheck:
        return PortsCheck(self.type, self.number)

    @property
    def settings(self) -> dict[str, Any]:
        """What torch takes at a call, and what changes no number, as the example has it."""
        cls, given = registry.LAYERS[self.type], self.ports.example.arguments
        known = inspect.signature(cls).parameters
        names = (*getattr(cls, "call_arguments", ()), "enable_nested_tensor", "mask_check")
        return {k: given.get(k, known[k].default) for k in names if k in known}

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        example = self.ports.example
        layer = build(self.type, tuple(example.arguments.items()))
        inputs = self.ports.samples(seed)[0].inputs
        drawn = layer.draw(*inputs, rng=Ladder(np.random.PCG64(0)))
        masks = () if drawn is None else drawn if isinstance(drawn, tuple) else (drawn,)
        again = layer.forward(*inputs, noise=drawn)[0]
        assert again is not None
        return _counted([np.asarray(m) for m in masks]) | {
            Key("", "chances"): np.array(layer.chances, float),
            Key("", "stochastic"): np.array(layer.stochastic, float),
            Key("", "order"): np.argsort(list(layer.params)).astype(float),
            Key("", "defaults"): _numbers(self.type, type(layer)),
            Key("", "settings"): np.array([bool(getattr(layer, k, 0)) for k in self.settings]),
            Key("", "layers"): np.array(float(getattr(layer, "num_layers", 1))),
        }

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch

        p = max(_chances(self.type, self.ports.example), default=0.0)
        masks = next(m for k, m in _beside(self.ports, dtype, seed)[1].items()
                     if m or not p)  # fmt: skip
        ladders = [np.arange(m.size) / m.size >= p for m in masks]
        found = _counted([k.reshape(m.shape) for k, m in zip(ladders, masks, strict=True)])
        told = 0 if hasattr(registry.LAYERS[self.type], "mask_shapes") else len(masks)
        params = [k.layer for k in _beside(self.ports, dtype, seed)[0] if k.quantity == "param"]
        return found | {
            Key("", "chances"): np.full(told, p, float),
            Key("", "stochastic"): np.array(1.0),
            Key("", "order"): np.argsort(params).astype(float),
            Key("", "defaults"): _numbers(
                self.type, getattr(torch.nn, self.type, registry.LAYERS[self.type])
            ),
            Key("", "settings"): np.array([bool(v) for v in self.settings.values()]),
            Key("", "layers"): np.array(float(self.ports.example.arguments.get("num_layers", 1))),
        }


def _numbers(type_name: str, cls: Any) -> np.ndarray:
    """Return a constructor's defaults that are numbers, of the arguments that both sides have."""
    import torch

    theirs = getattr(torch.nn, type_name, None)
    if theirs is None:
        return np.array([])
    known = inspect.signature(theirs).parameters
    names = [k for k in inspect.signature(registry.LAYERS[type_name]).parameters if k in known]
    found = [inspect.signature(cls).parameters[k].default for k in names]
    return np.array([float(v) for v in found if isinstance(v, int | float)])


def _chances(type_name: str, example: Example) -> tuple[float, ...]:
    """Return with which probabilities an example's layer drops."""
    p = example.arguments.get("dropout", 0.0)
    return registry.LAYERS[type_name](**example.arguments).chances or ((p,) if p else ())


def _counted(masks: list[np.ndarray]) -> Values:
    values: Values = {Key("", "masks"): np.float64(len(masks))}
    for i, mask in enumerate(masks):
        values[Key(str(i), "mask")] = mask.astype(np.float64)
    return values


@cache
def port_checks() -> list[Check]:
    """Return every example of the layers that walk along sequences, and what they draw."""
    found: list[Check] = []
    for name in OF_PORTS:
        for number, _ in enumerate(examples(name)):
            found.append(PortsCheck(name, number))
            if registry.LAYERS[name].stochastic:
                found.append(DrawCheck(name, number))
    return found
