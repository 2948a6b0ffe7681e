"""NAdam: Adam that looks one momentum step ahead, as Nesterov does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, final

import numpy as np

from manual.graph import Array
from manual.optimizers.averages import averaged, averaged_square
from manual.optimizers.base import NEW, Optimizer, State, check_betas, nonnegative, single

__all__ = ["NAdam"]

M = "m[i] = beta1 * m_old[i] + (1 - beta1) * g[i]"
V = "v[i] = beta2 * v_old[i] + (1 - beta2) * g[i]**2"
SHARE = "mu = beta1 * (1 - 0.96**(t * psi) / 2)"
PRODUCT = f"p = single(p_old * single(mu))\nwhere {SHARE}"
CHANGE = (
    "eta * ((1 - mu) / (1 - p) * g[i] + nu / (1 - p * nu) * m[i]) / "
    f"(sqrt(v[i] / (1 - beta2**t)) + eps)\nwhere {M}\nwhere {V}\nwhere {PRODUCT}\n"
    "where nu = beta1 * (1 - 0.96**((t + 1) * psi) / 2)"
)


@final
@dataclass(frozen=True)
class NAdam(Optimizer):
    """Adam whose mean gradient already holds the momentum of the step to come.

    Args:
        lr: η, the learning rate.
        betas: (β₁, β₂), the shares of the two running averages that are kept.
        eps: ε, keeps the quotient finite.
        weight_decay: λ, adds λ θ to the gradient.
        momentum_decay: ψ, how fast the momentum warms up from β₁ / 2 to β₁.
        decoupled_weight_decay: λ shrinks the parameter instead, as in AdamW.
        maximize: climb the loss instead of descending.

    State: `step` t, `mu_product` Π μ, `exp_avg` m, `exp_avg_sq` v.

    Raises:
        ValueError: a negative number, or a β outside [0, 1).
    """

    equations: ClassVar[Mapping[str, str]] = {
        "param": f"theta[i] = theta_old[i] - {CHANGE}",
        "param/decoupled_weight_decay": f"theta[i] = (1 - eta * lam) * theta_old[i] - {CHANGE}",
        "state:mu_product": PRODUCT,
        "state:exp_avg": M,
        "state:exp_avg_sq": V,
        "state:step": "t = t_old + 1",
    }
    symbols: ClassVar[Mapping[str, str]] = {
        "beta1": "betas.0", "beta2": "betas.1", "m_old": "exp_avg", "v_old": "exp_avg_sq",
        "p_old": "mu_product", "psi": "momentum_decay",
    }  # fmt: skip
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {},
        {"betas": (0.5, 0.75), "eps": 0.125, "weight_decay": 0.25, "maximize": True},
        {"momentum_decay": 0.5, "weight_decay": 0.25, "decoupled_weight_decay": True},
    )

    elementwise: ClassVar[bool] = True
    blockwise: ClassVar[bool] = True
    lr: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum_decay: float = 4e-3
    decoupled_weight_decay: bool = False
    _: KW_ONLY
    maximize: bool = False

    def __post_init__(self) -> None:
        nonnegative(self, "lr", "eps", "weight_decay", "momentum_decay")
        check_betas(self)

    def initial(self, name: str, lr: float) -> float:
        return 1.0 if name == "mu_product" else 0.0

    def update(
        self, param: Array, grad: Array, state: State, lr: float, out: State = NEW
    ) -> tuple[Array, State]:
        r"""Put the next step's share of the mean in place of this one's.

        All shapes equal, element by element; m_0 = v_0 = 0, P_0 = 1:
            g_t = ∂L/∂θ + λ θ_t-1
            m_t = β₁ m_t-1 + (1 - β₁) g_t,   v_t = β₂ v_t-1 + (1 - β₂) g_t²
            μ_t = β₁ (1 - ½ 0.96^(t ψ)),     P_t = Π_k≤t μ_k
            θ_t = θ_t-1 - η [(1 - μ_t) / (1 - P_t) g_t + μ_t+1 / (1 - P_t+1) m_t] / (√v̂_t + ε)
        with v̂ = v / (1 - β₂^t) as in Adam. A mean with shares that change, m_t = μ_t m_t-1 +
        (1 - μ_t) g_t, moves θ by μ_t m_t-1 + (1 - μ_t) g_t; Nesterov applies the momentum that is
        due next, μ_t+1 m_t, already now. Weights of such a mean add up to 1 - Π μ: each term is
        corrected by the product that its own mean has.
        Torch: optim.NAdam. m is averaged with the constant β₁ all the same, and Π μ is kept in
        float32 even for float64 parameters: it is rounded here too.
        Source: Dozat, Incorporating Nesterov Momentum into Adam, 2016, algorithm 2.
        """
        g = self.direction(param, grad)
        t = state.get("step", 0) + 1
        m = averaged(g, state.get("exp_avg", 0.0), self.betas[0], out.get("exp_avg"))
        v = averaged_square(g, state.get("exp_avg_sq", 0.0), self.betas[1], out.get("exp_avg_sq"))
        mu, following = self._share(t), self._share(t + 1)
        product = single(state.get("mu_product", 1.0) * single(mu))
        root = np.sqrt(v * (1 / (1 - self.betas[1] ** t)))
        root += self.eps
        new = np.multiply(g, (1 - mu) / (1 - product), out=out.get("param"))
        new += m * (following / (1 - product * following))
        new /= root
        new *= -lr
        new += self.shrunk(param, lr)
        return new, {"step": t, "mu_product": product, "exp_avg": m, "exp_avg_sq": v}

    def _share(self, t: Any) -> Any:
        """Return μ_t, which grows from β₁ / 2 to β₁."""
        return self.betas[0] * (1 - 0.5 * 0.96 ** (t * self.momentum_decay))
