"""torch.nn.functional: pooling, and its inverse."""

from __future__ import annotations

from typing import Any

from compare.pair.mirror.call import Builder, Call, Value
from compare.pair.mirror.functions.making import AXES, made, plain
from compare.pair.mirror.functions.places import listed
from manual.gates.functional import Functional


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


TABLE: dict[str, Builder] = {
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
}  # fmt: skip
