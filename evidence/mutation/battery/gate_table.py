"""Calls of gates that no example shows, and what their decisions are, by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from manual.examples import Draw, Example

__all__ = ["DECISIONS", "MORE", "WITHOUT_STEP"]

INF, NAN = math.inf, math.nan
WILD = np.array([[NAN, INF, -INF], [0.5, -0.0, 2.0]])
HOLES = np.array([[NAN, 1.0, -2.0], [0.5, NAN, 2.0], [3.0, 0.25, -1.0]])
BLANK = np.array([[NAN, NAN], [1.0, NAN]])
ZEROS = np.array([[0.0, 1.5, -2.0, 3.0], [0.0, 0.0, 4.0, 0.5]])
SIGNED = np.array([[0.0, -1.0, 2.0, -0.0], [3.0, -0.5, 0.0, 1.0]])
TURNS = np.array([1.0, -1.0, -0.0, 0.0])
TIES = np.array([[1.0, 3.0, 3.0], [-2.0, -2.0, 1.0], [0.0, 3.0, -2.0]])
BORDER = np.array([[1.0, 1.0], [2.0, 1.0], [0.25, -0.5]])  # a sum of |x| of 2, more, less
MATRICES = Draw((2, 3, 3), "uniform", -1, 1)
EXCHANGED = np.array([[0.0, -0.5], [-2.0, 0.0]])  # no elimination without an exchange of rows
DEFINITE = np.stack([np.diag([2.0, 1.5, 1.75]) + 0.25 * s for s in (1, -1)])
FAR = (0.0, -(2.0**-100), 2.0**-101, -(2.0**100), 2.0**101, 3.0)  # squares beyond float32
APART = Draw((2, 4, 2), "uniform", -1, 1)
COLUMN, ROW = Draw((2, 1), "uniform", 0.5, 2), Draw((3,), "uniform", 0.5, 2)


def each(*lines: tuple[float, ...]) -> tuple[np.ndarray, ...]:
    """Return every number beside every other, as arrays of one shape."""
    return tuple(np.array(np.meshgrid(*lines)))


# arguments, inputs; names of inputs without a gradient; inputs of other shapes for the same gate
Given = tuple[Any, ...]
CALLS: dict[str, tuple[Given, ...]] = {
    # ── sums ──
    "EinsumGate": (
        ({"equation": "fed,cba"}, ((2, 2, 2), (2, 2, 2))),
        ({"equation": "kj,ji"}, ((2, 3), (3, 2))), ({"equation": "ijik->kij"}, ((2, 3, 2, 4),)),
        ({"equation": "...i,...i->..."}, ((2, 1, 2, 3), (2, 3))),
        ({"equation": "...i,...i"}, ((2, 3), (3,))),
    ),
    "AddGate": (({"alpha": 2.0}, ((2, 3), (2, 3))), ({"alpha": 0.0}, ((2, 3), (3,)))),
    # ── divisions ──
    "RemainderGate": (
        ({"other": 0.75}, ((2, 3),)), ({}, (COLUMN, ROW)), ({"other": -2.0}, ((3,),)),
    ),
    "FmodGate": (({"other": -0.75}, ((2, 3),)), ({}, (COLUMN, ROW))),
    "RoundedDivideGate": (
        ({"rounding_mode": "floor", "other": 0.75}, ((2, 3),)),
        ({"rounding_mode": "trunc", "other": -0.75}, ((2, 3),)),
        ({"rounding_mode": "trunc"}, (COLUMN, ROW)),
    ),
    "CopysignGate": (
        ({"other": -1.5}, ((2, 3),)), ({"other": -0.0}, (SIGNED,)), ({}, (SIGNED, TURNS)),
        ({}, (Draw((2, 1)), SIGNED)), ({}, (SIGNED, np.array([-1, 0, 2, 1])), ("y",)),
    ),
    # ── scaling ──
    "RenormGate": (
        ({"p": 1.0, "dim": 0, "maxnorm": 2.0}, (BORDER,)),
        ({"p": INF, "dim": 1, "maxnorm": 0.75}, ((3, 2, 2),)),
    ),
    "CovGate": (
        ({}, ((4,),)), ({}, ((1, 4),)), ({"correction": 0}, ((3, 1),)), ({"correction": 0}, ((),)),
        ({"correction": 4}, ((2, 3),), ("x",)), ({"correction": 3}, ((2, 3),), ("x",)),
    ),
    # ── angles, powers ──
    "PowerGate": (({"exponent": 0.0}, (np.array([INF, -INF, 2.0]),)),),
    "SincGate": (({}, (np.array([[0.0, -1.0, 0.5], [2.0, 0.0, 0.25]]),)),),
    "ExponentialGate": (
        ({"base": 0.0}, (np.array([[0.0, 1.0, 2.5], [-1.0, 0.5, -0.5]]),)),
        ({"base": 1.0}, ((2, 3),)), ({"base": -1.0}, (np.array([1.0, 2.0, -3.0]),)),
    ),
    # ── pairs ──
    **{
        name: (({}, (TIES, TIES[::-1])), ({}, each((NAN, 1.0, -2.0, INF), (NAN, 1.0, 3.0, -INF))))
        for name in ("MaxGate", "MinGate", "FmaxGate", "FminGate")
    },
    "PowGate": (
        ({}, each((0.0, 1.0, 0.5, 2.0), (1.0, 2.0, 3.0))),
        ({}, each((0.0, 1.0, -1.0, 0.5, 2.0), (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0))),
    ),
    "Atan2Gate": (({}, ((2, 3), (3,))),),
    "HypotGate": (({}, each(FAR, FAR)), ({}, each((0.0, -3.0, NAN, INF), (0.0, 4.0, NAN, -INF)))),
    **{
        name: (({}, each((1.0, 2.0, INF, -INF, NAN), (1.0, 900.0, INF, -INF, NAN))),)
        for name in ("LogAddExpGate", "LogAddExp2Gate")
    },
    "XlogyGate": (
        ({}, each((0.0,), (-2.0, -1.0, 0.5, 2.0))),
        ({}, each((0.0, 1.0, -1.0, 0.5), (NAN, -2.0, -1.0, 0.0, 1.0, 2.0, INF))),
    ),
    "Xlog1pyGate": (
        ({}, each((0.0,), (-3.0, -2.0, -0.5, 1.0))),
        ({}, each((0.0, 1.0, -1.0, 0.5), (NAN, -3.0, -2.0, -1.0, -0.5, 0.0, 1.0, INF))),
    ),
    # ── distances, norms ──
    "DistGate": (({}, ((3,), (2, 3))), ({"p": 3.0}, ((2, 3), (2, 1))), ({}, ((1,), (1,)))),
    "CdistGate": (
        ({}, ((2, 3), (5, 4, 3))), ({}, ((5, 2, 3), (4, 3))), ({"p": INF}, (TIES, TIES + 1)),
        ({"p": INF}, ((1, 2, 3), (2, 4, 3))), ({"p": 0.0}, (TIES, TIES)),
    ),
    "PdistGate": (({}, ((4, 3),)), ({"p": INF}, (TIES,)), ({"p": 0.0}, (TIES,))),
    "NormGate": (
        ({}, ((2, 3),)), ({"p": 0.0, "dim": 0}, (ZEROS,)), ({"p": INF, "dim": 1}, (TIES,)),
        ({"p": -INF, "dim": 0, "keepdim": True}, (TIES,)), ({"p": 0.5}, ((3, 2),)),
        ({"p": -1.0, "dim": 1}, ((2, 3),)), ({"dim": (2, 0)}, ((2, 3, 2),)),
    ),
    "MatrixNormGate": (
        ({"ord": -1.0}, (TIES,)), ({"ord": 1.0, "dim": (1, 0), "keepdim": True}, ((2, 3),)),
        ({"ord": INF, "dim": (2, 0)}, ((2, 3, 4),)), ({"ord": 1.0}, (TIES,)),
        ({"ord": INF}, (np.stack([TIES, 2 * TIES[::-1]]),)),
        ({"ord": -INF, "dim": (0, 2)}, (np.stack([TIES, TIES[::-1]]),)),
        ({"ord": INF}, (np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 0.5]]),)),
    ),
    # ── choices ──
    "WhereGate": (
        ({"first": 0.5}, (np.array([True, False, True]), None, (2, 3))),
        ({"second": -1.5}, (np.array([[True], [False]]), (3,), None)),
        ({}, (np.array([[True], [False]]), (3,), (2, 1))),
    ),
    "ClampGate": (({"min": 0.5, "max": -0.5}, ((2, 3),)), ({"min": -0.5, "max": 0.5}, (WILD,))),
    "ClampBetweenGate": (
        ({}, ((3,), (2, 3), None)),
        ({}, (TIES, np.array([1.0, -2.0, 0.0]), np.array([[3.0], [-2.0], [0.0]]))),
        ({}, (TIES, np.array([1.0, -2.0, 0.0]), None)),
        ({}, (TIES, None, np.array([1.0, -2.0, 0.0]))),
        ({}, (TIES, np.array([1.0, 3.0, 3.0]), np.array([1.0, 3.0, 2.0]))),
        ({}, (WILD, np.array([-1.0, -1.0, 0.0]), np.array([1.0, 1.0, 1.0]))),
    ),
    "NanToNumGate": (
        ({}, (WILD,)), ({"nan": 0.25, "posinf": 7.0, "neginf": -5.0}, (WILD,)),
        ({"posinf": 3.0}, (WILD,)), ({"neginf": 3.0}, (WILD,)),
    ),
    # ── special functions ──
    "EntrGate": (({}, (np.array([0.0, -1.0, NAN, 2.0]),)),),
    "LogitGate": (
        ({"eps": 0.25}, (np.array([0.25, 0.75, 0.5, 0.0, 1.0, -1.0]),)),
        ({}, (np.array([-0.5, 1.5, 0.5, 0.0, 1.0]),)), ({"eps": 0.0}, (np.array([0.5, 0.25]),)),
    ),
    "PolygammaGate": (({"n": 3}, (ROW,)),),
    "MvlgammaGate": (
        ({"p": 1}, (ROW,)), ({"p": 3}, (Draw((3,), "uniform", 2, 3),)),
        ({"p": 4}, (Draw((3,), "uniform", 2, 3),)),
    ),
    # ── steps ──
    "RoundGate": (
        ({"decimals": 2}, ((2, 3),)), ({"decimals": -1}, (np.array([14.0, -26.0, 5.0]),)),
        ({"decimals": -2}, (np.array([140.0, -260.0, 50.0]),)), ({}, (np.array([0.5, 1.5, -2.5]),)),
        ({"decimals": 1}, ((2, 3),)),
    ),
    "AngleGate": (({}, (np.array([NAN, -1.0, 0.0, 2.0]),)),),
    "SignGate": (({}, (np.array([NAN, -1.0, 0.0, 2.0]),)),),
    # ── reductions ──
    "NanSumGate": (({}, (HOLES,)), ({"dim": 1}, (HOLES,)), ({"dim": 0}, (BLANK,))),
    "NanMeanGate": (
        ({}, (HOLES,)), ({"dim": 1}, (HOLES,)), ({"dim": 0, "keepdim": True}, (HOLES,)),
    ),
    "SumGate": (({"dim": ()}, ((2, 3),)), ({"dim": []}, ((2, 3),)), ({"dim": 0}, ((),))),
    "ProdGate": (
        ({"dim": 1}, (ZEROS,)), ({}, (ZEROS,)), ({"dim": 0}, ((3, 2, 2),)), ({}, ((),)),
    ),
    "AmaxGate": (({"dim": 1}, (HOLES,)), ({"dim": (0, 2)}, ((2, 3, 2),))),
    "AminGate": (({"dim": 1}, (HOLES,)), ({"dim": (2, 0)}, ((2, 3, 2),))),
    "AminmaxGate": (
        ({"dim": 1}, (HOLES,)), ({}, ((2, 3),)), ({"dim": 0}, (TIES,)), ({"dim": 1}, (TIES,)),
        ({}, (TIES,)),
    ),
    "MedianGate": (
        ({}, (TIES,)), ({"skips_nan": True}, (HOLES,)), ({}, (HOLES,)),
        ({"skips_nan": True}, (BLANK,)), ({"skips_nan": True}, (np.array([NAN, NAN]),)),
        ({}, ((4,),)), ({}, ((5,),)), ({}, ((),)),
        ({}, (np.array([1.0, NAN, 2.0]),)),
    ),
    "LogSumExpGate": (
        ({"dim": 0}, (np.array([[-INF, 1.0], [-INF, INF]]),)), ({}, (np.array([900.0, 901.0]),)),
        ({"dim": (0, 2), "keepdim": True}, ((2, 3, 2),)), ({"dim": 1}, (np.array([[-INF, -INF]]),)),
        ({"dim": 0}, (np.zeros((0, 2)),)), ({}, (np.array([-900.0, 900.0]),)),
    ),
    "VarGate": (
        ({"correction": 3, "dim": 1}, ((2, 3),), ("x",)),
        ({"correction": 4, "dim": 1}, ((2, 3),), ("x",)), ({"correction": 2}, ((2, 3),)),
        ({"dim": (0, 2)}, ((2, 3, 2),)),
        ({}, ((3,),)),
    ),
    "StdGate": (({"dim": 1}, (np.ones((2, 3)),)), ({"correction": 0.5}, ((2, 3),))),
    "VarMeanGate": (({"dim": (0, 2), "keepdim": True}, ((2, 3, 2),)), ({}, ((2, 3),))),
    "StdMeanGate": (({"dim": 1}, (np.ones((2, 3)),)), ({"correction": 0}, ((2, 3),))),
    # ── linear algebra ──
    "InverseGate": (({}, (MATRICES,)), ({}, (EXCHANGED,))),
    "SolveGate": (
        ({}, (MATRICES, (2, 3, 1))), ({}, (Draw((3, 3), "uniform", -1, 1), (2, 3, 2))),
        ({}, (EXCHANGED, (2, 2))), ({"left": False}, (EXCHANGED, (2, 2))),
        ({}, (2.0**-80 * EXCHANGED, 2.0**-80 * TIES[:2, :1])),
        ({"triangle": "lower"}, (MATRICES, (3, 2))),
        ({"triangle": "lower", "unit": True}, (MATRICES, (3, 2))),
    ),
    "DeterminantGate": (({}, (MATRICES,)), ({}, (EXCHANGED,))),
    "LogDeterminantGate": (
        ({}, (MATRICES,)), ({"signed": False}, (MATRICES,)),
        ({"signed": False}, (np.stack([EXCHANGED, -EXCHANGED, EXCHANGED[::-1]]),)),
    ),
    "CholeskyGate": (({}, (DEFINITE,), (), (2 * DEFINITE[::-1],)), ({"upper": True}, (DEFINITE,))),
    "MatrixPowerGate": (
        ({"n": 4}, ((2, 3, 3),)), ({"n": 1}, (np.array([[INF, 1.0], [0.5, 2.0]]),)),
    ),
    "CrossGate": (({}, ((1, 3), (2, 3))),),
    # ── picks ──
    "MaxAlongGate": (
        ({"dim": 0}, (HOLES,)), ({}, ((),)), ({"dim": 1}, ((2, 3, 2),)), ({}, ((4,),)),
        ({}, ((2, 3),)),
    ),
    "MinAlongGate": (({"dim": 0}, (HOLES,)), ({}, ((),)), ({"dim": 1}, ((2, 3, 2),))),
    "MedianAlongGate": (
        ({"skips_nan": True}, (HOLES,)), ({"dim": 0}, (HOLES,)), ({}, ((),)),
        ({"dim": 1, "keepdim": True}, ((2, 4, 2),)), ({"skips_nan": True}, (BLANK,)),
        ({}, (HOLES[:2],)),
    ),
    "KthValueGate": (
        ({"k": 3, "dim": 1, "keepdim": True}, (APART,)), ({"k": 1}, ((),)), ({"k": 2}, ((2, 3),)),
    ),
    "ModeGate": (({"dim": 0}, (TIES,)), ({"dim": 1, "keepdim": True}, ((2, 3, 2),)), ({}, ((),))),
    "SortGate": (({"dim": 0, "descending": True}, ((3, 2, 2),)), ({}, ((),)), ({}, (HOLES,))),
    "TopKGate": (({"k": 1}, ((),)), ({"k": 2, "dim": 1}, ((2, 3, 2),)), ({"k": 3}, ((2, 3),))),
    "CumMaxGate": (({"dim": 0}, (HOLES,)), ({}, (TIES,)), ({}, ((),)), ({"dim": 1}, ((2, 3, 2),))),
    "CumMinGate": (({"dim": 0}, (HOLES,)), ({}, (TIES,)), ({}, ((),)), ({"dim": 1}, ((2, 3, 2),))),
    "QuantileGate": (
        ({"q": 0.5}, ((2, 4),)), ({"q": [0.0, 0.5, 1.0]}, ((5,),)),
        ({"q": 0.4, "dim": 0}, (HOLES,)),
        ({"q": 0.4, "dim": 0, "skips_nan": True}, (HOLES,)), ({"q": 0.5}, ((),)),
        ({"q": [0.25, 0.7], "dim": 1, "keepdim": True}, ((2, 3, 2),)),
        *(({"q": [0.3, 0.6], "dim": 1, "interpolation": kind}, ((2, 4),))
          for kind in ("lower", "higher", "nearest", "midpoint")),
        ({"q": 0.5, "dim": 0, "skips_nan": True}, (BLANK,)), ({"q": 0.5, "dim": 0}, ((),)),
        ({"q": 1.0, "dim": 0, "skips_nan": True}, (BLANK,)),
        ({"q": 0.3, "dim": -1}, (HOLES[:2],)),
        ({"q": [0.0, 1.0], "dim": 1, "interpolation": "lower"}, (WILD[:, 1:],)),
    ),
    # ── running ──
    "CumSumGate": (({}, ((2, 3, 2),)), ({"dim": 1}, ((2, 3, 2),)), ({"dim": 0}, ((),))),
    "CumProdGate": (
        ({}, ((2, 3, 2),)), ({"dim": 1}, (ZEROS,)), ({"dim": 1}, ((2, 3, 2),)), ({"dim": 0}, ((),)),
    ),
    "DiffGate": (
        ({}, ((3,),), (), ((5,),)), ({"n": 2, "dim": 0}, ((5, 2),)),
        ({"n": 3}, ((3,),)), ({"n": 5}, ((3,), (2,))), ({"dim": 0}, ((3, 2), (2, 2))),
        ({"dim": 1}, ((2, 3), None, (2, 1))), ({"n": 0}, ((3,),)), ({"n": 4}, ((3,),)),
        ({"n": 2, "dim": 1}, ((2, 4, 2), (2, 1, 2), (2, 2, 2))),
        ({}, ((5,),), (), ((3,),)), ({"n": 5}, ((2, 2), None, (2, 2))), ({}, ((1,), None, (3,))),
    ),
    "TrapezoidGate": (
        ({}, ((4,),)), ({"running": True, "dim": 1}, ((2, 3, 2),)), ({"dx": 2.0}, ((2, 1),)),
        ({"dim": 1}, ((2, 3, 2), Draw((3,), "increasing"))),
        ({"dim": 1}, ((1, 3), Draw((2, 3), "increasing"))),
        ({"running": True}, ((2, 4), Draw((4,), "increasing"))),
    ),
    # ── places and shapes ──
    "TakeGate": (
        ({"positions": [1, -1, 0]}, ((3,),)), ({"positions": []}, ((3,),)),
        ({"positions": [1, 2, 3, -1], "fill": 2.0}, ((2,), (2,))),
        ({"positions": [0, 0]}, ((),)), ({"positions": [-1]}, ((2,),)),
    ),
    "ReshapeGate": (({"shape": (-1, 2)}, ((2, 3, 2),), (), ((4,),)),),
    "ExpandGate": (({"shape": (2, 3)}, ((3,),), (), ((2, 1),)),),
    "SliceGate": (({"index": (slice(0, 2),)}, ((3, 2),), (), ((4, 3),)),),
    "PermuteGate": (({"dims": (2, -2, 0)}, ((2, 3, 4),)),),
    "MeshGate": (({"shapes": [(2, 1), (1, 3)]}, ((2,), (3,)), (), ((2, 1), (3, 1))),),
    "SplitGate": (({"sizes": (1, 2)}, ((3, 2),)), ({"sizes": (3,)}, ((3, 2),))),
    "StackGate": (({}, ((2, 3), (2, 3))), ({}, ((2, 3),))),
    "AddAtGate": (
        ({"positions": [1, 1]}, ((3,), (2,)), (), ((4,), (1,))),
        ({"positions": [1, 1], "alpha": 0.5}, ((2, 2), ())),
    ),
}  # fmt: skip
MORE = {
    name: tuple(Example(call[0], call[1], fixed=(*call[2:3], ())[0]) for call in calls)
    for name, calls in CALLS.items()
}
OTHERS = {  # inputs of other shapes for the same gate, by its name and which of MORE
    (name, i): call[3] for name, calls in CALLS.items() for i, call in enumerate(calls) if call[3:]
}
PARTLY = (
    "LogDeterminantGate",
    "MeshGate",
    "SplitGate",
)  # gates whose last output may have no gradient


def _rows(x: Any, dim: int) -> np.ndarray:
    return np.moveaxis(x, dim, 0).reshape(np.shape(x)[dim], -1)


def _long(x: Any, p: float, dim: int, maxnorm: float, **_: Any) -> Any:
    return (np.linalg.norm(_rows(x, dim), p, axis=1) > maxnorm)[:, None]


def _rounded(x: Any, y: Any = None, other: Any = None, rounding_mode: str = "", **_: Any) -> Any:
    whole = x / (other if y is None else y)
    return np.trunc(whole) if rounding_mode == "trunc" else np.floor(whole)


def _bounds(x: Any, low: Any = None, high: Any = None, **_: Any) -> Any:
    known = np.asarray(x == x, dtype=float)
    return (known if low is None else 1.0 * (x < low)) + 2 * (known if high is None else x > high)


def _inside(x: Any, min: Any = None, max: Any = None, **_: Any) -> Any:
    return (x >= (-INF if min is None else min)) & (x <= (INF if max is None else max))


def _between(
    x: Any, q: Any, dim: int | None = None, interpolation: str = "", skips_nan: bool = False,
    **_: Any,
) -> np.ndarray:  # fmt: skip
    rows = np.moveaxis(x, dim, -1) if dim is not None and np.ndim(x) else np.reshape(x, (1, -1))
    last = (rows == rows).sum(axis=-1, keepdims=True) - 1
    rank = np.maximum(np.reshape(q, -1) * last, 0)
    rank = rank if skips_nan else np.where(last + 1 < rows.shape[-1], rows.shape[-1] - 1, rank)
    whole = {"lower": np.floor, "higher": np.ceil, "nearest": np.rint}.get(interpolation)
    order = np.argsort(rows, axis=-1, kind="stable")
    sides = (whole, whole) if whole else (np.floor, np.ceil)
    return np.stack([np.take_along_axis(order, f(rank).astype(int), -1) for f in sides])


def _picked(x: Any, outputs: Any, dim: int = -1, **_: Any) -> np.ndarray:
    places = outputs[1]
    return np.moveaxis(places, dim, -1) if places.ndim and places.ndim == np.ndim(x) else places


DECISIONS: dict[str, Callable[..., Any]] = {
    "AminmaxGate": lambda x, dim=None, **_: np.stack(
        [x == f(x, axis=dim, keepdims=True) for f in (np.min, np.max)]
    ),
    "RenormGate": _long,
    "RemainderGate": _rounded,
    "FmodGate": lambda *xs, **given: _rounded(*xs, **{**given, "rounding_mode": "trunc"}),
    "RoundedDivideGate": _rounded,
    "CopysignGate": lambda x, y=None, other=None, **_: (
        np.sign(x) * np.copysign(np.ones_like(x), other if y is None else y)
    ),
    "ClampGate": _inside,
    "ClampBetweenGate": _bounds,
    "NormGate": lambda x, slopes, **_: np.sign(slopes[0]),
    "MatrixNormGate": lambda x, slopes, **_: np.sign(slopes[0]),
    "AbsGate": lambda x, **_: np.sign(x),
    "MaxGate": lambda x, y, **_: np.sign(x - y),
    "MinGate": lambda x, y, **_: np.sign(x - y),
    "FmaxGate": lambda x, y, **_: np.sign(x - y),
    "FminGate": lambda x, y, **_: np.sign(x - y),
    "AmaxGate": lambda x, slopes, **_: slopes[0] > 0,
    "AminGate": lambda x, slopes, **_: slopes[0] > 0,
    "FracGate": lambda x, **_: np.trunc(x),
    "LogitGate": lambda x, eps=None, **_: None if eps is None else (x >= eps) & (x <= 1 - eps),
    "QuantileGate": _between,
    **{
        f"{name}Gate": _picked
        for name in (
            "MaxAlong",
            "MinAlong",
            "MedianAlong",
            "KthValue",
            "Sort",
            "TopK",
            "CumMax",
            "CumMin",
        )
    },
    **{
        f"{name}Gate": lambda x, outputs, **_: outputs[0]
        for name in ("Floor", "Ceil", "Round", "Trunc", "Sign", "Angle", "Fill")
    },
}

WITHOUT_STEP = {  # |z| and what SciPy knows of real numbers alone: no complex step tells a slope
    "AbsGate", "Atan2Gate", "CdistGate", "CopysignGate", "DistGate", "ErfinvGate",
    "LogDeterminantGate", "MatrixNormGate",
    "ModeGate", "NdtriGate", "NormGate", "PdistGate", "PolygammaGate", "RenormGate",
}  # fmt: skip
REAL = {
    "Atan2Gate",
    "ErfinvGate",
    "NdtriGate",
    "PolygammaGate",
}  # of complex numbers, that of their real part
