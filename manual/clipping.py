"""Gradient clipping: shorten the whole gradient, or cut each of its elements."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from manual.graph import Array, Arrays

__all__ = ["clip_grad_norm", "clip_grad_value"]


def clip_grad_norm(grads: Mapping[str, Array], max_norm: float) -> tuple[Arrays, Array]:
    r"""Scale all gradients by one factor, so that their joint norm is at most `max_norm`.

    The gradients of all parameters count as one long vector g with ‖g‖² = Σ_k ‖g_k‖²:
        g_k -> g_k · min(1, max_norm / (‖g‖ + 1e-6))
    One factor for all keeps the direction of descent; only the step gets shorter.
    Torch: nn.utils.clip_grad_norm_, with its 1e-6, which leaves the norm a little below the bound
    (and touches gradients that are within 1e-6 of it).
    Source: Pascanu, Mikolov, Bengio, On the difficulty of training recurrent neural networks,
    2013, algorithm 1.

    Returns:
        `(clipped, total_norm)`: fresh arrays, and ‖g‖ before clipping (0 without any gradient).

    Raises:
        ValueError: max_norm is negative.
    """
    _nonnegative("clip_grad_norm", "max_norm", max_norm)
    if not grads:
        return {}, 0.0
    with np.errstate(invalid="ignore"):  # an infinite gradient: 0 · inf = nan, as in torch
        norm = _joint_norm(grads.values())
        factor = np.minimum(max_norm / (norm + 1e-6), 1.0)
        return {name: grad * factor for name, grad in grads.items()}, norm


def clip_grad_value(grads: Mapping[str, Array], clip_value: float) -> Arrays:
    r"""Cut every element of every gradient to [-clip_value, clip_value].

    g_i -> min(max(g_i, -c), c). Long gradients turn towards the diagonals: the direction changes.
    Torch: nn.utils.clip_grad_value_.

    Returns:
        Fresh arrays under the same names.

    Raises:
        ValueError: clip_value is negative.
    """
    _nonnegative("clip_grad_value", "clip_value", clip_value)
    return {name: np.clip(grad, -clip_value, clip_value) for name, grad in grads.items()}


def _joint_norm(grads: Collection[Array]) -> Array:
    """Return ‖g‖ = s √Σ (g/s)² with s = max |g|: no square overflows or vanishes."""
    largest = np.max(np.stack([np.max(np.absolute(grad), initial=0) for grad in grads]))
    scale = np.where((largest > 0) & (largest < np.inf), largest, 1)
    return scale * np.sqrt(sum(_squared((grad / scale).reshape(-1)) for grad in grads))


def _squared(vector: Array) -> Array:
    """Return Σ v² without squaring in memory."""
    return vector @ vector


def _nonnegative(function: str, name: str, value: float) -> None:
    if not value >= 0:  # rejects nan too
        raise ValueError(f"{function}: {name} must be at least 0, received {value!r}.")
