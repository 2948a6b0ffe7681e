"""SparseAdam: Adam for gradients of a few rows, whose averages rest while a row is not touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, final

import numpy as np

from manual.graph import Array
from manual.optimizers.base import Optimizer, State, check_betas, nonnegative

__all__ = ["SparseAdam", "SparseGradient"]


class SparseGradient(NamedTuple):
    """A gradient by the places that it touches, laid out as torch's COO tensors.

    A place that is touched may hold 0; one that is not is no part of the gradient.

    Args:
        indices: (axes, n), a column for each place; a place may come twice.
        values: (n, …), the gradient there, along the axes that are left.
        shape: the parameter's.
    """

    indices: np.ndarray
    values: Array
    shape: tuple[int, ...]

    def summed(self) -> tuple[np.ndarray, Array]:
        """Return every place once, in order, and what it was given in sum."""
        places, inverse = np.unique(self.indices, axis=1, return_inverse=True)
        inverse = np.reshape(inverse, -1)  # NumPy 2.0 keeps an axis
        order = np.argsort(inverse, kind="stable")
        starts = np.searchsorted(inverse[order], np.arange(places.shape[1]))
        return places, np.add.reduceat(self.values[order], starts, axis=0)


@final
@dataclass(frozen=True)
class SparseAdam(Optimizer):
    """Adam on the touched places of a `SparseGradient` alone.

    Args:
        lr: η, the learning rate.
        betas: (β₁, β₂), the shares of the two running averages that are kept.
        eps: ε, keeps the quotient finite.
        maximize: climb the loss instead of descending.

    State: `step` t, `exp_avg` m, `exp_avg_sq` v, of the parameter's shape.

    Raises:
        ValueError: lr or eps not above 0, or a β outside [0, 1).
    """

    needs: ClassVar[str] = "sparse gradients, and the layers' are dense; take Adam"
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {},
        {"betas": (0.5, 0.75), "eps": 0.125, "maximize": True},
    )

    implementations: ClassVar[tuple[str, ...]] = ()
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    maximize: bool = False

    def __post_init__(self) -> None:
        nonnegative(self, "lr", "eps")
        for name in ("lr", "eps"):
            if getattr(self, name) == 0:
                raise ValueError(f"SparseAdam: {name} must be above 0, received 0.0.")
        check_betas(self)

    def update(
        self, param: Array, grad: SparseGradient, state: State, lr: float
    ) -> tuple[Array, State]:
        r"""Take Adam's step where the gradient is; everything else stays, its averages too.

        At every touched place p, element by element; m_0 = v_0 = 0:
            m_t = m_t-1 + (1 - β₁)(g_t - m_t-1),   v_t = v_t-1 + (1 - β₂)(g_t² - v_t-1)
            θ_t = θ_t-1 - η √(1 - β₂^t) / (1 - β₁^t) · m_t / (√v_t + ε)
        Of an embedding a step touches a few rows. Adam's averages would fade on all the others, and
        move them. Here they do not, so t counts steps that most rows have not seen: the correction
        is that of rows touched every time. Places that come twice are summed first, as the rule is
        not linear.
        Torch: optim.SparseAdam. ε is added to the root of the uncorrected v; a gradient without a
        place still counts as a step. Dense gradients are refused.
        Source: Kingma, Ba, Adam, 2015, algorithm 1, on rows as in torch's docstring.
        """
        if not isinstance(grad, SparseGradient):
            raise ValueError(
                "SparseAdam takes sparse gradients only: wrap the touched rows as "
                "SparseGradient(indices, values, shape), or take Adam."
            )
        t = state.get("step", 0) + 1
        places, values = grad.summed()
        at, g = tuple(places), -values if self.maximize else values
        new = param.copy()
        zeros = np.zeros_like(param)
        m, v = (state.get(name, zeros).copy() for name in ("exp_avg", "exp_avg_sq"))
        m[at] = m[at] + (g - m[at]) * (1 - self.betas[0])
        v[at] = v[at] + (g * g - v[at]) * (1 - self.betas[1])
        size = lr * (1 - self.betas[1] ** t) ** 0.5 / (1 - self.betas[0] ** t)
        new[at] = param[at] - m[at] / (np.sqrt(v[at]) + self.eps) * size
        return new, {"step": t, "exp_avg": m, "exp_avg_sq": v}
