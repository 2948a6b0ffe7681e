"""Adagrad: every element has its own learning rate, shrinking with the gradients it has seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, final

import numpy as np

from manual.graph import Array
from manual.optimizers.base import NEW, Optimizer, State, nonnegative

__all__ = ["Adagrad"]


@final
@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Gradient descent divided by the root of the sum of all squared gradients.

    Args:
        lr: η, the learning rate.
        lr_decay: κ, shrinks the rate to η / (1 + (t - 1) κ) at step t.
        weight_decay: λ, adds λ θ to the gradient.
        initial_accumulator_value: s_0, where the sum starts.
        eps: ε, keeps the quotient finite.
        maximize: climb the loss instead of descending.

    State: `step` t, `sum` s.

    Raises:
        ValueError: a negative number.
    """

    equations: ClassVar[Mapping[str, str]] = {
        "param": (
            "theta[i] = theta_old[i] - rate * g[i] / (sqrt(s[i]) + eps)\n"
            "where s[i] = s_old[i] + g[i]**2\nwhere rate = eta / (1 + (t - 1) * kappa)"
        ),
        "state:sum": "s[i] = s_old[i] + g[i]**2",
        "state:step": "t = t_old + 1",
    }
    symbols: ClassVar[Mapping[str, str]] = {"kappa": "lr_decay", "s_old": "sum"}
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {},
        {"lr_decay": 0.25, "weight_decay": 0.25, "initial_accumulator_value": 0.5},
    )

    elementwise: ClassVar[bool] = True
    blockwise: ClassVar[bool] = True
    implementations: ClassVar[tuple[str, ...]] = ("foreach", "differentiable", "fused")
    lr: float = 1e-2
    lr_decay: float = 0.0
    weight_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    eps: float = 1e-10
    _: KW_ONLY
    maximize: bool = False

    def __post_init__(self) -> None:
        nonnegative(self, "lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps")

    def initial(self, name: str, lr: float) -> float:
        return self.initial_accumulator_value

    def update(
        self, param: Array, grad: Array, state: State, lr: float, out: State = NEW
    ) -> tuple[Array, State]:
        r"""Divide each element's step by the length of its gradient history.

        All shapes equal, element by element:
            g_t = ∂L/∂θ + λ θ_t-1
            s_t = s_t-1 + g_t²
            θ_t = θ_t-1 - η / (1 + (t - 1) κ) · g_t / (√s_t + ε)
        The full-matrix method multiplies g by (Σ g gᵀ)^-½, which keeps the regret within a
        constant of the best fixed metric in hindsight; only the diagonal is affordable: s.
        The first step (s_0 = 0) is η sign(g), whatever the gradient's scale.
        ε is added to the root. Inside it, √(s + ε) would be 1e-5 already at s = 0, so gradients
        below 1e-5 would be damped; outside, only those near 1e-10 are.
        Torch: optim.Adagrad. κ counts from the second step: t - 1. With ε = 0 an element whose
        gradient has always been 0 gives 0/0 = nan, in torch too.
        Source: Duchi, Hazan, Singer, Adaptive Subgradient Methods, JMLR 12, 2011, figure 1.
        """
        g = self.direction(param, grad)
        t = state.get("step", 0) + 1
        s = np.multiply(g, g, out=out.get("sum"))
        s += state.get("sum", self.initial_accumulator_value)
        root = np.sqrt(s)
        root += self.eps
        new = np.divide(g, root, out=out.get("param"))
        new *= -lr / (1 + (t - 1) * self.lr_decay)
        new += param
        return new, {"step": t, "sum": s}
