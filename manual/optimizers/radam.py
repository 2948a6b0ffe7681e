"""RAdam: Adam that waits until its root mean square can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, final

import numpy as np

from manual.graph import Array
from manual.optimizers.averages import averaged, averaged_square
from manual.optimizers.base import NEW, Optimizer, State, check_betas, nonnegative

__all__ = ["RAdam"]

M = "m[i] = beta1 * m_old[i] + (1 - beta1) * g[i]"
V = "v[i] = beta2 * v_old[i] + (1 - beta2) * g[i]**2"
CHANGE = (
    "eta * (m[i] / (1 - beta1**t)) * cases(rho > 5, r * sqrt(1 - beta2**t) / (sqrt(v[i]) + eps), 1)"
    f"\nwhere {M}\nwhere {V}\n"
    "where r = sqrt((rho - 4) * (rho - 2) * rhomax / ((rhomax - 4) * (rhomax - 2) * rho))\n"
    "where rho = rhomax - 2 * t * beta2**t / (1 - beta2**t)\nwhere rhomax = 2 / (1 - beta2) - 1"
)


@final
@dataclass(frozen=True)
class RAdam(Optimizer):
    """Adam with its step scaled by how much variance the root mean square still has.

    Args:
        lr: η, the learning rate.
        betas: (β₁, β₂), the shares of the two running averages that are kept.
        eps: ε, keeps the quotient finite.
        weight_decay: λ, adds λ θ to the gradient.
        decoupled_weight_decay: λ shrinks the parameter instead, as in AdamW.
        maximize: climb the loss instead of descending.

    State: `step` t, `exp_avg` m, `exp_avg_sq` v.

    Raises:
        ValueError: a negative number, or a β outside [0, 1).
    """

    equations: ClassVar[Mapping[str, str]] = {
        "param": f"theta[i] = theta_old[i] - {CHANGE}",
        "param/decoupled_weight_decay": f"theta[i] = (1 - eta * lam) * theta_old[i] - {CHANGE}",
        "state:exp_avg": M,
        "state:exp_avg_sq": V,
        "state:step": "t = t_old + 1",
    }
    symbols: ClassVar[Mapping[str, str]] = {
        "beta1": "betas.0", "beta2": "betas.1", "m_old": "exp_avg", "v_old": "exp_avg_sq",
    }  # fmt: skip
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"betas": (0.5, 0.75), "weight_decay": 0.25, "maximize": True},  # ρ stays below 5
        {"betas": (0.5, 0.9375), "eps": 0.125, "weight_decay": 0.25},
        {"betas": (0.5, 0.9375), "weight_decay": 0.25, "decoupled_weight_decay": True},
        {},
    )

    elementwise: ClassVar[bool] = True
    blockwise: ClassVar[bool] = True
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    decoupled_weight_decay: bool = False
    _: KW_ONLY
    maximize: bool = False

    def __post_init__(self) -> None:
        nonnegative(self, "lr", "eps", "weight_decay")
        check_betas(self)

    def update(
        self, param: Array, grad: Array, state: State, lr: float, out: State = NEW
    ) -> tuple[Array, State]:
        r"""Take Adam's step times r_t, or a plain one while v is made of too few gradients.

        All shapes equal, element by element; m_0 = v_0 = 0:
            g_t = ∂L/∂θ + λ θ_t-1
            m_t = β₁ m_t-1 + (1 - β₁) g_t,   v_t = β₂ v_t-1 + (1 - β₂) g_t²,   m̂ = m / (1 - β₁^t)
            ρ_∞ = 2 / (1 - β₂) - 1,   ρ_t = ρ_∞ - 2 t β₂^t / (1 - β₂^t)
            ρ_t > 5:  θ_t = θ_t-1 - η r_t m̂_t √(1 - β₂^t) / (√v_t + ε)
                      r_t² = (ρ_t - 4)(ρ_t - 2) ρ_∞ / ((ρ_∞ - 4)(ρ_∞ - 2) ρ_t)
            else      θ_t = θ_t-1 - η m̂_t
        ρ_t is the length of the plain mean whose centre of mass is that of the running one: how
        many gradients v has seen. 1/√v of ρ normal gradients has a variance that falls with ρ and
        is infinite up to ρ = 4; r_t is what takes it to that of ρ_∞.
        Torch: optim.RAdam. 5 for the paper's 4; ε is added to the root of the uncorrected v, so it
        weighs more than Adam's in the first steps.
        Source: Liu, Jiang, He, Chen, Liu, Gao, Han, On the Variance of the Adaptive Learning Rate
        and Beyond, 2020, algorithm 2.
        """
        g = self.direction(param, grad)
        t = state.get("step", 0) + 1
        beta1, beta2 = self.betas
        m = averaged(g, state.get("exp_avg", 0.0), beta1, out.get("exp_avg"))
        v = averaged_square(g, state.get("exp_avg_sq", 0.0), beta2, out.get("exp_avg_sq"))
        new = np.multiply(m, -lr / (1 - beta1**t), out=out.get("param"))
        if (scale := self._rectified(t)) is not None:
            root = np.sqrt(v)
            root += self.eps
            new /= root
            new *= scale
        new += self.shrunk(param, lr)
        return new, {"step": t, "exp_avg": m, "exp_avg_sq": v}

    def _rectified(self, t: Any) -> Any:
        """Return r_t √(1 - β₂^t); None while ρ_t is at most 5."""
        beta2 = self.betas[1]
        correction = 1 - beta2**t
        longest = 2 / (1 - beta2) - 1
        rho = longest - 2 * t * beta2**t / correction
        if not rho > 5:
            return None
        spread = (rho - 4) * (rho - 2) * longest / ((longest - 4) * (longest - 2) * rho)
        return (spread * correction) ** 0.5
