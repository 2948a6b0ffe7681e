"""Functions of many elements: sums, extremes, orders, what runs along an axis, softmax."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from compare.pair.mirror.call import Builder, Call, NoTwin, Value
from compare.pair.mirror.functions.arguments import a_number, of, same_type
from manual import gates, softmax
from manual.distance import CosineSimilarity, PairwiseDistance
from manual.gates import cumulative, distances, norms, picks, reductions, scaling, spread
from manual.gates.pairs import MinGate
from manual.layer import Layer

TABLE: dict[str, Builder] = {}
Dim = Any  # an axis, several, or None


def _entry(*names: str) -> Callable[[Builder], Builder]:
    def enter(builder: Builder) -> Builder:
        TABLE.update(dict.fromkeys(names, builder))
        return builder

    return enter


def _axes(dim: Any) -> Any:
    return tuple(dim) if isinstance(dim, list | tuple) else dim


def _reduction(layer: Callable[..., Layer]) -> Builder:
    def build(input: Value, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Call:
        same_type(input, dtype)
        return of(layer(_axes(dim), keepdim), input)

    return build


REDUCTIONS: dict[str, Callable[..., Layer]] = {
    "sum": reductions.SumGate,
    "mean": reductions.MeanGate,
    "nansum": reductions.NanSumGate,
    "nanmean": reductions.NanMeanGate,
    "prod": reductions.ProdGate,
    "amax": reductions.AmaxGate,
    "amin": reductions.AminGate,
    "logsumexp special.logsumexp": reductions.LogSumExpGate,
}
for _names, _layer in REDUCTIONS.items():
    TABLE.update(dict.fromkeys(_names.split(), _reduction(_layer)))


def _spread(layer: type[spread.Spread]) -> Builder:
    def build(
        input: Value,
        dim: Dim = None,
        unbiased: bool | None = None,
        keepdim: bool = False,
        *,
        correction: float | None = None,
    ) -> Call:
        if isinstance(dim, bool):  # var(input, unbiased)
            dim, unbiased = None, dim
        if correction is None:
            correction = 1 if unbiased is None else int(unbiased)
        return of(layer(_axes(dim), correction, keepdim), input)

    return build


TABLE["var"] = _spread(spread.VarGate)
TABLE["std"] = _spread(spread.StdGate)
TABLE["var_mean"] = _spread(spread.VarMeanGate)
TABLE["std_mean"] = _spread(spread.StdMeanGate)


@_entry("max")
def _max(input: Value, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Call:
    other = dim if isinstance(dim, Value) else other
    if other is not None:
        return of(gates.MaxGate(), input, other)
    if dim is None:
        return of(reductions.AmaxGate(), input)
    return of(picks.MaxAlongGate(dim, keepdim), input)


@_entry("min")
def _min(input: Value, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Call:
    other = dim if isinstance(dim, Value) else other
    if other is not None:
        return of(MinGate(), input, other)
    if dim is None:
        return of(reductions.AminGate(), input)
    return of(picks.MinAlongGate(dim, keepdim), input)


@_entry("aminmax")
def _aminmax(input: Value, *, dim: int | None = None, keepdim: bool = False) -> Call:
    return of(reductions.AminmaxGate(dim, keepdim), input)


def _median(skips_nan: bool) -> Builder:
    def build(input: Value, dim: int | None = None, keepdim: bool = False) -> Call:
        if dim is None:
            return of(reductions.MedianGate(skips_nan), input)
        return of(picks.MedianAlongGate(dim, keepdim, skips_nan), input)

    return build


TABLE["median"], TABLE["nanmedian"] = _median(False), _median(True)


@_entry("mode")
def _mode(input: Value, dim: int = -1, keepdim: bool = False) -> Call:
    return of(picks.ModeGate(dim, keepdim), input)


@_entry("kthvalue")
def _kthvalue(input: Value, k: int, dim: int = -1, keepdim: bool = False) -> Call:
    return of(picks.KthValueGate(k, dim, keepdim), input)


@_entry("sort")
def _sort(
    input: Value, dim: int = -1, descending: bool = False, *, stable: bool | None = None
) -> Call:
    return of(picks.SortGate(dim, descending), input)


@_entry("topk")
def _topk(input: Value, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Call:
    return of(picks.TopKGate(k, dim, largest), input)


def _along(layer: Callable[[int], Layer]) -> Builder:
    def build(input: Value, dim: int, *, dtype: Any = None) -> Call:
        same_type(input, dtype)
        return of(layer(dim), input)

    return build


for _name, _running in {
    "cumsum": cumulative.CumSumGate,
    "cumprod": cumulative.CumProdGate,
    "cummax": picks.CumMaxGate,
    "cummin": picks.CumMinGate,
}.items():
    TABLE[_name] = _along(_running)


@_entry("logcumsumexp")
def _logcumsumexp(input: Value, dim: int) -> Call:
    raise NoTwin("torch's gradient of it subtracts exponentials, and loses digits")


@_entry("diff")
def _diff(input: Value, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Call:
    if n == 0:  # torch then joins nothing
        prepend = append = None
    return of(cumulative.DiffGate(n, dim), input, prepend, append)


@_entry("msort")
def _msort(input: Value) -> Call:
    return of(picks.OrderedGate(0), input)


def _area(running: bool) -> Builder:
    def build(y: Value, x: Value | None = None, *, dx: float = 1.0, dim: int = -1) -> Call:
        return of(cumulative.TrapezoidGate(a_number(dx, "dx"), dim, running), y, x)

    return build


TABLE["trapezoid"] = TABLE["trapz"] = _area(False)
TABLE["cumulative_trapezoid"] = _area(True)


def _quantile(skips_nan: bool) -> Builder:
    def build(
        input: Value,
        q: Any,
        dim: int | None = None,
        keepdim: bool = False,
        *,
        interpolation: str = "linear",
    ) -> Call:
        if isinstance(q, Value):
            if q.grad:
                raise NoTwin("a q with a gradient")
            q = q.array.tolist()
        return of(picks.QuantileGate(q, dim, keepdim, interpolation, skips_nan), input)

    return build


TABLE["quantile"], TABLE["nanquantile"] = _quantile(False), _quantile(True)


@_entry("renorm")
def _renorm(input: Value, p: float, dim: int, maxnorm: float) -> Call:
    return of(scaling.RenormGate(p, dim, maxnorm), input)


@_entry("cov")
def _cov(input: Value, *, correction: int = 1, fweights: Any = None, aweights: Any = None) -> Call:
    if fweights is not None or aweights is not None:
        raise NoTwin("weights of observations")
    return of(scaling.CovGate(correction), input)


# ── distances ────────────────────────────────────────────────────────────────────────────────────
@_entry("dist")
def _dist(input: Value, other: Value, p: float = 2) -> Call:
    return of(distances.DistGate(a_number(p, "p")), input, other)


@_entry("cdist")
def _cdist(x1: Value, x2: Value, p: float = 2.0, compute_mode: Any = None) -> Call:
    return of(distances.CdistGate(p), x1, x2)


@_entry("pdist")
def _pdist(input: Value, p: float = 2) -> Call:
    return of(distances.PdistGate(p), input)


@_entry("cosine_similarity")
def _cosine_similarity(x1: Value, x2: Value, dim: int = 1, eps: float = 1e-8) -> Call:
    return of(CosineSimilarity(dim, eps), x1, x2)


@_entry("pairwise_distance")
def _pairwise_distance(
    x1: Value, x2: Value, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Call:
    if p == 0:
        raise NoTwin("a count")
    return of(PairwiseDistance(p, eps, keepdim), x1, x2)


# ── norms ────────────────────────────────────────────────────────────────────────────────────────
@_entry("linalg.vector_norm")
def _vector_norm(
    x: Value, ord: float = 2, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None
) -> Call:
    same_type(x, dtype)
    return of(norms.NormGate(a_number(ord, "ord"), _axes(dim), keepdim), x)


@_entry("norm")
def _norm(
    input: Value, p: Any = "fro", dim: Dim = None, keepdim: bool = False, dtype: Any = None
) -> Call:
    if p == "nuc":
        raise NoTwin("the nuclear norm")
    return _vector_norm(input, 2 if p in ("fro", None) else p, dim, keepdim, dtype=dtype)


@_entry("linalg.matrix_norm")
def _matrix_norm(
    A: Value, ord: Any = "fro", dim: Dim = (-2, -1), keepdim: bool = False, *, dtype: Any = None
) -> Call:
    return _linalg_norm(A, ord, dim, keepdim, dtype=dtype)


@_entry("linalg.norm")
def _linalg_norm(
    A: Value, ord: Any = None, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None
) -> Call:
    axes = A.ndim if dim is None else 1 if isinstance(dim, int) else len(dim)
    if ord is None or ord == "fro":
        return _vector_norm(A, 2, dim, keepdim, dtype=dtype)
    if axes == 2 and ord in (1, -1, math.inf, -math.inf):
        return of(norms.MatrixNormGate(ord, _axes(dim) or (0, 1), keepdim), A)
    if isinstance(ord, str) or axes != 1:
        raise NoTwin(f"the matrix norm {ord}")
    return _vector_norm(A, ord, dim, keepdim, dtype=dtype)


# ── softmax and its kin ──────────────────────────────────────────────────────────────────────────
def _softmax(layer: Callable[[int | None], Layer]) -> Builder:
    def build(
        input: Value, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
    ) -> Call:
        same_type(input, dtype if isinstance(_stacklevel, int) else _stacklevel)  # torch.softmax's
        return of(layer(dim), input)

    return build


TABLE["softmax"] = TABLE["special.softmax"] = _softmax(softmax.Softmax)
TABLE["log_softmax"] = TABLE["special.log_softmax"] = _softmax(softmax.LogSoftmax)
TABLE["softmin"] = _softmax(softmax.Softmin)
