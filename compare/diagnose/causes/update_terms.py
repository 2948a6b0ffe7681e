"""What torch's update is made of: the terms that it adds up, the tensors that it multiplies."""

from __future__ import annotations

from typing import Any

import numpy as np

from manual.registry import OPTIMIZERS


def decay_of(u: Any) -> float:
    """Return λ, by the rule's own default where it is not given."""
    return float(u.args.get("weight_decay", OPTIMIZERS[u.type].weight_decay))


def is_decoupled(u: Any) -> bool:
    return bool(u.args.get("decoupled_weight_decay", OPTIMIZERS[u.type].decoupled_weight_decay))


def decayed(u: Any) -> np.ndarray:
    """Return ± the gradient, with coupled weight decay, as the rule uses it."""
    grad = -u.grad if u.args.get("maximize") else u.grad
    return grad if is_decoupled(u) else grad + decay_of(u) * u.param


def terms(u: Any) -> dict[str, np.ndarray]:
    """Return the terms that add up to torch's state or parameter after the step."""
    found = _step_terms(u) if u.quantity == "param" else _average_terms(u, decayed(u))
    return {name: t for name, t in found.items() if np.shape(t) == u.param.shape and np.any(t)}


def _average_terms(u: Any, g: np.ndarray) -> dict[str, np.ndarray]:
    old = u.state.get(u.quantity, 0 * g)
    betas = u.args.get("betas", (0.9, 0.999))
    alpha = float(u.args.get("rho", 0.9) if u.type == "Adadelta" else u.args.get("alpha", 0.99))
    first, second = {"exp_avg": betas[0], "grad_avg": alpha}, {
        "exp_avg_sq": betas[1], "square_avg": alpha,
    }  # fmt: skip
    if u.quantity in first:
        b = first[u.quantity]
        return {"the term β × the old average": b * old, "the term (1 − β) g": (1 - b) * g}
    if u.quantity in second:
        b = second[u.quantity]
        return {"the term β × the old average": b * old, "the term (1 − β) g²": (1 - b) * g * g}
    if u.quantity == "momentum_buffer":
        kept = float(u.args.get("momentum", 0.0)) * old
        return {"the term μ × the old buffer": kept, "the new term": u.run() - kept}
    return {"what was before": old, "the new term": u.run() - old} if u.quantity == "sum" else {}


def _step_terms(u: Any) -> dict[str, np.ndarray]:
    """Return the parameter before, the decay where it is a term of its own, and the steps."""
    p, lr, mu = u.param, u.lr, float(u.args.get("momentum", 0.0))
    parts = {"the parameter before": p}
    if is_decoupled(u) or (u.type == "SGD" and not mu):
        parts["the decay −lr λ θ"] = -lr * decay_of(u) * p
    if u.type == "SGD" and u.args.get("nesterov"):
        parts["the step −lr g"] = -lr * decayed(u)
    if u.type == "RMSprop" and mu and "momentum_buffer" in u.state:
        parts["the momentum −lr μ b"] = -lr * mu * u.state["momentum_buffer"]
    parts["the step along the direction"] = u.run() - sum(parts.values())
    return parts


def blocks(u: Any) -> dict[str, np.ndarray]:
    """Return the tensors whose products the rule is made of."""
    g = decayed(u)
    found = {"g": g, "θ": u.param}
    new = {name: u.run(quantity=name) for name in u.states()}
    for name, value in new.items():
        if np.shape(value) == g.shape:
            found[name] = value
        if np.shape(u.state.get(name)) == g.shape:
            found[f"{name} before"] = u.state[name]
    if u.quantity == "param" and (root := _root(u, new)) is not None:
        found["(√v̂ + ε)"] = root
    return found


def _root(u: Any, new: dict[str, Any]) -> np.ndarray | None:
    eps = float(u.args.get("eps", 1e-10 if u.type == "Adagrad" else 1e-8))
    if u.type in ("Adam", "AdamW", "NAdam") and "exp_avg_sq" in new:
        t = float(np.asarray(new.get("step", 1.0)))
        v = new.get("max_exp_avg_sq", new["exp_avg_sq"])
        return np.sqrt(v / (1 - u.args.get("betas", (0.9, 0.999))[1] ** t)) + eps
    v = new.get("square_avg", new.get("sum"))
    if v is None or u.args.get("centered") or u.type == "Adadelta":
        return None
    return np.sqrt(v) + eps
