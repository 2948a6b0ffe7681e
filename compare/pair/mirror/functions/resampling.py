"""torch.nn.functional: images in other sizes, cut up, put together, padded."""

from __future__ import annotations

from typing import Any

import numpy as np

from compare.pair.mirror.call import Builder, Call, NoTwin, Value
from compare.pair.mirror.functions.making import made, of_one, plain
from compare.pair.mirror.functions.places import listed, numbers, taken
from compare.pair.mirror.functions.pools import adaptive_avg_pool


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


TABLE: dict[str, Builder] = {
    "interpolate": interpolate, "upsample": interpolate,
    "upsample_nearest": upsample_nearest, "upsample_bilinear": upsample_bilinear,
    "grid_sample": grid_sample, **dict.fromkeys(
        ("grid_sampler", "grid_sampler_2d", "grid_sampler_3d"), grid_sampler),
    "affine_grid": affine_grid, "fold": fold, "im2col": unfold, "pad": pad,
    "constant_pad_nd": lambda input, pad_, value=0: pad(input, pad_, value=value),
    "pixel_shuffle": of_one("PixelShuffle"), "pixel_unshuffle": of_one("PixelUnshuffle"),
    "channel_shuffle": of_one("ChannelShuffle"), "native_channel_shuffle": of_one("ChannelShuffle"),
}  # fmt: skip
