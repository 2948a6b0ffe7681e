"""torch.nn.functional: affine maps, norms, attention, dropout; their parameters come as inputs."""

from __future__ import annotations

from typing import Any

from compare.pair.mirror.call import Builder, Call, NoTwin, Value
from compare.pair.mirror.functions.making import AXES, held, made, plain
from manual.gates.constants import MultiplyConstantGate
from manual.gates.directions import WeightNormGate
from manual.gates.functional import Functional, Tracking
from manual.gates.products import MatMulGate


# ── affine maps ──────────────────────────────────────────────────────────────────────────────────
def linear(input: Value, weight: Value, bias: Value | None = None) -> Call:
    if weight.ndim == 1:
        if bias is not None:
            raise NoTwin("a vector of weights with a bias")
        return Call(MatMulGate(), (input, weight))
    layer = made("Linear", weight.shape[1], weight.shape[0], bias is not None)
    return held(layer, (input,), weight=weight, bias=bias)


def bilinear(input1: Value, input2: Value, weight: Value, bias: Value | None = None) -> Call:
    outs, first, second = weight.shape
    layer = made("Bilinear", first, second, outs, bias is not None)
    return held(layer, (input1, input2), weight=weight, bias=bias)


def convolution(axes: int) -> Builder:
    def builder(
        input: Value, weight: Value, bias: Value | None = None, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, groups: int = 1,
    ) -> Call:  # fmt: skip
        outs, each, *kernel = weight.shape
        layer = made(
            f"Conv{axes}d", each * groups, outs, tuple(kernel), plain(stride), plain(padding),
            plain(dilation), groups, bias is not None,
        )  # fmt: skip
        return held(layer, (input,), weight=weight, bias=bias)

    return builder


def transposed(axes: int) -> Builder:
    def builder(
        input: Value, weight: Value, bias: Value | None = None, stride: Any = 1, padding: Any = 0,
        output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
    ) -> Call:  # fmt: skip
        ins, each, *kernel = weight.shape
        layer = made(
            f"ConvTranspose{axes}d", ins, each * groups, tuple(kernel), plain(stride),
            plain(padding), plain(output_padding), groups, bias is not None, plain(dilation),
        )  # fmt: skip
        return held(layer, (input,), weight=weight, bias=bias)

    return builder


def embedding(
    input: Value, weight: Value, padding_idx: int | None = None, max_norm: float | None = None,
    norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Call:  # fmt: skip
    if weight.array.dtype.kind in "iu":  # torch.embedding, which takes the table first
        input, weight = weight, input
        padding_idx = None if padding_idx == -1 else padding_idx  # there it means none
    if max_norm is not None:
        raise NoTwin("a table that is changed where it is read (max_norm)")
    rows, width = weight.shape
    layer = made("Embedding", rows, width, padding_idx, None, norm_type, scale_grad_by_freq, False)
    return held(layer, (input,), weight=weight)


def embedding_bag(
    input: Value, weight: Value, offsets: Value | None = None, max_norm: float | None = None,
    norm_type: float = 2, scale_grad_by_freq: bool = False, mode: str = "mean",
    sparse: bool = False, per_sample_weights: Value | None = None,
    include_last_offset: bool = False, padding_idx: int | None = None,
) -> Call:  # fmt: skip
    if weight.array.dtype.kind in "iu":
        input, weight = weight, input
    if max_norm is not None:
        raise NoTwin("a table that is changed where it is read (max_norm)")
    layer = made(
        "EmbeddingBag", *weight.shape, None, norm_type, scale_grad_by_freq, mode, False, None,
        include_last_offset, padding_idx,
    )  # fmt: skip
    return held(layer, (input, offsets, per_sample_weights), weight=weight)


def prelu(input: Value, weight: Value) -> Call:
    if weight.ndim > 1:
        raise NoTwin("slopes in several axes")
    return held(made("PReLU", weight.array.size), (input,), weight=weight)


def weight_norm(v: Value, g: Value, dim: int = 0) -> Call:
    return Call(WeightNormGate(dim), (v, g))


# ── normalisation ────────────────────────────────────────────────────────────────────────────────
def layer_norm(
    input: Value, normalized_shape: Any, weight: Value | None = None, bias: Value | None = None,
    eps: float = 1e-5, cudnn_enable: bool = True,
) -> Call:  # fmt: skip
    if weight is None and bias is not None:
        raise NoTwin("a bias without a weight")
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    layer = made("LayerNorm", shape, eps, weight is not None, bias is not None)
    return held(layer, (input,), weight=weight, bias=bias)


def rms_norm(
    input: Value, normalized_shape: Any, weight: Value | None = None, eps: float | None = None
) -> Call:
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    return held(made("RMSNorm", shape, eps, weight is not None), (input,), weight=weight)


def group_norm(
    input: Value, num_groups: int, weight: Value | None = None, bias: Value | None = None,
    eps: float = 1e-5, cudnn_enabled: bool = True,
) -> Call:  # fmt: skip
    if weight is None and bias is not None:
        raise NoTwin("a bias without a weight")
    affine = weight is not None
    layer = made("GroupNorm", num_groups, input.shape[1], eps, affine, bias=bias is not None)
    return held(layer, (input,), weight=weight, bias=bias)


def batch_norm(
    input: Value, running_mean: Value | None = None, running_var: Value | None = None,
    weight: Value | None = None, bias: Value | None = None, training: bool = False,
    momentum: float = 0.1, eps: float = 1e-5,
) -> Call:  # fmt: skip
    state = (running_mean, running_var)
    return _normed("BatchNorm", input, weight, bias, eps, state, momentum, own=training)


def instance_norm(
    input: Value, running_mean: Value | None = None, running_var: Value | None = None,
    weight: Value | None = None, bias: Value | None = None, use_input_stats: bool = True,
    momentum: float = 0.1, eps: float = 1e-5,
) -> Call:  # fmt: skip
    state = (running_mean, running_var)
    return _normed("InstanceNorm", input, weight, bias, eps, state, momentum, own=use_input_stats)


def _normed(
    kind: str, input: Value, weight: Value | None, bias: Value | None, eps: float,
    state: tuple[Value | None, Value | None], momentum: float, *, own: bool,
) -> Call:  # fmt: skip
    """Return a normalisation by its input's own statistics, or by running ones."""
    if weight is None and bias is not None:
        raise NoTwin("a bias without a weight")
    if not 2 <= input.ndim <= 5:
        raise NoTwin(f"an input of {input.ndim} axes")
    axes = max(input.ndim - 2, 1)
    affine = weight is not None
    kept = all(value is not None for value in state)
    layer = made(
        f"{kind}{axes}d", input.shape[1], eps, plain(momentum), affine, kept, bias=bias is not None
    ).train(own)
    given = dict(zip(Tracking.STATISTICS, state if kept else (None, None), strict=True))
    form = Tracking if own and kept else Functional
    return held(layer, (input,), form=form, weight=weight, bias=bias, **given)


def local_response_norm(
    input: Value, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Call:
    return Call(made("LocalResponseNorm", size, alpha, beta, k), (input,))


# ── attention and dropout ────────────────────────────────────────────────────────────────────────
def attention(
    query: Value, key: Value, value: Value, attn_mask: Value | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Call:  # fmt: skip
    layer = made("ScaledDotProductAttention", dropout_p, is_causal, scale, enable_gqa)
    return Call(layer, (query, key, value, attn_mask))


def dropping(name: str, *, usually: bool = True) -> Builder:
    def builder(
        input: Value, p: float = 0.5, training: bool = usually, inplace: bool = False
    ) -> Call:
        if p == 1 and training:  # torch draws nothing
            return Call(MultiplyConstantGate(0.0), (input,))
        return Call(made(name, p).train(training), (input,))

    return builder


def rrelu(
    input: Value, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False,
    inplace: bool = False,
) -> Call:  # fmt: skip
    return Call(made("RReLU", lower, upper).train(training), (input,))


TABLE: dict[str, Builder] = {
    "linear": linear, "bilinear": bilinear, "embedding": embedding,
    "embedding_bag": embedding_bag, "prelu": prelu,
    "_weight_norm": weight_norm, "layer_norm": layer_norm, "rms_norm": rms_norm,
    "group_norm": group_norm, "batch_norm": batch_norm, "instance_norm": instance_norm,
    "local_response_norm": local_response_norm, "scaled_dot_product_attention": attention,
    "alpha_dropout": dropping("AlphaDropout", usually=False),
    "feature_alpha_dropout": dropping("FeatureAlphaDropout", usually=False),
    "dropout": dropping("Dropout"), **{f"dropout{n}d": dropping(f"Dropout{n}d") for n in AXES},
    "rrelu": rrelu,
    **{f"conv{n}d": convolution(n) for n in AXES},
    **{f"conv_transpose{n}d": transposed(n) for n in AXES},
}  # fmt: skip
