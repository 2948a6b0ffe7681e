"""Stochastic gradient descent, plain, with momentum, with Nesterov's momentum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, final

from manual.graph import Array
from manual.optimizers.base import Optimizer, State, nonnegative, number

__all__ = ["SGD"]

KEPT = "b[i] = mu * b_old[i] + g[i]"
DAMPENED = "b[i] = mu * b_old[i] + (1 - d) * g[i]"


@final
@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent with optional momentum, dampening, Nesterov step and weight decay.

    Args:
        lr: η, the learning rate.
        momentum: μ, the share of the last direction that is kept.
        dampening: d, how much of the new gradient is held back from the direction.
        weight_decay: λ, adds λ θ to the gradient.
        nesterov: look one momentum step ahead.
        maximize: climb the loss instead of descending.

    State: `momentum_buffer` b, with momentum only.

    Raises:
        ValueError: a negative number, or nesterov without momentum or with dampening.
    """

    equations: ClassVar[Mapping[str, str]] = {
        "param": "theta[i] = theta_old[i] - eta * g[i]",
        "param/momentum": f"theta[i] = theta_old[i] - eta * b[i]\nwhere {KEPT}",
        "param/momentum, dampening": f"theta[i] = theta_old[i] - eta * b[i]\nwhere {DAMPENED}",
        "param/momentum, first": "theta[i] = theta_old[i] - eta * b[i]\nwhere b[i] = g[i]",
        "param/momentum, nesterov": (
            f"theta[i] = theta_old[i] - eta * (g[i] + mu * b[i])\nwhere {KEPT}"
        ),
        "param/momentum, nesterov, first": (
            "theta[i] = theta_old[i] - eta * (g[i] + mu * b[i])\nwhere b[i] = g[i]"
        ),
        "state:momentum_buffer": KEPT,
        "state:momentum_buffer/dampening": DAMPENED,
        "state:momentum_buffer/first": "b[i] = g[i]",
    }
    symbols: ClassVar[Mapping[str, str]] = {
        "mu": "momentum", "d": "dampening", "b_old": "momentum_buffer",
    }  # fmt: skip
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {},
        {"weight_decay": 0.25},
        {"momentum": 0.75},
        {"momentum": 0.75, "dampening": 0.25, "weight_decay": 0.25},
        {"momentum": 0.75, "nesterov": True, "weight_decay": 0.25},
    )

    elementwise: ClassVar[bool] = True
    implementations: ClassVar[tuple[str, ...]] = ("foreach", "differentiable", "fused")
    lr: float = 1e-3
    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False
    _: KW_ONLY
    maximize: bool = False

    def __post_init__(self) -> None:
        nonnegative(self, "lr", "momentum", "weight_decay")
        number(self, "dampening")
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError(
                "SGD: nesterov needs a momentum above 0 and a dampening of 0, received momentum = "
                f"{self.momentum}, dampening = {self.dampening}. Set momentum = 0.9, or drop "
                "nesterov."
            )

    def update(self, param: Array, grad: Array, state: State, lr: float) -> tuple[Array, State]:
        r"""Go downhill, on a direction that remembers earlier gradients.

        All shapes equal, element by element:
            g_t = ∂L/∂θ + λ θ_t-1           (λ θ is the gradient of λ/2 θ²: coupled weight decay)
            b_1 = g_1,  b_t = μ b_t-1 + (1 - d) g_t
            θ_t = θ_t-1 - η b_t             (plain: μ = 0, so b = g)
        Unrolled with d = 0: b_t = Σ_k μ^k g_t-k. A constant g gives b -> g / (1 - μ).
        Nesterov wants the gradient at the point that momentum is about to reach. In the variable
        φ = θ - η μ b (already looked ahead), one step from φ_t-1 is
            φ_t = θ_t - η μ b_t = φ_t-1 - η (g_t + μ b_t)
        so b first takes the new gradient in, and the step is g_t + μ b_t, not b_t.
        Torch: optim.SGD. The first b is g_1 itself, without dampening. η multiplies b when it is
        used: v = μ v + η g agrees with this at a constant η only.
        Source: Polyak 1964; Sutskever, Martens, Dahl, Hinton, On the importance of initialization
        and momentum in deep learning, 2013, section 2.
        """
        g = self.direction(param, grad)
        if self.momentum == 0:
            return _descend(param, g, lr), {}
        b = self._buffer(g, state)
        if not self.nesterov:
            return _descend(param, b, lr), {"momentum_buffer": b}
        ahead = b * self.momentum
        ahead += g
        return _descend(param, ahead, lr), {"momentum_buffer": b}

    def variants(self, param: Array, state: State) -> tuple[str, ...]:
        return () if "momentum_buffer" in state else ("first",)

    def _buffer(self, g: Array, state: State) -> Array:
        """Return b_t, never the gradient's own memory."""
        if "momentum_buffer" not in state:
            return g.copy()
        b = state["momentum_buffer"] * self.momentum
        b += g if self.dampening == 0 else g * (1 - self.dampening)
        return b


def _descend(param: Array, direction: Array, lr: float) -> Array:
    """Return θ - η · direction."""
    new = direction * -lr
    new += param
    return new
