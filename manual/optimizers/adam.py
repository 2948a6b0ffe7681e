"""Adam and AdamW: momentum over a running root mean square, both corrected for their start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, final

import numpy as np

from manual.graph import Array
from manual.optimizers.base import NEW, Optimizer, State, check_betas, nonnegative

__all__ = ["Adam", "AdamW"]

IMPLEMENTATIONS = ("foreach", "capturable", "differentiable", "fused")
M = "m[i] = beta1 * m_old[i] + (1 - beta1) * g[i]"
V = "v[i] = beta2 * v_old[i] + (1 - beta2) * g[i]**2"
VMAX = "vmax[i] = max(vmax_old[i], v[i])"
CHANGE = (
    f"eta * (m[i] / (1 - beta1**t)) / (sqrt(v[i] / (1 - beta2**t)) + eps)\nwhere {M}\nwhere {V}"
)
LARGEST = (
    "eta * (m[i] / (1 - beta1**t)) / (sqrt(vmax[i] / (1 - beta2**t)) + eps)"
    f"\nwhere {M}\nwhere {VMAX}\nwhere {V}"
)
AVERAGES = {
    "state:exp_avg": M,
    "state:exp_avg_sq": V,
    "state:max_exp_avg_sq": f"{VMAX}\nwhere {V}",
    "state:step": "t = t_old + 1",
}
SYMBOLS = {
    "beta1": "betas.0", "beta2": "betas.1", "m_old": "exp_avg", "v_old": "exp_avg_sq",
    "vmax_old": "max_exp_avg_sq",
}  # fmt: skip
EXAMPLES: tuple[Mapping[str, Any], ...] = (
    {},
    {"betas": (0.5, 0.75), "eps": 0.125, "weight_decay": 0.25},
    {"amsgrad": True, "weight_decay": 0.125},
)


@final
@dataclass(frozen=True)
class Adam(Optimizer):
    """Adaptive moments: a running mean gradient over a running root mean square.

    Args:
        lr: η, the learning rate.
        betas: (β₁, β₂), the shares of the two running averages that are kept.
        eps: ε, keeps the quotient finite.
        weight_decay: λ, adds λ θ to the gradient (coupled; see AdamW).
        amsgrad: divide by the largest mean square so far.
        maximize: climb the loss instead of descending.
        decoupled_weight_decay: λ shrinks the parameter instead, as in AdamW.

    State: `step` t, `exp_avg` m, `exp_avg_sq` v; with amsgrad `max_exp_avg_sq`.

    Raises:
        ValueError: a negative number, or a β outside [0, 1).
    """

    equations: ClassVar[Mapping[str, str]] = {
        "param": f"theta[i] = theta_old[i] - {CHANGE}",
        "param/amsgrad": f"theta[i] = theta_old[i] - {LARGEST}",
        "param/decoupled_weight_decay": f"theta[i] = (1 - eta * lam) * theta_old[i] - {CHANGE}",
        "param/decoupled_weight_decay, amsgrad": (
            f"theta[i] = (1 - eta * lam) * theta_old[i] - {LARGEST}"
        ),
        **AVERAGES,
    }
    symbols: ClassVar[Mapping[str, str]] = SYMBOLS
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = EXAMPLES

    elementwise: ClassVar[bool] = True
    blockwise: ClassVar[bool] = True
    implementations: ClassVar[tuple[str, ...]] = IMPLEMENTATIONS
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    amsgrad: bool = False
    _: KW_ONLY
    maximize: bool = False
    decoupled_weight_decay: bool = False

    def __post_init__(self) -> None:
        nonnegative(self, "lr", "eps", "weight_decay")
        check_betas(self)

    def update(
        self, param: Array, grad: Array, state: State, lr: float, out: State = NEW
    ) -> tuple[Array, State]:
        r"""Take `adaptive_step` on the gradient of the decayed loss.

            g_t = ∂L/∂θ + λ θ_t-1           (minus ∂L/∂θ to maximise)
            θ_t = θ_t-1 + adaptive_step(g_t)
        Coupled: λ θ goes through both averages, so a weight whose gradients are large decays less
        than λ says; decoupled: AdamW's rule. Torch: optim.Adam.
        Source: Kingma, Ba, Adam, 2015, algorithm 1.
        """
        g = self.direction(param, grad)
        new, new_state = adaptive_step(g, state, lr, self.betas, self.eps, self.amsgrad, out)
        new += self.shrunk(param, lr)
        return new, new_state


@final
@dataclass(frozen=True)
class AdamW(Optimizer):
    """Adam with weight decay decoupled from the gradient.

    Args, state and errors as for Adam, but weight_decay λ shrinks the parameter directly.
    """

    equations: ClassVar[Mapping[str, str]] = {
        "param": f"theta[i] = (1 - eta * lam) * theta_old[i] - {CHANGE}",
        "param/amsgrad": f"theta[i] = (1 - eta * lam) * theta_old[i] - {LARGEST}",
        **AVERAGES,
    }
    symbols: ClassVar[Mapping[str, str]] = SYMBOLS
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = EXAMPLES

    elementwise: ClassVar[bool] = True
    blockwise: ClassVar[bool] = True
    implementations: ClassVar[tuple[str, ...]] = IMPLEMENTATIONS
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 1e-2
    amsgrad: bool = False
    _: KW_ONLY
    maximize: bool = False

    decoupled_weight_decay = True

    def __post_init__(self) -> None:
        nonnegative(self, "lr", "eps", "weight_decay")
        check_betas(self)

    def update(
        self, param: Array, grad: Array, state: State, lr: float, out: State = NEW
    ) -> tuple[Array, State]:
        r"""Shrink every weight by the same factor, then take `adaptive_step` on the bare gradient.

            θ_t = (1 - η λ) θ_t-1 + adaptive_step(∂L/∂θ)
        For plain SGD this is coupled decay: θ - η (g + λ θ) = (1 - η λ) θ - η g. Dividing by the
        root mean square breaks that, so decay must stay outside the averages to be decay.
        Torch: optim.AdamW, which scales the decay by η as here (the paper by its schedule alone).
        Source: Loshchilov, Hutter, Decoupled Weight Decay Regularization, 2019, algorithm 2.
        """
        g = -grad if self.maximize else grad
        new, new_state = adaptive_step(g, state, lr, self.betas, self.eps, self.amsgrad, out)
        new += self.shrunk(param, lr)
        return new, new_state


def adaptive_step(
    g: Array,
    state: State,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    amsgrad: bool,
    out: State = NEW,
) -> tuple[Array, State]:
    r"""Return Adam's change of the parameter and the new averages, all of g's shape.

    Element by element, m_0 = v_0 = 0:
        m_t = β₁ m_t-1 + (1 - β₁) g_t,   v_t = β₂ v_t-1 + (1 - β₂) g_t²
    Unrolled, m_t = (1 - β₁) Σ_k β₁^k g_t-k. The weights add up to 1 - β₁^t, not 1, because the
    average began at 0; for gradients of one distribution E m_t = (1 - β₁^t) E g. Dividing that out
    corrects the bias, for v likewise with β₂:
        m̂ = m / (1 - β₁^t),  v̂ = v / (1 - β₂^t),   change = -η m̂ / (√v̂ + ε)
    The first step is η sign(g) whatever the gradient's scale. Uncorrected at the defaults it would
    be 0.1 / √0.001 ≈ 3.2 times that.
    ε is added to the root of the corrected v̂. With c = √(1 - β₂^t), multiply both sides by c:
        change = -η c / (1 - β₁^t) · m / (√v + ε c)
    which spares one pass over memory and is what is computed.
    amsgrad: v̂ = max(v_1, …, v_t) / (1 - β₂^t), so a step size never recovers from a large
    gradient; the maximum is of the uncorrected v.
    Torch: optim.Adam. With ε = 0 a gradient that was always 0 gives 0/0 = nan, in torch too.
    Source: Kingma, Ba, Adam, 2015, sections 2 and 3; Reddi, Kale, Kumar, On the Convergence of
    Adam and Beyond, 2018, algorithm 2.
    """
    t = state.get("step", 0) + 1
    m, v = _moments(g, state, betas, out)
    new_state = {"step": t, "exp_avg": m, "exp_avg_sq": v}
    if amsgrad:
        v = np.maximum(v, state.get("max_exp_avg_sq", 0.0), out=out.get("max_exp_avg_sq"))
        new_state["max_exp_avg_sq"] = v
    c = (1 - betas[1] ** t) ** 0.5
    root = np.sqrt(v)
    root += eps * c
    change = np.divide(m, root, out=out.get("param"))
    change *= -lr * c / (1 - betas[0] ** t)
    return change, new_state


def _moments(g: Array, state: State, betas: tuple[float, float], out: State) -> tuple[Array, Array]:
    """Return the running averages m_t of g and v_t of g²."""
    before = state.get("exp_avg", 0.0)
    # m + (1 - β₁)(g - m): as torch's lerp, which rounds like the old m
    m = np.subtract(g, before, out=out.get("exp_avg"))
    m *= 1 - betas[0]
    m += before
    # (1 - β₂) before squaring: g² alone overflows sooner
    v = np.multiply(g, 1 - betas[1], out=out.get("exp_avg_sq"))
    v *= g
    v += betas[1] * state.get("exp_avg_sq", 0.0)
    return m, v
