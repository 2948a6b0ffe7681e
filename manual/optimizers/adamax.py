"""Adamax: Adam with the largest gradient in place of the root mean square."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, final

import numpy as np

from manual.graph import Array
from manual.optimizers.averages import averaged
from manual.optimizers.base import NEW, Optimizer, State, check_betas, nonnegative

__all__ = ["Adamax"]

M = "m[i] = beta1 * m_old[i] + (1 - beta1) * g[i]"
U = "u[i] = max(beta2 * u_old[i], abs(g[i]) + eps)"


@final
@dataclass(frozen=True)
class Adamax(Optimizer):
    """A running mean gradient over a fading maximum of their sizes.

    Args:
        lr: η, the learning rate.
        betas: (β₁, β₂), the share of the mean that is kept, and how fast the maximum fades.
        eps: ε, keeps the quotient finite.
        weight_decay: λ, adds λ θ to the gradient.
        maximize: climb the loss instead of descending.

    State: `step` t, `exp_avg` m, `exp_inf` u.

    Raises:
        ValueError: a negative number, or a β outside [0, 1).
    """

    equations: ClassVar[Mapping[str, str]] = {
        "param": (
            f"theta[i] = theta_old[i] - eta / (1 - beta1**t) * m[i] / u[i]\nwhere {M}\nwhere {U}"
        ),
        "state:exp_avg": M,
        "state:exp_inf": U,
        "state:step": "t = t_old + 1",
    }
    symbols: ClassVar[Mapping[str, str]] = {
        "beta1": "betas.0", "beta2": "betas.1", "m_old": "exp_avg", "u_old": "exp_inf",
    }  # fmt: skip
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {},
        {"betas": (0.5, 0.75), "eps": 0.125, "weight_decay": 0.25, "maximize": True},
    )

    elementwise: ClassVar[bool] = True
    blockwise: ClassVar[bool] = True
    lr: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    _: KW_ONLY
    maximize: bool = False

    def __post_init__(self) -> None:
        nonnegative(self, "lr", "eps", "weight_decay")
        check_betas(self)

    def update(
        self, param: Array, grad: Array, state: State, lr: float, out: State = NEW
    ) -> tuple[Array, State]:
        r"""Divide the corrected mean gradient by the largest recent one.

        All shapes equal, element by element; m_0 = u_0 = 0:
            g_t = ∂L/∂θ + λ θ_t-1
            m_t = β₁ m_t-1 + (1 - β₁) g_t
            u_t = max(β₂ u_t-1, |g_t| + ε)
            θ_t = θ_t-1 - η / (1 - β₁^t) · m_t / u_t
        Adam divides by an L² norm of the history, (Σ_k β₂^k |g_t-k|²)^½. With p for 2, β₂^p for β₂
        and p -> ∞ the sum's root becomes its largest term, max_k β₂^k |g_t-k|, which is the
        recursion above. A maximum does not start too small: only m needs its bias corrected.
        Torch: optim.Adamax. ε is added to every |g| before the maximum, so u is never below ε.
        Source: Kingma, Ba, Adam, 2015, section 7.1, algorithm 2.
        """
        g = self.direction(param, grad)
        t = state.get("step", 0) + 1
        m = averaged(g, state.get("exp_avg", 0.0), self.betas[0], out.get("exp_avg"))
        size = np.abs(g, out=out.get("exp_inf"))
        size += self.eps
        u = np.maximum(state.get("exp_inf", 0.0) * self.betas[1], size, out=out.get("exp_inf"))
        new = np.divide(m, u, out=out.get("param"))
        new *= -lr / (1 - self.betas[0] ** t)
        new += param
        return new, {"step": t, "exp_avg": m, "exp_inf": u}
