"""Adafactor: a matrix of running mean squares, kept as its row and column means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, final

import numpy as np

from manual.graph import Array
from manual.optimizers.averages import averaged
from manual.optimizers.base import Optimizer, State, as_numbers, nonnegative, number
from manual.rounding import machine_epsilon

__all__ = ["Adafactor"]

SHARE = "where share = t**beta2_decay"
ROWS = "r[i,z] = r_old[i,0] + share * (mean(j, grad[i,j]**2) - r_old[i,0])"
COLUMNS = "c[z,j] = c_old[0,j] + share * (mean(i, grad[i,j]**2) - c_old[0,j])"
SQUARES = "v[i] = v_old[i] + share * (grad[i]**2 - v_old[i])"
ALPHA = f"where alpha = max(eps2, rms) * min(eta, 1 / sqrt(t))\n{SHARE}"
MATRIX = (
    "theta[i,j] = (1 - eta * lam) * theta_old[i,j] - sgn * alpha / max(1, length / d) * u[i,j]\n"
    "where length = sqrt(mean(i, mean(j, u[i,j]**2)))\n"
    "where u[i,j] = grad[i,j] / sqrt(max(r[i,0] * c[0,j] / max(mean(k, r[k,0]), eps1), eps1**2))\n"
    f"where {ROWS}\nwhere {COLUMNS}\nwhere rms = sqrt(mean(i, mean(j, theta_old[i,j]**2)))\n{ALPHA}"
)
VECTOR = (
    "theta[i] = (1 - eta * lam) * theta_old[i] - sgn * alpha / max(1, length / d) * u[i]\n"
    "where length = sqrt(mean(i, u[i]**2))\nwhere u[i] = grad[i] / sqrt(max(v[i], eps1**2))\n"
    f"where {SQUARES}\nwhere rms = sqrt(mean(i, theta_old[i]**2))\n{ALPHA}"
)


@final
@dataclass(frozen=True)
class Adafactor(Optimizer):
    """Gradients over a root mean square that takes n + m numbers for an n × m matrix.

    Args:
        lr: η, the largest relative step.
        beta2_decay: τ, the averages' new share is t^τ.
        eps: (ε₁, ε₂), below which gradients and parameters count as no smaller; ε₁ None is the
            machine epsilon of the parameter's dtype.
        d: the root mean square of a step, before the rate, from which on it is scaled down.
        weight_decay: λ, shrinks the parameter by η λ of itself.
        maximize: climb the loss instead of descending.

    State: `step` t; of a matrix (and of the last two axes of more) `row_var` R and `col_var` C, of
    anything else `variance` V.

    Raises:
        ValueError: a negative number, τ above 0, or d below 1.
    """

    equations: ClassVar[Mapping[str, str]] = {
        "param/vector": VECTOR,
        "param/matrix": MATRIX,
        "state:row_var": f"{ROWS}\n{SHARE}",
        "state:col_var": f"{COLUMNS}\n{SHARE}",
        "state:variance": f"{SQUARES}\n{SHARE}",
        "state:step": "t = t_old + 1",
    }
    symbols: ClassVar[Mapping[str, str]] = {
        "r_old": "row_var", "c_old": "col_var", "v_old": "variance", "eps2": "eps.1",
    }  # fmt: skip
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {},
        {"beta2_decay": -0.5, "eps": (0.25, 0.5), "d": 1.25, "weight_decay": 0.25,
         "maximize": True},
    )  # fmt: skip

    implementations: ClassVar[tuple[str, ...]] = ("foreach",)
    lr: float = 1e-2
    beta2_decay: float = -0.8
    eps: tuple[float | None, float] = (None, 1e-3)
    d: float = 1.0
    weight_decay: float = 0.0
    _: KW_ONLY
    maximize: bool = False

    decoupled_weight_decay = True

    def __post_init__(self) -> None:
        nonnegative(self, "lr", "weight_decay", "d")
        if not number(self, "beta2_decay") <= 0:
            raise ValueError(
                f"Adafactor: beta2_decay must be at most 0, received {self.beta2_decay!r}: the new "
                "share t^beta2_decay is then at most 1."
            )
        if not self.d >= 1:
            raise ValueError(f"Adafactor: d must be at least 1, received {self.d!r}.")
        pair = as_numbers(self.eps)
        given = pair[1:] if pair and self.eps[0] is None else pair
        if len(pair) != 2 or not all(e is not None and e >= 0 for e in given):
            raise ValueError(
                "Adafactor: eps must be two numbers of at least 0, of which the first may be None, "
                f"received {self.eps!r}."
            )
        object.__setattr__(self, "eps", pair)

    def variants(self, param: Array, state: State) -> tuple[str, ...]:
        return ("matrix" if param.ndim > 1 else "vector",)

    def named(self, param: Array, grad: Array, state: State) -> dict[str, tuple[Any, str]]:
        own = machine_epsilon(param) if self.eps[0] is None else self.eps[0]
        return {"eps1": (own, "eps[0]"), "sgn": (-1 if self.maximize else 1, "-1 to maximise")}

    def update(self, param: Array, grad: Array, state: State, lr: float) -> tuple[Array, State]:
        r"""Take a step of a size relative to θ's, along g / √V.

        For a matrix (n, m); G = ±∂L/∂θ, R (n, 1), C (1, m), of the last two axes where there are
        more; R_0 = C_0 = 0:
            s_t = t^τ                                   (1 at first: a mean without a bias)
            R_i = (1 - s) R_i + s / m Σ_j G_ij²,   C_j = (1 - s) C_j + s / n Σ_i G_ij²
            V_ij = R_i C_j / max(1/n Σ_k R_k, ε₁)
            U = G / √max(V, ε₁²),   rms(X) = (1/nm Σ X²)^½
            ρ = min(η, 1/√t),       α = max(ε₂, rms(θ)) ρ
            θ = (1 - η λ) θ - α / max(1, rms(U) / d) U
        A vector keeps V itself, V = (1 - s) V + s G².
        R Cᵀ / ΣR is the matrix of rank one with V's row and column sums: of all such matrices it is
        the nearest in the divergence V log (V / R C) - V + R C. rms(U) is near 1 while V fits the
        gradients; where a gradient jumps ahead of its mean, U is scaled down to d.
        Torch: optim.Adafactor. ε₁ bounds the mean of R where the paper adds it to G²; as it is not
        squared there, in float32 gradients below 3e-4 already count as larger than they are. The
        decay takes η, not α.
        Source: Shazeer, Stern, Adafactor: Adaptive Learning Rates with Sublinear Memory Cost, 2018,
        algorithms 4 and 5.
        """
        g = -grad if self.maximize else grad
        t = state.get("step", 0) + 1
        eps1 = machine_epsilon(param) if self.eps[0] is None else self.eps[0]
        v, averages = self._squares(g, state, 1 - t**self.beta2_decay, eps1)
        u = g / np.sqrt(np.maximum(v, eps1 * eps1))
        alpha = np.maximum(_rms(param), self.eps[1]) * min(lr, 1 / t**0.5)
        u *= alpha / np.maximum(_rms(u) / self.d, 1.0)
        return self.shrunk(param, lr) - u, {"step": t, **averages}

    def _squares(self, g: Array, state: State, keep: Any, eps1: Any) -> tuple[Array, State]:
        """Return V and what is kept of it."""
        if g.ndim < 2:
            v = averaged(g * g, state.get("variance", 0.0), keep)
            return v, {"variance": v}
        square = g * g
        rows = averaged(_mean(square, -1), state.get("row_var", 0.0), keep)
        columns = averaged(_mean(square, -2), state.get("col_var", 0.0), keep)
        v = rows * columns / np.maximum(_mean(rows, -2), eps1)
        return v, {"row_var": rows, "col_var": columns}


def _mean(x: Array, axis: int) -> Array:
    """Return the mean along an axis, which stays."""
    return np.sum(x, axis=axis, keepdims=True) / x.shape[axis]


def _rms(x: Array) -> Array:
    """Return the root mean square of all elements."""
    return np.sqrt(np.sum(x * x) / x.size)
