"""Functions of a (4, 5) array that the gauge has rules for, by the name of their tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import special


def written(x: Any, write: Callable[[Any, Any], Any]) -> Any:
    """Return an array made by writing products of x into zeros, or into a copy."""
    y = np.zeros_like(x) + 0.5
    found = write(y, x * 1.1)
    return y if found is None else found


def in_place(y: Any, x: Any) -> None:
    view = y[:, 1:]
    view += x[:, 1:]
    y.T[0] *= 3.0
    y.reshape(-1)[3:5] -= x[0, :2]


def added_at(y: Any, x: Any) -> None:
    np.add.at(y, np.array([0, 2, 0, 0]), x)


def put(y: Any, x: Any) -> None:
    np.put_along_axis(y, np.argsort(x, axis=1)[:, :2], x[:, :2], axis=1)


def three(x: Any) -> Any:
    return np.einsum("ij,kj,kl->il", x * 1.1, x * 0.7, x * 1.3)


ELEMENTWISE: dict[str, Callable] = {
    "exp": np.exp,
    "exp2": np.exp2,
    "log": lambda x: np.log(np.abs(x) + 0.5),
    "log2": lambda x: np.log2(np.abs(x) + 0.5),
    "log10": lambda x: np.log10(np.abs(x) + 0.5),
    "log1p": lambda x: np.log1p(np.abs(x)),
    "expm1": np.expm1,
    "tanh": np.tanh,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tan": lambda x: np.tan(x * 0.3),
    "arcsin": lambda x: np.arcsin(np.tanh(x) * 0.9),
    "arccos": lambda x: np.arccos(np.tanh(x) * 0.9),
    "arcsinh": np.arcsinh,
    "arccosh": lambda x: np.arccosh(np.abs(x) + 1.5),
    "arctanh": lambda x: np.arctanh(np.tanh(x) * 0.9),
    "sqrt": lambda x: np.sqrt(np.abs(x) + 0.1),
    "cbrt": lambda x: np.cbrt(x * 1.1),
    "square": np.square,
    "reciprocal": lambda x: np.reciprocal(np.abs(x) + 0.5),
    "erf": special.erf,
    "erfc": lambda x: special.erfc(x * 1.7),
    "expit": lambda x: special.expit(x * 3.3),
    "log_expit": lambda x: special.log_expit(x * 3.3),
    "ndtr": lambda x: special.ndtr(x * 1.1),
    "sin": np.sin,
    "cos": np.cos,
    "arctan": np.arctan,
    "logaddexp": lambda x: np.logaddexp(x * 3.3, x[::-1] * 1.1),
    "logaddexp of a number": lambda x: np.logaddexp(0.0, x * 3.3),
    "hypot": lambda x: np.hypot(x * 3.3, x[::-1]),
    "arctan2": lambda x: np.arctan2(x * 3.3, x[::-1]),
    "cube": lambda x: (np.abs(x) + 0.5) ** 3,
    "root": lambda x: (np.abs(x) + 0.1) ** 0.5,
    "power": lambda x: (np.abs(x) + 0.5) ** (x[::-1] * 1.1),
    "power of a number": lambda x: 2.5 ** (x * 1.1),
    "cube of both signs": lambda x: (x * 1.1) ** 3,
    "divide": lambda x: x / (1.5 + x * x),
    "divide where": lambda x: np.divide(
        x * 1.1, x[::-1], out=np.ones_like(x), where=np.abs(x[::-1]) > 0.3
    ),
    "clipped": lambda x: np.clip(x, -0.5, 0.5),
    "chosen": lambda x: np.where(x > 0, x * 3.0, x / 3.0),
    "fmax": lambda x: np.fmax(x * 1.1, x[::-1] * 1.1),
    "logical": lambda x: np.where(np.logical_xor(x > 0, x > 0.5) | (np.rint(x) == 0), x * 1.1, x),
}
SUMS: dict[str, Callable] = {
    "softmax": lambda x: (
        np.exp(x - x.max(axis=-1, keepdims=True))
        / np.exp(x - x.max(axis=-1, keepdims=True)).sum(axis=-1, keepdims=True)
    ),
    "norm": lambda x: x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-5),
    "centred": lambda x: x - np.mean(x, axis=0),
    "sum where": lambda x: np.sum(x * 1.1, axis=1, where=x > -0.5, initial=2.0),
    "mean where": lambda x: np.mean(x * 1.1, axis=1, where=x > -2.5, keepdims=True),
    "var": lambda x: np.var(x * 1.1, axis=1),
    "var of a sample": lambda x: (x * 1.1).var(axis=0, ddof=1, keepdims=True),
    "var where": lambda x: np.var(x * 1.1, axis=(0, 1), where=x > -1.0),
    "std": lambda x: np.std(x * 1.1, axis=-1, correction=1),
    "average": lambda x: np.average(x * 1.1, axis=0, weights=np.arange(1.0, 5.0, dtype=x.dtype)),
    "prod": lambda x: np.prod(x * 1.1, axis=1),
    "prod of all": lambda x: (x * 1.1).prod(),
    "cumsum": lambda x: np.cumsum(x * 1.1, axis=1),
    "cumprod": lambda x: np.cumprod(x * 1.1, axis=0),
    "add.reduceat": lambda x: np.add.reduceat(x * 1.1, [0, 3, 1, 2], axis=1),
    "add.accumulate": lambda x: np.add.accumulate(x * 1.1),
    "multiply.reduce": lambda x: np.multiply.reduce(x * 1.1, axis=1),
    "logaddexp.reduce": lambda x: np.logaddexp.reduce(x * 1.1, axis=1),
    "maximum.accumulate": lambda x: np.maximum.accumulate(x * 1.1, axis=1),
    "subtract.outer": lambda x: np.subtract.outer(x[0] * 1.1, x[:, 0] * 0.7),
    "lowest": lambda x: np.min(x * 1.1, axis=1),
    "highest where": lambda x: np.max(x * 1.1, axis=1, where=x < 0.5, initial=-9.0),
    "ptp": lambda x: np.ptp(x * 1.1, axis=1),
    "median": lambda x: np.median(x * 1.1, axis=0),
    "length": lambda x: np.linalg.norm(x * 1.1),
    "lengths": lambda x: np.linalg.norm(x * 1.1, axis=1, keepdims=True),
    "length 1": lambda x: np.linalg.norm(x * 1.1, ord=1, axis=0),
    "length 3": lambda x: np.linalg.norm(x * 1.1, ord=3, axis=0),
    "length inf": lambda x: np.linalg.norm(x * 1.1, ord=np.inf, axis=0),
    "matrix norm": lambda x: np.linalg.norm(x * 1.1, ord=1),
    "diff": lambda x: np.diff(x * 1.1, axis=1),
    "trace": lambda x: np.trace(x * 1.1),
}
PRODUCTS: dict[str, Callable] = {
    "product": lambda x: (x * 1.1) @ (x * 0.7).T,
    "product with exact data": lambda x: np.tile(x, (2, 1)) @ (x * 0.7).T,
    "dot": lambda x: (x * 1.1).dot(x.T * 0.7),
    "inner": lambda x: np.inner(x * 1.1, x * 0.7),
    "outer": lambda x: np.outer(x * 1.1, x[0] * 0.7),
    "vdot": lambda x: np.vdot(x * 1.1, x[::-1] * 0.7),
    "tensordot": lambda x: np.tensordot(x * 1.1, (x * 0.7).reshape(2, 2, 5), axes=([1], [2])),
    "einsum": lambda x: np.einsum("nd,md->nm", x * 1.1, x * 0.7),
    "einsum without an arrow": lambda x: np.einsum("nd,nd", x * 1.1, x * 0.7),
    "einsum of one": lambda x: np.einsum("nd->d", x * 1.1),
    "einsum with dots": lambda x: np.einsum("...d,d->...", x * 1.1, x[0] * 0.7),
    "einsum of three": three,
    "convolve": lambda x: np.convolve(x[0] * 1.1, x[1, :3] * 0.7),
    "windows": lambda x: np.einsum(
        "nwk,k->nw", sliding_window_view(x * 1.1, 3, axis=1), x[0, :3] * 0.7
    ),
    "vecdot": lambda x: np.vecdot(x * 1.1, x[::-1] * 0.7),
}
MOVES: dict[str, Callable] = {
    "joined": lambda x: np.concatenate([x * 1.1, np.stack([x[0], x[1]])], axis=0),
    "hstack": lambda x: np.hstack([x * 1.1, x]),
    "append": lambda x: np.append(x * 1.1, x),
    "split": lambda x: (
        np.split(x * 1.1, [2], axis=1)[1] - np.array_split(x * 1.1, 2, axis=0)[0][0, 0]
    ),
    "moved": lambda x: np.swapaxes(x * 1.1, 0, 1).reshape(-1)[::2],
    "mT": lambda x: (x * 1.1).mT if hasattr(x, "mT") else np.swapaxes(x * 1.1, 0, 1),
    "moveaxis": lambda x: np.moveaxis(x * 1.1, 0, 1),
    "roll": lambda x: np.roll(x * 1.1, 2, axis=1),
    "repeat": lambda x: np.repeat(x * 1.1, 2, axis=0),
    "tile": lambda x: np.tile(x * 1.1, (2, 1)),
    "flip": lambda x: np.flip(x * 1.1, 1),
    "tril": lambda x: np.tril(x * 1.1),
    "triu": lambda x: np.triu(x * 1.1, 1),
    "diagonal": lambda x: np.diagonal(x * 1.1),
    "sort": lambda x: np.sort(x * 1.1, axis=1),
    "sort of all": lambda x: np.sort(x * 1.1, axis=None),
    "take_along_axis": lambda x: np.take_along_axis(x * 1.1, np.argsort(x, axis=1), axis=1),
    "searchsorted": lambda x: (x * 1.1)[0, np.searchsorted(np.sort(x[0]), x[1]) % 5],
    "full_like": lambda x: np.full_like(x, 0.1, shape=(2, 5)) * x[:2],
    "ones_like": lambda x: np.ones_like(x, shape=(4,)) * x[:, 0] * 1.1,
    "written in place": lambda x: written(x, in_place),
    "add.at": lambda x: written(x, added_at),
    "put_along_axis": lambda x: written(x, put),
}
WIDTHS = ((2, 1), (0, 3))
PADS: dict[str, Callable] = {
    f"pad {mode}": lambda x, mode=mode: np.pad(x * 1.1, pad_width=WIDTHS, mode=mode)
    for mode in ("constant", "edge", "reflect", "symmetric", "wrap", "maximum", "minimum", "mean",
                 "median", "linear_ramp")
} | {
    "pad ones": lambda x: np.pad(x * 1.1, 1, constant_values=1.5),
    "pad odd": lambda x: np.pad(x * 1.1, WIDTHS, "reflect", reflect_type="odd"),
    "pad odd symmetric": lambda x: np.pad(x * 1.1, WIDTHS, "symmetric", reflect_type="odd"),
    "pad stat_length": lambda x: np.pad(x * 1.1, WIDTHS, "mean", stat_length=2),
    "pad an axis": lambda x: np.pad(x * 1.1, ((0, 0), (1, 2)), "wrap"),
    "pad ramp to 0.3": lambda x: np.pad(x * 1.1, 2, "linear_ramp", end_values=0.3),
}  # fmt: skip
FUNCTIONS = ELEMENTWISE | SUMS | PRODUCTS | MOVES | PADS
