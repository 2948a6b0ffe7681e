"""Sums of products: matrix products, contractions, convolutions. One rule for all of them.

For f(a, b) = Σ aᵢ bⱼ over k terms, the same function on squares gives the errors:

    E² = f(Ea², b²) + f(a², Eb²) + k f(a², b²) + f((u Ea)², Eb²)

The first two pass errors on, as independent ones; the third is k roundings of terms of typical
size, which covers any order of adding them; the last is all there is where both values are 0. By
linearity it takes two calls of f beside the value's own, and one where an argument is exact:

    E² = f(k a² + Ea², b²) + f(a² + (u Ea)², Eb²)

Every coefficient must be 0 or 1. Between 0 and 1 the rule is safe and too wide; a minus sign
(Winograd's convolution) would take errors away, and is refused where squares come out negative.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from compare.gauge.array import Gauge, is_exact, owning, parts, spread
from compare.gauge.correlated import erring
from compare.gauge.registry import CORRELATED, OTHERS, UFUNCS, function
from compare.gauge.state import setting

Product = Callable[[Any, Any], Any]


def inside(name: str) -> float:
    """Return the square of a rounding inside a sum, in u²."""
    return setting().rounding if name in setting().serial else setting().sums


def done(v: Any, e2: Any, terms: Any, name: str) -> Any:
    """Add to E² the rounding of a sum that was kept in more digits, and of partial sums."""
    if not setting().once:
        return e2
    partial = 1.0 if name in setting().serial else setting().partial
    own = np.square(v, dtype=setting().squares) + setting().flush_squared
    return e2 + (1.0 + partial * terms) * own


def product(f: Product, a: Any, b: Any, terms: Any, name: str = "matmul") -> Gauge:
    """Return f(a, b), a sum of products.

    Args:
        f: called with ordinary arrays.
        a, b: either may be a gauge array.
        terms: how many products each result sums: a number, or an array like the result.
        name: of the operation, which decides its signs in a sketch.
    """
    (av, ae), (bv, be) = parts(a), parts(b)
    if setting().sketch is not None:
        return _signed(f, (av, ae), (bv, be), terms, name)
    v = f(av, bv)
    e2 = _squared(f, (av, ae), (bv, be), terms * inside(name))
    return owning(v, done(v, e2, terms, name))


def _squared(f: Product, a: Any, b: Any, terms: Any) -> Any:
    (av, ae), (bv, be) = a, b
    squares = setting().squares
    a2, b2 = np.square(av, dtype=squares), np.square(bv, dtype=squares)
    if np.ndim(terms):  # not the same everywhere: it cannot go into an argument
        e2 = f(a2, b2) * terms
        e2 = e2 if is_exact(ae) else e2 + f(_full(ae, av), b2)
    elif is_exact(ae) and not is_exact(be):
        b2 *= float(terms)
        b2 += be
        return _flushed(f(a2, b2))
    else:
        left = a2 * float(terms)
        left += ae
        e2 = f(left, b2)
    if not is_exact(be):
        if not is_exact(ae):
            a2 += setting().second * ae  # both off
        e2 += f(a2, _full(be, bv))
    return _flushed(e2)


def _flushed(e2: Any) -> Any:
    """Add what is flushed to zero, in place: E² is fresh."""
    if setting().flush_squared:
        e2 += setting().flush_squared
    return e2


def _full(e2: Any, v: Any) -> Any:
    return spread(e2, np.shape(v))


def _signed(f: Product, a: Any, b: Any, terms: Any, name: str) -> Gauge:
    (av, ae), (bv, be) = a, b
    error: Any = 0.0
    if not is_exact(ae):
        error = error + f(_full(ae, av), bv + setting().roundoff * be)
    if not is_exact(be):
        error = error + f(av, _full(be, bv))
    v, own = f(av, bv), terms * inside(name) * f(np.square(av), np.square(bv))
    return erring(v, error, name, size=np.sqrt(done(v, own, terms, name)))


def bilinear(f: Callable, terms: Callable, a: Any, b: Any, *args: Any, **kwargs: Any) -> Gauge:
    """Answer what `manual.bilinear` marks."""
    (av, _), (bv, _) = parts(a), parts(b)
    found = product(
        lambda x, w: f(x, w, *args, **kwargs), a, b, terms(av, bv, *args, **kwargs), f.__name__
    )
    if setting().sketch is None and np.min(found._e2, initial=0.0) < 0:
        raise TypeError(
            f"The error gauge expected {f.__name__} to be a sum of products, and found a minus "
            "sign: on squares it is negative. Write it without, or leave it unmarked."
        )
    return found


OTHERS["bilinear"] = bilinear


def _matmul(a: Any, b: Any, f: Product = np.matmul) -> Gauge:
    return product(f, a, b, np.shape(parts(a)[0])[-1])


UFUNCS[np.matmul] = CORRELATED[np.matmul] = _matmul
for _name in ("vecdot", "matvec", "vecmat"):  # NumPy 2.2
    if hasattr(np, _name):
        _f = getattr(np, _name)
        UFUNCS[_f] = CORRELATED[_f] = partial(_matmul, f=_f)


@function(np.dot)
def _dot(a: Any, b: Any) -> Gauge:
    (av, _), (bv, _) = parts(a), parts(b)
    if 0 in (np.ndim(av), np.ndim(bv)):
        return np.multiply(a, b)  # type: ignore[return-value]
    return product(np.dot, a, b, np.shape(av)[-1])


@function(np.vdot)
def _vdot(a: Any, b: Any) -> Gauge:
    return product(np.vdot, a, b, np.size(parts(a)[0]))


@function(np.inner)
def _inner(a: Any, b: Any) -> Gauge:
    (av, _), (bv, _) = parts(a), parts(b)
    if 0 in (np.ndim(av), np.ndim(bv)):
        return np.multiply(a, b)  # type: ignore[return-value]
    return product(np.inner, a, b, np.shape(av)[-1])


@function(np.outer)
def _outer(a: Any, b: Any) -> Gauge:
    return np.ravel(a)[:, None] * np.ravel(b)[None, :]  # type: ignore[return-value]


@function(np.tensordot)
def _tensordot(a: Any, b: Any, axes: Any = 2) -> Gauge:
    shape = np.shape(parts(a)[0])
    if np.ndim(axes) == 0:
        summed = shape[len(shape) - int(axes) :]
    else:
        summed = tuple(shape[i] for i in np.atleast_1d(axes[0]))
    return product(lambda x, w: np.tensordot(x, w, axes), a, b, math.prod(summed), "tensordot")


@function(np.convolve)
def _convolve(a: Any, b: Any, mode: str = "full") -> Gauge:
    terms = min(np.size(parts(a)[0]), np.size(parts(b)[0]))
    return product(lambda x, w: np.convolve(x, w, mode), a, b, terms, "convolve")  # type: ignore[call-overload]


@function(np.einsum)
def _einsum(subscripts: Any, *operands: Any, optimize: Any = False) -> Gauge:
    """One operand is summed, two are a sum of products, more are contracted pair by pair."""
    if not isinstance(subscripts, str):
        raise TypeError("The error gauge knows np.einsum with subscripts as text: 'ij,jk->ik'.")
    inputs, output = _letters(subscripts.replace(" ", ""))
    rest = list(operands)
    while len(inputs) > 2:
        kept = "".join(dict.fromkeys(c for c in inputs[0] + inputs[1] if c not in "."))
        kept = "".join(c for c in kept if any(c in i for i in (*inputs[2:], output)))
        kept = "..." + kept if "." in inputs[0] + inputs[1] else kept
        rest[:2] = [_contracted((inputs[0], inputs[1]), kept, rest[:2], optimize)]
        inputs[:2] = [kept]
    return _contracted(tuple(inputs), output, rest, optimize)


def _letters(subscripts: str) -> tuple[list[str], str]:
    """Return every operand's letters and the output's; without an arrow as NumPy takes it."""
    left, arrow, output = subscripts.partition("->")
    if not arrow:
        letters = left.replace(",", "").replace(".", "")
        once = sorted(c for c in set(letters) if letters.count(c) == 1)
        output = ("..." if "." in left else "") + "".join(once)
    return left.split(","), output


def _contracted(inputs: tuple[str, ...], output: str, operands: Any, optimize: Any) -> Gauge:
    text = ",".join(inputs) + "->" + output
    sizes: dict[str, int] = {}
    for letters, operand in zip(inputs, operands, strict=True):
        shape = np.shape(parts(operand)[0])
        before, dots, after = letters.partition("...")
        pairs = [*zip(before, shape, strict=False)]
        pairs += zip(reversed(after), reversed(shape), strict=False) if dots else []
        for letter, n in pairs:
            sizes[letter] = max(n, sizes.get(letter, 1))  # 1 is broadcast
    terms = math.prod(n for letter, n in sizes.items() if letter not in output)

    def f(*arrays: Any) -> Any:
        return np.array(np.einsum(text, *arrays, optimize=optimize))

    if len(operands) == 1:
        return product(lambda a, _: f(a), operands[0], 1.0, terms, "einsum")
    return product(f, operands[0], operands[1], terms, "einsum")
