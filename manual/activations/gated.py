"""SiLU, Mish, GELU: the input times a gate, y = x g(x), so that y' = g + x g'; and GLU."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from manual.activations.pointwise import WIDE, ZERO, blend, exp_minus_abs, sigmoid
from manual.examples import Draw, Example
from manual.in_place import InPlace
from manual.layer import Array, Arrays, Layer

__all__ = ["GELU", "GLU", "Mish", "SiLU"]

ROOT_HALF = math.sqrt(0.5)
ROOT_2_OVER_PI = math.sqrt(2 / math.pi)
CUBIC = 0.044715
TANH_GATE = f"\nwhere g[i] = (1 + tanh(sqrt(2 / pi) * (x[i] + {CUBIC} * x[i]**3))) / 2"


class GateCache(NamedTuple):
    x: Array
    gate: Array


class SiLU(InPlace):
    """Sigmoid-weighted linear unit, also called swish: x σ(x)."""

    equations = {
        "output": "y[i] = x[i] * sigma(x[i])",
        "grad_input": "dx[i] = dy[i] * g[i] * (1 + x[i] * (1 - g[i]))\nwhere g[i] = sigma(x[i])",
    }
    examples = (Example({}, WIDE, kinks=ZERO),)

    def forward(self, x: Array) -> tuple[Array, GateCache]:  # type: ignore[override]
        gate = sigmoid(x)
        return x * gate, GateCache(x, gate)

    def backward(self, grad_output: Array, cache: GateCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = x σ(x), all shapes equal.

        y' = σ + x σ' = σ + x σ (1 - σ)   ->   dx = dy · σ (1 + x (1 - σ))
        Torch: nn.SiLU.
        Source: Elfwing, Uchibe, Doya, Sigmoid-Weighted Linear Units (2018), equation 6.
        """
        slope = cache.x * (1 - cache.gate)
        slope += 1
        slope *= cache.gate
        return (grad_output * slope,), {}


class GELU(Layer):
    """Gaussian error linear unit: x Φ(x), with Φ exact or by a tanh.

    Args:
        approximate: "none" for the exact Φ, "tanh" for ½ (1 + tanh(√(2/π) (x + 0.044715 x³))).

    Raises:
        ValueError: `approximate` is neither.
    """

    equations = {
        "output": "y[i] = x[i] * Phi(x[i])",
        "output/tanh": f"y[i] = x[i] * g[i]{TANH_GATE}",
        "grad_input": "dx[i] = dy[i] * (Phi(x[i]) + x[i] * phi(x[i]))",
        "grad_input/tanh": f"dx[i] = dy[i] * (g[i] + x[i] * 2 * g[i] * (1 - g[i]) * u[i])"
        f"{TANH_GATE}\nwhere u[i] = sqrt(2 / pi) * (1 + 3 * {CUBIC} * x[i]**2)",
    }
    examples = (Example({}, WIDE), Example({"approximate": "tanh"}, WIDE))

    def __init__(self, approximate: str = "none") -> None:
        if approximate not in ("none", "tanh"):
            raise ValueError(
                f"GELU: approximate must be 'none' or 'tanh', received {approximate!r}."
            )
        self.approximate = approximate

    def forward(self, x: Array) -> tuple[Array, GateCache]:  # type: ignore[override]
        """Return x g(x) with the gate g(x) = ½ (1 + erf(x / √2)) = Φ(x), or its tanh form."""
        if self.approximate == "tanh":
            gate = np.tanh(ROOT_2_OVER_PI * (x + CUBIC * x * x * x))
        else:
            gate = erf(x * ROOT_HALF)
        gate += 1
        gate *= 0.5
        return x * gate, GateCache(x, gate)

    def backward(self, grad_output: Array, cache: GateCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = x g(x), all shapes equal:   dx = dy · (g + x g').

        Exact: g = ½ (1 + erf(z)), z = x / √2, erf'(z) = 2 e^(-z²) / √π, so
               g' = e^(-z²) / √(2π), the normal density φ(x).
        Tanh:  g = ½ (1 + t), t = tanh(u), u = √(2/π) (x + c x³), c = 0.044715, so
               g' = ½ (1 - t²) u' = 2 g (1 - g) u',   u' = √(2/π) (1 + 3 c x²).
        Torch: nn.GELU. Like torch, and for the same digits, both add 1 to a number near -1 on the
            far left, where an erfc would be more exact.
        Source: Hendrycks, Gimpel, Gaussian Error Linear Units (2016), section 2.
        """
        x, gate = cache
        if self.approximate == "tanh":
            slope = 2 * gate * (1 - gate) * (ROOT_2_OVER_PI * (1 + 3 * (CUBIC * x * x)))
        else:
            z = x * ROOT_HALF
            slope = np.exp(-z * z) * (ROOT_HALF / root_pi(x))
        slope *= x
        slope += gate
        return (grad_output * slope,), {}

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class MishCache(NamedTuple):
    x: Array
    gate: Array
    rest: Array  # 1 - gate, without cancelling


class Mish(InPlace):
    """The input times tanh of its softplus: x tanh(log(1 + eˣ))."""

    equations = {
        "output": "y[i] = x[i] * tanh(log(1 + exp(x[i])))",
        "grad_input": "dx[i] = dy[i] * (t[i] + x[i] * (1 - t[i]**2) * sigma(x[i]))\n"
        "where t[i] = tanh(log(1 + exp(x[i])))",
    }
    examples = (Example({}, WIDE, kinks=ZERO),)

    def forward(self, x: Array) -> tuple[Array, MishCache]:  # type: ignore[override]
        """Return x n / (n + r) with n = (1 + eˣ)² - 1 and r = 2, both times e⁻²ˣ where x >= 0."""
        positive, e = exp_minus_abs(x)
        n = blend(positive, 1 + 2 * e, e * (e + 2))
        r = blend(positive, 2 * (e * e), np.full_like(e, 2))
        total = n + r
        gate = n / total
        return x * gate, MishCache(x, gate, r / total)

    def backward(self, grad_output: Array, cache: MishCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = x t with t = tanh(s), s = log(1 + eˣ), all shapes equal.

        t' = (1 - t²) s' = (1 - t) (1 + t) σ(x)   ->   dx = dy · (t + x (1 - t) (1 + t) σ(x))
        In e = eˣ:  t = ((1 + e)² - 1) / ((1 + e)² + 1), so that 1 - t = 2 / ((1 + e)² + 1).
        Torch: nn.Mish.
        Source: Misra, Mish: A Self Regularized Non-Monotonic Activation Function (2019).
        """
        slope = cache.rest * (1 + cache.gate)
        slope *= cache.x * sigmoid(cache.x)
        slope += cache.gate
        return (grad_output * slope,), {}


class GLUCache(NamedTuple):
    a: Array
    gate: Array
    dim: int


class GLU(Layer):
    """Gated linear unit: one half of an axis times the sigmoid of the other, a σ(b).

    Args:
        dim: the axis that is halved.

    Raises:
        ValueError: there is no such axis, or its length is odd.
    """

    equations = {
        "output": "y[n,j] = x[n,j] * sigma(x[n,j + H])\nwhere H = size(x, -1) // 2",
        "grad_input": "dx[n,j] = cases(0 <= j < H, dy[n,j] * sigma(x[n,j + H]), "
        "dy[n,j - H] * x[n,j - H] * sigma(x[n,j]) * sigma(-x[n,j]))\nwhere H = size(x, -1) // 2",
    }
    symbols = {"j": "dim"}  # the axis that this index runs along
    examples = (
        Example({}, (Draw((3, 4), high=2),), kinks={"x = 0": {"x": 0.0}}),
        Example({"dim": 0}, (Draw((6, 2), high=2),)),
        Example({"dim": 1}, (Draw((2, 2, 3), high=2),)),
    )

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Array) -> tuple[Array, GLUCache]:  # type: ignore[override]
        shape = tuple(x.shape)
        if not -len(shape) <= self.dim < len(shape):
            raise ValueError(f"GLU: dim = {self.dim} is no axis of an input of shape {shape}.")
        if shape[self.dim] % 2:
            raise ValueError(
                f"GLU: axis {self.dim} is halved and must have an even length, received shape "
                f"{shape}."
            )
        at = self.dim % len(shape)
        half, before = shape[at] // 2, (slice(None),) * at
        a, gate = x[(*before, slice(half))], sigmoid(x[(*before, slice(half, None))])
        return a * gate, GLUCache(a, gate, at)

    def backward(self, grad_output: Array, cache: GLUCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = a σ(b), where x = [a, b] along an axis.

        Shapes: x (…, 2 H, …), a, b, y and dy (…, H, …).
        ∂y/∂a = σ(b)              ->   da = dy σ(b)
        ∂y/∂b = a σ(b) (1 - σ(b))  ->   db = dy a σ(b) (1 - σ(b)),   dx = [da, db]
        Torch: nn.GLU.
        Source: Dauphin et al., Language Modeling with Gated Convolutional Networks (2017), sec. 2.
        """
        da = grad_output * cache.gate
        db = da * cache.a * (1 - cache.gate)
        return (np.concatenate([da, db], axis=cache.dim),), {}

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


def erf(x: Array) -> Array:
    """Return the error function, from SciPy; numbers kept as objects bring their own."""
    from scipy import special

    return np.frompyfunc(lambda v: v.erf(), 1, 1)(x) if x.dtype == object else special.erf(x)


def root_pi(x: Array) -> Any:
    """Return √π to as many digits as x has: numbers kept as objects know Γ(½)."""
    return (0 * x.ravel()[0] + 0.5).gamma() if x.dtype == object else math.sqrt(math.pi)
