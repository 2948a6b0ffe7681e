"""Torch's functionals as calls of modules: which of their arguments the constructor takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from evidence.corpus.tables import TABLED, Call
from torch_ref.classes import module_class

__all__ = ["Call", "as_module", "modules_of"]

AXES = ("1d", "2d", "3d")
OTHERWISE = {  # functionals whose name is not their module's
    "binary_cross_entropy": ("BCELoss",), "binary_cross_entropy_with_logits":
    ("BCEWithLogitsLoss",), "interpolate": ("Upsample",), "upsample_bilinear":
    ("UpsamplingBilinear2d",), "upsample_nearest": ("UpsamplingNearest2d",),
    "grid_sample": ("GridSample",), "batch_norm": tuple(f"BatchNorm{n}" for n in AXES),
    "instance_norm": tuple(f"InstanceNorm{n}" for n in AXES),
    "pad": tuple(f"{mode}Pad{n}" for mode in
                 ("Constant", "Reflection", "Replication", "Circular") for n in AXES),
}  # fmt: skip


@cache
def modules_of(functional_name: str) -> tuple[str, ...]:
    """Return the classes of torch.nn that compute what a functional does.

    >>> modules_of("log_softmax"), modules_of("huber_loss"), modules_of("kl_div")
    (('LogSoftmax',), ('HuberLoss',), ('KLDivLoss',))
    """
    if functional_name in TABLED:
        return (TABLED[functional_name][0],)
    if functional_name in OTHERWISE:
        return OTHERWISE[functional_name]
    plain = functional_name.replace("_", "")
    classes = {name.lower(): name for name in vars(nn) if name[0].isupper()}
    return tuple(classes[name] for name in (plain, f"{plain}loss") if name in classes)[:1]


PADDING = {"constant": "Constant", "reflect": "Reflection", "replicate": "Replication",
           "circular": "Circular"}  # fmt: skip
CONVOLUTION = ("weight", "bias", "stride", "padding", "dilation", "groups")
TRANSPOSED = ("weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
POOLING = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
LARGEST = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
BUILT_IN = {  # functionals without a signature: their arguments after the first
    "conv": CONVOLUTION, "conv_transpose": TRANSPOSED, "avg_pool": POOLING, "max_pool": LARGEST,
    "adaptive_avg_pool": ("output_size",), "adaptive_max_pool": ("output_size", "return_indices"),
    "fractional_max_pool": ("kernel_size", "output_size", "output_ratio", "return_indices",
                            "_random_samples"),
    "bilinear": ("input2", "weight", "bias"), "linear": ("weight", "bias"), "prelu": ("weight",),
    "hardshrink": ("lambd",), "softshrink": ("lambd",), "softplus": ("beta", "threshold"),
    "gelu": ("approximate",), "cosine_similarity": ("x2", "dim", "eps"),
    "pixel_shuffle": ("upscale_factor",), "pixel_unshuffle": ("downscale_factor",),
    "channel_shuffle": ("groups",), "pairwise_distance": ("x2", "p", "eps", "keepdim"),
    "pad": ("pad", "mode", "value"), "logsigmoid": (),
}  # fmt: skip
RENAMED = {"prob_type": "p", "pad": "padding"}


def as_module(module: str, info: Any, sample: Any) -> Call | None:
    """Return the call of the module that computes a sample; None where it is not this module's."""
    name = info.name.removeprefix("nn.functional.")
    if name in TABLED:
        return TABLED[name][1](info.op, sample.input, tuple(sample.args), sample.kwargs)
    given = _bound(name, info.op, sample)
    if given is None:
        return None
    x = sample.input
    options, state, inputs = _sorted(module, x, given)
    if options is None:
        return None
    training = bool(given.get("training", given.get("use_input_stats", True)))
    asked = inspect.signature(module_class(module).forward).parameters
    rest = {k: v for k, v in given.items() if k not in {*inputs, *state}}

    def reference(*tensors: Any, **own: Tensor) -> Any:
        named = dict(zip(inputs, tensors, strict=True)) | own
        first = named.pop("input")
        return info.op(first, **({**rest, **named}))

    return Call(
        options,
        state,
        tuple({"input": x, **given}[k] for k in inputs),
        {k: v for k, v in rest.items() if k in asked and k not in options},
        reference,
        training,
    )


def _bound(name: str, op: Callable, sample: Any) -> dict[str, Any] | None:
    """Return the arguments after the first by name."""
    stem = name.removesuffix("1d").removesuffix("2d").removesuffix("3d")
    names = BUILT_IN.get(name) or BUILT_IN.get(stem)
    mode = {}
    if names is None:
        own = getattr(functional, name, op)
        try:
            parameters = inspect.signature(own).parameters
        except ValueError:
            return None
        names = tuple(parameters)[1:]
        mode = {"training": parameters["training"].default} if "training" in names else {}
    if len(sample.args) > len(names):
        return None
    return {**mode, **dict(zip(names, sample.args, strict=False)), **sample.kwargs}


def _sorted(
    module: str, x: Tensor, given: Mapping[str, Any]
) -> tuple[dict[str, Any] | None, dict[str, Tensor], list[str]]:
    """Tell the arguments apart: of the constructor, state, and inputs of forward."""
    cls = module_class(module)
    known = inspect.signature(cls).parameters
    options = {
        RENAMED.get(k, k): v
        for k, v in given.items()
        if RENAMED.get(k, k) in known and k not in STATE.get(module, ()) and k != "training"
    }
    names = [k for k in STATE.get(module, ()) if given.get(k) is not None]
    state = {k: given[k] for k in names}
    if module in MAKE:
        made = MAKE[module](x, given)
        if made is None:
            return None, {}, []
        options |= made
    taken = {*names, *(k for k in given if RENAMED.get(k, k) in known)}
    inputs = ["input", *(k for k, v in given.items() if isinstance(v, Tensor) and k not in taken)]
    return options, state, inputs


def _conv(axes: int, transposed: bool = False) -> Callable:
    def make(x: Tensor, given: Mapping[str, Any]) -> dict[str, Any]:
        w, groups = given["weight"], given.get("groups", 1)
        first, second = w.shape[0], w.shape[1] * groups
        ins, outs = (first, second) if transposed else (second, first)
        return {"in_channels": ins, "out_channels": outs, "kernel_size": tuple(w.shape[2:]),
                "bias": given.get("bias") is not None}  # fmt: skip

    return make


def _batch_norm(axes: int) -> Callable:
    def make(x: Tensor, given: Mapping[str, Any]) -> dict[str, Any] | None:
        if (x.ndim - 2 != axes and not (axes == 1 and x.ndim == 2)) or not _affine(given):
            return None
        tracked = given.get("running_mean") is not None
        return {"num_features": x.shape[1], "affine": given.get("weight") is not None,
                "bias": given.get("bias") is not None,
                "track_running_stats": tracked}  # fmt: skip

    return make


def _instance_norm(axes: int) -> Callable:
    def make(x: Tensor, given: Mapping[str, Any]) -> dict[str, Any] | None:
        if x.ndim - 2 != axes or (given.get("weight") is None) != (given.get("bias") is None):
            return None
        return {"num_features": x.shape[1], "affine": given.get("weight") is not None,
                "track_running_stats": given.get("running_mean") is not None}  # fmt: skip

    return make


def _affine(given: Mapping[str, Any]) -> bool:
    return given.get("weight") is not None or given.get("bias") is None


def _pad(mode: str, axes: int) -> Callable:
    def make(x: Tensor, given: Mapping[str, Any]) -> dict[str, Any] | None:
        widths = given["pad"]
        if PADDING[given.get("mode", "constant")] != mode or len(widths) != 2 * axes:
            return None
        value = {"value": given.get("value") or 0.0} if mode == "Constant" else {}
        return {"padding": tuple(widths), **value}

    return make


def _layer_norm(x: Tensor, given: Mapping[str, Any]) -> dict[str, Any] | None:
    weighted = given.get("weight") is not None
    if not weighted and given.get("bias") is not None:
        return None
    return {"elementwise_affine": weighted, "bias": given.get("bias") is not None}


def _rms_norm(x: Tensor, given: Mapping[str, Any]) -> dict[str, Any]:
    return {"elementwise_affine": given.get("weight") is not None}


def _group_norm(x: Tensor, given: Mapping[str, Any]) -> dict[str, Any] | None:
    if (given.get("weight") is None) != (given.get("bias") is None):
        return None
    return {"num_channels": x.shape[1], "affine": given.get("weight") is not None}


STATE: dict[str, tuple[str, ...]] = {
    **{f"{kind}{n}": ("weight", "bias") for kind in ("Conv", "ConvTranspose") for n in AXES},
    **{f"{kind}{n}": ("running_mean", "running_var", "weight", "bias")
       for kind in ("BatchNorm", "InstanceNorm") for n in AXES},
    "Linear": ("weight", "bias"), "Bilinear": ("weight", "bias"), "PReLU": ("weight",),
    "LayerNorm": ("weight", "bias"), "GroupNorm": ("weight", "bias"), "RMSNorm": ("weight",),
}  # fmt: skip
MAKE: dict[str, Callable[[Tensor, Mapping[str, Any]], dict[str, Any] | None]] = {
    **{f"Conv{n}": _conv(i + 1) for i, n in enumerate(AXES)},
    **{f"ConvTranspose{n}": _conv(i + 1, True) for i, n in enumerate(AXES)},
    **{f"BatchNorm{n}": _batch_norm(i + 1) for i, n in enumerate(AXES)},
    **{f"InstanceNorm{n}": _instance_norm(i + 1) for i, n in enumerate(AXES)},
    **{f"{mode}Pad{n}": _pad(mode, i + 1) for mode in PADDING.values() for i, n in enumerate(AXES)},
    "LayerNorm": _layer_norm, "RMSNorm": _rms_norm, "GroupNorm": _group_norm,
    "Linear": lambda x, given: {
        "in_features": given["weight"].shape[-1],
        "out_features": given["weight"].shape[0], "bias": given.get("bias") is not None,
    } if given["weight"].ndim == 2 else None,
    "Bilinear": lambda x, given: {
        "in1_features": given["weight"].shape[1], "in2_features": given["weight"].shape[2],
        "out_features": given["weight"].shape[0], "bias": given.get("bias") is not None,
    },
    "PReLU": lambda x, given: {"num_parameters": given["weight"].numel()}
    if given["weight"].ndim == 1 else None,
}  # fmt: skip
