"""Which rule passes rounding errors through which of NumPy's functions.

Rules register themselves here when `compare.gauge` is imported; the array class looks them up. A
new function needs one entry: its slope (`SLOPES`, `PARTIALS`), or a rule.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

Rule = Callable[..., Any]

UFUNCS: dict[np.ufunc, Rule] = {}  # E² of a root of a sum of squares
CORRELATED: dict[np.ufunc, Rule] = {}  # the signed errors of a sketch
METHODS: dict[tuple[str, np.ufunc | None], Rule] = {}  # reduce, at, …; None: of any other ufunc
FUNCTIONS: dict[Any, Rule] = {}
OTHERS: dict[str, Rule] = {}  # `slope`: of a ufunc without a rule; others of manual's own functions
PLAIN: set[np.ufunc] = {  # questions about the value: the answer is an ordinary array
    np.greater, np.greater_equal, np.less, np.less_equal, np.equal, np.not_equal,
    np.isfinite, np.isnan, np.isinf, np.signbit, np.floor, np.ceil, np.rint, np.trunc,
    np.heaviside, np.logical_and, np.logical_or, np.logical_not, np.logical_xor,
}  # fmt: skip
BORDERS = {np.greater, np.greater_equal, np.less, np.less_equal}  # which rounding may cross
_KNOWN: dict[Any, frozenset[str] | None] = {}  # a rule's keyword arguments; None: whatever NumPy's


def function(*functions: Any) -> Callable[[Rule], Rule]:
    """Register a rule for NumPy functions that are no ufuncs.

    Its signature says what it knows: any other keyword is refused.
    """

    def register(rule: Rule) -> Rule:
        FUNCTIONS.update(dict.fromkeys(functions, rule))
        _KNOWN.update(dict.fromkeys(functions, _keywords(rule)))
        return rule

    return register


def ufunc(*ufuncs: np.ufunc, into: dict[np.ufunc, Rule] = UFUNCS) -> Callable[[Rule], Rule]:
    """Register a rule for ufuncs, which takes their arguments."""

    def register(rule: Rule) -> Rule:
        into.update(dict.fromkeys(ufuncs, rule))
        return rule

    return register


def method(name: str, *ufuncs: np.ufunc | None) -> Callable[[Rule], Rule]:
    """Register a rule for a ufunc's method (reduce, accumulate, reduceat, at, outer).

    It takes the ufunc, then the method's arguments; without ufuncs it is for all others.
    """

    def register(rule: Rule) -> Rule:
        for one in ufuncs or (None,):
            METHODS[name, one] = rule
            _KNOWN[name, one] = _keywords(rule)
        return rule

    return register


def function_rule(func: Any, keywords: dict[str, Any]) -> Rule:
    """Return the rule for a function.

    Raises:
        TypeError: there is none, or it does not know an argument.
    """
    if func not in FUNCTIONS:
        names = sorted({f.__name__ for f in FUNCTIONS})
        raise TypeError(
            f"The error gauge has no rule for numpy.{func.__name__}. Write the layer with "
            f"functions it has ({', '.join(names)}), or add a rule in compare/gauge/."
        )
    _check(_KNOWN[func], keywords, f"numpy.{func.__name__}")
    return FUNCTIONS[func]


def method_rule(one: np.ufunc, name: str, keywords: dict[str, Any]) -> Rule:
    """Return the rule for a ufunc's method, which takes the ufunc first; raise as above."""
    key: tuple[str, np.ufunc | None] = (name, one if (name, one) in METHODS else None)
    if key not in METHODS:
        raise TypeError(f"The error gauge has no rule for np.{one.__name__}.{name}.")
    _check(_KNOWN[key], keywords, f"np.{one.__name__}.{name}")
    return METHODS[key]


def _keywords(rule: Rule) -> frozenset[str] | None:
    parameters = inspect.signature(rule).parameters.values()
    return None if any(p.kind is p.VAR_KEYWORD for p in parameters) else frozenset(
        p.name for p in parameters
    )  # fmt: skip


def _check(known: frozenset[str] | None, keywords: dict[str, Any], name: str) -> None:
    if known is not None and not keywords.keys() <= known:
        unknown = ", ".join(f"{k}=" for k in sorted(keywords.keys() - known))
        raise TypeError(f"The error gauge's rule for {name} does not know {unknown}.")


def of_scipy(one: np.ufunc) -> str | None:
    """Return a scipy.special ufunc's name; None for others. SciPy is not imported for it."""
    special = sys.modules.get("scipy.special")
    found = special is not None and getattr(special, one.__name__, None) is one
    return one.__name__ if found else None
