"""One layer of an LSTM in one direction: the cell, and the same cell unrolled over a sequence.

Everything here is a function of arrays, with the time axis first: x (T, N, I), h (N, P), c (N, H).
Gates stand in torch's order i, f, g, o. `hidden` is H; P is H too, or the size of a projection.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manual.activations.pointwise import sigmoid
from manual.layer import Array


class Weights(NamedTuple):
    ih: Array  # W (4H, I)
    hh: Array  # U (4H, P)
    bias: Array | None  # b = b_ih + b_hh (4H,)
    hr: Array | None  # R (P, H), the projection


class Past(NamedTuple):
    """What a pass through a sequence leaves, one row a step: all that walking back needs."""

    x: Array  # (T, N, I)
    h: Array  # (T, N, P) before each step
    c: Array  # (T, N, H) before each step
    gates: Array  # (T, N, 4H): i, f, g, o
    tanh_c: Array  # (T, N, H) of the new cell state


class Slopes(NamedTuple):
    """How a step's scores and cell state answer to its states, for all steps at once."""

    scores: Array  # (T, N, 4, H): ∂c'/∂z for i, f, g and ∂m/∂z for o
    cell: Array  # (T, N, H): ∂m/∂c' = o (1 - tanh² c')
    forget: Array  # (T, N, H): ∂c'/∂c = f


class Back(NamedTuple):
    """The gradients of one pass through a sequence."""

    x: Array | None  # (T, N, I); None if it was not asked for
    h: Array  # (N, P)
    c: Array  # (N, H)
    weights: Weights


# ── the cell ─────────────────────────────────────────────────────────────────────────────────────
def cell(z: Array, c: Array) -> tuple[Array, Array, Array, Array]:
    """Return the output m = o tanh c', the state c' = f c + i g, the gates and tanh c'.

    z (N, 4H) are the scores W x + U h + b, c (N, H) the state before. g has a tanh of its own:
    2 σ(2z) - 1, one σ for all four, would lose the digits of a small g.
    """
    size = c.shape[-1]
    gates = sigmoid(z)
    gates[:, 2 * size : 3 * size] = np.tanh(z[:, 2 * size : 3 * size])
    i, f, g, o = (gates[:, k * size : (k + 1) * size] for k in range(4))
    state = f * c
    state += i * g
    tanh_c = np.tanh(state)
    return o * tanh_c, state, gates, tanh_c


def slopes(past: Past) -> Slopes:
    r"""Return the cell's derivatives at every step: nothing here depends on the upstream gradient.

    With σ' = σ (1 - σ) and tanh' = 1 - tanh², from c' = f c + i g and m = o tanh c':
        ∂c'/∂z_i = g i (1 - i)    ∂c'/∂z_f = c f (1 - f)    ∂c'/∂z_g = i (1 - g²)    ∂c'/∂c = f
        ∂m/∂z_o = tanh c' · o (1 - o)                       ∂m/∂c' = o (1 - tanh² c')
    """
    size = past.c.shape[-1]
    i, f, g, o = (past.gates[..., k * size : (k + 1) * size] for k in range(4))
    scores = (
        g * i * (1 - i),
        past.c * f * (1 - f),
        i * (1 - g * g),
        past.tanh_c * o * (1 - o),
    )
    return Slopes(np.stack(scores, axis=2), o * (1 - past.tanh_c * past.tanh_c), f)


def cell_backward(dm: Array, dc: Array, scores: Array, of_cell: Array) -> tuple[Array, Array]:
    """Return dz (N, 4H) and the whole gradient of the new state c', for one step of `Slopes`.

    c' has two readers: the next step, from which dc comes, and m, so the two add up.
    """
    dc = dc + dm * of_cell
    dz = scores * dc[:, None]  # i, f and g act through c'
    dz[:, 3] = dm * scores[:, 3]  # o acts through m
    return dz.reshape(len(dz), -1), dc


# ── the cell, unrolled ───────────────────────────────────────────────────────────────────────────
def run(x: Array, h: Array, c: Array, weights: Weights) -> tuple[Array, Array, Past]:
    """Return every output (T, N, P), the last cell state, and what walking back needs."""
    scores = (x.reshape(-1, x.shape[-1]) @ weights.ih.T).reshape(*x.shape[:2], len(weights.ih))
    if weights.bias is not None:
        scores = scores + weights.bias  # (T, N, 4H), all steps at once
    into_scores = weights.hh.T
    hs, cs, gates, tanhs = [h], [c], [], []
    for t in range(len(x)):
        z = h @ into_scores  # (N, 4H)
        z += scores[t]
        h, c, gate, tanh_c = cell(z, c)
        if weights.hr is not None:
            h = h @ weights.hr.T
        hs.append(h)
        cs.append(c)
        gates.append(gate)
        tanhs.append(tanh_c)
    past = Past(x, np.stack(hs[:-1]), np.stack(cs[:-1]), np.stack(gates), np.stack(tanhs))
    return np.stack(hs[1:]), c, past


def run_backward(
    dy: Array, dh: Array, dc: Array, weights: Weights, past: Past, input_grad: bool = True
) -> Back:
    """Return the gradients of a pass, walking the steps from the last to the first.

    dy (T, N, P) is upstream of the outputs, dh and dc of the last states. The loop holds only what
    depends on the step after; weights, used at every step, gather their sum over all steps in one
    product each.
    """
    local = slopes(past)
    dzs, dhs = [], []
    for t in reversed(range(len(dy))):
        dh = dh + dy[t]  # h_t is read as an output and by the next step
        dhs.append(dh)
        dm = dh if weights.hr is None else dh @ weights.hr
        dz, dc = cell_backward(dm, dc, local.scores[t], local.cell[t])
        dzs.append(dz)
        dh, dc = dz @ weights.hh, dc * local.forget[t]
    dz = np.stack(dzs[::-1])  # (T, N, 4H)
    dx = dz.reshape(-1, dz.shape[-1]) @ weights.ih if input_grad else None
    grads = weight_gradients(dz, np.stack(dhs[::-1]), weights, past)
    return Back(None if dx is None else dx.reshape(*past.x.shape), dh, dc, grads)


def weight_gradients(dz: Array, dh: Array, weights: Weights, past: Past) -> Weights:
    """Return dW = Σ dzᵀ x, dU = Σ dzᵀ h, db = Σ dz and dR = Σ dhᵀ m, sums over T and N."""
    flat = _rows(dz)
    projection = None
    if weights.hr is not None:
        size = past.c.shape[-1]
        m = past.gates[..., 3 * size :] * past.tanh_c
        projection = _rows(dh).T @ _rows(m)
    return Weights(
        flat.T @ _rows(past.x),
        flat.T @ _rows(past.h),
        None if weights.bias is None else flat.sum(axis=0),
        projection,
    )


def _rows(a: Array) -> Array:
    return a.reshape(-1, a.shape[-1])
