"""Torch's functions by hand where they are hard: ties, kinks, poles, nan, infinities, numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from compare.pair.mirror.call import NoTwin, Value, built
from compare.pair.mirror.functions import FUNCTIONS
from manual.layer import Layer
from tests.helpers import assert_close

INF, NAN = math.inf, math.nan
A = np.array
TIES = A([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
HOLES = A([[1.0, NAN, 3.0], [NAN, 2.0, 2.0]])
ZEROS = A([[0.0, 2.0, 3.0], [0.0, 0.0, -1.5]])
EDGES = A([-INF, -2.5, -0.5, -0.0, 0.0, 0.5, 1.5, 2.5, INF, NAN])
SMALL = A([-2.5, -1.0, -0.5, 0.0, 0.5, 1.0, 2.5])
CASES: list[tuple[str, tuple, dict[str, Any]]] = [
    *(
        (name, (EDGES,), {})
        for name in (
            "abs", "neg", "sqrt", "rsqrt", "reciprocal", "log", "log2", "log10", "log1p", "exp",
            "exp2", "expm1", "tanh", "sigmoid", "sinh", "cosh", "atan", "asinh", "sinc", "floor",
            "ceil", "round", "trunc", "frac", "sign", "square", "nan_to_num", "angle",
            "deg2rad", "positive",
        )
    ),
    *((f"special.{name}", (EDGES,), {}) for name in ("erf", "erfc", "ndtr", "entr")),
    *((name, (SMALL[1:] + 1.5,), {}) for name in ("lgamma", "special.log_ndtr", "special.erfcx")),
    *((f"special.{name}", (A([0, 0.25, 0.5, 1]),), {}) for name in ("erfinv", "ndtri", "logit")),
    ("logit", (A([-1.0, 0.1, 0.25, 0.5, 0.8, 2.0]), 0.25), {}),
    ("polygamma", (2, A([0.25, 3.0])), {}),
    ("mvlgamma", (A([1.25, 3.0]), 3), {}),
    *((name, (SMALL,), {}) for name in ("asin", "acos", "atanh", "acosh", "sin", "cos", "tan")),
    ("nan_to_num", (EDGES,), {"nan": 1.0, "posinf": 2.0, "neginf": -2.0}),
    ("round", (SMALL * 1.1,), {"decimals": 1}),
    *((name, (TIES, A(2.0)), {}) for name in ("maximum", "minimum", "fmax", "fmin")),
    *((name, (EDGES, A([[0.5], [NAN]])), {}) for name in ("fmax", "fmin")),
    *(("pow", (SMALL, p), {}) for p in (0, 1, 2, 3, 0.5, -1, 2.0)),
    *(("pow", (b, SMALL), {}) for b in (2, 0.5, 0)),
    ("pow", (A([0.0, 0.0, 0.0, 2.0, 2.0]), A([0.0, 1.0, 2.0, 0.0, -1.0])), {}),
    ("rpow", (SMALL, 2.0), {}),
    *((name, (SMALL, A([[2.0], [-0.75]])), {}) for name in ("remainder", "fmod", "copysign")),
    *((name, (SMALL, -0.75), {}) for name in ("remainder", "fmod", "copysign", "add", "sub")),
    *((name, (SMALL, 2), {}) for name in ("mul", "div", "rsub", "rdiv", "radd", "rmul")),
    *((name, (2, SMALL), {}) for name in ("add", "sub", "mul", "div")),
    *((name, (SMALL, A([[2.0], [-3.0]])), {"alpha": -2}) for name in ("add", "sub", "rsub")),
    *(("div", (SMALL, A(-0.75)), {"rounding_mode": m}) for m in (None, "floor", "trunc")),
    ("div", (SMALL, 0.75), {"rounding_mode": "floor"}),
    ("div", (SMALL, 0.0), {}),
    *((name, (EDGES[1:-1], A([[INF], [0.5]])), {}) for name in ("logaddexp", "logaddexp2")),
    ("logaddexp", (A([-INF, -1000.0]), A([1.0, 1000.0])), {}),
    ("hypot", (A([3e300, 3.0, 1e-300]), A([4e300, 0.0, 1e-300])), {}),
    ("atan2", (A([0.0, 1.0, -1.0, -1.0]), A([-1.0, 0.0, 0.0, -2.0])), {}),
    ("xlogy", (A([0.0, 0.0, 0.0, 2.0]), A([0.0, -1.0, NAN, 3.0])), {}),
    ("special.xlog1py", (A([0.0, 0.0, 0.0, 2.0]), A([-1.0, -2.0, NAN, 3.0])), {}),
    ("lerp", (TIES, ZEROS, 0.25), {}),
    ("lerp", (TIES, ZEROS, A([0.25, 0.75, 0.5])), {}),
    ("addcmul", (TIES, ZEROS, A(2.0)), {"value": 3}),
    ("addcdiv", (TIES, A(2.0), TIES), {"value": -1}),
    ("clamp", (SMALL,), {"min": -0.5, "max": 1.0}),
    ("clamp", (SMALL,), {"min": 1.0, "max": -1.0}),
    ("clamp", (TIES, A(2.5), A([[2.75], [2.0]])), {}),
    ("clamp", (SMALL, SMALL[::-1].copy()), {}),
    ("clamp_max", (SMALL, A([[0.5], [-1.0]])), {}),
    ("where", (TIES > 2, TIES, A([-1.0, -2.0, -3.0])), {}),
    ("where", (TIES > 2, 1.5, TIES), {}),
    ("where", (TIES > 2, TIES, -INF), {}),
    ("masked_fill", (EDGES, np.isnan(EDGES), 0.0), {}),
    ("masked_fill", (TIES, A([[True], [False]]), A(7.0)), {}),
    *((name, (ZEROS,), {}) for name in ("sum", "mean", "var", "std", "prod", "amax", "amin")),
    *((name, (TIES, 1), {}) for name in ("sum", "mean", "var", "std", "amax", "amin", "median")),
    *((name, (TIES, (0, -1), True), {}) for name in ("sum", "mean", "amax", "logsumexp")),
    *((name, (HOLES,), {}) for name in ("nansum", "nanmean", "nanmedian", "median")),
    *((name, (HOLES, -1), {}) for name in ("nansum", "nanmean", "nanmedian", "median", "max")),
    *((name, (TIES, 0), {"keepdim": True}) for name in ("max", "min", "mode", "median", "prod")),
    *((name, (TIES,), {}) for name in ("max", "min", "median", "var_mean", "std_mean", "aminmax")),
    *((name, (TIES, 1), {}) for name in ("max", "min", "sort", "cummax", "cummin", "cumsum")),
    *((name, (HOLES, 1), {}) for name in ("sort", "cummax", "cummin")),
    ("sort", (TIES,), {"descending": True, "stable": True}),
    ("msort", (TIES,), {}),
    ("max", (TIES, ZEROS), {}),
    ("min", (TIES, TIES.copy()), {}),
    ("var", (TIES,), {"dim": 1, "correction": 0, "keepdim": True}),
    ("var", (TIES, False), {}),
    ("prod", (ZEROS, 1), {}),
    ("cumprod", (ZEROS, 0), {}),
    ("logsumexp", (A([[-INF, -INF], [INF, 1.0], [1000.0, 1000.0]]), 1), {}),
    ("topk", (ZEROS[:, ::-1].copy(), 2), {}),
    ("topk", (SMALL, 3), {"largest": False}),
    ("kthvalue", (SMALL, 3), {}),
    *(("norm", (ZEROS,), {"p": p}) for p in (0, 0.5, 1, 1.5, 2, 3, INF, -INF)),
    *(("linalg.vector_norm", (ZEROS, p), {"dim": 0}) for p in (0, 0.5, 1, 2, 3, INF, -INF)),
    ("linalg.norm", (ZEROS,), {}),
    *(("linalg.norm", (TIES, p), {}) for p in (1, -1, INF, -INF)),
    *(("dist", (TIES, A([1.0, 3.0, 3.0]), p), {}) for p in (1, 2, 3, INF)),
    *(("cdist", (TIES, TIES[1:].copy(), p), {}) for p in (0.0, 1.0, 2.0, 3.0, INF)),
    ("diff", (TIES,), {"n": 2}),
    ("trapezoid", (TIES, A([0.0, 1.0, 3.0])), {}),
    ("cumulative_trapezoid", (TIES,), {"dx": 0.5}),
    ("quantile", (SMALL, 0.3), {}),
    ("quantile", (TIES, 0.5, 1), {"interpolation": "nearest"}),
    ("nanquantile", (HOLES, 0.5, 1), {}),
    ("renorm", (TIES, 2, 0, 3.6), {}),
    ("cov", (TIES,), {}),
    ("softmax", (A([[-INF, 0.0, 1000.0]]), 1), {}),
    ("hardtanh", (SMALL,), {}),
    ("gelu", (SMALL,), {"approximate": "tanh"}),
    ("leaky_relu", (SMALL, 0.2), {"inplace": False}),
    ("sum", (TIES,), {"axis": 0, "keepdims": True}),
    ("diff", (TIES,), {"dim": 0, "prepend": A([[7.0, 8.0, 9.0]]), "append": TIES[:1].copy()}),
]  # fmt: skip
REVERSED = {"radd", "rmul", "rsub", "rdiv", "rpow"}


def name_of(case: tuple) -> str:
    return case[0]


def torch_function(name: str) -> Any:
    """Return torch's function; of those that turn two arguments round, Tensor's method."""
    if name in REVERSED - {"rsub"}:
        return getattr(torch.Tensor, f"__{name}__")
    owner: Any = torch
    *rooms, last = name.split(".")
    for room in rooms:
        owner = getattr(owner, room)
    return getattr(owner, last, None) or getattr(F, last)


def of_tensors(x: Any, make: Any) -> Any:
    return make(x) if isinstance(x, np.ndarray) else x


def by_torch(name: str, args: tuple, kwargs: dict[str, Any]) -> tuple[list, list, list]:
    """Return every output, the upstream gradients, and every real argument's gradient."""
    leaves: list[torch.Tensor] = []

    def leaf(x: np.ndarray) -> torch.Tensor:
        leaves.append(torch.tensor(x, requires_grad=x.dtype.kind == "f"))
        return leaves[-1]

    given = [of_tensors(x, leaf) for x in args]
    named = {k: of_tensors(x, leaf) for k, x in kwargs.items()}
    found = torch_function(name)(*given, **named)
    outputs = list(found) if isinstance(found, tuple) else [found]
    rng = np.random.default_rng(0)
    dys = [rng.standard_normal(tuple(y.shape)) if y.requires_grad else None for y in outputs]
    moved = [y for y in outputs if y.requires_grad]
    real = [x for x in leaves if x.requires_grad]
    upstream = [torch.tensor(d) for d in dys if d is not None]
    grads = torch.autograd.grad(moved, real, upstream, materialize_grads=True) if moved else []
    return [arrays(y) for y in outputs], dys, [arrays(g) for g in grads]


def arrays(x: torch.Tensor) -> np.ndarray:
    return x.detach().numpy(force=True)


def by_hand(layer: Layer, inputs: tuple[Value | None, ...], dys: list) -> tuple[list, dict]:
    """Return every output, and the gradient of every named value."""
    several = len(layer.outputs) > 1
    with np.errstate(all="ignore"):
        y, cache = layer.forward(*(None if x is None else x.array for x in inputs))
        grads, _ = layer.backward(tuple(dys) if several else dys[0], cache)
    named = zip(inputs, grads, strict=False)
    return (
        list(y) if several else [y],
        {x.name: g for x, g in named if x is not None and g is not None},
    )


def compared(case: tuple, mistake: Any = lambda g: g) -> None:
    """Raise AssertionError unless outputs and gradients are torch's."""
    name, args, kwargs = case
    count = iter(range(9))

    def value(x: np.ndarray) -> Value:
        return Value(str(next(count)), x, x.dtype.kind == "f")

    values = [of_tensors(x, value) for x in args]
    named = {k: of_tensors(x, value) for k, x in kwargs.items()}
    call = built(FUNCTIONS[name], values, named)
    outputs, dys, grads = by_torch(*case)
    ours, found = by_hand(call.layer, call.inputs, dys)
    for mine, theirs in zip(ours, outputs, strict=True):
        same("output", mine, theirs)
    real = [x for x in (*values, *named.values()) if isinstance(x, Value) and x.grad]
    for x, theirs in zip(real, grads, strict=True):
        same(f"gradient of {x.name}", mistake(np.asarray(found[x.name])), theirs)


def same(name: str, mine: Any, theirs: np.ndarray) -> None:
    """Compare whole numbers, kinds of infinity and nan, and the rest to 1e-11."""
    if theirs.dtype.kind != "f":
        return np.testing.assert_array_equal(mine, theirs)
    mine, odd = np.asarray(mine), ~np.isfinite(theirs)
    np.testing.assert_array_equal(mine[odd], theirs[odd]) if mine.shape == theirs.shape else None
    clean = [np.where(odd, 0, x) if x.shape == theirs.shape else x for x in (mine, theirs)]
    assert_close(name, clean[0], clean[1].astype(clean[0].dtype), 1e-11, scale=1e-3)


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_it_is_torchs_at_every_edge(case: tuple) -> None:
    compared(case)


@pytest.mark.parametrize("case", CASES[::4], ids=name_of)
def test_a_gradient_that_is_slightly_off_is_rejected(case: tuple) -> None:
    if case[0] in ("floor", "ceil", "round", "trunc", "sign", "angle"):
        pytest.skip("no gradient to be wrong")

    with pytest.raises(AssertionError, match=r"gradient of|Not equal"):
        compared(case, lambda g: g * (1 + 1e-8) + 1e-12 * (g == 0))


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "why"),
    [
        ("norm", (TIES, "nuc"), {}, "nuclear"),
        ("linalg.norm", (TIES, 2), {}, "matrix norm 2"),
        ("sum", (TIES,), {"dtype": torch.float32}, "computed in torch.float32"),
        ("add", (TIES, 1j), {}, "no real number"),
        ("clamp", (TIES, TIES, 3.0), {}, "one bound"),
        ("hardtanh", (TIES, 1.0, -1.0), {}, "max_val"),
        ("exp", (TIES, 3), {}, "called as no twin is"),
        ("digamma", (TIES,), {}, "ten digits"),
        ("softmax", (TIES, 1, torch.float32), {}, "computed in torch.float32"),
    ],
)
def test_what_is_not_covered_says_why(name: str, args: tuple, kwargs: dict, why: str) -> None:
    values = [of_tensors(x, lambda a: Value("x", a, True)) for x in args]

    with pytest.raises(NoTwin, match=why):
        built(FUNCTIONS[name], values, kwargs)
