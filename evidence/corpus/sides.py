"""One sample on both sides: outputs, buffers, and gradients under one random upstream gradient."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_leaves, tree_map

from compare.gauge import K, gauge, gauging
from compare.judge.judge import gauged
from compare.judge.quantities import Key, Values
from evidence.corpus.samples import Refusal, Sample
from manual.distance import PairwiseDistance
from manual.layer import Layer
from manual.lazy import Lazy
from manual.softmax import LogSoftmax
from torch_ref.hybrid import array_of, as_torch, told_apart

__all__ = ["Sides", "both", "refused"]

DEVICE = ("device", "dtype")
MODULES_OWN = ("num_batches_tracked", "_random_samples")  # buffers of which functionals hold none
ACTIVATIONS = {nn.functional.relu: "relu", nn.functional.gelu: "gelu"}
NORMALISED = {"CTCLoss": LogSoftmax(dim=-1)}  # by what torch's gradient is that of: both sides
SEED = 42  # that op_db itself sets before a random functional


class Sides(NamedTuple):
    """What each side computed, by key, and the tolerance of each element."""

    ours: Values
    theirs: Values
    tolerances: dict[Key, Any]


def both(cls: Callable[..., Any], sample: Sample) -> Sides:
    """Run a sample on torch's module and on the hand-written class.

    Raises:
        Exception: whatever the hand-written side raises.
        ValueError: names or shapes of parameters or buffers are not torch's.
        TypeError: complex numbers.
    """
    layer = _layer(cls, sample)
    tensors, options = told_apart(layer, sample.inputs, sample.named)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, upstream = _by_torch(sample, tensors)
    for name in _given(layer, sample):
        theirs.pop(Key("", f"buffer:{name}"))
    arrays = [None if x is None else _array(x) for x in tensors]
    wanted = [isinstance(x, Tensor) and x.requires_grad for x in tensors]
    options |= _noise(layer, tensors)
    if any(v.dtype.kind == "c" for v in theirs.values()):
        raise TypeError("complex numbers, of which no rounding error is followed")
    dtype = next(v.dtype for v in theirs.values() if v.dtype.kind == "f")
    ours = _by_hand(layer, arrays, wanted, upstream, options, lambda a: a)
    for name in layer.rewrites:  # of which torch's are told where they changed
        if np.array_equal(ours[Key("", f"param:{name}")], layer.params[name]):
            del ours[Key("", f"param:{name}")]
    with gauging(dtype):
        values = _by_hand(layer, arrays, wanted, upstream, options, gauge)
    if sample.corpus == "op_db":
        ours = {
            k: v for k, v in ours.items() if k.quantity.removeprefix("buffer:") not in MODULES_OWN
        }
    return Sides(_arrays(ours), theirs, gauged(values, dtype, K))


def refused(cls: Callable[..., Any], call: Refusal) -> bool:
    """Return whether the hand-written class refuses a call that torch refuses, in a sentence."""
    try:
        layer = _made(cls, call.arguments, call.options)
        if call.inputs is not None:
            as_torch(layer).double()(*call.inputs, **call.named)
    except (ValueError, TypeError, IndexError, RuntimeError):
        return True
    return False


# ── the hand-written side ────────────────────────────────────────────────────────────────────────
def _layer(cls: Callable[..., Any], sample: Sample) -> Any:
    layer = _made(cls, sample.arguments, sample.options).train(sample.training)
    if isinstance(layer, Lazy):
        layer = layer.for_input(sample.inputs[0])
    given = _given(layer, sample)
    state = {k: array_of(v) for k, v in sample.state.items() if k not in given}
    if sample.corpus == "op_db":
        state |= {k: v for k, v in layer.buffers.items() if k in MODULES_OWN}
    own = {k: np.shape(v) for k, v in (*layer.params.items(), *layer.buffers.items())}
    if (shapes := {k: v.shape for k, v in state.items()}) != own:
        raise ValueError(f"the state is {own}, torch's is {shapes}")
    layer = layer.with_params({k: state[k] for k in layer.params})
    return layer.with_buffers({k: state[k] for k in layer.buffers})


def _given(layer: Layer, sample: Sample) -> set[str]:
    """Return which of torch's buffers the layer holds as a constructor's argument: weights."""
    values = (*sample.arguments, *sample.options.values())
    tensors = [value for value in values if isinstance(value, Tensor)]
    foreign = sample.state.keys() - layer.params.keys() - layer.buffers.keys()
    return {k for k in foreign if any(_equal(sample.state[k], t) for t in tensors)}


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a, b.to(a))


def _made(cls: Callable[..., Any], arguments: tuple, options: Mapping[str, Any]) -> Any:
    given = {k: _plain(v) for k, v in options.items() if k not in DEVICE}
    return cls(*(_plain(a) for a in arguments), **given)


def _plain(value: Any) -> Any:
    """Return a constructor's argument as the hand-written class takes it."""
    return tree_map(_plain_leaf, value)


def _plain_leaf(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return array_of(leaf)
    if isinstance(leaf, nn.PairwiseDistance):
        return PairwiseDistance(leaf.norm, leaf.eps, leaf.keepdim)
    if isinstance(leaf, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer):
        return _arguments(leaf)
    return ACTIVATIONS.get(leaf, leaf) if callable(leaf) else leaf


def _arguments(layer: Any) -> dict[str, Any]:
    """Return the arguments that torch's layer of a Transformer was made with."""
    return {
        "d_model": layer.self_attn.embed_dim, "nhead": layer.self_attn.num_heads,
        "dim_feedforward": layer.linear1.out_features, "dropout": layer.dropout.p,
        "activation": _plain_leaf(layer.activation), "layer_norm_eps": layer.norm1.eps,
        "batch_first": layer.self_attn.batch_first, "norm_first": layer.norm_first,
        "bias": layer.linear1.bias is not None,
    }  # fmt: skip


def _array(value: Any) -> Any:
    return array_of(value) if isinstance(value, Tensor) else value


def _noise(layer: Any, tensors: Sequence[Any]) -> dict[str, Any]:
    if not layer.stochastic:
        return {}
    torch.manual_seed(SEED)
    return {"noise": as_torch(layer).train(layer.training).draw(layer, list(tensors))}


def _by_hand(
    layer: Layer, arrays: Sequence[Any], wanted: Sequence[bool], upstream: Sequence[Any],
    options: Mapping[str, Any], lift: Callable,
) -> dict[Key, Any]:  # fmt: skip
    lifted = lambda a: lift(a) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a  # noqa: E731
    layer = layer.with_params({k: lifted(p) for k, p in layer.params.items()})
    layer = layer.with_buffers({k: lifted(b) for k, b in layer.buffers.items()})
    inputs: list[Any] = list(map(lifted, arrays))
    before: Any = None
    if front := NORMALISED.get(type(layer).__name__):
        inputs[0], before = front.forward(inputs[0])
    y, cache = layer.forward(*inputs, **options)
    ports = y if isinstance(y, tuple) else (y,)
    found = {Key("", f"output#{i}"): port for i, port in enumerate(ports) if port is not None}
    found |= {Key("", f"buffer:{k}"): b for k, b in layer.next_buffers(cache).items()}
    found |= {Key("", f"param:{k}"): p for k, p in layer.rewritten(cache).items()}
    if any(dy is not None for dy in upstream):
        dys = tuple(None if dy is None else lifted(dy) for dy in upstream)
        grads, own = layer.backward(dys if isinstance(y, tuple) else dys[0], cache)
        if front:
            grads = (*front.backward(grads[0], before)[0], *grads[1:])
        pairs = zip(grads, wanted, strict=False)  # what was left out has no place
        found |= {Key("", f"grad_input#{i}"): g for i, (g, want) in enumerate(pairs) if want}
        found |= {Key("", f"grad:{k}"): g for k, g in own.items()}
    return {k: v for k, v in found.items() if v is not None}


def _arrays(values: Mapping[Key, Any]) -> Values:
    return {key: np.asarray(value) for key, value in values.items()}


# ── torch's side ─────────────────────────────────────────────────────────────────────────────────
def _by_torch(sample: Sample, tensors: Sequence[Any]) -> tuple[Values, list[Any]]:
    """Return torch's values, and the upstream gradient of every output.

    `tensors` are the inputs in the order in which the hand-written forward takes them.
    """
    places: dict[int, list[int]] = {}
    for i, x in enumerate(tensors):
        places.setdefault(id(x), []).append(i)
    leaves: dict[str, Tensor] = {}

    def leaf(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        copied = value.detach().clone()
        if value.requires_grad:
            place = places[id(value)].pop(0)
            leaves[f"grad_input#{place}"] = copied.requires_grad_()
        return copied

    inputs, named = tree_map(leaf, (sample.inputs, dict(sample.named)))
    state = {k: v.clone() for k, v in sample.state.items()}
    params = {k: v.requires_grad_() for k, v in state.items() if _trained(sample, k)}
    torch.manual_seed(SEED)
    ys = [y for y in tree_leaves(_called(sample, state, inputs, named)) if y is not None]
    rng = np.random.default_rng(SEED)
    upstream = [_upstream(y, rng) for y in ys]
    values = {Key("", f"output#{i}"): array_of(y) for i, y in enumerate(ys)}
    values |= {Key("", f"buffer:{k}"): array_of(v) for k, v in state.items() if k not in params}
    changed = [k for k, v in params.items() if not torch.equal(v, sample.state[k])]
    values |= {Key("", f"param:{k}"): array_of(params[k]) for k in changed}  # in place
    leaves |= {f"grad:{k}": v for k, v in params.items()}
    return values | _gradients(ys, upstream, leaves), upstream


def _called(sample: Sample, state: dict[str, Tensor], inputs: tuple, named: dict) -> Any:
    if sample.module in NORMALISED:
        inputs = (inputs[0].log_softmax(-1), *inputs[1:])
    if not isinstance(sample.reference, nn.Module):
        return sample.reference(*inputs, **state)
    module = copy.deepcopy(sample.reference)
    return functional_call(module, state, inputs, named) if state else module(*inputs, **named)


def _trained(sample: Sample, name: str) -> bool:
    if isinstance(sample.reference, nn.Module):
        return name in dict(sample.reference.named_parameters())
    return not name.startswith("running")


def _upstream(y: Tensor, rng: np.random.Generator) -> Any:
    if not y.requires_grad:
        return None
    return rng.standard_normal(tuple(y.shape)).astype(array_of(y).dtype)


def _gradients(
    ys: Sequence[Tensor], upstream: Sequence[Any], leaves: Mapping[str, Tensor]
) -> Values:
    """Return the gradients by name; a leaf that no output depends on has zeros."""
    pairs = [(y, torch.tensor(dy)) for y, dy in zip(ys, upstream, strict=True) if dy is not None]
    if not pairs:
        return {}
    grads = torch.autograd.grad(
        [y for y, _ in pairs], list(leaves.values()), [dy for _, dy in pairs], allow_unused=True
    )
    return {
        Key("", name): array_of(torch.zeros_like(x) if g is None else g)
        for (name, x), g in zip(leaves.items(), grads, strict=True)
    }
