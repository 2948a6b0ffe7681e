"""Makers of wrong update rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from manual.optimizers import Adam


def plain_adam(correct: bool = False, inside: bool = False, decoupled: bool = False) -> Any:
    """Make a wrong Adam update; bias-corrected, with ε inside the root, with decoupled decay."""

    def wrong(self: Any, param: Any, grad: Any, state: dict, lr: float) -> Any:
        b1, b2 = self.betas
        g = grad if decoupled or self.weight_decay == 0 else grad + self.weight_decay * param
        t = state.get("step", 0) + 1
        m = b1 * state.get("exp_avg", 0.0) + (1 - b1) * g
        v = b2 * state.get("exp_avg_sq", 0.0) + (1 - b2) * (g * g)
        c1, c2 = (1 - b1**t, 1 - b2**t) if correct else (1.0, 1.0)
        root = np.sqrt(v / c2 + self.eps) if inside else np.sqrt(v / c2) + self.eps
        kept = param * (1 - lr * self.weight_decay) if decoupled else param
        return kept - lr * (m / c1) / root, {"step": t, "exp_avg": m, "exp_avg_sq": v}

    return wrong


def momentum(step: Callable[..., Any], buffer: Callable[..., Any]) -> Any:
    """Make a wrong SGD with momentum: `buffer(μ, b, g, lr)`, `step(lr, μ, b_new, b_old, g)`."""

    def wrong(self: Any, param: Any, grad: Any, state: dict, lr: float) -> Any:
        old = state.get("momentum_buffer", 0.0 * grad)
        new = buffer(self.momentum, old, grad, lr)
        return param - step(lr, self.momentum, new, old, grad), {"momentum_buffer": new}

    return wrong


def coupled_adamw(self: Any, param: Any, grad: Any, state: dict, lr: float) -> Any:
    adam = Adam(lr=self.lr, betas=self.betas, eps=self.eps, weight_decay=self.weight_decay)
    return adam.update(param, grad, state, lr)


def same(mu: float, b: Any, g: Any, lr: float) -> Any:
    return mu * b + g
