"""Special functions, element by element: the error function's, the normal's, the gamma's family."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from manual.activations.gated import root_pi
from manual.examples import Draw, Example
from manual.gates.pointwise import INSIDE, POSITIVE, PointCache, Pointwise
from manual.layer import Array

__all__ = [
    "EntrGate",
    "ErfGate",
    "ErfcGate",
    "ErfcxGate",
    "ErfinvGate",
    "LgammaGate",
    "LogNdtrGate",
    "LogitGate",
    "MvlgammaGate",
    "NdtrGate",
    "NdtriGate",
    "PolygammaGate",
]

SHARE = Draw((2, 3), "uniform", 0.1, 0.9)
PLAIN = (Example({}, ((2, 3),)),)
REAL = ("erfinv", "ndtri")  # SciPy knows them of real numbers only
COMPLEX = {"gammaln": "loggamma"}


def special(name: str, x: Array) -> Array:
    """Return a function of scipy.special; numbers kept as objects bring their own.

    Complex numbers lose their imaginary part where SciPy knows real ones only.
    """
    from scipy import special as scipy

    if x.dtype == object:
        return np.frompyfunc(lambda v: getattr(v, name)(), 1, 1)(x)
    if x.dtype.kind == "c":
        x, name = (np.real(x), name) if name in REAL else (x, COMPLEX.get(name, name))
    return getattr(scipy, name)(x)


def polygamma(n: int, x: Array) -> Array:
    """Return the n-th derivative of digamma."""
    from scipy import special as scipy

    own = getattr(x, "__polygamma__", None)
    if own is not None:
        return own(n)
    if x.dtype == object:
        return np.frompyfunc(lambda v: v.polygamma(n), 1, 1)(x)
    return scipy.polygamma(n, np.real(x)).astype(np.real(x).dtype)


class Special(Pointwise):
    """A function that SciPy computes."""

    function: str

    def value(self, x: Array) -> Array:
        return special(self.function, x)


def bell(x: Array) -> Array:
    """Return e^(-x²) / √π."""
    return np.exp(-x * x) / root_pi(x)


class ErfGate(Special):
    """The error function: 2/√π ∫₀ˣ e^(-t²) dt."""

    function = "erf"
    equations = {
        "output": "y[i] = 2 * Phi(x[i] * sqrt(2)) - 1",
        "grad_input": "dx[i] = dy[i] * 2 * exp(-x[i]**2) / sqrt(pi)",
    }
    examples = PLAIN

    def slope(self, x: Array, y: Array) -> Array:
        return 2 * bell(x)


class ErfcGate(Special):
    """1 - erf x, exact where that is small."""

    function = "erfc"
    equations = {
        "output": "y[i] = 2 * Phi(-x[i] * sqrt(2))",
        "grad_input": "dx[i] = -dy[i] * 2 * exp(-x[i]**2) / sqrt(pi)",
    }
    examples = PLAIN

    def slope(self, x: Array, y: Array) -> Array:
        return -2 * bell(x)


class ErfcxGate(Special):
    """e^(x²) erfc x, which does not underflow."""

    function = "erfcx"
    equations = {
        "output": "y[i] = exp(x[i]**2) * 2 * Phi(-x[i] * sqrt(2))",
        "grad_input": "dx[i] = dy[i] * (2 * x[i] * y[i] - 2 / sqrt(pi))\n"
        "where y[i] = exp(x[i]**2) * 2 * Phi(-x[i] * sqrt(2))",
    }
    examples = PLAIN

    def slope(self, x: Array, y: Array) -> Array:
        return 2 * x * y - 2 / root_pi(x)


class ErfinvGate(Special):
    """The inverse of erf, of |x| < 1."""

    function = "erfinv"
    equations = {}
    examples = (Example({}, (INSIDE,)),)

    def slope(self, x: Array, y: Array) -> Array:
        """Return √π/2 e^(y²), one over the slope of erf at y."""
        return np.exp(y * y) * root_pi(x) / 2


class NdtrGate(Pointwise):
    """The normal distribution function Φ = (1 + erf(x / √2)) / 2."""

    equations = {"output": "y[i] = Phi(x[i])", "grad_input": "dx[i] = dy[i] * phi(x[i])"}
    examples = PLAIN

    def value(self, x: Array) -> Array:
        """Return ½ + ½ erf, as torch does: on the far left an erfc would be more exact."""
        return (1 + special("erf", x / root_two(x))) / 2

    def slope(self, x: Array, y: Array) -> Array:
        return normal(x)


def normal(x: Array) -> Array:
    """Return the normal density e^(-x²/2) / √(2π)."""
    return np.exp(-x * x / 2) / (root_pi(x) * root_two(x))


def root_two(x: Array) -> Array:
    """Return √2 in the number system of x."""
    return np.sqrt(2 * np.ones_like(x))


class LogNdtrGate(Special):
    """log Φ, which does not underflow."""

    function = "log_ndtr"
    equations = {
        "output": "y[i] = log(Phi(x[i]))",
        "grad_input": "dx[i] = dy[i] * phi(x[i]) / Phi(x[i])",
    }
    examples = PLAIN

    def slope(self, x: Array, y: Array) -> Array:
        """Return φ / Φ = √(2/π) / erfcx(-x/√2)."""
        return root_two(x) / root_pi(x) / special("erfcx", -x / root_two(x))


class NdtriGate(Special):
    """The inverse of Φ, of 0 < x < 1."""

    function = "ndtri"
    equations = {}
    examples = (Example({}, (SHARE,)),)

    def slope(self, x: Array, y: Array) -> Array:
        """Return 1 / φ(y)."""
        return np.exp(y * y / 2) * (root_pi(x) * root_two(x))


class EntrGate(Pointwise):
    """y = -x log x, 0 at 0 and -∞ below."""

    equations = {
        "output": "y[i] = -x[i] * log(x[i])",
        "grad_input": "dx[i] = -dy[i] * (log(x[i]) + 1)",
    }
    examples = (Example({}, (POSITIVE,)),)

    def value(self, x: Array) -> Array:
        inside = np.where(x > 0, x, np.ones_like(x))
        y = -inside * np.log(inside)
        return np.where(x < 0, -math.inf, np.where(x != x, x, y))

    def slope(self, x: Array, y: Array) -> Array:
        return -np.log(x) - 1


class LogitGate(Pointwise):
    """y = log(x / (1 - x)), the inverse of σ.

    Args:
        eps: x is kept within eps and 1 - eps, where there is no slope; None: it is not.
    """

    equations = {
        "output": "y[i] = log(x[i] / (1 - x[i]))",
        "grad_input": "dx[i] = dy[i] / (x[i] * (1 - x[i]))",
        "output/eps": "y[i] = log(z[i] / (1 - z[i]))\nwhere z[i] = max(min(x[i], 1 - eps), eps)",
        "grad_input/eps": "dx[i] = dy[i] * (x[i] >= eps) * (x[i] <= 1 - eps) / (x[i] * (1 - x[i]))",
    }
    examples = (Example({}, (SHARE,)), Example({"eps": 0.25}, (SHARE,)))

    def __init__(self, eps: float | None = None) -> None:
        self.eps = eps

    def value(self, x: Array) -> Array:
        if self.eps is not None:
            one = np.ones_like(x)
            x = np.maximum(np.minimum(x, (1 - self.eps) * one), self.eps * one)
        return np.log(x / (1 - x))

    def slope(self, x: Array, y: Array) -> Array:
        if self.eps is None:
            return np.where((x < 0) | (x > 1), math.nan, 1 / (x * (1 - x)))
        inside = (x >= self.eps) & (x <= 1 - self.eps)
        z = np.where(inside, x, 0.5)
        return np.where(inside, 1 / (z * (1 - z)), 0)

    def decisions(self, cache: PointCache) -> Array | None:
        eps, x = self.eps, cache.x
        return None if eps is None else (x >= eps) & (x <= 1 - eps)

    def extra_repr(self) -> str:
        return f"eps={self.eps}"


class LgammaGate(Special):
    """log |Γ(x)|."""

    function = "gammaln"
    equations = {}
    examples = (Example({}, (POSITIVE,)),)

    def slope(self, x: Array, y: Array) -> Array:
        return special("psi", x)


class PolygammaGate(Pointwise):
    """The n-th derivative of ψ = Γ' / Γ.

    Args:
        n: from 0; torch's own for n = 1 is good to ten digits.
    """

    equations = {}
    examples = (Example({"n": 2}, (POSITIVE,)),)

    def __init__(self, n: int) -> None:
        self.n = n

    def value(self, x: Array) -> Array:
        return special("psi", x) if self.n == 0 else polygamma(self.n, x)

    def slope(self, x: Array, y: Array) -> Array:
        return polygamma(self.n + 1, x)

    def extra_repr(self) -> str:
        return f"n={self.n}"


class MvlgammaGate(Pointwise):
    """log Γ of p dimensions: Σ log Γ(x - k/2) over k < p, and p (p - 1) / 4 log π.

    Args:
        p: how many dimensions.
    """

    equations = {}
    examples = (Example({"p": 2}, (Draw((2, 3), "uniform", 1, 3),)),)

    def __init__(self, p: int) -> None:
        self.p = p

    def value(self, x: Array) -> Array:
        constant: Any = self.p * (self.p - 1) / 4 * math.log(math.pi)
        return sum(special("gammaln", x - k / 2) for k in range(self.p)) + constant

    def slope(self, x: Array, y: Array) -> Array:
        return sum(special("psi", x - k / 2) for k in range(self.p))

    def extra_repr(self) -> str:
        return f"p={self.p}"
