"""Torch's products of matrices and their kin."""

from __future__ import annotations

from typing import Any

import numpy as np

from compare.pair.mirror.call import Builder, Call, NoTwin, Value
from compare.pair.mirror.functions.places import numbers, one_list
from manual.gates.arithmetic import MultiplyGate
from manual.gates.contraction import AddProductGate, EinsumGate
from manual.gates.functional import Chain
from manual.gates.grouped import GroupedMatMulGate
from manual.gates.matrices import CrossGate
from manual.gates.places import TakeGate
from manual.gates.products import MatMulGate
from manual.gates.reductions import SumGate
from manual.gates.shapes import ReshapeGate


def matmul(input: Value, other: Value) -> Call:
    return Call(MatMulGate(), (input.real(), other.real()))


def einsum(equation: Any, *operands: Any) -> Call:
    if not isinstance(equation, str):
        raise NoTwin("indices given as lists of numbers")
    given = one_list(operands)
    return product(equation, *given)


def product(equation: str, *values: Value) -> Call:
    return Call(EinsumGate(equation), tuple(v.real() for v in values))


def inner(input: Value, other: Value) -> Call:
    if not (input.ndim and other.ndim):
        return Call(MultiplyGate(), (input, other))
    a, b = "abcdefghij"[: input.ndim - 1], "klmnopqrst"[: other.ndim - 1]
    return product(f"{a}z,{b}z->{a}{b}", input, other)


def tensordot(a: Value, b: Value, dims: Any = 2, out: Any = None) -> Call:
    dims = dims.array.tolist() if isinstance(dims, Value) else dims
    if isinstance(dims, int):
        dims = list(range(a.ndim - dims, a.ndim)), list(range(dims))
    left, right = (([d] if isinstance(d, int) else list(d)) for d in dims)
    rows, columns = list("abcdefghijklm"[: a.ndim]), list("nopqrstuvwxyz"[: b.ndim])
    for p, q in zip(left, right, strict=True):
        columns[q % b.ndim] = rows[p % a.ndim]
    met = {rows[p % a.ndim] for p in left}
    out = "".join(c for c in (*rows, *columns) if c not in met)
    return product(f"{''.join(rows)},{''.join(columns)}->{out}", a, b)


def chain(*matrices: Any) -> Call:
    given = one_list(matrices)
    letters = "abcdefghijklmnopqrstuvwxyz"
    read = [letters[k : k + 2] for k in range(len(given))]
    if given[0].ndim == 1:
        read[0] = read[0][1:]
    if given[-1].ndim == 1:
        read[-1] = read[-1][:1]
    ends = read[0][:-1] + read[-1][1:]
    return product(f"{','.join(read)}->{ends}", *given)


def grouped_mm(
    mat_a: Value, mat_b: Value, *, offs: Value | None = None, bias: Any = None,
    out_dtype: Any = None,
) -> Call:  # fmt: skip
    if bias is not None or out_dtype is not None:
        raise NoTwin("a bias, or a result of another dtype")
    if offs is None:
        return matmul(mat_a, mat_b)
    if (mat_a.ndim, mat_b.ndim) != (2, 3):
        raise NoTwin("groups of columns, or of what is summed over")
    return Call(GroupedMatMulGate(offs.array.tolist()), (mat_a, mat_b))


def added(equation: str) -> Builder:
    """Return addmm and its kin."""

    def builder(input: Value, a: Value, b: Value, *, beta: float = 1, alpha: float = 1) -> Call:
        return Call(AddProductGate(equation, beta, alpha), (input.real(), a.real(), b.real()))

    return builder


def trace(input: Value) -> Call:
    return Call(Chain(TakeGate(np.diagonal(numbers(input))), SumGate()), (input,))


def kron(input: Value, other: Value) -> Call:
    n = max(input.ndim, other.ndim)
    rows, columns = "abcdefghijklm"[:n], "nopqrstuvwxyz"[:n]
    out = "".join(x for pair in zip(rows, columns, strict=True) for x in pair)
    whole = [(1,) * (n - len(shape)) + tuple(shape) for shape in (input.shape, other.shape)]
    shape = [a * b for a, b in zip(*whole, strict=True)]
    own = f"{rows[n - input.ndim :]},{columns[n - other.ndim :]}"
    for letter in out:
        out = out if letter in own else out.replace(letter, "")
    return Call(Chain(EinsumGate(f"{own}->{out}"), ReshapeGate(shape)), (input, other))


def linalg_cross(input: Value, other: Value, *, dim: int = -1) -> Call:
    return Call(CrossGate(dim), (input, other))


def cross(input: Value, other: Value, dim: int | None = None) -> Call:
    """Return torch.cross, which takes the first axis of three elements without `dim`."""
    return Call(CrossGate(input.shape.index(3) if dim is None else dim), (input, other))


def of(equation: str) -> Builder:
    def builder(input: Value, other: Value) -> Call:
        return product(equation, input, other)

    return builder


def vecdot(x: Value, y: Value, *, dim: int = -1) -> Call:
    n = max(x.ndim, y.ndim)
    letters = "abcdefghijklm"[:n]
    met = letters[dim % n]
    return product(
        f"{letters[n - x.ndim :]},{letters[n - y.ndim :]}->{letters.replace(met, '')}", x, y
    )


TABLE: dict[str, Builder] = {
    **dict.fromkeys(("matmul", "mm", "bmm", "mv", "dot", "vdot", "linalg.matmul"), matmul),
    "rmatmul": lambda input, other: matmul(other, input),
    "einsum": einsum, "inner": inner, "tensordot": tensordot, "chain_matmul": chain,
    "linalg.multi_dot": chain, "linalg.vecdot": vecdot, "trace": trace,
    "outer": of("i,j->ij"), "ger": of("i,j->ij"), "kron": kron, "cross": cross,
    "linalg.cross": linalg_cross,
    "_grouped_mm": grouped_mm, "grouped_mm": grouped_mm,
    "addmm": added("ij,jk->ik"), "addmv": added("ij,j->i"), "addr": added("i,j->ij"),
    "addbmm": added("bij,bjk->ik"), "baddbmm": added("bij,bjk->bik"),
}  # fmt: skip
