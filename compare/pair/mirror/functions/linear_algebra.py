"""Torch's linear algebra beyond products."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from compare.pair.mirror.call import Builder, Call, NoTwin, Value
from compare.pair.mirror.functions.places import numbers
from manual.gates.cumulative import CumProdGate
from manual.gates.functional import Beside, Chain
from manual.gates.matrices import (
    CholeskyGate,
    DeterminantGate,
    InverseGate,
    LogDeterminantGate,
    MatrixPowerGate,
    SolveGate,
)
from manual.gates.places import TakeGate
from manual.gates.shapes import ReshapeGate

NEAR = 1e12  # of a matrix's condition: beyond it elimination and torch's factors say little


def regular(a: Value) -> None:
    """Raise NoTwin unless every matrix has an inverse."""
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise NoTwin("no square matrix")
    if a.array.size and not np.all(np.linalg.cond(a.array.astype(float)) < NEAR):
        raise NoTwin("a matrix without an inverse")


def inverse(input: Value, *, out: None = None) -> Call:
    regular(input)
    return Call(InverseGate(), (input,))


def solve(A: Value, B: Value, *, left: bool = True, out: None = None) -> Call:
    regular(A)
    vector = B.ndim == 1 or (A.ndim - 1 == B.ndim and B.shape == A.shape[:-1])
    if vector and not left:
        raise NoTwin("a vector on the other side")
    return Call(SolveGate(left, vector), (A, B))


def solve_triangular(
    A: Value, B: Value, *, upper: bool, left: bool = True, unitriangular: bool = False,
    out: None = None,
) -> Call:  # fmt: skip
    part = A.array if not unitriangular else A.array + np.eye(A.shape[-1])
    regular(replace(A, array=np.triu(part) if upper else np.tril(part)))
    gate = SolveGate(left, triangle="upper" if upper else "lower", unit=unitriangular)
    return Call(gate, (A, B))


def determinant(A: Value, *, out: None = None) -> Call:
    regular(A)
    return Call(DeterminantGate(), (A,))


def slogdet(A: Value, *, out: None = None) -> Call:
    regular(A)
    return Call(LogDeterminantGate(), (A,))


def logdet(input: Value) -> Call:
    regular(input)
    return Call(LogDeterminantGate(signed=False), (input,))


def cholesky(input: Value, upper: bool = False, *, out: None = None) -> Call:
    if not np.allclose(input.array, np.swapaxes(input.array, -1, -2)):
        raise NoTwin("a matrix that is not symmetric")
    return Call(CholeskyGate(upper), (input,))


def matrix_power(input: Value, n: int, *, out: None = None) -> Call:
    if n >= 0:
        return Call(MatrixPowerGate(n), (input,))
    regular(input)
    return Call(Chain(InverseGate(), MatrixPowerGate(-n)), (input,))


def tensorinv(input: Value, ind: int = 2, *, out: None = None) -> Call:
    shape, n = input.shape, prod(input.shape[:ind])
    regular(replace(input, array=input.array.reshape(n, -1)))
    layers = ReshapeGate((n, n)), InverseGate(), ReshapeGate((*shape[ind:], *shape[:ind]))
    return Call(Chain(*layers), (input,))


def with_codes(builder: Builder) -> Builder:
    """Return the builder of a function that also says whether each matrix did: 0 where it did."""

    def coded(A: Value, *args: Any, check_errors: bool = False, **kwargs: Any) -> Call:
        layer, inputs = builder(A, *args, **kwargs)
        return Call(Beside(layer, info=np.zeros(A.shape[:-2], np.int32)), inputs)

    return coded


def vander(x: Value, N: int | None = None) -> Call:
    """Return 1, x, x·x, … in each row: running products of what begins with 1."""
    count = x.shape[-1] if N is None else N
    rows = numbers(x).reshape(x.shape or (1,))
    places = np.repeat(rows[..., None], count, axis=-1)
    places[..., :1] = -1
    return Call(Chain(TakeGate(places, 1.0), CumProdGate(dim=-1)), (x,))


TABLE: dict[str, Builder] = {
    **dict.fromkeys(("inverse", "linalg.inv"), inverse),
    "linalg.solve": solve, "linalg.solve_triangular": solve_triangular,
    **dict.fromkeys(("det", "linalg.det"), determinant),
    **dict.fromkeys(("slogdet", "linalg.slogdet"), slogdet), "logdet": logdet,
    **dict.fromkeys(("cholesky", "linalg.cholesky"), cholesky),
    **dict.fromkeys(("matrix_power", "linalg.matrix_power"), matrix_power),
    "linalg.tensorinv": tensorinv, "linalg.vander": vander,
    "linalg.inv_ex": with_codes(inverse), "linalg.solve_ex": with_codes(solve),
    "linalg.cholesky_ex": with_codes(cholesky),
}  # fmt: skip
