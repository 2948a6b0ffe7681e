"""Penalties on parameters, added to the loss: weight decay's L2 form, and L1."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manual.examples import Draw, Example
from manual.layer import Array, Arrays, Layer

__all__ = ["L1Penalty", "L2Penalty"]

GROUP = "penalty"  # how the registry lists these layers


class PenaltyCache(NamedTuple):
    w: Array


class L2Penalty(Layer):
    """Sum of squares of a parameter: coefficient · Σ w².

    Args:
        coefficient: λ; there is no ½ in it.
    """

    equations = {
        "output": "R = lam * sum(i, theta[i]**2)",
        "grad_input": "dtheta[i] = 2 * lam * theta[i]",
    }
    symbols = {"lam": "coefficient", "theta": "param"}
    examples = (
        Example({"coefficient": 0.25}, (Draw((3, 4), high=2),), exact=True),
        Example({"coefficient": 0.75}, ((2, 3, 2),), exact=True),
    )

    def __init__(self, coefficient: float) -> None:
        self.coefficient = coefficient

    def forward(self, param: Array) -> tuple[Array, PenaltyCache]:  # type: ignore[override]
        return self.coefficient * (param * param).sum(), PenaltyCache(param)

    def backward(self, grad_output: Array, cache: PenaltyCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through R = λ Σ_i w_i².

        Shapes: w (any), R and dR one number.
        ∂R/∂w_i = 2λ w_i   ->   dw = dR 2λ w
        Torch: coefficient * w.square().sum(); SGD's weight_decay = 2λ gives the same gradient.
        Source: CS231n lecture 4: full loss = mean of L_i + Σ W².
        """
        return (2 * self.coefficient * grad_output * cache.w,), {}

    def extra_repr(self) -> str:
        return f"coefficient={self.coefficient}"


class L1Penalty(Layer):
    """Sum of absolute values of a parameter: coefficient · Σ |w|.

    Args:
        coefficient: λ.
    """

    equations = {
        "output": "R = lam * sum(i, abs(theta[i]))",
        "grad_input": "dtheta[i] = lam * sign(theta[i])",
    }
    symbols = {"lam": "coefficient", "theta": "param"}
    examples = (
        Example(
            {"coefficient": 0.25},
            (Draw((3, 4), high=2),),
            kinks={"w = 0": {"param": 0.0}},
            exact=True,
        ),
        Example({"coefficient": 0.75}, ((2, 3, 2),), exact=True),
    )

    def __init__(self, coefficient: float) -> None:
        self.coefficient = coefficient

    def forward(self, param: Array) -> tuple[Array, PenaltyCache]:  # type: ignore[override]
        return self.coefficient * np.abs(param).sum(), PenaltyCache(param)

    def backward(self, grad_output: Array, cache: PenaltyCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through R = λ Σ_i |w_i|.

        Shapes: w (any), R and dR one number.
        ∂R/∂w_i = λ sign(w_i)   ->   dw = dR λ sign(w)
        At w = 0 every slope in [-λ, λ] is a subgradient; torch takes 0, and so does this.
        Torch: coefficient * w.abs().sum().
        Source: Tibshirani, Regression Shrinkage and Selection via the Lasso (1996).
        """
        return (self.coefficient * grad_output * np.sign(cache.w),), {}

    def decisions(self, cache: PenaltyCache) -> Array:
        """Return the sign of every element."""
        return np.sign(cache.w)

    def extra_repr(self) -> str:
        return f"coefficient={self.coefficient}"
