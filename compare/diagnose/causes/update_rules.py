"""Update rules that people write by mistake, from torch's own state after the step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from compare.diagnose.causes.update_terms import decay_of, decayed, is_decoupled

Rule = tuple[str, str, Any]  # kind, in words, what it gives


def wrong_rules(u: Any) -> Iterator[Rule]:
    """Yield what wrong formulas give for an `Update`."""
    families = {"SGD": _sgd, "RMSprop": _rmsprop, "Adagrad": _adagrad, "Adam": _adam,
                "AdamW": _adam}  # fmt: skip
    rules = families.get(u.type)
    if rules is None or u.quantity == "step":
        return
    with np.errstate(all="ignore"):
        yield from rules(u, decayed(u))


def _sgd(u: Any, g: np.ndarray) -> Iterator[Rule]:
    mu = float(u.args.get("momentum", 0.0))
    if not mu:
        return
    old = u.state.get("momentum_buffer")
    old = 0 * g if old is None else old
    if u.quantity == "param":
        b = u.run(quantity="momentum_buffer")
        p, lr = u.param, u.lr
        yield "momentum", "θ − lr (b + μ g), with μ at the gradient", p - lr * (b + mu * g)
        yield "momentum", "θ − lr (g + μ b_old), with the buffer of before", p - lr * (g + mu * old)
        yield "momentum", "θ − lr g − μ b_old, with lr at the gradient alone", p - lr * g - mu * old
        yield "momentum", "θ − lr b_old, with the buffer of before", p - lr * old
        yield "momentum", "θ − lr g, without the momentum", p - lr * g
        yield "momentum", "θ − lr μ b, the buffer alone", p - lr * mu * b
        return
    yield "momentum", "μ b + (1 − μ) g, a running mean", mu * old + (1 - mu) * g
    yield "momentum", "(1 − μ) b + μ g, with the shares swapped", (1 - mu) * old + mu * g
    yield "momentum", "μ b + lr g, with lr inside the buffer", mu * old + u.lr * g
    yield "momentum", "μ b + g", mu * old + g
    yield "momentum", "μ (b + g)", mu * (old + g)
    yield "momentum", "b + g, without μ", old + g
    dampening = float(u.args.get("dampening", 0.0))
    yield "momentum", "(1 − d) g at the first step as well", mu * old + (1 - dampening) * g
    yield "momentum", "μ b + (1 + d) g", mu * old + (1 + dampening) * g
    yield "momentum", "μ b + d g", mu * old + dampening * g


def _adam(u: Any, g: np.ndarray) -> Iterator[Rule]:
    b1, b2 = u.args.get("betas", (0.9, 0.999))
    if u.quantity != "param":
        yield from _averages(u, g, "exp_avg", b1, "exp_avg_sq", b2)
        return
    eps = float(u.args.get("eps", 1e-8))
    m = u.run(quantity="exp_avg")
    v = u.run(quantity="max_exp_avg_sq" if u.args.get("amsgrad") else "exp_avg_sq")
    t = float(np.asarray(u.state.get("step", 0))) + 1
    c1, c2 = 1 - b1**t, 1 - b2**t
    p, lr = u.param, u.lr
    if is_decoupled(u):
        p = p * (1 - lr * decay_of(u))
    root, mean = np.sqrt(v / c2), m / c1
    bias, place = "bias correction", "epsilon"
    yield bias, "θ − lr m / (√v̂ + ε), with m not corrected", p - lr * m / (root + eps)
    yield bias, "θ − lr m̂ / (√v + ε), with v not corrected", p - lr * mean / (np.sqrt(v) + eps)
    yield bias, "the step with √(1 − β₂) for 1 − β₂", p - lr * mean / (np.sqrt(v) / c2 + eps)
    yield (
        place,
        "θ − lr m̂ / √(v̂ + ε), with ε inside the root",
        p - lr * mean / np.sqrt(v / c2 + eps),
    )
    text = "θ − lr m̂ √(1 − β₂ᵗ) / (√v + ε), with ε added before the correction"
    yield place, text, p - lr * mean * np.sqrt(c2) / (np.sqrt(v) + eps)
    yield place, "θ − lr m̂ / √v̂, without ε", p - lr * mean / root
    yield "root", "θ − lr m̂ / (v̂ + ε), without the root", p - lr * mean / (v / c2 + eps)
    yield (
        "average",
        "θ − lr g / (√v̂ + ε), with the gradient for its average",
        p - lr * g / (root + eps),
    )


def _rmsprop(u: Any, g: np.ndarray) -> Iterator[Rule]:
    alpha = float(u.args.get("alpha", 0.99))
    if u.quantity in ("square_avg", "grad_avg"):
        yield from _averages(u, g, "grad_avg", alpha, "square_avg", alpha)
        return
    v, eps = u.run(quantity="square_avg"), float(u.args.get("eps", 1e-8))
    if u.args.get("centered"):
        v = v - u.run(quantity="grad_avg") ** 2
    mu = float(u.args.get("momentum", 0.0))
    old = mu * u.state.get("momentum_buffer", 0 * g) if mu else 0.0
    yield from _quotients(u, g, v, eps, old)


def _adagrad(u: Any, g: np.ndarray) -> Iterator[Rule]:
    if u.quantity == "param":
        eps = float(u.args.get("eps", 1e-10))
        yield from _quotients(u, g, u.run(quantity="sum"), eps, 0.0)
    elif u.quantity == "sum":
        old = u.state.get("sum", 0 * g)
        yield "average", "s + g, with g not squared", old + g
        yield "average", "g², without what was before", g * g


def _quotients(u: Any, g: Any, v: Any, eps: float, old: Any) -> Iterator[Rule]:
    for kind, text, quotient in (
        ("epsilon", "g / √(v + ε), with ε inside the root", g / np.sqrt(v + eps)),
        ("epsilon", "g / √v, without ε", g / np.sqrt(v)),
        ("root", "g / (v + ε), without the root", g / (v + eps)),
        ("root", "g √v, multiplied where torch divides", g * (np.sqrt(v) + eps)),
    ):
        b = old + quotient
        yield kind, f"the step with {text}", u.param - u.lr * b if u.quantity == "param" else b


def _averages(
    u: Any, g: np.ndarray, first: str, b1: float, second: str, b2: float
) -> Iterator[Rule]:
    """Yield wrong running averages of g (`first`) and of g² (`second`)."""
    b, new = (b1, g) if u.quantity == first else (b2, g * g)
    if u.quantity not in (first, second):
        return
    old = u.state.get(u.quantity, 0 * g)
    yield "average", "β a + new, without 1 − β", b * old + new
    yield "average", "(1 − β) a + β new, with the shares swapped", (1 - b) * old + b * new
    yield "average", "a + (1 − β) new, without β", old + (1 - b) * new
    yield "average", "(1 − β) new, without what was before", (1 - b) * new
    if u.quantity == second:
        yield "average", "β a + (1 − β) g, with g not squared", b * old + (1 - b) * g
        yield "average", "β a + (1 − β)² g²", b * old + (1 - b) ** 2 * new
