"""Rprop: the signs of the gradient only, each element with a step size of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, final

import numpy as np

from manual.graph import Array
from manual.optimizers.base import Optimizer, State, as_numbers, nonnegative
from manual.rounding import turning

__all__ = ["Rprop"]

SIZE = (
    "s[i] = max(min(s_old[i] * cases(c[i] > 0, plus, cases(c[i] < 0, minus, 1)), top), bottom)\n"
    "where c[i] = g[i] * p_old[i]"
)
KEPT = "p[i] = cases(g[i] * p_old[i] < 0, 0, g[i])"


@final
@dataclass(frozen=True)
class Rprop(Optimizer):
    """Steps that grow while the gradient keeps its sign and shrink when it turns.

    Args:
        lr: η, every element's first step size.
        etas: (η⁻, η⁺), by how much a step size shrinks and grows.
        step_sizes: the smallest and the largest.
        maximize: climb the loss instead of descending.

    State: `step` t, `prev` the gradient before (0 where it turned), `step_size` s.

    Raises:
        ValueError: a negative lr, or etas that are not 0 < η⁻ < 1 < η⁺.
    """

    equations: ClassVar[Mapping[str, str]] = {
        "param": f"theta[i] = theta_old[i] - sign(p[i]) * s[i]\nwhere {KEPT}\nwhere {SIZE}",
        "state:prev": KEPT,
        "state:step_size": SIZE,
        "state:step": "t = t_old + 1",
    }
    symbols: ClassVar[Mapping[str, str]] = {
        "minus": "etas.0", "plus": "etas.1", "bottom": "step_sizes.0", "top": "step_sizes.1",
        "p_old": "prev", "s_old": "step_size",
    }  # fmt: skip
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {},
        {"etas": (0.25, 1.5), "step_sizes": (0.05, 0.1), "maximize": True},
    )

    elementwise: ClassVar[bool] = True
    lr: float = 1e-2
    etas: tuple[float, float] = (0.5, 1.2)
    step_sizes: tuple[float, float] = (1e-6, 50.0)
    _: KW_ONLY
    maximize: bool = False

    def __post_init__(self) -> None:
        nonnegative(self, "lr")
        for name in ("etas", "step_sizes"):
            given = getattr(self, name)
            pair = as_numbers(given)
            if len(pair) != 2 or None in pair:
                raise ValueError(f"Rprop: {name} must be two numbers, received {given!r}.")
            object.__setattr__(self, name, pair)
        if not 0 < self.etas[0] < 1 < self.etas[1]:
            raise ValueError(
                f"Rprop: etas must be 0 < η⁻ < 1 < η⁺, received {self.etas!r}. The usual values "
                "are (0.5, 1.2)."
            )

    def initial(self, name: str, lr: float) -> float:
        return lr if name == "step_size" else 0.0

    def update(self, param: Array, grad: Array, state: State, lr: float) -> tuple[Array, State]:
        r"""Go by the sign, as far as the sign has been right before.

        All shapes equal, element by element; p_0 = 0, s_0 = η:
            c_t = g_t p_t-1
            s_t = s_t-1 · (η⁺ if c_t > 0, η⁻ if c_t < 0, else 1), within [s_min, s_max]
            p_t = 0 if c_t < 0, else g_t
            θ_t = θ_t-1 - sign(p_t) s_t
        The size of a gradient says how steep the loss is, not how far the valley lies; a sign that
        turns says that the step was too long. There the element waits for one step, and p = 0 keeps
        the next from shrinking again.
        Torch: optim.Rprop. The step that led too far is not taken back. A rate changed by a
        schedule after the first step changes nothing.
        Source: Riedmiller, Braun, A Direct Adaptive Method for Faster Backpropagation Learning: The
        RPROP Algorithm, 1993; without the way back: Igel, Hüsken, 2000 (iRprop⁻).
        """
        g = -grad if self.maximize else grad
        zeros = np.zeros_like(param)
        before = state.get("prev", zeros)
        agreed = g * before
        s = zeros + state.get("step_size", lr)
        grown, less = s * self.etas[1], s * self.etas[0]
        turn = turning(agreed) + turning(g) * (before != 0)  # the product may be too small to tell
        s = np.where(agreed > 0, grown, np.where(agreed < 0, less, s)) + turn * (grown - less)
        bottom, top = self.step_sizes
        s = np.maximum(np.minimum(s, top), bottom)
        p = np.where(agreed < 0, 0.0, g) + turn * g
        sign = p / np.where(p == 0, 1.0, np.abs(p)) + turning(p)
        new = param - (sign * s + turn * grown)  # both may turn
        return new, {"step": state.get("step", 0) + 1, "prev": p, "step_size": s}
