"""The optimisers once more, from their papers: sums over the whole history instead of state.

Written to be compared with, not to be run: `manual` keeps running averages and rearranges the
quotient, this spells out every sum. Elements are balls, so the settings and roots are exact too.
Each returns the parameter and the state after the last of the steps t = 1 … T.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from manual.graph import Arrays

Array = Any
Definition = Callable[..., Arrays]


def sgd(
    theta: Array, grads: Sequence[Array], rates: Sequence[Any], *, momentum: Any, dampening: Any,
    weight_decay: Any, nesterov: bool,
) -> Arrays:  # fmt: skip
    r"""θ_t = θ_t-1 - η_t g_t, or with b_t in place of g_t, or (Nesterov) g_t + μ b_t.

    b_t = μ^(t-1) g_1 + (1 - d) Σ_(k=2…t) μ^(t-k) g_k
    """
    seen: list[Array] = []
    for grad, eta in zip(grads, rates, strict=True):
        g = grad + weight_decay * theta
        seen.append(g)
        b = faded([seen[0], *((1 - dampening) * x for x in seen[1:])], momentum)
        with_momentum = g + momentum * b if nesterov else b
        theta = theta - eta * (g if momentum == 0 else with_momentum)
    return {"param": theta} | ({} if momentum == 0 else {"momentum_buffer": b})


def adagrad(
    theta: Array, grads: Sequence[Array], rates: Sequence[Any], *, lr_decay: Any, weight_decay: Any,
    initial_accumulator_value: Any, eps: Any,
) -> Arrays:  # fmt: skip
    """θ_t = θ_t-1 - η_t / (1 + (t - 1) κ) · g_t / (√(s_0 + Σ g_k²) + ε)."""
    seen: list[Array] = []
    for t, (grad, eta) in enumerate(zip(grads, rates, strict=True), start=1):
        g = grad + weight_decay * theta
        seen.append(g)
        s = initial_accumulator_value + sum(x**2 for x in seen)
        theta = theta - eta / (1 + (t - 1) * lr_decay) * (g / (root(s) + eps))
    return {"param": theta, "sum": s}


def rmsprop(
    theta: Array, grads: Sequence[Array], rates: Sequence[Any], *, alpha: Any, eps: Any,
    weight_decay: Any, momentum: Any, centered: bool,
) -> Arrays:  # fmt: skip
    r"""θ_t = θ_t-1 - η_t Σ_k μ^(t-k) q_k with q = g / (√v + ε), or √(v - m²) if centered.

    v = (1 - α) Σ_k α^(t-k) g_k², m likewise of g
    """
    seen: list[Array] = []
    quotients: list[Array] = []
    for grad, eta in zip(grads, rates, strict=True):
        g = grad + weight_decay * theta
        seen.append(g)
        v = (1 - alpha) * faded([x**2 for x in seen], alpha)
        m = (1 - alpha) * faded(seen, alpha)
        variance = v - m**2 if centered else v
        quotients.append(g / (root(variance) + eps))
        b = faded(quotients, momentum)
        theta = theta - eta * b
    state = {"square_avg": v}
    state |= {} if momentum == 0 else {"momentum_buffer": b}
    return {"param": theta} | state | ({"grad_avg": m} if centered else {})


def adam(
    theta: Array, grads: Sequence[Array], rates: Sequence[Any], *, betas: Any, eps: Any,
    weight_decay: Any, amsgrad: bool, decoupled: bool = False,
) -> Arrays:  # fmt: skip
    r"""θ_t = θ_t-1 - η_t m̂ / (√v̂ + ε) with m̂ = m / (1 - β₁^t), v̂ = v / (1 - β₂^t).

    m = (1 - β₁) Σ_k β₁^(t-k) g_k, v likewise of g²
    amsgrad: v̂ from the largest v so far. Decoupled (AdamW): θ shrinks by (1 - η_t λ) instead.
    """
    beta1, beta2 = betas
    seen: list[Array] = []
    largest: Array = None
    for t, (grad, eta) in enumerate(zip(grads, rates, strict=True), start=1):
        seen.append(grad if decoupled else grad + weight_decay * theta)
        m = (1 - beta1) * faded(seen, beta1)
        v = (1 - beta2) * faded([x**2 for x in seen], beta2)
        largest = v if largest is None else larger(largest, v)
        m_hat = m / (1 - beta1**t)
        v_hat = (largest if amsgrad else v) / (1 - beta2**t)
        if decoupled:
            theta = theta - eta * weight_decay * theta
        theta = theta - eta * (m_hat / (root(v_hat) + eps))
    state = {"exp_avg": m, "exp_avg_sq": v} | ({"max_exp_avg_sq": largest} if amsgrad else {})
    return {"param": theta} | state


def adamw(*args: Any, **settings: Any) -> Arrays:
    """Adam with decoupled decay."""
    return adam(*args, decoupled=True, **settings)


def faded(terms: Sequence[Array], share: Any) -> Array:
    """Return Σ_k share^(T-k) terms_k: the last counts fully."""
    last = len(terms) - 1
    return sum(share ** (last - k) * term for k, term in enumerate(terms))


def root(x: Array) -> Array:
    return x**0.5


def larger(a: Array, b: Array) -> Array:
    """Return the larger of each two elements: ½ (a + b + |a - b|)."""
    return (a + b + abs(a - b)) / 2
