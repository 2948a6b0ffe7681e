"""Muon: momentum whose matrix is made orthogonal before each step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from manual.graph import Array
from manual.optimizers.averages import averaged
from manual.optimizers.base import Optimizer, State, as_numbers, nonnegative
from manual.rounding import bfloat16

__all__ = ["Muon", "orthogonalized"]

SCALES = (None, "original", "match_rms_adamw")
MOST = 100  # iterations that torch no longer takes


@final
@dataclass(frozen=True)
class Muon(Optimizer):
    """Steps along the orthogonal matrix nearest to the momentum; for matrices only.

    Args:
        lr: η, the learning rate.
        weight_decay: λ, shrinks the parameter by η λ of itself.
        momentum: μ, the share of the running mean gradient that is kept.
        nesterov: look one momentum step ahead.
        ns_coefficients: (a, b, c), of the polynomial that is iterated.
        eps: ε, the least norm that the momentum is divided by.
        ns_steps: k, how often it is iterated.
        adjust_lr_fn: how the rate depends on the shape (A, B): "original" (None) by
            √max(1, A/B), "match_rms_adamw" by 0.2 √max(A, B).

    State: `momentum_buffer` b.

    Raises:
        ValueError: a negative number, 100 or more ns_steps, or no three ns_coefficients.
    """

    equations: ClassVar[Mapping[str, str]] = {
        "param": "theta[i,j] = (1 - eta * lam) * theta_old[i,j] - eta * scale * o[i,j]",
        "state:momentum_buffer": "b[i] = mu * b_old[i] + (1 - mu) * grad[i]",
    }
    symbols: ClassVar[Mapping[str, str]] = {"mu": "momentum", "b_old": "momentum_buffer"}
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"ns_steps": 3},
        {"weight_decay": 0.25, "momentum": 0.75, "nesterov": False,
         "ns_coefficients": (3.5, -4.75, 2.0), "ns_steps": 2, "adjust_lr_fn": "match_rms_adamw"},
    )  # fmt: skip

    matrices_only: ClassVar[bool] = True
    implementations: ClassVar[tuple[str, ...]] = ()
    lr: float = 1e-3
    weight_decay: float = 0.1
    momentum: float = 0.95
    nesterov: bool = True
    ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315)
    eps: float = 1e-7
    ns_steps: int = 5
    adjust_lr_fn: str | None = None

    decoupled_weight_decay = True

    def __post_init__(self) -> None:
        nonnegative(self, "lr", "weight_decay", "momentum", "eps")
        if self.adjust_lr_fn not in SCALES:
            raise ValueError(
                "Muon: adjust_lr_fn must be 'original', 'match_rms_adamw' or None, received "
                f"{self.adjust_lr_fn!r}."
            )
        if not isinstance(self.ns_steps, int) or not self.ns_steps < MOST:
            raise ValueError(
                f"Muon: ns_steps must be a whole number below {MOST}, received {self.ns_steps!r}."
            )
        found = as_numbers(self.ns_coefficients)
        if len(found) != 3 or None in found:
            raise ValueError(
                f"Muon: ns_coefficients must be three numbers, received {self.ns_coefficients!r}."
            )
        object.__setattr__(self, "ns_coefficients", found)

    def named(self, param: Array, grad: Array, state: State) -> dict[str, tuple[Any, str]]:
        b = averaged(grad, state.get("momentum_buffer", 0.0), self.momentum)
        m = averaged(b, grad, 1 - self.momentum) if self.nesterov else b
        o = orthogonalized(m, self.ns_coefficients, self.ns_steps, self.eps)
        return {"o": (o, "the momentum, made orthogonal"), "scale": (self.scale(param.shape), "s")}

    def update(self, param: Array, grad: Array, state: State, lr: float) -> tuple[Array, State]:
        r"""Make all singular values of the step alike.

        Shapes (A, B); b_0 = 0:
            b_t = μ b_t-1 + (1 - μ) g_t
            m_t = b_t, or with Nesterov (1 - μ) g_t + μ b_t
            θ_t = (1 - η λ) θ_t-1 - η s O(m_t)
        with s = √max(1, A/B), or 0.2 √max(A, B), and O as in `orthogonalized`. With the singular
        values m = U S Vᵀ, O is near U Vᵀ: of all steps whose spectral norm is at most 1, the one
        that goes down farthest, max_‖O‖≤1 ⟨m, O⟩ = Σ S. Directions of small singular values are
        stepped along as far as those of large ones.
        Torch: optim.Muon. The decay takes η without s. O is worked out in bfloat16, also of float64
        gradients: eight binary digits, so a step is good to some percent. It is rounded so here.
        Source: Jordan, Jin, Boza, You, Cesista, Newhouse, Bernstein, Muon: An optimizer for hidden
        layers in neural networks, 2024; match_rms_adamw: Liu et al., Muon is Scalable for LLM
        Training, 2025.
        """
        if param.ndim != 2:
            raise ValueError(
                f"Muon moves matrices only, received a parameter of shape {tuple(param.shape)}. "
                "Give it to another optimiser, such as AdamW."
            )
        b = averaged(grad, state.get("momentum_buffer", 0.0), self.momentum)
        m = averaged(b, grad, 1 - self.momentum) if self.nesterov else b
        step = orthogonalized(m, self.ns_coefficients, self.ns_steps, self.eps)
        new = self.shrunk(param, lr) - step * (lr * self.scale(param.shape))
        return new, {"momentum_buffer": b}

    def scale(self, shape: tuple[int, ...]) -> float:
        """Return s, by which the rate of a matrix of this shape is multiplied."""
        a, b = shape
        if self.adjust_lr_fn == "match_rms_adamw":
            return 0.2 * max(a, b) ** 0.5
        return max(1, a / b) ** 0.5


def orthogonalized(m: Array, coefficients: tuple[Any, Any, Any], steps: int, eps: Any) -> Array:
    r"""Return O(m), m with its singular values near 1, by Newton-Schulz iterations.

    Shapes (A, B); of a tall matrix, the transpose is iterated:
        X_0 = m / max(‖m‖, ε),   X_k+1 = a X + (b X Xᵀ + c (X Xᵀ)²) X
    With X = U S Vᵀ this is U (a S + b S³ + c S⁵) Vᵀ: an odd polynomial applied to every singular
    value, which ‖X_0‖ = 1 puts into [0, 1]. a = 3.44 makes small ones grow fast; they come to lie
    somewhere in 0.7 … 1.2 rather than at 1. Every product is rounded to bfloat16.
    """
    a, b, c = coefficients
    tall = m.shape[0] > m.shape[1]
    x = bfloat16(m.T if tall else m)
    x = bfloat16(x / bfloat16(np.maximum(np.sqrt(np.sum(x * x, keepdims=True)), eps)))
    for _ in range(steps):
        gram = bfloat16(x @ x.T)
        polynomial = bfloat16(gram * b + (gram @ gram) * c)
        x = bfloat16(x * a + polynomial @ x)
    return x.T if tall else x
