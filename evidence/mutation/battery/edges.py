"""Pools and norms where no example can stand: empty batches, asked-for sizes, given winners."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

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
        y, cache_ = layer.forward(lift(self.draw(seed, INDICES.shape, "x")), INDICES, self.size)
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


@dataclass(frozen=True)
class DescribedCheck(FixedCheck):
    """What equations read besides: axes, windows, where noise comes from, what does not fit."""

    @property
    def name(self) -> str:
        return "what is said of Norm and Pool passes"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        norm = build("GroupNorm", (("num_groups", 1), ("num_channels", 2)))
        axes = [norm.forward(np.ones((2, 2, 3, 3)[:n]))[1].axes for n in (2, 3, 4)]
        pool = build("AdaptiveMaxPool2d", (("output_size", (3, 2)),))
        cache_ = pool.forward(np.ones((1, 1, 5, 4)))[1]
        unpool = build("MaxUnpool2d", (("kernel_size", (2, 3)), ("stride", 2)))
        back = unpool.forward(np.ones(INDICES.shape), INDICES)[1]
        given = (("kernel_size", 2), ("output_size", 2), ("_random_samples", [[[0.5, 0.5]]]))
        crop = build("Crop", (("axis", 1), ("offset", (1, 2))))
        part = crop.forward(np.ones((1, 3, 4)), np.ones((1, 2, 2)))[1]
        drop = build("Dropout2d", ()).forward(np.ones((1, 2, 3)), noise=np.ones((1, 2, 1)))[1]
        slopes = build("PReLU", ()), build("PReLU", (("num_parameters", 2), ("init", 0.5)))
        fixed, free = (build("FractionalMaxPool2d", given[:n]) for n in (3, 2))
        return {
            Key("", "axes"): np.array(axes, float),
            Key("", "windows"): np.concatenate([cache_.out, *cache_.starts]).astype(float),
            Key("", "unpooled"): np.array(back.out, float),
            Key("", "drawn"): np.array([fixed.stochastic, free.stochastic], float),
            Key("", "given"): np.array(fixed.buffers["_random_samples"].shape, float),
            Key("", "slopes"): np.concatenate([[s.init, *s.params["weight"]] for s in slopes]),
            Key("", "part"): np.array(part.first, float),
            Key("", "mask"): np.array(drop.keep.shape, float),
            Key("", "fits"): np.array([_fits(2), _fits(3)], float),
        }

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        found: dict[str, list[float]] = {
            "axes": [0, 1, 2],
            "windows": [3, 2, 0, 1, 3, 0, 2],
            "unpooled": [4, 5],
        }
        found |= {
            "drawn": [0, 1],
            "given": [1, 1, 2],
            "fits": [0, 1],
            "part": [1, 2],
            "slopes": [0.25, 0.25, 0.5, 0.5, 0.5],
            "mask": [1, 2, 3],
        }
        return {Key("", k): np.array(v, float) for k, v in found.items()}


def _fits(size: int) -> bool:
    layer = build("FractionalMaxPool2d", (("kernel_size", 2), ("output_size", 2)))
    try:
        layer.forward(np.ones((1, 1, size, 3)), noise=np.zeros((1, 1, 2)))
    except ValueError:
        return False
    return True


@cache
def edge_checks() -> list[Check]:
    """Return them all."""
    sizes = (None, (5, 4), (2, 1, 3, 6))
    return [
        *(EmptyCheck(*case) for case in EMPTY),
        *(UnpoolCheck(size) for size in sizes),
        PickCheck(),
        DescribedCheck(),
    ]
