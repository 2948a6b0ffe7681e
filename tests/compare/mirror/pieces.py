"""NumPy ports of a model's modules, right ones, and wrong ones beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tests.compare.mirror.example import Example

Pair = tuple[Callable, Callable]


# ── the model ────────────────────────────────────────────────────────────────────────────────────
class Gate(nn.Module):
    """x · sigmoid(W x + b), with a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + x * torch.sigmoid(self.fc(x))


class Ported(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = nn.Embedding(6, 4), nn.LayerNorm(4)
        self.gate, self.act, self.head = Gate(), nn.GELU(approximate="tanh"), nn.Linear(4, 3)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.act(self.gate(self.norm(self.embed(ids))))
        return self.head(x.mean(dim=1))


def ported() -> Example:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Ported()
        nn.init.normal_(model.norm.weight)
    return Example(model, (torch.tensor([[1, 4, 1, 2], [3, 0, 0, 5]]),))


# ── right pieces ─────────────────────────────────────────────────────────────────────────────────
def embed(ids, weight):
    return weight[ids], (ids, weight.shape)


def embed_back(dy, cache):
    ids, shape = cache
    dw = np.zeros(shape)
    np.add.at(dw, ids, dy)
    return None, dw


def norm(x, weight, bias):
    std = np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    z = (x - x.mean(-1, keepdims=True)) / std
    return z * weight + bias, (z, std, weight)


def norm_back(dy, cache):
    z, std, weight = cache
    g = dy * weight
    dx = (g - g.mean(-1, keepdims=True) - z * (g * z).mean(-1, keepdims=True)) / std
    return dx, (dy * z).sum((0, 1)), dy.sum((0, 1))


def gate(x, fc_weight, fc_bias):
    s = 1 / (1 + np.exp(-(x @ fc_weight.T + fc_bias)))
    return x + x * s, (x, s, fc_weight)


def gate_back(dy, cache):
    x, s, w = cache
    dz = dy * x * s * (1 - s)
    dw = np.einsum("bto,bti->oi", dz, x)
    return dy * (1 + s) + dz @ w, dw, dz.sum((0, 1))


C = np.sqrt(2 / np.pi)


def act(x):
    t = np.tanh(C * (x + 0.044715 * x**3))
    return 0.5 * x * (1 + t), (x, t)


def act_back(dy, cache):
    x, t = cache
    inner = C * (1 + 3 * 0.044715 * x**2)
    return (dy * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * inner),)


def head(x, weight, bias):
    return x @ weight.T + bias, (x, weight)


def head_back(dy, cache):
    x, weight = cache
    return dy @ weight, dy.T @ x, dy.sum(0)


RIGHT: dict[str, Pair] = {
    "embed": (embed, embed_back),
    "norm": (norm, norm_back),
    "gate": (gate, gate_back),
    "act": (act, act_back),
    "head": (head, head_back),
}


# ── wrong pieces ─────────────────────────────────────────────────────────────────────────────────
def embed_of_the_row_before(ids, weight):
    return weight[ids - 1], (ids - 1, weight.shape)


def embed_overwritten(dy, cache):
    ids, shape = cache
    dw = np.zeros(shape)
    dw[ids] = dy
    return None, dw


def norm_with_another_eps(x, weight, bias):
    std = np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    z = (x - x.mean(-1, keepdims=True)) / std
    return z * weight + bias, (z, std, weight)


def norm_unbiased(x, weight, bias):
    std = np.sqrt(x.var(-1, ddof=1, keepdims=True) + 1e-5)
    z = (x - x.mean(-1, keepdims=True)) / std
    return z * weight + bias, (z, std, weight)


def norm_constant_std(dy, cache):
    z, std, weight = cache
    g = dy * weight
    return (g - g.mean(-1, keepdims=True)) / std, (dy * z).sum((0, 1)), dy.sum((0, 1))


def norm_unweighted(dy, cache):
    z, std, _ = cache
    dx = (dy - dy.mean(-1, keepdims=True) - z * (dy * z).mean(-1, keepdims=True)) / std
    return dx, (dy * z).sum((0, 1)), dy.sum((0, 1))


def norm_swapped(dy, cache):
    dx, dw, db = norm_back(dy, cache)
    return dx, db, dw


def gate_transposed(x, fc_weight, fc_bias):
    s = 1 / (1 + np.exp(-(x @ fc_weight + fc_bias)))
    return x + x * s, (x, s, fc_weight)


def gate_without_residual(dy, cache):
    x, s, w = cache
    dz = dy * x * s * (1 - s)
    return dy * s + dz @ w, np.einsum("bto,bti->oi", dz, x), dz.sum((0, 1))


def gate_one_path(dy, cache):
    x, s, _ = cache
    dz = dy * x * s * (1 - s)
    return dy * (1 + s), np.einsum("bto,bti->oi", dz, x), dz.sum((0, 1))


def gate_averaged(dy, cache):
    dx, dw, db = gate_back(dy, cache)
    return dx, dw / len(dy), db


def gate_detached(dy, cache):
    dx, _, db = gate_back(dy, cache)
    return dx, np.zeros((4, 4)), db


def act_exact(x):
    from scipy.special import erf

    return 0.5 * x * (1 + erf(x / np.sqrt(2))), (x, np.tanh(C * (x + 0.044715 * x**3)))


def act_without_three(dy, cache):
    x, t = cache
    inner = C * (1 + 0.044715 * x**2)
    return (dy * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * inner),)


def act_without_upstream(dy, cache):
    return act_back(np.ones_like(dy), cache)


def head_transposed(dy, cache):
    x, weight = cache
    return dy @ weight, (x.T @ dy).reshape(weight.shape), dy.sum(0)


def head_mean(dy, cache):
    x, weight = cache
    return dy @ weight, dy.T @ x, dy.mean(0)


def head_negative(dy, cache):
    dx, dw, db = head_back(dy, cache)
    return -dx, dw, db


class WrongPiece(NamedTuple):
    """A module's path, and its port with a mistake."""

    path: str
    pair: Pair


PORTS: dict[str, list[Pair]] = {
    "embed": [(embed_of_the_row_before, embed_back), (embed, embed_overwritten)],
    "norm": [
        (norm_with_another_eps, norm_back), (norm_unbiased, norm_back),
        (norm, norm_constant_std), (norm, norm_unweighted), (norm, norm_swapped),
    ],
    "gate": [
        (gate_transposed, gate_back), (gate, gate_without_residual), (gate, gate_one_path),
        (gate, gate_averaged), (gate, gate_detached),
    ],
    "act": [(act_exact, act_back), (act, act_without_three), (act, act_without_upstream)],
    "head": [(head, head_transposed), (head, head_mean), (head, head_negative)],
}  # fmt: skip
WRONG = {
    next(f.__name__ for f in pair if f not in RIGHT[path]): WrongPiece(path, pair)
    for path, pairs in PORTS.items()
    for pair in pairs
}


def twin(name: str) -> dict[str, Any]:
    """Return all right pieces, with the wrong one in its place."""
    return {**RIGHT, WRONG[name].path: WRONG[name].pair}
