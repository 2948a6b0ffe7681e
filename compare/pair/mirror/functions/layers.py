"""torch.nn.functional: the hand-written layers and losses, with parameters that come as inputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from compare.pair.mirror.call import Builder, Call, NoTwin, Value
from compare.pair.mirror.functions.places import listed, numbers, taken
from manual import registry
from manual.gates.constants import MultiplyConstantGate
from manual.gates.directions import WeightNormGate
from manual.gates.functional import Functional
from manual.gates.products import MatMulGate
from manual.layer import Layer
from manual.losses.ctc import NormalisedCTC


def made(name: str, *args: Any, **kwargs: Any) -> Layer:
    """Return a hand-written layer or loss; NoTwin where it refuses its arguments."""
    try:
        return registry.find(name)(*args, **kwargs)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise NoTwin(f"{error}") from None


def held(layer: Layer, inputs: tuple[Value | None, ...], **given: Value | None) -> Call:
    """Return the call of a layer whose parameters are given beside its inputs."""
    known = {k: v for k, v in given.items() if v is not None}
    if not known:
        return Call(layer, inputs)
    return Call(Functional(layer, tuple(known), len(inputs)), (*inputs, *known.values()))


def plain(x: Any) -> Any:
    """Return an argument without Values: what a constructor takes."""
    if isinstance(x, Value):
        return x.array.item() if x.array.size == 1 else x.array.tolist()
    return tuple(plain(part) for part in x) if listed(x) else x


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


def linear_cross_entropy(
    input: Value, linear_weight: Value, target: Value, *, linear_bias: Value | None = None,
    weight: Value | None = None, reduction: str = "mean", ignore_index: int | None = None,
    label_smoothing: float = 0.0, options: Any = None,
) -> Call:  # fmt: skip
    shape = linear_weight.shape
    given: dict[str, Any] = {"weight": weight, "reduction": reduction,
                             "label_smoothing": label_smoothing}  # fmt: skip
    if ignore_index is not None:
        given["ignore_index"] = ignore_index
    layer = made(
        "LinearCrossEntropyLoss", shape[-1], shape[0], out_features=tuple(shape[1:-1]),
        bias=linear_bias is not None, **_options(given),
    )  # fmt: skip
    known = {"linear.weight": linear_weight, "linear.bias": linear_bias}
    return held(layer, (input, target), **known)


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
    layer = _normed("BatchNorm", input, weight, bias, eps, running=not training)
    state = {} if training else {"running_mean": running_mean, "running_var": running_var}
    return held(layer, (input,), weight=weight, bias=bias, **state)


def instance_norm(
    input: Value, running_mean: Value | None = None, running_var: Value | None = None,
    weight: Value | None = None, bias: Value | None = None, use_input_stats: bool = True,
    momentum: float = 0.1, eps: float = 1e-5,
) -> Call:  # fmt: skip
    layer = _normed("InstanceNorm", input, weight, bias, eps, running=not use_input_stats)
    state = {} if use_input_stats else {"running_mean": running_mean, "running_var": running_var}
    return held(layer, (input,), weight=weight, bias=bias, **state)


def _normed(
    kind: str, input: Value, weight: Value | None, bias: Value | None, eps: float, *, running: bool
) -> Layer:
    if weight is None and bias is not None:
        raise NoTwin("a bias without a weight")
    if not 2 <= input.ndim <= 5:
        raise NoTwin(f"an input of {input.ndim} axes")
    axes = max(input.ndim - 2, 1)
    affine = weight is not None
    layer = made(f"{kind}{axes}d", input.shape[1], eps, 0.1, affine, running, bias=bias is not None)
    return layer.train(not running)


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


# ── pooling ──────────────────────────────────────────────────────────────────────────────────────
def max_pool(axes: int, *, indices: bool = False) -> Builder:
    def builder(
        input: Value, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
        ceil_mode: bool = False, return_indices: bool = False,
    ) -> Call:  # fmt: skip
        stride = None if listed(stride) and not stride else plain(stride)
        layer = made(
            f"MaxPool{axes}d", plain(kernel_size), stride, plain(padding), plain(dilation),
            return_indices or indices, ceil_mode,
        )  # fmt: skip
        return Call(layer, (input,))

    return builder


def avg_pool(axes: int) -> Builder:
    def builder(
        input: Value, kernel_size: Any, stride: Any = None, padding: Any = 0,
        ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: Any = None,
    ) -> Call:  # fmt: skip
        stride = None if listed(stride) and not stride else plain(stride)
        more = {} if divisor_override is None else {"divisor_override": divisor_override}
        layer = made(
            f"AvgPool{axes}d", plain(kernel_size), stride, plain(padding), ceil_mode,
            count_include_pad, **more,
        )  # fmt: skip
        return Call(layer, (input,))

    return builder


def lp_pool(axes: int) -> Builder:
    def builder(
        input: Value, norm_type: float, kernel_size: Any, stride: Any = None,
        ceil_mode: bool = False,
    ) -> Call:  # fmt: skip
        layer = made(f"LPPool{axes}d", norm_type, plain(kernel_size), plain(stride), ceil_mode)
        return Call(layer, (input,))

    return builder


def adaptive_avg_pool(axes: int) -> Builder:
    def builder(input: Value, output_size: Any) -> Call:
        return Call(made(f"AdaptiveAvgPool{axes}d", plain(output_size)), (input,))

    return builder


def adaptive_max_pool(axes: int, *, indices: bool = False) -> Builder:
    def builder(input: Value, output_size: Any, return_indices: bool = False) -> Call:
        layer = made(f"AdaptiveMaxPool{axes}d", plain(output_size), return_indices or indices)
        return Call(layer, (input,))

    return builder


def fractional_max_pool(axes: int, *, indices: bool = False) -> Builder:
    def builder(
        input: Value, kernel_size: Any, output_size: Any = None, output_ratio: Any = None,
        return_indices: bool = False, _random_samples: Value | None = None,
    ) -> Call:  # fmt: skip
        samples = None if _random_samples is None else _random_samples.array
        layer = made(
            f"FractionalMaxPool{axes}d", plain(kernel_size), plain(output_size),
            plain(output_ratio), return_indices or indices, samples,
        )  # fmt: skip
        return Call(layer, (input,))

    return builder


def max_unpool(axes: int) -> Builder:
    def builder(
        input: Value, indices: Value, kernel_size: Any, stride: Any = None, padding: Any = 0,
        output_size: Any = None,
    ) -> Call:  # fmt: skip
        layer = made(f"MaxUnpool{axes}d", plain(kernel_size), plain(stride), plain(padding))
        if output_size is not None:
            layer = Functional(layer, (), 2, {"output_size": plain(output_size)})
        return Call(layer, (input, indices))

    return builder


# ── resampling ───────────────────────────────────────────────────────────────────────────────────
def interpolate(
    input: Value, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
    align_corners: bool | None = None, recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Call:  # fmt: skip
    if antialias:
        raise NoTwin("antialias")
    if mode == "area":
        return adaptive_avg_pool(input.ndim - 2)(input, _sizes(input, size, scale_factor))
    layer = made(
        "Upsample", plain(size), plain(scale_factor), mode, align_corners, recompute_scale_factor
    )
    return Call(layer, (input,))


def _sizes(input: Value, size: Any, scale: Any) -> tuple[int, ...]:
    axes = input.shape[2:]
    if size is not None:
        return plain(size) if listed(size) else (plain(size),) * len(axes)
    scales = plain(scale) if listed(scale) else (plain(scale),) * len(axes)
    return tuple(int(n * s) for n, s in zip(axes, scales, strict=True))


def upsample_nearest(input: Value, size: Any = None, scale_factor: Any = None) -> Call:
    return interpolate(input, size, scale_factor)


def upsample_bilinear(input: Value, size: Any = None, scale_factor: Any = None) -> Call:
    return interpolate(input, size, scale_factor, "bilinear", align_corners=True)


def grid_sample(
    input: Value, grid: Value, mode: str = "bilinear", padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Call:  # fmt: skip
    return Call(made("GridSample", mode, padding_mode, align_corners), (input, grid))


def grid_sampler(
    input: Value, grid: Value, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Call:
    mode = ("bilinear", "nearest", "bicubic")[interpolation_mode]
    return grid_sample(input, grid, mode, ("zeros", "border", "reflection")[padding_mode],
                       align_corners)  # fmt: skip


def affine_grid(theta: Value, size: Any, align_corners: bool | None = None) -> Call:
    return Call(made("AffineGrid", plain(size), align_corners), (theta,))


def fold(
    input: Value, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0,
    stride: Any = 1,
) -> Call:  # fmt: skip
    given = (output_size, kernel_size, dilation, padding, stride)
    return Call(made("Fold", *map(plain, given)), (input,))


def unfold(
    input: Value, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Call:
    return Call(made("Unfold", *map(plain, (kernel_size, dilation, padding, stride))), (input,))


def of_one(name: str) -> Builder:
    """Return the builder of a layer whose arguments are the function's, after the input."""

    def builder(input: Value, *args: Any, **kwargs: Any) -> Call:
        layer = made(name, *map(plain, args), **{k: plain(v) for k, v in kwargs.items()})
        return Call(layer, (input,))

    return builder


PADDINGS = {"reflect": "Reflection", "replicate": "Replication", "circular": "Circular"}


def pad(input: Value, pad: Any, mode: str = "constant", value: float | None = None) -> Call:
    widths = plain(pad)
    if mode != "constant":
        layer = made(f"{PADDINGS[mode]}Pad{len(widths) // 2}d", widths)
        return Call(layer, (input,))
    pairs = [(0, 0)] * (input.ndim - len(widths) // 2)
    pairs += [(widths[i], widths[i + 1]) for i in range(len(widths) - 2, -1, -2)]
    cut = tuple(
        slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(pairs, input.shape, strict=True)
    )
    more = [(max(a, 0), max(b, 0)) for a, b in pairs]
    places = np.pad(numbers(input)[cut], more, constant_values=-1)
    return taken(input, places, float(plain(value) or 0.0))


# ── losses ───────────────────────────────────────────────────────────────────────────────────────
def loss(name: str, inputs: int, defaults: dict[str, Any], *, weighted: bool = False) -> Builder:
    """Return the builder of a loss.

    Args:
        name: of the hand-written class.
        inputs: how many values it takes.
        defaults: the function's further arguments, in its order.
        weighted: whether its `weight` is data that the constructor takes.
    """

    def builder(*args: Any, **kwargs: Any) -> Call:
        names = ("input", "target", *defaults) if inputs == 2 else (*NAMES[name], *defaults)
        given = {**defaults, **dict(zip(names, args, strict=False)), **kwargs}
        if "weight" not in names and given.get("weight") is None:
            given.pop("weight", None)
        if len(args) > len(names) or not given.keys() <= set(names):
            raise NoTwin("other arguments than the function's")
        values = [given.pop(k) for k in names[:inputs]]
        return Call(made(name, **_options(given)), tuple(values))

    return builder


def _options(given: dict[str, Any]) -> dict[str, Any]:
    """Return a loss's constructor arguments; `size_average` and `reduce` are the old reduction."""
    given = dict(given)
    old = {k: given.pop(k, None) for k in ("size_average", "reduce")}
    if any(not isinstance(x, bool | None) for x in old.values()):
        raise NoTwin("torch's inner function, whose reduction is a number")
    if old["reduce"] is False:
        given["reduction"] = "none"
    elif old["size_average"] is not None or old["reduce"] is not None:
        given["reduction"] = "sum" if old["size_average"] is False else "mean"
    for name in ("weight", "pos_weight"):
        if isinstance(given.get(name), Value):
            if given[name].grad:
                raise NoTwin(f"a {name} with a gradient")
            given[name] = given[name].array
    return {k: v if isinstance(v, np.ndarray) else plain(v) for k, v in given.items()}


NAMES = {
    "MarginRankingLoss": ("input1", "input2", "target"),
    "CosineEmbeddingLoss": ("input1", "input2", "target"),
    "TripletMarginLoss": ("anchor", "positive", "negative"),
    "GaussianNLLLoss": ("input", "target", "var"),
    "CTCLoss": ("log_probs", "targets", "input_lengths", "target_lengths"),
}
OLD = {"size_average": None, "reduce": None, "reduction": "mean"}
NEW = {"reduction": "mean"}


def ctc_loss(
    log_probs: Value, targets: Value, input_lengths: Any, target_lengths: Any, blank: int = 0,
    reduction: str = "mean", zero_infinity: bool = False,
) -> Call:  # fmt: skip
    if not isinstance(reduction, str):
        raise NoTwin("torch's inner function, whose reduction is a number")
    layer = NormalisedCTC(blank, reduction, zero_infinity)
    lengths = {
        "input_lengths": np.array(plain(input_lengths)),
        "target_lengths": np.array(plain(target_lengths)),
    }
    return Call(Functional(layer, (), 2, lengths), (log_probs, targets))


LOSSES: dict[str, Builder] = {
    "cross_entropy": loss("CrossEntropyLoss", 2, {
        "weight": None, "size_average": None, "ignore_index": -100, "reduce": None,
        "reduction": "mean", "label_smoothing": 0.0}),
    "nll_loss": loss("NLLLoss", 2, {
        "weight": None, "size_average": None, "ignore_index": -100, "reduce": None,
        "reduction": "mean"}),
    "mse_loss": loss("MSELoss", 2, OLD), "l1_loss": loss("L1Loss", 2, OLD),
    "smooth_l1_loss": loss("SmoothL1Loss", 2, {**OLD, "beta": 1.0}),
    "huber_loss": loss("HuberLoss", 2, {**NEW, "delta": 1.0}),
    "kl_div": loss("KLDivLoss", 2, {**OLD, "log_target": False}),
    "binary_cross_entropy": loss("BCELoss", 2, {"weight": None, **OLD}),
    "binary_cross_entropy_with_logits": loss(
        "BCEWithLogitsLoss", 2, {"weight": None, **OLD, "pos_weight": None}),
    "poisson_nll_loss": loss("PoissonNLLLoss", 2, {
        "log_input": True, "full": False, "size_average": None, "eps": 1e-8, "reduce": None,
        "reduction": "mean"}),
    "gaussian_nll_loss": loss("GaussianNLLLoss", 3, {"full": False, "eps": 1e-6, **NEW}),
    "hinge_embedding_loss": loss("HingeEmbeddingLoss", 2, {"margin": 1.0, **OLD}),
    "margin_ranking_loss": loss("MarginRankingLoss", 3, {"margin": 0.0, **OLD}),
    "cosine_embedding_loss": loss("CosineEmbeddingLoss", 3, {"margin": 0.0, **OLD}),
    "soft_margin_loss": loss("SoftMarginLoss", 2, OLD),
    "multi_margin_loss": loss("MultiMarginLoss", 2, {
        "p": 1, "margin": 1.0, "weight": None, **OLD}),
    "multilabel_margin_loss": loss("MultiLabelMarginLoss", 2, OLD),
    "multilabel_soft_margin_loss": loss("MultiLabelSoftMarginLoss", 2, {"weight": None, **OLD}),
    "triplet_margin_loss": loss("TripletMarginLoss", 3, {
        "margin": 1.0, "p": 2, "eps": 1e-6, "swap": False, **OLD}),
    "ctc_loss": ctc_loss,
}  # fmt: skip
AXES = (1, 2, 3)
TABLE: dict[str, Builder] = {
    "linear": linear, "bilinear": bilinear, "embedding": embedding,
    "embedding_bag": embedding_bag, "prelu": prelu, "linear_cross_entropy": linear_cross_entropy,
    "_weight_norm": weight_norm, "layer_norm": layer_norm, "rms_norm": rms_norm,
    "group_norm": group_norm,
    "batch_norm": batch_norm, "instance_norm": instance_norm,
    "local_response_norm": local_response_norm, "scaled_dot_product_attention": attention,
    "alpha_dropout": dropping("AlphaDropout", usually=False),
    "feature_alpha_dropout": dropping("FeatureAlphaDropout", usually=False),
    "rrelu": rrelu, "interpolate": interpolate, "upsample": interpolate,
    "upsample_nearest": upsample_nearest, "upsample_bilinear": upsample_bilinear,
    "grid_sample": grid_sample, **dict.fromkeys(
        ("grid_sampler", "grid_sampler_2d", "grid_sampler_3d"), grid_sampler),
    "affine_grid": affine_grid, "fold": fold,
    "im2col": unfold, "pad": pad,
    "constant_pad_nd": lambda input, pad_, value=0: pad(input, pad_, value=value),
    "pixel_shuffle": of_one("PixelShuffle"), "pixel_unshuffle": of_one("PixelUnshuffle"),
    "channel_shuffle": of_one("ChannelShuffle"), "native_channel_shuffle": of_one("ChannelShuffle"),
    **{f"conv{n}d": convolution(n) for n in AXES},
    **{f"conv_transpose{n}d": transposed(n) for n in AXES},
    "dropout": dropping("Dropout"), **{f"dropout{n}d": dropping(f"Dropout{n}d") for n in AXES},
    **{f"max_pool{n}d": max_pool(n) for n in AXES},
    **{f"max_pool{n}d_with_indices": max_pool(n, indices=True) for n in AXES},
    **{f"avg_pool{n}d": avg_pool(n) for n in AXES}, **{f"lp_pool{n}d": lp_pool(n) for n in AXES},
    **{f"adaptive_avg_pool{n}d": adaptive_avg_pool(n) for n in AXES},
    **{f"adaptive_max_pool{n}d": adaptive_max_pool(n) for n in AXES},
    **{f"adaptive_max_pool{n}d_with_indices": adaptive_max_pool(n, indices=True) for n in AXES},
    **{f"fractional_max_pool{n}d": fractional_max_pool(n) for n in (2, 3)},
    **{f"fractional_max_pool{n}d_with_indices": fractional_max_pool(n, indices=True)
       for n in (2, 3)},
    **{f"max_unpool{n}d": max_unpool(n) for n in AXES},
    **LOSSES,
}  # fmt: skip
