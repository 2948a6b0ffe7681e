"""Where no example can stand: empty batches, asked-for sizes, given winners, forward alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import Check, FixedCheck, Lift
from evidence.mutation.battery.layers import Arguments, build

INDICES = np.array([[[[7, 3], [14, 10]]], [[[0, 2], [13, 11]]]])
EMPTY: tuple[tuple[str, Arguments, tuple[int, ...]], ...] = (
    ("BatchNorm1d", (("num_features", 2),), (0, 2)),
    ("BatchNorm2d", (("num_features", 2), ("momentum", None)), (3, 2, 0, 1)),
)


@dataclass(frozen=True)
class EmptyCheck(Check):
    """What a layer of no numbers gives: shapes, gradients of parameters, buffers."""

    type: str
    arguments: Arguments
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"{self.type} on {self.shape}"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        layer = build(self.type, self.arguments)
        layer = layer.with_params({k: lift(p) for k, p in layer.params.items()})
        layer = layer.with_buffers({**layer.buffers, "num_batches_tracked": np.array(3)})
        y, cache_ = layer.forward(lift(np.zeros(self.shape)))
        ((dx,), grads) = layer.backward(y, cache_)
        found = {Key("", "shapes"): np.array([*y.shape, *dx.shape], float)}
        found |= {Key("", f"grad:{k}"): g for k, g in grads.items()}
        after = layer.next_buffers(cache_)
        return found | {Key("", f"buffer:{k}"): np.array(b, float) for k, b in after.items()}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch

        from evidence.mutation.battery.torch_side import tensor
        from torch_ref.side import array_of

        twin = getattr(torch.nn, self.type)(**dict(self.arguments)).to(tensor(np.ones(1), dtype))
        twin.num_batches_tracked.fill_(3)
        x = tensor(np.zeros(self.shape), dtype).requires_grad_()
        y = twin(x)
        y.backward(y.detach())
        assert x.grad is not None
        found = {Key("", "shapes"): np.array([*y.shape, *x.grad.shape], float)}
        found |= {Key("", f"grad:{k}"): array_of(p.grad) for k, p in twin.named_parameters()}
        return found | {
            Key("", f"buffer:{k}"): np.array(array_of(b), float) for k, b in twin.named_buffers()
        }


@dataclass(frozen=True)
class UnpoolCheck(Check):
    """Unpooling into a size that is asked for, alone or as a whole shape."""

    size: tuple[int, ...] | None

    @property
    def name(self) -> str:
        return f"MaxUnpool2d into {self.size}"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        layer = build("MaxUnpool2d", (("kernel_size", (2, 3)), ("stride", 2)))
        y, cache_ = layer.forward(
            lift(self.draw(seed, INDICES.shape, "x")), INDICES, output_size=self.size
        )
        dy = lift(self.draw(seed, y.shape, "dy"))
        return {Key("", "output"): y, Key("", "grad_input"): layer.backward(dy, cache_)[0][0]}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch

        from evidence.mutation.battery.torch_side import tensor
        from torch_ref.side import array_of

        x = tensor(self.draw(seed, INDICES.shape, "x"), dtype).requires_grad_()
        y = torch.nn.MaxUnpool2d((2, 3), 2)(x, torch.tensor(INDICES), self.size)
        y.backward(tensor(self.draw(seed, tuple(y.shape), "dy"), dtype))
        assert x.grad is not None
        return {Key("", "output"): array_of(y), Key("", "grad_input"): array_of(x.grad)}


@dataclass(frozen=True)
class PickCheck(Check):
    """The winners of a pool whose windows are its own, and both passes with other winners given."""

    type: str = "AdaptiveMaxPool2d"

    @property
    def name(self) -> str:
        return f"winners of {self.type}"

    def x(self, seed: int, call: str) -> np.ndarray:
        x = np.round(self.draw(seed, (2, 2, 5, 4), call))  # with ties
        return np.where(self.rng(seed, call).random(x.shape) < 0.1 * (call == "b"), np.nan, x)

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        layer = build(self.type, (("output_size", (3, 2)),))
        winner = layer.decisions(layer.forward(lift(self.x(seed, "a")))[1])
        others = layer.decisions(layer.forward(lift(self.x(seed, "b")))[1])
        settled = layer.settled(others)
        y, cache_ = settled.forward(lift(self.x(seed, "a")))
        dy = lift(self.draw(seed, y.shape, "dy"))
        return {
            Key("", "winners"): np.array(winner, float),
            Key("", "with nan"): np.array(others, float),
            Key("", "given"): np.array(settled.decisions(cache_), float),
            Key("", "output"): y,
            Key("", "grad_input"): settled.backward(dy, cache_)[0][0],
        }

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch

        from evidence.mutation.battery.torch_side import tensor
        from torch_ref.side import array_of

        pool = getattr(torch.nn, self.type)((3, 2), return_indices=True)
        x = tensor(self.x(seed, "a"), dtype).requires_grad_()
        winner, others = pool(x)[1], pool(tensor(self.x(seed, "b"), dtype))[1]
        y = x.flatten(2).gather(2, others.flatten(2)).reshape(others.shape)
        y.backward(tensor(self.draw(seed, tuple(y.shape), "dy"), dtype))
        assert x.grad is not None
        found = {"winners": winner, "with nan": others, "given": others}
        return {Key("", k): array_of(v).astype(float) for k, v in found.items()} | {
            Key("", "output"): array_of(y),
            Key("", "grad_input"): array_of(x.grad),
        }


NORMS: tuple[tuple[str, Arguments, tuple[int, ...]], ...] = (  # and for how many axes of x
    ("GroupNorm", (("num_groups", 1), ("num_channels", 2)), (2, 3, 4)),
    ("LocalResponseNorm", (("size", 2),), (3, 4, 5)),
    ("SyncBatchNorm", (("num_features", 2),), (2, 3, 4)),
    ("BatchNorm1d", (("num_features", 2),), (2, 3)),
)
WINDOWS = (("kernel_size", 2), ("output_size", 2))
Calls = tuple[tuple[Arguments, tuple[int, ...]], ...]
LIMITS: tuple[tuple[str, Calls], ...] = (  # the first is refused, the second taken
    ("FractionalMaxPool2d", ((WINDOWS, (1, 1, 2, 3)), (WINDOWS, (1, 1, 3, 3)))),
    ("FractionalMaxPool3d", ((WINDOWS, (1, 1, 3, 4, 4)), (WINDOWS, (1, 1, 4, 4, 4)))),
    ("LocalResponseNorm", (((("size", 0),), (1, 1, 1)), ((("size", 1),), (1, 1, 1)))),
    ("Flatten", (((), (3,)), ((), (3, 2)))),
    ("CrossMapLRN2d", (((("size", 1),), (1, 1, 1, 1)), ((("size", 2),), (1, 1, 1, 1)))),
)


@dataclass(frozen=True)
class LimitCheck(FixedCheck):
    """A call that is just refused, and one that is just taken."""

    type: str
    calls: Calls

    @property
    def name(self) -> str:
        return f"what {self.type} refuses"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        taken = [_takes(self.type, *call) for call in self.calls]
        return {Key("", "taken"): np.array(taken, float)}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        return {Key("", "taken"): np.array([0, 1], float)}


def _takes(type_name: str, arguments: Arguments, shape: tuple[int, ...]) -> bool:
    try:
        layer = build(type_name, arguments)
        noise = {"noise": np.zeros((*shape[:2], len(shape) - 2))} if layer.stochastic else {}
        layer.forward(np.ones(shape), **noise)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class DescribedCheck(FixedCheck):
    """What equations and the harness read besides: axes, windows, winners, ε."""

    @property
    def name(self) -> str:
        return "what is said of Norm and Pool passes"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        pool = build("AdaptiveMaxPool2d", (("output_size", (3, 2)),))
        cache_ = pool.forward(np.ones((1, 1, 5, 4)))[1]
        mean = build("AvgPool2d", (("kernel_size", 2), ("divisor_override", 3)))
        unpool = build("MaxUnpool2d", (("kernel_size", (2, 3)), ("stride", 2)))
        back = unpool.forward(np.ones(INDICES.shape), INDICES)[1]
        sample = ("_random_samples", [[[0.5, 0.5]]])
        fixed, free = (build("FractionalMaxPool2d", g) for g in ((*WINDOWS, sample), WINDOWS))
        scaled = build("RMSNorm", (("normalized_shape", 3), ("eps", 0.25)))
        none = build("FractionalMaxPool2d", (WINDOWS[0], ("output_size", (0, 2)), sample))
        largest = build("MaxPool2d", (("kernel_size", 2), ("return_indices", True)))
        back_to = largest.settled(np.array([[[[1]]]]))  # though the last is the largest
        at = back_to.forward(np.arange(4.0).reshape(1, 1, 2, 2))[1]
        contrast = build("LocalContrastNorm", (("size", 3),))
        crop = build("Crop", (("axis", 1), ("offset", (1, 2))))
        part = crop.forward(np.ones((1, 3, 4)), np.ones((1, 2, 2)))[1]
        drop = build("Dropout2d", ()).forward(np.ones((1, 2, 3)), noise=np.ones((1, 2, 1)))[1]
        slopes = build("PReLU", ()), build("PReLU", (("num_parameters", 2), ("init", 0.5)))
        found = {
            "slopes": np.concatenate([[s.init, *s.params["weight"]] for s in slopes]),
            "part": part.first,
            "mask": drop.keep.shape,
            "fits": [_fits(2), _fits(3)],
            "axes": [_axes(*case) for case in NORMS],
            "windows": [cache_.out, *cache_.starts],
            "divisors": mean.forward(np.ones((1, 4, 6)))[1].divisor.shape,
            "unpooled": back.out,
            "drawn": [fixed.stochastic, free.stochastic],
            "kinds": [ord(free.draw(x, rng=np.random.default_rng(0)).dtype.char) for x in IMAGES],
            "given": fixed.buffers["_random_samples"].shape,
            "nothing": none.forward(np.ones((1, 1, 4, 4)))[0].shape,
            "back": back_to.backward((np.full((1, 1, 1, 1), 2.0), None), at)[0][0].ravel(),
            "winners": np.ravel(np.array(_winners(float("inf")))),
            "no winners": [_winners(2.0) is None],
            "spacing": _spacing(),
            "standing for": _spacing(np.float32),
            "eps": [scaled.forward(np.ones(3))[1].eps],
            "at c": contrast.forward(np.array([[3.375]]))[1].large,  # whose spread is 1 = c
        }
        return {Key("", k): np.array(np.hstack(v), float) for k, v in found.items()}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        found: dict[str, Any] = {
            "slopes": [0.25, 0.25, 0.5, 0.5, 0.5],
            "part": [1, 2],
            "mask": [1, 2, 3],
            "fits": [0, 1],
            "axes": [0, 1, 2, 1, 2, 3, 0, 1, 2, 0, 1],
            "windows": [3, 2, 0, 1, 3, 0, 2],
            "divisors": [2, 3],
            "unpooled": [4, 5],
            "drawn": [0, 1],
            "kinds": [ord(kind) for kind in "fdd"],
            "given": [1, 1, 2],
            "nothing": [1, 1, 0, 2],
            "back": [0, 2, 0, 0],
            "winners": [2, -3, 5, 0, -4, -5],
            "no winners": [1],
            "spacing": [23, 52, 52],
            "standing for": [23, 23, 23],
            "eps": [0.25],
            "at c": [0],
        }
        return {Key("", k): np.array(np.hstack(v), float) for k, v in found.items()}


IMAGES = [np.ones((1, 2, 2), kind) for kind in (np.float32, np.float64, object)]


def _spacing(double: Any = np.float64) -> list[float]:
    """Return the digits of the types of IMAGES, where float64 stands for another."""
    rounding = import_module("manual.rounding")
    with rounding.standing_for(double):
        return [-np.log2(rounding.machine_epsilon(x)) for x in IMAGES]


def _fits(size: int) -> bool:
    layer = build("FractionalMaxPool2d", (("kernel_size", 2), ("output_size", 2)))
    try:
        layer.forward(np.ones((1, 1, size, 3)), noise=np.zeros((1, 1, 2)))
    except ValueError:
        return False
    return True


def _axes(type_name: str, arguments: Arguments, counts: tuple[int, ...]) -> list[int]:
    """Return how many axes a norm's cache says are behind the channels."""
    layer = build(type_name, arguments)
    return [layer.forward(np.ones((2, 2, 3, 3, 1)[:n]))[1].axes for n in counts]


SIGNED = [[[1.0, 2.0, -4.0, 3.0, 0.5, 0.25], [0.0, 0.0, 0.5, -1.0, -2.0, 1.0]]]


def _winners(p: float) -> np.ndarray | None:
    layer = build("LPPool1d", (("norm_type", p), ("kernel_size", 2)))
    return layer.decisions(layer.forward(np.array(SIGNED))[1])


@dataclass(frozen=True)
class AskedCheck(Check):
    """A transposed convolution into a size that is asked for, alone or as a whole shape."""

    size: tuple[int, ...]
    type: str = "ConvTranspose2d"
    options: Arguments = (("stride", (3, 2)), ("padding", (1, 0)), ("dilation", (1, 2)))

    @property
    def name(self) -> str:
        return f"{self.type} into {self.size}"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        sizes = (("in_channels", 1), ("out_channels", 1), ("kernel_size", (2, 3)))
        layer = build(self.type, (*sizes, *self.options, ("bias", False)))
        layer = layer.with_params({"weight": lift(self.draw(seed, (1, 1, 2, 3), "W"))})
        x = lift(self.draw(seed, (2, 1, 3, 2), "x"))
        return {Key("", "output"): layer.forward(x, output_size=self.size)[0]}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch

        from evidence.mutation.battery.torch_side import tensor
        from torch_ref.side import array_of

        weight = tensor(self.draw(seed, (1, 1, 2, 3), "W"), dtype)
        twin = torch.nn.ConvTranspose2d(1, 1, (2, 3), **dict(self.options), bias=False)
        twin.weight = torch.nn.Parameter(weight)
        y = twin(tensor(self.draw(seed, (2, 1, 3, 2), "x"), dtype), self.size)
        return {Key("", "output"): array_of(y)}


@dataclass(frozen=True)
class NearestCheck(Check):
    """The nearest places alone: torch's backward counts some of them unlike its forward."""

    arguments: Arguments
    shape: tuple[int, ...]
    type: str = "Upsample"

    @property
    def name(self) -> str:
        return f"{self.type}{self.arguments} forward"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        layer = build(self.type, self.arguments)
        return {Key("", "output"): layer.forward(lift(self.draw(seed, self.shape, "x")))[0]}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch

        from evidence.mutation.battery.torch_side import tensor
        from torch_ref.side import array_of

        x = tensor(self.draw(seed, self.shape, "x"), dtype)
        return {Key("", "output"): array_of(torch.nn.Upsample(**dict(self.arguments))(x))}


NEAREST: tuple[tuple[Arguments, tuple[int, ...]], ...] = (
    ((("scale_factor", 1.2),), (1, 2, 3)),  # as many places as before
    *(
        ((("size", size), ("mode", "nearest-exact")), (1, 1, 26, 1))
        for size in ((11, 117), (11, 118))  # the largest small image, and the next
    ),
)


@cache
def edge_checks() -> list[Check]:
    """Return them all."""
    sizes = (None, (5, 4), (2, 1, 3, 6))
    return [
        *(EmptyCheck(*case) for case in EMPTY),
        *(UnpoolCheck(size) for size in sizes),
        *(LimitCheck(*case) for case in LIMITS),
        PickCheck(),
        *(AskedCheck(size) for size in ((6, 8), (7, 7), (2, 1, 8, 8))),
        *(NearestCheck(*case) for case in NEAREST),
        DescribedCheck(),
    ]
