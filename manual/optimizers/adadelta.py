"""Adadelta: steps in the parameter's own units, from the sizes of earlier steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, final

import numpy as np

from manual.graph import Array
from manual.optimizers.averages import averaged_square
from manual.optimizers.base import NEW, Optimizer, State, nonnegative

__all__ = ["Adadelta"]

SQUARES = "v[i] = rho * v_old[i] + (1 - rho) * g[i]**2"
STEP = f"x[i] = sqrt(a_old[i] + eps) / sqrt(v[i] + eps) * g[i]\nwhere {SQUARES}"


@final
@dataclass(frozen=True)
class Adadelta(Optimizer):
    """Gradients over their running root mean square, times that of the steps so far.

    Args:
        lr: η, multiplies the whole step; the paper has none (1).
        rho: ρ, the share of both running averages that is kept.
        eps: ε, the first step's size and what keeps the quotient finite.
        weight_decay: λ, adds λ θ to the gradient.
        maximize: climb the loss instead of descending.

    State: `step` t, `square_avg` v, `acc_delta` a.

    Raises:
        ValueError: a negative number, or ρ above 1.
    """

    equations: ClassVar[Mapping[str, str]] = {
        "param": f"theta[i] = theta_old[i] - eta * x[i]\nwhere {STEP}",
        "state:square_avg": SQUARES,
        "state:acc_delta": f"a[i] = rho * a_old[i] + (1 - rho) * x[i]**2\nwhere {STEP}",
        "state:step": "t = t_old + 1",
    }
    symbols: ClassVar[Mapping[str, str]] = {"v_old": "square_avg", "a_old": "acc_delta"}
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {},
        {"rho": 0.75, "eps": 0.125, "weight_decay": 0.25, "maximize": True},
    )

    elementwise: ClassVar[bool] = True
    blockwise: ClassVar[bool] = True
    lr: float = 1.0
    rho: float = 0.9
    eps: float = 1e-6
    weight_decay: float = 0.0
    _: KW_ONLY
    maximize: bool = False

    def __post_init__(self) -> None:
        nonnegative(self, "lr", "rho", "eps", "weight_decay")
        if self.rho > 1:
            raise ValueError(f"Adadelta: rho must be at most 1, received {self.rho!r}.")

    def update(
        self, param: Array, grad: Array, state: State, lr: float, out: State = NEW
    ) -> tuple[Array, State]:
        r"""Give the step the units of θ: a gradient has those of 1/θ.

        All shapes equal, element by element; v_0 = a_0 = 0:
            g_t = ∂L/∂θ + λ θ_t-1
            v_t = ρ v_t-1 + (1 - ρ) g_t²
            x_t = √(a_t-1 + ε) / √(v_t + ε) · g_t
            a_t = ρ a_t-1 + (1 - ρ) x_t²
            θ_t = θ_t-1 - η x_t
        g / √v has no units, so Newton's step g / L″, which has those of θ, is imitated by a factor
        with θ's units: the root mean square of the steps so far. It lags one step, as x_t is not
        known yet. A first step begins with √ε: without ε nothing would ever move.
        Torch: optim.Adadelta. ε stands inside both roots, unlike Adam's.
        Source: Zeiler, ADADELTA: An Adaptive Learning Rate Method, 2012, algorithm 1.
        """
        g = self.direction(param, grad)
        before = state.get("acc_delta", 0.0)
        v = averaged_square(g, state.get("square_avg", 0.0), self.rho, out.get("square_avg"))
        x = np.add(v, self.eps, out=out.get("param"))
        x = np.sqrt((before + self.eps) / x, out=out.get("param"))
        x *= g
        a = averaged_square(x, before, self.rho, out.get("acc_delta"))
        x *= -lr
        x += param
        return x, {"step": state.get("step", 0) + 1, "square_avg": v, "acc_delta": a}
