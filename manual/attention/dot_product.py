"""Scaled dot-product attention in heads: softmax(q kᵀ / √d + mask) v, and the way back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manual.layer import Array, Noise


class Mask(NamedTuple):
    """Who may look where; each part broadcasts to the scores (N, h, L, S), or is None."""

    hidden: Array | None = None  # True: not seen
    added: Array | None = None  # finite numbers, added to the scores


class Dropped(NamedTuple):
    """Dropout of the weights: a boolean mask of their shape, and 1 / (1 - p)."""

    keep: Array
    scale: float


def told(owner: str, noise: Noise, p: float, *shapes: tuple[int, ...]) -> Dropped | None:
    """Return the weights' mask as booleans, which lift no float32, in the first of its shapes.

    Raises:
        ValueError: noise is no mask of any of these shapes.
    """
    if isinstance(noise, tuple):  # of one draw, or of none
        noise = next(iter(noise), None)
    if noise is None:
        return None
    if tuple(noise.shape) not in shapes:
        raise ValueError(
            f"{owner}: noise must be a mask of the weights, {' or '.join(map(str, shapes[::-1]))}, "
            f"received {tuple(noise.shape)}. Draw it with {owner}.draw(query, key, value, rng=rng)."
        )
    return Dropped(noise.reshape(*shapes[0]) != 0, 0.0 if p == 1 else 1 / (1 - p))


class Attended(NamedTuple):
    """What attention leaves for its way back."""

    q: Array  # (N, h, L, d), already times the scale
    k: Array  # (N, h, S, d)
    v: Array  # (N, h, S, d)
    softmax: Array  # (N, h, L, S)
    weights: Array  # the same after dropout
    output: Array  # (N, h, L, d)
    dropped: Dropped | None
    scale: float


def attend(
    q: Array, k: Array, v: Array, mask: Mask, dropped: Dropped | None, blind: float,
    scale: float | None = None,
) -> Attended:  # fmt: skip
    """Return softmax(q kᵀ / √d + mask) v for q (N, h, L, d), k and v (N, h, S, d).

    Leading axes may be any that broadcast; results and gradients then have the common ones.

    Args:
        q: queries.
        k: keys.
        v: values.
        mask: what is hidden and what is added.
        dropped: dropout of the softmax, if any.
        blind: the weights of a query that sees no key at all.
        scale: what takes the place of 1 / √d.
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    q = q * scale
    z = q @ k.swapaxes(-2, -1)  # (N, h, L, S)
    if mask.added is not None:
        z = z + mask.added
    softmax = visible_softmax(z, mask.hidden, blind)
    weights = softmax if dropped is None else _dropped(softmax, dropped)
    return Attended(q, k, v, softmax, weights, weights @ v, dropped, scale)


def visible_softmax(z: Array, hidden: Array | None, blind: float) -> Array:
    """Return softmax along the last axis over what is not hidden; hidden weights are 0.

    Hidden scores are first lowered below all others: so the largest is that of a visible one, and
    no exponential overflows. -inf in their place would do, but no error gauge knows infinities.
    """
    top = z.max(axis=-1, keepdims=True)
    if hidden is None:
        e = np.exp(z - top)
        e /= e.sum(axis=-1, keepdims=True)
        return e
    span = top - z.min(axis=-1, keepdims=True)
    z = z - hidden * (span + 1)
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    e *= ~hidden
    total = e.sum(axis=-1, keepdims=True)
    unseeing = hidden.all(axis=-1, keepdims=True)
    if not unseeing.any():
        e /= total
        return e
    return np.where(unseeing, blind, e / (total + unseeing))


def attend_backward(
    do: Array, dweights: Array | None, past: Attended
) -> tuple[Array, Array, Array, Array]:
    r"""Return dq, dk, dv and dz, upstream of the output (N, h, L, d) and of the weights.

    For one head and one sample, with rows l of q, rows s of k and v, a the softmax, w = a m / (1-p)
    the weights that dropout leaves, and s_ls the scores before the mask:
        s_ls = Σ_j q_lj k_sj / √d     z = s + mask
        a_ls = e^(z_ls) / Σ_r e^(z_lr)     o_lj = Σ_s w_ls v_sj
    Backwards, each from the one before:
        dv_sj = Σ_l w_ls do_lj                       ->  dv = wᵀ do
        dw_ls = Σ_j do_lj v_sj  (+ upstream of w)    ->  dw = do vᵀ + dweights
        da_ls = dw_ls m_ls / (1-p)
        dz_ls = a_ls (da_ls - Σ_r da_lr a_lr)        softmax: every a of a row sees every z of it
        dq_lj = Σ_s dz_ls k_sj / √d                  ->  dq = dz k / √d
        dk_sj = Σ_l dz_ls q_lj / √d                  ->  dk = dzᵀ (q / √d)
    The sum in dz needs no pass over the S keys: Σ_r da_lr a_lr = Σ_r dw_lr w_lr, and without an
    upstream gradient of w this is Σ_r Σ_j do_lj v_rj w_lr = Σ_j do_lj o_lj, d numbers instead of S.
    A hidden key has a = 0, so dz = 0: nothing flows where nothing was seen.
    Source: Vaswani et al., Attention Is All You Need (2017), section 3.2; Dao et al.,
    FlashAttention (2022), appendix B.
    """
    q, k, v, a, w, o, dropped, scale = past
    dv = w.swapaxes(-2, -1) @ do
    dz = do @ v.swapaxes(-2, -1)  # dw
    total = (do * o).sum(axis=-1, keepdims=True)
    if dweights is not None:
        dz = dz + dweights
        total = total + (dweights * w).sum(axis=-1, keepdims=True)
    if dropped is not None:
        dz = _dropped(dz, dropped)  # da
    dz -= total
    dz *= a
    dq = dz @ k
    dq *= scale
    return dq, dz.swapaxes(-2, -1) @ q, dv, dz


def _dropped(a: Array, dropped: Dropped) -> Array:
    a = a * dropped.keep
    a *= dropped.scale
    return a
