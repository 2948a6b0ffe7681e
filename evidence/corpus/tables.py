"""Functionals whose parameters come as arguments, as calls of the modules that hold them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any, NamedTuple

from torch import Tensor
from torch.nn import functional

__all__ = ["TABLED", "Call"]


class Call(NamedTuple):
    """A functional's call, as one of a module."""

    options: dict[str, Any]
    state: dict[str, Tensor]
    inputs: tuple[Any, ...]
    named: dict[str, Any]
    reference: Callable
    training: bool


def _table(op: Callable, weight: Tensor, args: tuple, given: Mapping[str, Any]) -> Call:
    beside = {k: v for k, v in given.items() if k in ("offsets", "per_sample_weights")}
    rest = {k: v for k, v in given.items() if k not in beside}

    def reference(index: Tensor, *tensors: Any, weight: Tensor) -> Any:
        return op(weight, index, **rest, **dict(zip(beside, tensors, strict=True)))

    sizes = dict(zip(("num_embeddings", "embedding_dim"), weight.shape, strict=True))
    inputs = (*args, *beside.values())
    return Call(sizes | rest, {"weight": weight}, inputs, {}, reference, True)


def _bag(op: Callable, weight: Tensor, args: tuple, given: Mapping[str, Any]) -> Call:
    return _table(op, weight, args, {"offsets": None, "per_sample_weights": None, **given})


def _scaled(op: Callable, query: Tensor, args: tuple, given: Mapping[str, Any]) -> Call:
    options = {k: v for k, v in given.items() if k != "attn_mask"}
    masks = [given["attn_mask"]] if "attn_mask" in given else []

    def reference(*tensors: Tensor) -> Any:
        return op(*tensors, **options)

    return Call(options, {}, (query, *args, *masks), {}, reference, True)


HELD = {  # parameters, by the functional's names
    "in_proj_weight": "in_proj_weight", "in_proj_bias": "in_proj_bias", "bias_k": "bias_k",
    "bias_v": "bias_v", "out_proj_weight": "out_proj.weight", "out_proj_bias": "out_proj.bias",
}  # fmt: skip


def _multihead(op: Callable, query: Tensor, args: tuple, given: Mapping[str, Any]) -> Call:
    names = tuple(signature(functional.multi_head_attention_forward).parameters)[1:]
    given = {"key_padding_mask": None, **dict(zip(names, args, strict=False)), **given}
    width = given["embed_dim_to_check"]
    state = {key: given[name] for name, key in HELD.items()}
    state |= {key: state[key].reshape(1, 1, width) for key in ("bias_k", "bias_v")}
    inputs = {k: given[k] for k in ("key", "value", "key_padding_mask", "attn_mask")}

    def reference(query: Tensor, *tensors: Any, **own: Tensor) -> Any:
        tables = {name: own[key] for name, key in HELD.items()}
        return op(query, **{**given, **dict(zip(inputs, tensors, strict=True)), **tables})

    options = {
        "embed_dim": width, "num_heads": given["num_heads"], "dropout": given["dropout_p"],
        "add_bias_kv": True, "add_zero_attn": given["add_zero_attn"],
    }  # fmt: skip
    return Call(options, state, (query, *inputs.values()), {}, reference, given["training"])


def _classes(op: Callable, x: Tensor, args: tuple, given: Mapping[str, Any]) -> Call:
    table, target = args
    rest = {k: v for k, v in given.items() if k != "linear_bias"}
    shape, biased = table.shape, given.get("linear_bias") is not None
    state = {"linear.weight": table.reshape(-1, shape[-1])}
    if biased:
        state["linear.bias"] = given["linear_bias"].reshape(-1)

    def reference(x: Tensor, target: Tensor, **own: Tensor) -> Any:
        bias = {"linear_bias": own["linear.bias"].reshape(shape[:-1])} if biased else {}
        return op(x, own["linear.weight"].reshape(shape), target, **rest, **bias)

    options = {
        "in_features": shape[-1], "num_classes": shape[0], "out_features": tuple(shape[1:-1]),
        "bias": biased,
    }  # fmt: skip
    return Call(options | rest, state, (x, target), {}, reference, True)


TABLED: dict[str, tuple[str, Callable[..., Call]]] = {
    "embedding": ("Embedding", _table),
    "embedding_bag": ("EmbeddingBag", _bag),
    "scaled_dot_product_attention": ("ScaledDotProductAttention", _scaled),
    "multi_head_attention_forward": ("MultiheadAttention", _multihead),
    "linear_cross_entropy": ("LinearCrossEntropyLoss", _classes),
}
