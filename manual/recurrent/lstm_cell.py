"""One layer of an LSTM in one direction: the cell, and the same cell unrolled over a sequence.

Inside, the batch axis comes last, as in the literature's column vectors: h (P, N), c (H, N), and
scores z (4H, N) in which each gate is one contiguous block: i, f, g, o, torch's order. P is H, or
the size of a projection.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manual.activations.pointwise import sigmoid
from manual.layer import Array


class Weights(NamedTuple):
    """The parameters of one direction, or their gradients."""

    ih: Array  # W (4H, I)
    hh: Array  # U (4H, P)
    bias: Array | None  # b = b_ih + b_hh (4H,)
    hr: Array | None  # R (P, H), the projection


class Step(NamedTuple):
    """What one step leaves, (4H, N) and (H, N)."""

    gates: Array  # i, f, g, o
    c: Array  # the cell state before
    tanh_c: Array  # of the cell state after


class Past(NamedTuple):
    """What a pass through a sequence leaves: all that walking back needs."""

    x: Array  # (T, N, I)
    h: Array  # (T, N, P) before each step
    steps: tuple[Step, ...]


class Back(NamedTuple):
    """The gradients of one pass through a sequence."""

    x: Array | None  # (T, N, I); None if it was not asked for
    h: Array  # (N, P)
    c: Array  # (N, H)
    weights: Weights


# ── the cell ─────────────────────────────────────────────────────────────────────────────────────
def cell(z: Array, c: Array) -> tuple[Array, Array, Step]:
    """Return the output m = o tanh c', the state c' = f c + i g, and what it leaves.

    z (4H, N) are the scores W x + U h + b. g has a tanh of its own: 2 σ(2z) - 1, one σ for all
    four, would lose the digits of a small g, and is no faster.
    """
    size = len(c)
    gates = sigmoid(z)
    gates[2 * size : 3 * size] = np.tanh(z[2 * size : 3 * size])
    i, f, g, o = _four(gates)
    state = f * c
    state += i * g
    tanh_c = np.tanh(state)
    return o * tanh_c, state, Step(gates, c, tanh_c)


def cell_backward(dm: Array, dc: Array, step: Step) -> tuple[Array, Array]:
    r"""Return dz (4H, N) and dc (H, N), upstream of the step: dm of its output, dc of its state.

    c' has two readers, the next step and m = o tanh c', so their gradients add up:
        dc' = dc + dm o (1 - tanh² c')
    From c' = f c + i g:  di = dc' g,  df = dc' c,  dg = dc' i,  and the way on is dc = dc' f.
    From m:               do = dm tanh c'
    Through σ' = σ (1 - σ) for i, f, o and tanh' = 1 - tanh² for g.
    """
    gates, c, tanh_c = step
    i, f, g, o = _four(gates)
    through_m = 1 - tanh_c * tanh_c
    through_m *= dm * o
    dc = dc + through_m
    slopes = 1 - gates
    slopes *= gates
    slopes[2 * len(c) : 3 * len(c)] = 1 - g * g
    dz = np.concatenate((dc * g, dc * c, dc * i, dm * tanh_c))
    dz *= slopes
    return dz, dc * f


def _four(gates: Array) -> tuple[Array, ...]:
    size = len(gates) // 4
    return tuple(gates[k * size : (k + 1) * size] for k in range(4))


# ── the cell, unrolled ───────────────────────────────────────────────────────────────────────────
def run(x: Array, h: Array, c: Array, weights: Weights) -> tuple[Array, Array, Past]:
    """Return every output (T, N, P), the last state (N, H), and what walking back needs.

    Args:
        x: the sequence (T, N, I).
        h: the first output state (N, P).
        c: the first cell state (N, H).
        weights: those of this direction.
    """
    scores = weights.ih @ x.swapaxes(1, 2)  # (T, 4H, N), all steps at once
    if weights.bias is not None:
        scores = scores + weights.bias[:, None]
    hs, c, steps = [h.T], c.T, []
    for t in range(len(x)):
        z = weights.hh @ hs[-1]
        z += scores[t]
        m, c, step = cell(z, c)
        hs.append(m if weights.hr is None else weights.hr @ m)
        steps.append(step)
    states = np.stack(hs).swapaxes(1, 2).copy()  # (T + 1, N, P)
    return states[1:], c.T, Past(x, states[:-1], tuple(steps))


def run_backward(
    dy: Array, dh: Array, dc: Array, weights: Weights, past: Past, input_grad: bool
) -> Back:
    """Return the gradients of a pass, walking from the last step to the first.

    Args:
        dy: upstream of the outputs (T, N, P).
        dh: upstream of the last output state (N, P).
        dc: upstream of the last cell state (N, H).
        weights: those of the pass.
        past: what the pass left.
        input_grad: whether dx is wanted.
    """
    dy, dh, dc = dy.swapaxes(1, 2).copy(), dh.T, dc.T
    into_h, into_m = weights.hh.T, None if weights.hr is None else weights.hr.T
    dzs, dhs = [], []
    for t in reversed(range(len(dy))):
        dh = dh + dy[t]  # h_t is read as an output and by the next step
        dz, dc = cell_backward(dh if into_m is None else into_m @ dh, dc, past.steps[t])
        dzs.append(dz)
        dhs.append(dh)
        dh = into_h @ dz
    dz = _columns(dzs[::-1])  # (4H, T N)
    dx = (dz.T @ weights.ih).reshape(*past.x.shape) if input_grad else None
    return Back(dx, dh.T, dc.T, _weight_gradients(dz, dhs[::-1], weights, past))


def _weight_gradients(dz: Array, dhs: list[Array], weights: Weights, past: Past) -> Weights:
    """Return dW = Σ dz xᵀ, dU = Σ dz hᵀ, db = Σ dz and dR = Σ dh mᵀ, one product for all T N."""
    projection = None
    if weights.hr is not None:
        ms = [step.gates[3 * len(step.c) :] * step.tanh_c for step in past.steps]
        projection = _columns(dhs) @ _columns(ms).T
    return Weights(
        dz @ past.x.reshape(-1, past.x.shape[-1]),
        dz @ past.h.reshape(-1, past.h.shape[-1]),
        None if weights.bias is None else dz.sum(axis=1),
        projection,
    )


def _columns(steps: list[Array]) -> Array:
    """Return T arrays (K, N) as one (K, T N)."""
    return np.stack(steps, axis=1).reshape(len(steps[0]), -1)
