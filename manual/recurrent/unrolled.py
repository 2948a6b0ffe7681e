"""A recurrent unit, unrolled over a sequence: one walk there and one walk back, for every unit.

Inside, the batch axis comes last, as in the literature's column vectors: h (P, N), c (H, N), and
scores (G H, N), in which each of a unit's G gates is one contiguous block. P is H, or the size of a
projection.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import numpy as np

from manual.layer import Array

States = tuple[Array, ...]  # h, and of an LSTM c


class Unit(ABC):
    """What happens in one step, given the scores W x + b_ih and U h + b_hh.

    Attributes:
        gates: G, how many blocks of H rows the weights have.
        joint: whether the step reads nothing but the sum of the two scores.
    """

    gates: ClassVar[int]
    joint: ClassVar[bool]

    @abstractmethod
    def forward(self, from_x: Array, from_h: Array, states: States) -> tuple[States, Any]:
        """Return the states after the step, and what backward needs; it may write into from_h."""

    @abstractmethod
    def backward(self, dstates: States, step: Any) -> tuple[Array, Array, tuple[Array | None, ...]]:
        """Return the gradients of from_x, from_h, and of the states before.

        That of h is what does not come through from_h, or None. A joint unit returns one array
        twice.
        """


class Weights(NamedTuple):
    """The parameters of one direction, or their gradients."""

    ih: Array  # W (G H, I)
    hh: Array  # U (G H, P)
    bias_ih: Array | None  # (G H,)
    bias_hh: Array | None  # (G H,)
    hr: Array | None = None  # R (P, H), the projection


class Past(NamedTuple):
    """What a walk along a sequence leaves: all that walking back needs."""

    x: Array  # (T, N, I)
    h: Array  # (T, N, P) before each step
    steps: tuple[Any, ...]
    ms: tuple[Array, ...]  # (H, N) each: what was projected


class Back(NamedTuple):
    """The gradients of one walk along a sequence."""

    x: Array | None  # (T, N, I); None if it was not asked for
    states: States  # (N, ·) each
    weights: Weights


# ── there ────────────────────────────────────────────────────────────────────────────────────────
def run(
    unit: Unit, x: Array, states: States, weights: Weights, active: Array | None = None
) -> tuple[Array, States, Past]:
    """Return h after every step (T, N, P), the last states (N, ·), and what walking back needs.

    Args:
        unit: what a step computes.
        x: the sequence (T, N, I).
        states: the first ones (N, ·).
        weights: those of this direction.
        active: (T, N), False where a sequence is over: its states stay as they are.
    """
    scores = _scores(x, weights)  # (T, G H, N)
    now: States = tuple(s.T for s in states)
    hs, steps, ms = [now[0]], [], []
    for t in range(len(x)):
        from_h = weights.hh @ hs[-1]
        if weights.bias_hh is not None:
            from_h += weights.bias_hh[:, None]
        after, step = unit.forward(scores[t], from_h, now)
        if weights.hr is not None:
            ms.append(after[0])
            after = (weights.hr @ after[0], *after[1:])
        now = after if active is None else _where(active[t], after, now)
        hs.append(now[0])
        steps.append(step)
    h = np.stack(hs).swapaxes(1, 2).copy()  # (T + 1, N, P)
    return h[1:], tuple(s.T for s in now), Past(x, h[:-1], tuple(steps), tuple(ms))


def _scores(x: Array, weights: Weights) -> Array:
    """Return W x + b_ih (T, G H, N) of all steps at once."""
    scores = weights.ih @ x.swapaxes(1, 2)
    if weights.bias_ih is None:
        return scores
    scores += weights.bias_ih[:, None]  # in place: fresh memory costs more than the sum
    return scores


def _where(active: Array, states: States, others: States) -> States:
    return tuple(np.where(active, s, o) for s, o in zip(states, others, strict=True))


# ── and back ─────────────────────────────────────────────────────────────────────────────────────
def run_backward(
    unit: Unit,
    dy: Array,
    dstates: States,
    weights: Weights,
    past: Past,
    active: Array | None = None,
    *,
    input_grad: bool = True,
) -> Back:
    """Return the gradients of a walk, going from the last step to the first.

    Args:
        unit: what a step computes.
        dy: upstream of h after every step (T, N, P); zero where a sequence is over.
        dstates: upstream of the last states (N, ·).
        weights: those of the walk.
        past: what it left.
        active: as in the walk.
        input_grad: whether dx is wanted.
    """
    dy = dy.swapaxes(1, 2).copy()
    now: States = tuple(s.T for s in dstates)
    into_h, into_m = weights.hh.T, None if weights.hr is None else weights.hr.T
    from_x, from_h, dhs = [], [], []
    for t in reversed(range(len(dy))):
        now = (now[0] + dy[t], *now[1:])  # h_t is read as an output and by the next step
        live = now if active is None else _where(active[t], now, tuple(map(np.zeros_like, now)))
        if into_m is not None:
            dhs.append(live[0])
            live = (into_m @ live[0], *live[1:])
        dz_x, dz_h, (direct, *rest) = unit.backward(live, past.steps[t])
        from_x.append(dz_x)
        if not unit.joint:
            from_h.append(dz_h)
        dh = into_h @ dz_h
        if direct is not None:
            dh += direct
        before = (dh, *rest)
        now = before if active is None else _where(active[t], before, now)
    dz = _columns(from_x[::-1])  # (G H, T N)
    dx = (dz.T @ weights.ih).reshape(*past.x.shape) if input_grad else None
    dz_h = dz if unit.joint else _columns(from_h[::-1])
    gradients = _weight_gradients(dz, dz_h, dhs[::-1], weights, past)
    return Back(dx, tuple(s.T for s in now), gradients)


def _weight_gradients(
    dz: Array, dz_h: Array, dhs: list[Array], weights: Weights, past: Past
) -> Weights:
    """Return dW = Σ dz xᵀ, dU = Σ dz hᵀ, db = Σ dz, dR = Σ dh mᵀ: one product for all T N."""
    biased = weights.bias_ih is not None
    return Weights(
        dz @ _rows(past.x),
        dz_h @ _rows(past.h),
        dz.sum(axis=1) if biased else None,
        dz_h.sum(axis=1) if biased else None,
        None if weights.hr is None else _columns(dhs) @ _columns(list(past.ms)).T,
    )


def _rows(a: Array) -> Array:
    """Return (T, N, K) as (T N, K); any of the sizes may be 0."""
    steps, n, size = a.shape
    return a.reshape(steps * n, size)


def _columns(steps: list[Array]) -> Array:
    """Return T arrays (K, N) as one (K, T N)."""
    joined = np.stack(steps, axis=1)
    return joined.reshape(len(joined), math.prod(joined.shape[1:]))
