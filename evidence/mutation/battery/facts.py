"""What parts give that torch has no call for: each beside the numbers that are right."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import Check, FixedCheck, Lift
from evidence.mutation.battery.layers import build

INF, LOG2 = math.inf, math.log(2)


def of(module: str, name: str) -> Any:
    """Return what the hand-written package that is loaded calls so."""
    return getattr(import_module(f"manual.{module}"), name)


def refuses(error: type[Exception], call: Callable[[], Any]) -> bool:
    try:
        call()
    except error:
        return True
    return False


# ── masks, weights, products, distances ──────────────────────────────────────────────────────────
def parted() -> list[Any]:
    part = of("attention.masks", "parted")
    hidden, added = part(np.array([-INF, INF, 1.0]))
    nothing, whole = part(np.array([0.0, -2.0]))
    return [*hidden, *added, nothing is None, *whole]


def dropped() -> list[Any]:
    told = of("attention.dot_product", "told")
    mask = np.array([1.0, 0.0])
    every, half = (told("A", (mask,), p, (2,)) for p in (1.0, 0.5))
    return [every.scale, half.scale, *half.keep, told("A", (), 0.5, (2,)) is None]


class Ruled:
    """An operand that says itself what a product of it is."""

    __bilinear__ = staticmethod(lambda function, terms, a, b: (function(2, 3), terms(a, b)))


def ruled() -> list[Any]:
    times = of("bilinear", "bilinear")(terms=lambda a, b: 5)(lambda a, b: a * b)
    return [*times(Ruled(), 1), *times(1, Ruled()), times(2, 4)]


def windows() -> list[Any]:
    sizes = (("in_channels", 1), ("out_channels", 1), ("kernel_size", 2))
    return [*build("Conv1d", (*sizes, ("dilation", 3))).windows((4,))[:4]]


def roots() -> list[Any]:
    root = of("distance", "root")
    odd = np.arange(3.0, 60, 2)
    exact = [root(odd, 1) == odd, root(odd * odd, 2) == odd]
    long = np.longdouble(1000)
    fine = np.finfo(np.longdouble).eps > 1e-18 or abs(root(long, 3) - 10) < 1e-17
    return [np.all(exact), *root(np.array([0.0, 8.0]), 3), fine]


def long_rows() -> list[Any]:
    """A table whose rows a forward pass shortens, within a graph."""
    manual = import_module("manual")
    table = (("num_embeddings", 3), ("embedding_dim", 2), ("max_norm", 5.0))
    net = manual.Sequential(build("Embedding", table), build("Tanh", ()))
    rows = np.array([[3.0, 4.0], [9.0, 12.0], [6.0, 8.0]])
    net = net.with_params({"0.weight": rows})
    new = net.rewritten(net.run(np.array([0, 2])))
    return [len(new), *new["0.weight"]]


# ── losses ───────────────────────────────────────────────────────────────────────────────────────
def zeros() -> list[Any]:
    zero = of("losses.base", "zero")
    found = zero(np.array([[1.0], [-1.0]]), (2,))
    return [*found.shape, *found, zero(np.array([1, -1]), (2,)) is None]


def cosine_targets() -> list[Any]:
    layer = build("CosineEmbeddingLoss", ())
    _, cache_ = layer.forward(np.eye(2), np.ones((2, 2)), np.array([1.0, -1.0]))
    target = layer.backward(np.ones(()), cache_)[0][2]
    one = layer.forward(np.ones(2), np.ones(2), np.array(1.0))[1]
    return [*target.shape, *target, np.ndim(layer.backward(np.ones(()), one)[0][2])]


def contrast() -> list[Any]:
    """Pairs at distances 1, ½ and 3/2 under a margin of 1, none alike; and squared ones of 1."""
    a, b, none = np.array([[1.0, 0], [0.5, 0], [1.5, 0]]), np.zeros((3, 2)), np.zeros(3, int)
    layer = build("ContrastiveLoss", (("reduction", "sum"),))
    legacy = build("ContrastiveLoss", (("legacy_version", True), ("reduction", "sum")))
    (y, past), (old, then) = layer.forward(a, b, none), legacy.forward(a, b, none)
    slopes = [k.backward(np.ones(()), c)[0][0][:, 0] for k, c in ((layer, past), (legacy, then))]
    return [y, old, *layer.decisions(past).ravel(), *np.ravel(slopes)]


def triplets() -> list[Any]:
    """Hinges that are just open, open and shut, with the negative farther, nearer, or swapped."""
    layer = build(
        "TripletMarginWithDistanceLoss",
        (("distance_function", of("distance", "PairwiseDistance")(eps=0.0)), ("swap", True)),
    )
    a, b, c = (np.array([x], float).T for x in ([0] * 5, [1, 1, 4, 1, 1], [2, -1, 3, 3, 3.5]))
    y, past = layer.forward(a, b, c)
    grads = np.concatenate(layer.backward(np.ones(()), past)[0])
    rows = layer.forward(*(x * np.ones((2, 3, 1)) for x in (0, 1, -1)))[1]
    return [y, *layer.decisions(past), *grads, *layer.backward(np.ones(()), rows)[0][1].ravel()]


def added_logs() -> Iterable[Any]:
    """log(eᵃ + eᵇ), also of complex steps: their share of the sum, and of what overflows."""
    add, h = of("losses.ctc", "_log_add"), 2.0**-80
    a = np.array([0.0, -1.0, 3.0, 800.0, 0.0, -800.0, -INF, 800.0])
    b = np.array([1.0, -1.0, -2.0, 0.0, 800.0, -801.0, 800.0, -INF])
    yield np.ravel(add(np.array(0.0), np.array(-40.0))) * 2**58
    found = add(a + 1j * h, b + 0j)
    yield found.real - np.logaddexp(a, b)
    yield found.imag / h - np.exp(a - np.logaddexp(a, b))
    with np.errstate(divide="ignore"):
        yield add(np.array([-INF + 0j]), np.array([-INF + 0j])).real


def labels() -> Iterable[Any]:
    """Labels that cannot be, lengths as plain lists, and a label that is impossible at one step."""
    logs = np.log(np.full((3, 2, 3), 0.25))
    logs[:, 0, 1], logs[0, 1, 1] = -INF, -INF
    given = np.array([[1], [1]]), [3, 3], [1, 1]
    for zero in (False, True):
        layer = build("CTCLoss", (("reduction", "none"), ("zero_infinity", zero)))
        y, past = layer.forward(logs, *given)
        yield from y
        yield from layer.backward(np.ones(2), past)[0][0][:, :, :2].ravel()


# ── weightings ───────────────────────────────────────────────────────────────────────────────────
def sharpened() -> list[Any]:
    """A weight of 0, and powers that underflow if they are not relative to the largest."""
    layer = build("Sharpening", ())
    w, gamma = np.array([1e-3, 2e-3, 0.0]), np.array([150.0])
    y, past = layer.forward(w, gamma)
    ((dw, dgamma), _) = layer.backward(np.array([0.0, 1.0, 2.0]), past)
    third, grads = layer.forward(np.array([0.25, 0.5, 0.0]), np.array([1.0]))
    ((_, slope), _) = layer.backward(np.array([0.0, 1.0, 2.0]), grads)
    return [*y[1:], *dw[1:], dgamma[0] * 2.0**150, *third, *slope, layer.pictured]


# ── layers whose weight is made of others ────────────────────────────────────────────────────────
def made() -> Iterable[Any]:
    prelu = build("PReLU", (("num_parameters", 2),))
    layer = build("SpectralNorm", (("module", prelu),))
    yield layer.eps
    yield layer.module is prelu
    for table in ({"type": "Nothing"}, {"in_features": 3}):
        try:
            of("norm.parametrized", "SpectralNorm")(table)
        except TypeError as error:
            told = str(error)
            yield told.startswith("SpectralNorm: module must be a hand-written layer")
            yield told.endswith(f"received {table!r}.")
    past = layer.forward(np.array([[2.0, -1.0]]))[1]
    yield layer.decisions(past) is not None
    yield np.all(layer.decisions(past) == prelu.decisions(past.inner))
    yield len(layer.next_buffers(past)) == 0
    yield layer.train(False).train().training
    yield from short_vector()


def short_vector() -> Iterable[Any]:
    """A vector as long as eps, and one of length 0, made a unit vector."""
    linear = build("Linear", (("in_features", 1), ("out_features", 3)))
    layer = of("norm.parametrized", "SpectralNorm")(linear, "bias", eps=0.5)
    for given in ([0.5, 0.0, 0.0], [0.0, 0.0, 0.0]):
        own = {key: np.array(given) if "bias" in key else p for key, p in layer.params.items()}
        bound = layer.with_params(own)
        y, past = bound.forward(np.zeros((1, 1)))
        grads = bound.backward(np.ones((1, 3)), past)[1]
        yield from (y, grads["parametrizations.bias.original"])


# ── layers of no size yet ────────────────────────────────────────────────────────────────────────
def lazy() -> Iterable[Any]:
    for axes in (1, 2, 3):
        batch, sample = np.zeros((4, 5, *[6] * axes)), np.zeros((5, *[6] * axes))
        for name in ("Conv", "ConvTranspose"):
            kind = f"Lazy{name}{axes}d"
            one = of("lazy", kind)(2, kernel_size=3, stride=2)
            right = (("in_channels", 5), ("out_channels", 2), ("kernel_size", 3), ("stride", 2))
            yield from (_same(one.for_input(x), f"{name}{axes}d", right) for x in (batch, sample))
        given: Any = (("num_features", 5), ("momentum", 0.25))
        norm = of("lazy", f"LazyBatchNorm{axes}d")(momentum=0.25)
        yield _same(norm.for_input(batch), f"BatchNorm{axes}d", given)
        norm = of("lazy", f"LazyInstanceNorm{axes}d")(momentum=0.25)
        given = (*given, ("affine", True), ("track_running_stats", True))
        yield _same(norm.for_input(batch), f"InstanceNorm{axes}d", given)


def lazy_linear() -> Iterable[Any]:
    one = of("lazy", "LazyLinear")(3, bias=False)
    right = (("in_features", 5), ("out_features", 3), ("bias", False))
    for shape in ((5,), (2, 5), (2, 4, 5)):
        yield _same(one.for_input(np.zeros(shape)), "Linear", right)
    yield refuses(ValueError, lambda: one.for_input(np.zeros(())))
    modes = (one, one.train(False), one.train(False).train())
    yield from (_same(k.for_input(np.zeros(5)), "Linear", right) for k in modes)
    yield from (k.for_input(np.zeros(5)).training for k in modes)
    yield one.training
    yield repr(one) == "LazyLinear(out_features=3, bias=False)"
    yield str(type(one).__signature__).startswith("(out_features: 'int', bias: 'bool' = True")
    yield refuses(TypeError, lambda: of("lazy", "LazyLinear")(3, in_features=5))
    norm = str(of("lazy", "LazyInstanceNorm1d").__signature__)
    yield "affine: 'bool' = True" in norm and "num_features" not in norm


def _same(layer: Any, type_name: str, arguments: Any) -> bool:
    return repr(layer) == repr(build(type_name, arguments))


IMPOSSIBLE = np.array([  # gradients of blank and label: of a sample that has no path, and of one
    [[math.nan, math.nan], [-1, 0]], *[[[math.nan, math.nan], [-1 / 3, -2 / 3]]] * 2
]).ravel()  # fmt: skip
SHORTER = 5 / (10 + 1e-7)
FACTS: dict[str, tuple[Callable[[], Iterable[Any]], Any]] = {
    "what masks hide and add": (parted, [1, 0, 0, 0, INF, 1, 1, 0, -2]),
    "what dropout of weights is told": (dropped, [0, 2, 1, 0, 1]),
    "products that operands rule": (ruled, [6, 5, 6, 5, 8]),
    "windows along an axis": (windows, [1, 2, 1, 1, 1, 3, 0, 4]),
    "roots": (roots, [1, 0, 2, 1]),
    "rows that a graph shortens": (long_rows, [1, 3, 4, 9, 12, 6 * SHORTER, 8 * SHORTER]),
    "gradients of targets": (zeros, [2, 0, 0, 1]),
    "the gradient of cosine's target": (cosine_targets, [2, 0, 0, 0]),
    "contrast at the margin": (contrast, [0.125, 0.375, 0, 1, 0, 0, -0.5, 0, 0, -0.5, 0]),
    "hinges of triplets": (
        triplets,
        [
            1.2,
            3,
            1,
            3,
            3,
            2,
            *[-0.2, -0.4, -0.2, -0.2, 0],
            *[0.4, 0.2, 0, 0.4, 0],
            *[-0.2, 0.2, 0.2, -0.2, 0],
            *[1 / 6] * 6,
        ],
    ),
    "sums of logarithms": (added_logs, [math.log1p(math.exp(-40)) * 2**58, *[0] * 16, -INF]),
    "labels that cannot be": (
        labels,
        [INF, -math.log(3 / 64), *IMPOSSIBLE, 0, -math.log(3 / 64), *np.nan_to_num(IMPOSSIBLE)],
    ),
    "sharpened weights of 0": (
        sharpened,
        [1, 0, 0, 0, LOG2, *[1 / 3, 2 / 3, 0], 2 / 9 * LOG2, 1],
    ),
    "layers whose weight is made": (
        made,
        [1e-12, *[1] * 9, *[1, 0, 0], *[0, 2, 2], *[0, 0, 0], *[2, 2, 2]],
    ),
    "lazy convolutions and norms": (lazy, [1] * 18),
    "lazy rows": (lazy_linear, [1] * 7 + [1, 0, 1] + [1] * 5),
}


@dataclass(frozen=True)
class FactCheck(FixedCheck):
    """One of them; infinite numbers and nan count as numbers of their own."""

    fact: str

    @property
    def name(self) -> str:
        return f"fact: {self.fact}"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        return _told(FACTS[self.fact][0]())

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        return _told(FACTS[self.fact][1])


def _told(found: Iterable[Any]) -> Values:
    numbers = np.concatenate([np.ravel(np.asarray(x, dtype=float)) for x in found])
    return {Key("", "numbers"): np.nan_to_num(numbers, nan=7e3, posinf=8e3, neginf=-8e3)}


# ── adaptive softmax: two outputs, of which either may be used ───────────────────────────────────
ADAPTIVE: tuple[tuple[Any, Any], ...] = (
    ((2, 5), [6, 0, 3, 2, 5, 1]), ((1, 3, 4), [0, 2, 1, 2]), ((3,), 4), ((2, 5), 1),
)  # fmt: skip


@dataclass(frozen=True)
class AdaptiveCheck(Check):
    """AdaptiveLogSoftmaxWithLoss, an upstream gradient reaching its outputs, or one of them."""

    case: int
    reached: tuple[bool, bool]

    @property
    def name(self) -> str:
        return f"AdaptiveLogSoftmaxWithLoss {self.case}, upstream of {self.reached}"

    @property
    def arguments(self) -> dict[str, Any]:
        return {"in_features": 8, "n_classes": 7, "cutoffs": ADAPTIVE[self.case][0],
                "div_value": 2.0, "head_bias": self.case != 1}  # fmt: skip

    def given(self, seed: int) -> tuple[np.ndarray, np.ndarray, list[np.ndarray | None]]:
        target = np.array(ADAPTIVE[self.case][1])
        dy = [self.draw(seed, shape, "dy") for shape in (target.shape, ())]
        own = [d if r else None for d, r in zip(dy, self.reached, strict=True)]
        return self.draw(seed, (*target.shape, 8), "x"), target, own

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        layer = build("AdaptiveLogSoftmaxWithLoss", tuple(self.arguments.items()))
        own = {k: lift(self.draw(seed, p.shape, k)) for k, p in layer.params.items()}
        x, target, upstream = self.given(seed)
        (y, loss), past = layer.with_params(own).forward(lift(x), target)
        dy = tuple(None if d is None else lift(d) for d in upstream)
        ((dx, _), grads) = layer.with_params(own).backward(dy, past)
        found = {"output": y, "loss": loss, "grad_input": dx}
        return {Key("", k): v for k, v in found.items()} | {Key(k, "grad"): g for k, g in
                                                            grads.items()}  # fmt: skip

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch

        from evidence.mutation.battery.torch_side import DTYPES, tensor
        from torch_ref.side import array_of

        options = {**self.arguments, "cutoffs": list(self.arguments["cutoffs"])}
        twin = torch.nn.AdaptiveLogSoftmaxWithLoss(**options).to(DTYPES[dtype.name])
        own = dict(twin.named_parameters())
        twin.load_state_dict(
            {k: tensor(self.draw(seed, tuple(p.shape), k), dtype) for k, p in own.items()}
        )
        x, target, upstream = self.given(seed)
        leaf = tensor(x, dtype).requires_grad_()
        y = twin(leaf, torch.tensor(target))
        pairs = [(p, tensor(d, dtype)) for p, d in zip(y, upstream, strict=True) if d is not None]
        grads = torch.autograd.grad(
            [p for p, _ in pairs], [leaf, *own.values()], [d for _, d in pairs],
            allow_unused=True, materialize_grads=True,
        )  # fmt: skip
        found = {"output": y.output, "loss": y.loss, "grad_input": grads[0]}
        return {Key("", k): array_of(v).copy() for k, v in found.items()} | {
            Key(k, "grad"): array_of(g).copy() for k, g in zip(own, grads[1:], strict=True)
        }


@dataclass(frozen=True)
class NormalisedCheck(Check):
    """CTC of what a log_softmax made, with torch's own gradient: the functional form."""

    name = "NormalisedCTC"  # type: ignore[assignment]
    given = (np.array([[1, 2, 1], [2, 0, 0]]), np.array([5, 4]), np.array([3, 1]))

    def x(self, seed: int) -> np.ndarray:
        z = self.draw(seed, (5, 2, 3), "z")
        return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        layer = of("losses.ctc", "NormalisedCTC")(reduction="none")
        y, past = layer.forward(lift(self.x(seed)), *self.given)
        grads, own = layer.backward(lift(self.draw(seed, (2,), "dy")), past)
        counts = np.array([len(grads), len(own)], float)
        return {Key("", "output"): y, Key("", "grad"): grads[0], Key("", "counts"): counts}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch

        from evidence.mutation.battery.torch_side import tensor
        from torch_ref.side import array_of

        x = tensor(self.x(seed), dtype).requires_grad_()
        labels, steps, lengths = (torch.tensor(a) for a in self.given)
        y = torch.nn.functional.ctc_loss(x, labels, steps, lengths, reduction="none")
        (grad,) = torch.autograd.grad(y, x, tensor(self.draw(seed, (2,), "dy"), dtype))
        counts = np.array([4.0, 0.0])
        return {Key("", "output"): array_of(y).copy(), Key("", "grad"): array_of(grad).copy(),
                Key("", "counts"): counts}  # fmt: skip


@cache
def fact_checks() -> list[Check]:
    """Return them all."""
    reached = ((True, False), (False, True), (True, True))
    return [
        *(FactCheck(fact) for fact in FACTS),
        NormalisedCheck(),
        *(AdaptiveCheck(case, r) for case in range(len(ADAPTIVE)) for r in reached),
    ]
