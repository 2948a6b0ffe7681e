"""The optimisers once more, from their papers: sums over the whole history instead of state.

Written to be compared with, not to be run: `manual` keeps running averages and rearranges the
quotient, this spells out every sum. Elements are balls, so the settings and roots are exact too.
Each returns the parameter and the state after the last of the steps t = 1 … T.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from manual.graph import Arrays

Array = Any
Definition = Callable[..., Arrays]


def sgd(
    theta: Array, grads: Sequence[Array], rates: Sequence[Any], *, momentum: Any, dampening: Any,
    weight_decay: Any, nesterov: bool, maximize: bool,
) -> Arrays:  # fmt: skip
    r"""θ_t = θ_t-1 - η_t g_t, or with b_t in place of g_t, or (Nesterov) g_t + μ b_t.

    b_t = μ^(t-1) g_1 + (1 - d) Σ_(k=2…t) μ^(t-k) g_k
    """
    seen: list[Array] = []
    for grad, eta in zip(turned(grads, maximize), rates, strict=True):
        g = grad + weight_decay * theta
        seen.append(g)
        b = faded([seen[0], *((1 - dampening) * x for x in seen[1:])], momentum)
        with_momentum = g + momentum * b if nesterov else b
        theta = theta - eta * (g if momentum == 0 else with_momentum)
    return {"param": theta} | ({} if momentum == 0 else {"momentum_buffer": b})


def adagrad(
    theta: Array, grads: Sequence[Array], rates: Sequence[Any], *, lr_decay: Any, weight_decay: Any,
    initial_accumulator_value: Any, eps: Any, maximize: bool,
) -> Arrays:  # fmt: skip
    """θ_t = θ_t-1 - η_t / (1 + (t - 1) κ) · g_t / (√(s_0 + Σ g_k²) + ε)."""
    seen: list[Array] = []
    for t, (grad, eta) in enumerate(zip(turned(grads, maximize), rates, strict=True), start=1):
        g = grad + weight_decay * theta
        seen.append(g)
        s = initial_accumulator_value + sum(x**2 for x in seen)
        theta = theta - eta / (1 + (t - 1) * lr_decay) * (g / (root(s) + eps))
    return {"param": theta, "sum": s}


def adadelta(
    theta: Array, grads: Sequence[Array], rates: Sequence[Any], *, rho: Any, eps: Any,
    weight_decay: Any, maximize: bool,
) -> Arrays:  # fmt: skip
    """θ_t = θ_t-1 - η_t x_t with x_t = √(a_t-1 + ε) / √(v_t + ε) g_t.

    v = (1 - ρ) Σ_k ρ^(t-k) g_k², a likewise of x
    """
    seen: list[Array] = []
    steps: list[Array] = []
    for grad, eta in zip(turned(grads, maximize), rates, strict=True):
        g = grad + weight_decay * theta
        a = (1 - rho) * faded([x**2 for x in steps], rho)
        seen.append(g)
        v = (1 - rho) * faded([x**2 for x in seen], rho)
        steps.append(root(a + eps + 0 * g) / root(v + eps) * g)
        theta = theta - eta * steps[-1]
    return {
        "param": theta,
        "square_avg": v,
        "acc_delta": (1 - rho) * faded([x**2 for x in steps], rho),
    }


def adafactor(
    theta: Array, grads: Sequence[Array], rates: Sequence[Any], *, beta2_decay: Any, eps: Any,
    d: Any, weight_decay: Any, maximize: bool,
) -> Arrays:  # fmt: skip
    """θ_t = (1 - η λ) θ_t-1 - max(ε₂, rms θ) η_t / max(1, rms(U) / d) U with U = G / √V.

    R = Σ_k w_k mean_j G_k², C likewise along i, w_k = s_k Π_(l>k) (1 - s_l) with s_k = k^τ
    """
    seen: list[Array] = []
    for t, (g, eta) in enumerate(zip(turned(grads, maximize), rates, strict=True), start=1):
        seen.append(g)
        shares = [k**beta2_decay for k in range(1, t + 1)]
        kept = [math.prod((1 - s for s in shares[k + 1 :]), start=shares[k]) for k in range(t)]
        r = sum(
            w * (x**2).sum(axis=1, keepdims=True) / x.shape[1]
            for w, x in zip(kept, seen, strict=True)
        )
        c = sum(
            w * (x**2).sum(axis=0, keepdims=True) / x.shape[0]
            for w, x in zip(kept, seen, strict=True)
        )
        least = 2.0**-52 if eps[0] is None else eps[0]
        v = larger(r * c / larger(r.sum() / len(r), least), least**2)
        u, size = g / root(v), larger(root_mean_square(theta), eps[1])
        longest = larger(root_mean_square(u) / d, 1)
        theta = (1 - eta * weight_decay) * theta - size * eta / longest * u
    return {"param": theta, "row_var": r, "col_var": c}


def rmsprop(
    theta: Array, grads: Sequence[Array], rates: Sequence[Any], *, alpha: Any, eps: Any,
    weight_decay: Any, momentum: Any, centered: bool, maximize: bool,
) -> Arrays:  # fmt: skip
    r"""θ_t = θ_t-1 - η_t Σ_k μ^(t-k) q_k with q = g / (√v + ε), or √(v - m²) if centered.

    v = (1 - α) Σ_k α^(t-k) g_k², m likewise of g
    """
    seen: list[Array] = []
    quotients: list[Array] = []
    for grad, eta in zip(turned(grads, maximize), rates, strict=True):
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
    weight_decay: Any, amsgrad: bool, maximize: bool, decoupled_weight_decay: bool = False,
) -> Arrays:  # fmt: skip
    r"""θ_t = θ_t-1 - η_t m̂ / (√v̂ + ε) with m̂ = m / (1 - β₁^t), v̂ = v / (1 - β₂^t).

    m = (1 - β₁) Σ_k β₁^(t-k) g_k, v likewise of g²
    amsgrad: v̂ from the largest v so far. Decoupled (AdamW): θ shrinks by (1 - η_t λ) instead.
    """
    decoupled = decoupled_weight_decay
    beta1, beta2 = betas
    seen: list[Array] = []
    largest: Array = None
    for t, (grad, eta) in enumerate(zip(turned(grads, maximize), rates, strict=True), start=1):
        seen.append(grad if decoupled else grad + weight_decay * theta)
        m, v = moments(seen, beta1, beta2)
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
    return adam(*args, **{**settings, "decoupled_weight_decay": True})


def adamax(
    theta: Array, grads: Sequence[Array], rates: Sequence[Any], *, betas: Any, eps: Any,
    weight_decay: Any, maximize: bool,
) -> Arrays:  # fmt: skip
    """θ_t = θ_t-1 - η_t m̂ / u with u = max_k β₂^(t-k) (|g_k| + ε)."""
    seen: list[Array] = []
    for t, (grad, eta) in enumerate(zip(turned(grads, maximize), rates, strict=True), start=1):
        seen.append(grad + weight_decay * theta)
        m, _ = moments(seen, *betas)
        u = reduce(larger, [betas[1] ** (t - k) * (abs(g) + eps) for k, g in enumerate(seen, 1)])
        theta = theta - eta * (m / (1 - betas[0] ** t)) / u
    return {"param": theta, "exp_avg": m, "exp_inf": u}


def nadam(
    theta: Array, grads: Sequence[Array], rates: Sequence[Any], *, betas: Any, eps: Any,
    weight_decay: Any, momentum_decay: Any, decoupled_weight_decay: bool, maximize: bool,
) -> Arrays:  # fmt: skip
    """θ_t = θ_t-1 - η_t [μ_t+1 m_t / (1 - P_t+1) + (1 - μ_t) g_t / (1 - P_t)] / (√v̂ + ε).

    μ_t = β₁ (1 - ½ 0.96^(t ψ)), P_t = μ_1 … μ_t
    """
    seen: list[Array] = []
    for t, (grad, eta) in enumerate(zip(turned(grads, maximize), rates, strict=True), start=1):
        g = grad if decoupled_weight_decay else grad + weight_decay * theta
        seen.append(g)
        m, v = moments(seen, *betas)
        mus = [betas[0] * (1 - 0.96 ** (k * momentum_decay) / 2) for k in range(1, t + 2)]
        now, then = math.prod(mus[:-1]), math.prod(mus)
        direction = mus[-1] * m / (1 - then) + (1 - mus[-2]) * g / (1 - now)
        if decoupled_weight_decay:
            theta = theta - eta * weight_decay * theta
        theta = theta - eta * direction / (root(v / (1 - betas[1] ** t)) + eps)
    return {"param": theta, "exp_avg": m, "exp_avg_sq": v}


def radam(
    theta: Array, grads: Sequence[Array], rates: Sequence[Any], *, betas: Any, eps: Any,
    weight_decay: Any, decoupled_weight_decay: bool, maximize: bool,
) -> Arrays:  # fmt: skip
    """θ_t = θ_t-1 - η_t r m̂ / ((√v + ε) / √(1 - β₂^t)), or - η_t m̂ while ρ_t ≤ 5.

    ρ_t = ρ_∞ - 2 t β₂^t / (1 - β₂^t), r² = variance of 1/√v at ρ_∞ over that at ρ_t
    """
    longest = (1 + betas[1]) / (1 - betas[1])
    seen: list[Array] = []
    for t, (grad, eta) in enumerate(zip(turned(grads, maximize), rates, strict=True), start=1):
        seen.append(grad if decoupled_weight_decay else grad + weight_decay * theta)
        m, v = moments(seen, *betas)
        step = m / (1 - betas[0] ** t)
        rho = longest - 2 * t * betas[1] ** t / (1 - betas[1] ** t)
        if rho > 5:
            trusted = [(x - 4) * (x - 2) / x for x in (rho, longest)]
            step = step * (root(trusted[0] / trusted[1] * (1 - betas[1] ** t))) / (root(v) + eps)
        if decoupled_weight_decay:
            theta = theta - eta * weight_decay * theta
        theta = theta - eta * step
    return {"param": theta, "exp_avg": m, "exp_avg_sq": v}


def asgd(
    theta: Array, grads: Sequence[Array], rates: Sequence[Any], *, lambd: Any, alpha: Any, t0: Any,
    weight_decay: Any, maximize: bool,
) -> Arrays:  # fmt: skip
    """θ_t = θ_t-1 - η (λ' θ_t-1 + g_t), η from the rate before; from t0 + 2 on, θ's mean."""
    visited: list[Array] = []
    rate = rates[0]
    for t, (grad, eta) in enumerate(zip(turned(grads, maximize), rates, strict=True), start=1):
        theta = theta - rate * (lambd * theta + grad + weight_decay * theta)
        if len(visited) and t - 1 - t0 > 1:
            visited.append(theta)
        else:
            visited = [theta]
        rate = eta / (1 + lambd * eta * t) ** alpha
    return {"param": theta, "ax": sum(visited) / len(visited)}


def rprop(
    theta: Array, grads: Sequence[Array], rates: Sequence[Any], *, etas: Any, step_sizes: Any,
    maximize: bool,
) -> Arrays:  # fmt: skip
    """θ_t = θ_t-1 - sign(p_t) s_t, told element by element."""
    places = range(len(theta))
    sizes, before = [rates[0] for _ in places], [0 for _ in places]
    moved = [theta[i] for i in places]
    for grad in turned(grads, maximize):
        for i in places:
            g, turned_round = grad[i], before[i] * grad[i] < 0
            factor = etas[0] if turned_round else etas[1] if before[i] * g > 0 else 1
            sizes[i] = larger(-larger(-sizes[i] * factor, -step_sizes[1]), step_sizes[0])
            before[i] = 0 * g if turned_round else g
            moved[i] = moved[i] if turned_round else moved[i] - (sizes[i] if g > 0 else -sizes[i])
    return {
        name: like(theta, values)
        for name, values in {"param": moved, "prev": before, "step_size": sizes}.items()
    }


def muon(
    theta: Array, grads: Sequence[Array], rates: Sequence[Any], *, weight_decay: Any, momentum: Any,
    nesterov: bool, ns_coefficients: Any, eps: Any, ns_steps: int, adjust_lr_fn: str | None,
) -> Arrays:  # fmt: skip
    """θ_t = (1 - η_t λ) θ_t-1 - η_t s O, with O by XᵀX from the right; nothing is rounded."""
    seen: list[Array] = []
    a, b, c = ns_coefficients
    tall, wide = theta.shape
    scale = max(1, tall / wide) ** 0.5 if adjust_lr_fn is None else 0.2 * max(tall, wide) ** 0.5
    for g, eta in zip(grads, rates, strict=True):
        seen.append(g)
        buffer = (1 - momentum) * faded(seen, momentum)
        x = (1 - momentum) * g + momentum * buffer if nesterov else buffer
        x = x / larger(root((x**2).sum()), eps)
        for _ in range(ns_steps):
            gram = x.T @ x
            x = a * x + x @ (b * gram + c * (gram @ gram))
        theta = (1 - eta * weight_decay) * theta - eta * scale * x
    return {"param": theta, "momentum_buffer": buffer}


def sparseadam(
    theta: Array, grads: Sequence[Any], rates: Sequence[Any], *, betas: Any, eps: Any,
    maximize: bool,
) -> Arrays:  # fmt: skip
    """Adam with every row's own history, and the count of all steps."""
    seen: list[list[Array]] = [[] for _ in theta]
    rows = [theta[i] for i in range(len(theta))]
    for t, (grad, eta) in enumerate(zip(grads, rates, strict=True), start=1):
        for i, g in zip(grad.indices[0], grad.values, strict=True):
            seen[i].append(-g if maximize else g)
            m, v = moments(seen[i], *betas)
            size = eta * root(1 - betas[1] ** t) / (1 - betas[0] ** t)
            rows[i] = rows[i] - size * m / (root(v) + eps)
    ends = [moments(history, *betas) for history in seen]
    found = {"param": rows, "exp_avg": [m for m, _ in ends], "exp_avg_sq": [v for _, v in ends]}
    return {name: like(theta, values) for name, values in found.items()}


def lbfgs(
    theta: Array, grads: Sequence[Array], rates: Sequence[Any], *, tolerance_change: Any,
    history_size: int, **_: Any,
) -> Arrays:  # fmt: skip
    """θ_t = θ_t-1 - t H g, with H as a matrix, updated anew from γ I by each change in turn."""
    changes: list[tuple[Array, Array]] = []
    before: Array = None
    moved: Array = None
    for g, eta in zip(grads, rates, strict=True):
        if before is not None and ((g - before) * moved).sum() > 1e-10:
            changes = [*changes, (moved, g - before)][-history_size:]
        d = -(inverse_hessian(changes, len(g)) @ g)
        length = eta if before is not None else eta / larger(abs(g).sum(), 1)
        before, moved = g, length * d
        if not (g * d).sum() > -tolerance_change:
            theta = theta + moved
    return {"param": theta, "d": d, "prev_flat_grad": g}


def inverse_hessian(changes: Sequence[tuple[Array, Array]], size: int) -> Array:
    """Return H = (I - ρ s yᵀ) H (I - ρ y sᵀ) + ρ s sᵀ of all changes, begun at yᵀs / yᵀy I."""
    unit = np.eye(size, dtype=int).astype(object)
    if not changes:
        return unit
    s, y = changes[-1]
    h = unit * ((y * s).sum() / (y * y).sum())
    for s, y in changes:
        rho = 1 / (y * s).sum()
        left = unit - rho * s[:, None] * y[None, :]
        h = left @ h @ left.T + rho * s[:, None] * s[None, :]
    return h


def turned(grads: Sequence[Array], maximize: bool) -> list[Array]:
    """Return the gradients of what is to fall: those of minus the loss, to maximise it."""
    return [-g if maximize else g for g in grads]


def moments(seen: Sequence[Array], beta1: Any, beta2: Any) -> tuple[Array, Array]:
    """Return (1 - β₁) Σ_k β₁^(t-k) g_k, and the same of g² with β₂."""
    return (1 - beta1) * faded(seen, beta1), (1 - beta2) * faded([x**2 for x in seen], beta2)


def root_mean_square(x: Array) -> Any:
    return root((x**2).sum() / x.size)


def like(array: Array, rows: Sequence[Any]) -> Array:
    """Return rows as an array like this one."""
    found = array.copy()
    for i, row in enumerate(rows):
        found[i] = row
    return found


def faded(terms: Sequence[Array], share: Any) -> Array:
    """Return Σ_k share^(T-k) terms_k: the last counts fully."""
    last = len(terms) - 1
    return sum(share ** (last - k) * term for k, term in enumerate(terms))


def root(x: Array) -> Array:
    return x**0.5


def larger(a: Array, b: Array) -> Array:
    """Return the larger of each two elements: ½ (a + b + |a - b|)."""
    return (a + b + abs(a - b)) / 2
