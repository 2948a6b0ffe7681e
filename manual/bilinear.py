"""Marks functions that are linear in each of two arrays, such as a convolution's three products."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

Product = Callable[..., Any]


def bilinear(terms: Callable[..., Any]) -> Callable[[Product], Product]:
    """Mark a function f(a, b, ...) as a sum of products of an element of `a` and one of `b`.

        f(a, b)_n = Σ a_i b_j   over `terms` pairs (i, j), every coefficient 1

    For ordinary arrays nothing changes. An array class that follows more than values (errors, say)
    may know a rule for all such functions that is shorter than following every operation in it:
    where its class has a static method `__bilinear__(f, terms, a, b, ...)`, that is called instead.
    Inside, f then sees ordinary arrays only.

    The function lies at the top of its module: as a method, its first argument would be `self`.

    Args:
        terms: called as f is, returns how many products one element of the result sums: a number,
            or an array like the result. More than there are is safe.

    >>> import numpy as np
    >>> @bilinear(terms=lambda a, b: len(a))
    ... def along_rows(a, b):
    ...     return a @ b
    >>> along_rows(np.array([1, 2]), np.array([3, 4])).item()
    11
    """

    def mark(function: Product) -> Product:
        @functools.wraps(function)
        def marked(a: Any, b: Any, *args: Any, **kwargs: Any) -> Any:
            for array in (a, b):
                rule = getattr(type(array), "__bilinear__", None)
                if rule is not None:
                    return rule(function, terms, a, b, *args, **kwargs)
            return function(a, b, *args, **kwargs)

        return marked

    return mark
