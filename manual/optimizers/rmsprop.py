"""RMSprop: Adagrad with a memory that fades."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from manual.graph import Array
from manual.optimizers.base import NEW, Optimizer, State, nonnegative

__all__ = ["RMSprop"]

SQUARES = "v[i] = alpha * v_old[i] + (1 - alpha) * g[i]**2"
MEAN = "m[i] = alpha * m_old[i] + (1 - alpha) * g[i]"
ROOT = f"\nwhere r[i] = sqrt(v[i]) + eps\nwhere {SQUARES}"
DEVIATION = f"\nwhere r[i] = sqrt(max(v[i] - m[i]**2, 0)) + eps\nwhere {SQUARES}\nwhere {MEAN}"
BUFFER = "b[i] = mu * b_old[i] + g[i] / r[i]"


@final
@dataclass(frozen=True)
class RMSprop(Optimizer):
    """Gradient descent divided by a running root mean square of the gradients.

    Args:
        lr: η, the learning rate.
        alpha: α, the share of the running averages that is kept.
        eps: ε, keeps the quotient finite.
        weight_decay: λ, adds λ θ to the gradient.
        momentum: μ, the share of the last direction that is kept.
        centered: divide by the running standard deviation instead.
        maximize: climb the loss instead of descending.

    State: `step` t, `square_avg` v; `momentum_buffer` b with momentum, `grad_avg` m if centered.

    Raises:
        ValueError: a negative number.
    """

    equations: ClassVar[Mapping[str, str]] = {
        "param": f"theta[i] = theta_old[i] - eta * g[i] / r[i]{ROOT}",
        "param/centered": f"theta[i] = theta_old[i] - eta * g[i] / r[i]{DEVIATION}",
        "param/momentum": f"theta[i] = theta_old[i] - eta * b[i]\nwhere {BUFFER}{ROOT}",
        "param/centered, momentum": (
            f"theta[i] = theta_old[i] - eta * b[i]\nwhere {BUFFER}{DEVIATION}"
        ),
        "state:square_avg": SQUARES,
        "state:grad_avg": MEAN,
        "state:momentum_buffer": f"{BUFFER}{ROOT}",
        "state:momentum_buffer/centered": f"{BUFFER}{DEVIATION}",
        "state:step": "t = t_old + 1",
    }
    symbols: ClassVar[Mapping[str, str]] = {
        "mu": "momentum", "v_old": "square_avg", "m_old": "grad_avg", "b_old": "momentum_buffer",
    }  # fmt: skip
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {},
        {"centered": True},
        {"alpha": 0.75, "momentum": 0.5, "weight_decay": 0.25},
        {"alpha": 0.75, "momentum": 0.5, "centered": True},
    )

    elementwise: ClassVar[bool] = True
    blockwise: ClassVar[bool] = True
    lr: float = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    centered: bool = False
    maximize: bool = False

    def __post_init__(self) -> None:
        nonnegative(self, "lr", "alpha", "eps", "weight_decay", "momentum")

    def update(
        self, param: Array, grad: Array, state: State, lr: float, out: State = NEW
    ) -> tuple[Array, State]:
        r"""Divide each element's step by the recent size of its gradient.

        All shapes equal, element by element; v_0 = m_0 = b_0 = 0:
            g_t = ∂L/∂θ + λ θ_t-1
            v_t = α v_t-1 + (1 - α) g_t²            (unrolled: (1 - α) Σ_k α^k g²_t-k)
            plain:     r_t = √v_t + ε
            centered:  m_t = α m_t-1 + (1 - α) g_t,   r_t = √(v_t - m_t²) + ε
            b_t = μ b_t-1 + g_t / r_t
            θ_t = θ_t-1 - η b_t                     (μ = 0: b = g / r)
        v is Adagrad's sum with weights that fade and add up to 1 - α^t, so the rate stops
        shrinking. Nothing corrects for 1 - α^t: the first step is η sign(g) / √(1 - α), ten times
        η at α = 0.99. Centered: E g² - (E g)² is the variance of g. It is never negative, as the
        weights add up to at most 1, so a rounding below 0 is cut.
        Torch: optim.RMSprop. ε is added to the root (TensorFlow's stood inside it), and η
        multiplies the whole of b: momentum gathers quotients, not steps. Where a centered variance
        rounds below 0 (a constant gradient, after about 1 / (1 - α) · 16 steps), torch gives nan.
        Source: Hinton, Neural Networks for Machine Learning, lecture 6e; centered: Graves,
        Generating Sequences with Recurrent Neural Networks, 2013, equations 38 to 45.
        """
        g = self.direction(param, grad)
        root, new_state = self._root(g, state, out)
        if self.momentum > 0:
            b = np.divide(g, root, out=out.get("momentum_buffer"))
            b += self.momentum * state.get("momentum_buffer", 0.0)
            new_state["momentum_buffer"] = b
            new = np.multiply(b, -lr, out=out.get("param"))
        else:
            new = np.divide(g, root, out=out.get("param"))
            new *= -lr
        new += param
        return new, new_state

    def _root(self, g: Array, state: State, out: State) -> tuple[Array, State]:
        """Return r_t and the averages that it is made of."""
        # (1 - α) before squaring: g² alone overflows sooner
        v = np.multiply(g, 1 - self.alpha, out=out.get("square_avg"))
        v *= g
        v += self.alpha * state.get("square_avg", 0.0)
        new_state = {"step": state.get("step", 0) + 1, "square_avg": v}
        variance = v
        if self.centered:
            m = np.multiply(g, 1 - self.alpha, out=out.get("grad_avg"))
            m += self.alpha * state.get("grad_avg", 0.0)
            new_state["grad_avg"] = m
            square = m * m
            variance = np.maximum(v - square, 0)
        root = np.sqrt(variance)
        root += self.eps
        return root, new_state
