"""Averaged gradient descent: beside the parameter walks the mean of where it has been."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

from manual.graph import Array
from manual.optimizers.base import Optimizer, State, nonnegative, number, single

__all__ = ["ASGD"]

STEP = "theta[i] = (1 - lambd * rate) * theta_old[i] - rate * g[i]"


@final
@dataclass(frozen=True)
class ASGD(Optimizer):
    """Gradient descent at a shrinking rate, and the average of the parameters that it visits.

    Args:
        lr: η, the first learning rate.
        lambd: λ', shrinks the parameter, and says how fast the rate falls.
        alpha: α, the power by which the rate falls.
        t0: the step from which on parameters are averaged.
        weight_decay: λ, adds λ θ to the gradient.
        maximize: climb the loss instead of descending.

    State: `step` t, `eta` the next step's rate, `mu` the next share of the average, `ax` the
    average. The rule only makes the average; what is trained with it is the parameter.

    Raises:
        ValueError: a negative lr or weight_decay.
    """

    equations: ClassVar[Mapping[str, str]] = {
        "param": STEP,
        "state:ax": f"a[i] = a_old[i] + (theta[i] - a_old[i]) * share\nwhere {STEP}",
        "state:eta": "rate = single(eta / (1 + lambd * eta * t)**alpha)",
        "state:mu": "share = single(1 / max(1, t - t0))",
        "state:step": "t = t_old + 1",
    }
    symbols: ClassVar[Mapping[str, str]] = {"rate": "eta", "share": "mu", "a_old": "ax"}
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {},
        {"lambd": 0.25, "alpha": 0.5, "t0": 1.0, "weight_decay": 0.25, "maximize": True},
    )

    elementwise: ClassVar[bool] = True
    lr: float = 1e-2
    lambd: float = 1e-4
    alpha: float = 0.75
    t0: float = 1e6
    weight_decay: float = 0.0
    maximize: bool = False

    def __post_init__(self) -> None:
        nonnegative(self, "lr", "weight_decay")
        for name in ("lambd", "alpha", "t0"):
            number(self, name)

    def initial(self, name: str, lr: float) -> float:
        return {"eta": single(lr), "mu": 1.0}.get(name, 0.0)

    def update(self, param: Array, grad: Array, state: State, lr: float) -> tuple[Array, State]:
        r"""Step at the rate that the step before has left; then average.

        All shapes equal, element by element; η_1 = η, μ_1 = 1, a_0 = 0:
            g_t = ∂L/∂θ + λ θ_t-1
            θ_t = (1 - λ' η_t) θ_t-1 - η_t g_t
            a_t = a_t-1 + μ_t (θ_t - a_t-1)
            η_t+1 = η / (1 + λ' η t)^α,   μ_t+1 = 1 / max(1, t - t0)
        λ' is a second weight decay, the λ/2 ‖θ‖² of the regularised problem for which this rate is
        right. With μ = 1 the average is the parameter; from then on, μ = 1 / n makes it the plain
        mean of n parameters, a_n = a_n-1 + (θ - a_n-1) / n. A mean of iterates has the smallest
        variance that any method can reach from these gradients, at rates that fall slower (α < 1)
        than those which θ itself would need.
        Torch: optim.ASGD. Its η_t and μ_t are kept in float32 even for float64 parameters, so the
        rate 0.01 is 0.009999999776: both are rounded here too. A rate changed by a schedule counts
        from the next step on.
        Source: Polyak, Juditsky, Acceleration of Stochastic Approximation by Averaging, 1992;
        Bottou, Stochastic Gradient Descent Tricks, 2012.
        """
        g = self.direction(param, grad)
        t = state.get("step", 0) + 1
        rate, share = state.get("eta", single(lr)), state.get("mu", 1.0)
        new = param * (1 - self.lambd * rate)
        new -= g * rate
        before = state.get("ax", 0.0)
        average = new - before
        average *= share
        average += before
        rate = single(lr / (1 + self.lambd * lr * t) ** self.alpha)
        share = single(1 / max(1, t - self.t0))
        return new, {"step": t, "eta": rate, "mu": share, "ax": average}
