"""Sums of products by Einstein's rule: any product of matrices, and what is scaled and added."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np

from manual.examples import Example
from manual.gates.broadcasting import summed_to
from manual.layer import Array, Arrays, Layer

__all__ = ["AddProductGate", "EinsumGate"]

Letters = tuple[str, ...]
Shape = tuple[int, ...]


class EinsumCache(NamedTuple):
    inputs: tuple[Array, ...]


class EinsumGate(Layer):
    """Products of elements summed over shared indices, as an equation says: `ij,jk->ik`.

    Args:
        equation: a letter for each axis of each input, `...` for axes that broadcast; after the
            arrow the axes of the result, without it the letters that occur once, in order. A letter
            that occurs twice in one input takes its diagonal.

    Raises:
        ValueError: the equation and the inputs do not fit.
    """

    examples = (
        Example({"equation": "ij,jk->ki"}, ((2, 3), (3, 2)), exact=True),
        Example({"equation": "bii,bjk,kl->bl"}, ((2, 2, 2), (2, 3, 2), (2, 2)), exact=True),
        Example({"equation": "...i,j"}, ((2, 3), (2,)), exact=True),
        Example({"equation": "ij,ij->i"}, ((2, 3), (2, 1)), exact=True),
    )

    def __init__(self, equation: str) -> None:
        self.equation = equation

    def forward(self, *inputs: Array) -> tuple[Array, EinsumCache]:
        read, out = parsed(self.equation, [tuple(x.shape) for x in inputs])
        return contracted(inputs, read, out), EinsumCache(inputs)

    def backward(self, grad_output: Array, cache: EinsumCache) -> tuple[tuple[Array, ...], Arrays]:
        r"""Chain rule through y_o = Σ Π_k x_k, each x_k with its own indices.

        For one input, the others and dy are what its elements are multiplied by:
            y_ik = Σ_j a_ij b_jk   ->   da_ij = Σ_k dy_ik b_jk,   db_jk = Σ_i a_ij dy_ik
        so a gradient is the same rule, dy in the input's place and its indices after the arrow. An
        index that the input has alone was summed: dx is the same all along it. One that it has
        twice was a diagonal: dx is 0 beside it. An axis of one element that was stretched is summed
        over.
        Torch: torch.einsum, tensordot, inner, outer, chain_matmul, trace.
        Source: Laue, Mitterreiter, Giesen, A Simple and Efficient Tensor Calculus (2020).
        """
        xs = cache.inputs
        read, out = parsed(self.equation, [tuple(x.shape) for x in xs])
        return tuple(_slope(k, xs, read, out, grad_output) for k in range(len(xs))), {}

    def extra_repr(self) -> str:
        return repr(self.equation)


class AddProductCache(NamedTuple):
    x: Shape
    product: EinsumCache


class AddProductGate(Layer):
    """A scaled array, and a scaled product of two others added: y = beta · x + alpha · (a b).

    Args:
        equation: which product, as EinsumGate takes it; x broadcasts to its result.
        beta, alpha: the factors. With beta = 0 x is not read.
    """

    examples = (
        Example({"equation": "ij,jk->ik"}, ((3,), (2, 2), (2, 3)), exact=True),
        Example({"equation": "i,j->ij", "beta": 0.5, "alpha": -2.0}, ((2, 3), (2,), (3,))),
        Example({"equation": "ij,j->i", "beta": 0}, ((2,), (2, 3), (3,))),
    )

    def __init__(self, equation: str, beta: float = 1, alpha: float = 1) -> None:
        self.equation, self.beta, self.alpha = equation, beta, alpha
        self._product = EinsumGate(equation)

    def forward(self, x: Array, a: Array, b: Array) -> tuple[Array, AddProductCache]:  # type: ignore[override]
        product, cache = self._product.forward(a, b)
        y = self.alpha * product
        return (self.beta * x + y if self.beta else y), AddProductCache(tuple(x.shape), cache)

    def backward(
        self, grad_output: Array, cache: AddProductCache
    ) -> tuple[tuple[Array, Array, Array], Arrays]:
        r"""Chain rule through y = β x + α a b.

        dx = β dy, summed to x's shape;   da and db are those of the product, of α dy
        Torch: addmm, addmv, addr, addbmm, baddbmm.
        Source: the add gate, and the product's.
        """
        da, db = self._product.backward(self.alpha * grad_output, cache.product)[0]
        return (summed_to(self.beta * grad_output, cache.x), da, db), {}

    def extra_repr(self) -> str:
        return f"{self.equation!r}, beta={self.beta}, alpha={self.alpha}"


# ── the equation ─────────────────────────────────────────────────────────────────────────────────
def parsed(equation: str, shapes: Sequence[Shape]) -> tuple[list[str], str]:
    """Return each input's letters, and the result's; axes under `...` get letters of their own."""
    text, arrow, out = equation.replace(" ", "").partition("->")
    read = text.split(",")
    if len(read) != len(shapes):
        raise ValueError(
            f"EinsumGate: '{equation}' is of {len(read)} inputs, received {len(shapes)}."
        )
    free = [chr(n) for n in range(0x3B1, 0x3CA)]  # Greek: nobody's equation has those
    dots = [len(x) - len(r.replace(".", "")) for r, x in zip(read, shapes, strict=True)]
    most = "".join(free[: max(dots)])
    if not arrow:
        once = [c for c in sorted(set(text) - set(".,")) if text.count(c) == 1]
        out = "..." + "".join(once)
    read = [r.replace("...", most[len(most) - n :]) for r, n in zip(read, dots, strict=True)]
    _check(equation, read, shapes)
    return read, out.replace("...", most)


def _check(equation: str, read: Sequence[str], shapes: Sequence[Shape]) -> None:
    sizes: dict[str, set[int]] = {}
    fits = all(
        len(r) == len(shape) and len(set(zip(r, shape, strict=True))) == len(set(r))
        for r, shape in zip(read, shapes, strict=True)
    )
    for letters, shape in zip(read, shapes, strict=True):
        for letter, n in zip(letters, shape, strict=False):
            sizes.setdefault(letter, set()).add(n)
    if not fits or any(len(found - {1}) > 1 for found in sizes.values()):
        raise ValueError(
            f"EinsumGate: '{equation}' does not fit inputs of shapes "
            f"{', '.join(map(str, shapes))}: one letter is one length."
        )


# ── contraction ──────────────────────────────────────────────────────────────────────────────────
def contracted(inputs: Sequence[Array], read: Sequence[str], out: str) -> Array:
    """Return the sum of products, pair by pair, written as matrix products."""
    sizes = _sizes(inputs, read)
    pairs = [_plain(x, letters, sizes) for x, letters in zip(inputs, read, strict=True)]
    x, left = pairs[0]
    for i, (other, letters) in enumerate(pairs[1:], start=2):
        needed = set(out).union(*(have for _, have in pairs[i:]))
        x, left = _multiplied(x, left, other, letters, needed)
    x, left = _summed(x, left, set(out))
    return x.transpose([left.index(c) for c in out])


def _sizes(inputs: Sequence[Array], read: Sequence[str]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for x, letters in zip(inputs, read, strict=True):
        for letter, n in zip(letters, x.shape, strict=True):
            sizes[letter] = n if sizes.get(letter, 1) == 1 else sizes[letter]
    return sizes


def _plain(x: Array, letters: str, sizes: dict[str, int]) -> tuple[Array, str]:
    """Return an input with each letter once, without the axes that are stretched."""
    for letter in letters:
        while letters.count(letter) > 1:
            i = letters.index(letter)
            j = letters.index(letter, i + 1)
            x = np.diagonal(x, axis1=i, axis2=j)  # the shared axis comes last
            letters = letters[:i] + letters[i + 1 : j] + letters[j + 1 :] + letter
    kept = [(c, n) for c, n in zip(letters, x.shape, strict=True) if n == sizes[c]]
    return x.reshape([n for _, n in kept]), "".join(c for c, _ in kept)


def _summed(x: Array, letters: str, needed: set[str]) -> tuple[Array, str]:
    lone = tuple(i for i, c in enumerate(letters) if c not in needed)
    return (x.sum(axis=lone) if lone else x), "".join(c for c in letters if c in needed)


def _multiplied(a: Array, i: str, b: Array, j: str, needed: set[str]) -> tuple[Array, str]:
    """Return the product of two: shared letters that are needed are a batch, others are summed."""
    a, i = _summed(a, i, needed | set(j))
    b, j = _summed(b, j, needed | set(i))
    batch = "".join(c for c in i if c in j and c in needed)
    inner = "".join(c for c in i if c not in needed)
    rows, columns = ("".join(c for c in own if c not in batch + inner) for own in (i, j))
    size = dict(zip(i + j, (*a.shape, *b.shape), strict=True))

    def laid(x: Array, letters: str, *groups: str) -> Array:
        order = [letters.index(c) for group in groups for c in group]
        return x.transpose(order).reshape([prod(size[c] for c in group) for group in groups])

    found = laid(a, i, batch, rows, inner) @ laid(b, j, batch, inner, columns)
    letters = batch + rows + columns
    return found.reshape([size[c] for c in letters]), letters


def _slope(k: int, xs: Sequence[Array], read: Sequence[str], out: str, dy: Array) -> Array:
    """Return the gradient of the k-th input."""
    mine, shape, sizes = read[k], xs[k].shape, _sizes(xs, read)
    own = "".join(dict.fromkeys(mine))  # each letter once
    others = [x for i, x in enumerate(xs) if i != k]
    letters = [r for i, r in enumerate(read) if i != k]
    size = dict(zip(mine, shape, strict=True))
    met = "".join(c for c in own if size[c] == sizes[c] and any(c in r for r in (out, *letters)))
    grad = contracted([dy, *others], [out, *letters], met)
    found = dict(zip(met, grad.shape, strict=True))
    grad = grad.reshape([found.get(c, 1) for c in own])
    grad = np.broadcast_to(grad, [size[c] for c in own])
    if own == mine:
        return grad.copy()
    dx = np.zeros_like(grad, shape=shape)
    at = np.ix_(*(np.arange(size[c]) for c in own))
    dx[tuple(at[own.index(c)] for c in mine)] = grad
    return dx
