"""How a head finds its places after content addressing: blended, shifted, sharpened."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manual.examples import Draw, Example
from manual.layer import Array, Arrays, Layer

__all__ = ["CircularConvolution", "Interpolation", "Sharpening"]


class BlendCache(NamedTuple):
    gate: Array
    new: Array
    old: Array
    first: bool  # whether there was no old one


class Interpolation(Layer):
    """A gate between two weightings: y = g new + (1 - g) old.

    Inputs: `new` and `old` (…, N), `gate` g (…, 1). At the first step there is no old one: left
    out, it is all on the first place.

    Raises:
        ValueError: the shapes do not fit.
    """

    equations = {
        "output": "y[b,i] = g[b,0] * n[b,i] + (1 - g[b,0]) * o[b,i]",
        "output/first": "y[b,i] = g[b,0] * n[b,i] + (1 - g[b,0]) * (i == 0)",
        "grad_new": "dn[b,i] = dy[b,i] * g[b,0]",
        "grad_gate": "dg[b,k] = sum(i, dy[b,i] * (n[b,i] - o[b,i])) * (k == 0)",
        "grad_gate/first": "dg[b,k] = sum(i, dy[b,i] * (n[b,i] - (i == 0))) * (k == 0)",
        "grad_old": "do[b,i] = dy[b,i] * (1 - g[b,0])",
    }
    symbols = {"n": "new", "o": "old", "g": "gate"}
    examples = (
        Example({}, ((2, 3), (2, 1), (2, 3))),
        Example({}, ((2, 3), (2, 1), None)),
        Example({}, ((4,), (1,), (4,))),
    )

    def forward(  # type: ignore[override]
        self, new: Array, gate: Array, old: Array | None = None
    ) -> tuple[Array, BlendCache]:
        fits = gate.shape == (*new.shape[:-1], 1) and (old is None or old.shape == new.shape)
        if not new.ndim or not fits:
            raise ValueError(
                "Interpolation: takes weightings (…, N) and a gate (…, 1) with the same leading "
                f"axes, received new {tuple(new.shape)}, gate {tuple(gate.shape)}, old "
                f"{None if old is None else tuple(old.shape)}."
            )
        if first := old is None:
            old = np.zeros_like(new)
            old[..., 0] = 1
        return gate * new + (1 - gate) * old, BlendCache(gate, new, old, first)

    def backward(
        self, grad_output: Array, cache: BlendCache
    ) -> tuple[tuple[Array, Array, Array | None], Arrays]:
        r"""Chain rule through y_i = g n_i + (1 - g) o_i, sample by sample.

        Shapes: n, o, y and dy (…, N), g (…, 1).
            dn_i = g dy_i      do_i = (1 - g) dy_i
            dg   = Σ_i dy_i (n_i - o_i): one g feeds every place
        An old weighting that is left out is constant, and has no gradient.
        Torch has no module for it: torch.lerp(old, new, gate).
        Source: Graves, Wayne, Danihelka, Neural Turing Machines (2014), equation 7.
        """
        gate, new, old, first = cache
        dg = (grad_output * (new - old)).sum(axis=-1, keepdims=True)
        return (grad_output * gate, dg, None if first else grad_output * (1 - gate)), {}

    def variants(self, cache: BlendCache) -> tuple[str, ...]:
        return ("first",) * cache.first


class ShiftCache(NamedTuple):
    weights: Array
    shift: Array


class CircularConvolution(Layer):
    """A weighting moved around a circle of places: y_i = Σ_k s_k w_(i - k), indices modulo N.

    Inputs: `weights` w (…, N), `shift` s (…, 2K + 1): the shares that move by -K … K places.
    Output: y (…, N).

    Raises:
        ValueError: the number of shifts is even, or the leading axes differ.
    """

    equations = {
        "output": "y[b,i] = sum(k, s[b,k] * w[b,wrap(i - k + (size(s, -1) - 1) // 2, N)])\n"
        "where N = size(w, -1)",
        "grad_weights": "dw[b,i] = sum(k, s[b,k] * dy[b,wrap(i + k - (size(s, -1) - 1) // 2, N)])\n"
        "where N = size(w, -1)",
        "grad_shift": "ds[b,k] = sum(i, dy[b,i] * w[b,wrap(i - k + (size(s, -1) - 1) // 2, N)])\n"
        "where N = size(w, -1)",
    }
    symbols = {"w": "weights", "s": "shift"}
    examples = (
        Example({}, ((2, 4), (2, 3))),
        Example({}, ((3,), (5,))),
        Example({}, ((2, 3), (2, 1))),
    )

    def forward(self, weights: Array, shift: Array) -> tuple[Array, ShiftCache]:  # type: ignore[override]
        shapes = tuple(weights.shape), tuple(shift.shape)
        leading = [shape[:-1] for shape in shapes]
        counts = all(shapes) and shapes[0][-1] and shapes[1][-1] % 2
        if not counts or leading[0] != leading[1]:
            raise ValueError(
                "CircularConvolution: takes weights (…, N), N > 0, and an odd number of shifts "
                f"(…, 2K + 1) with the same leading axes, received {shapes[0]} and {shapes[1]}."
            )
        moved = (share * turned(weights, by) for by, share in shares(shift))
        return sum(moved), ShiftCache(weights, shift)  # type: ignore[return-value]

    def backward(self, grad_output: Array, cache: ShiftCache) -> tuple[tuple[Array, Array], Arrays]:
        r"""Chain rule through y_i = Σ_k s_k w_(i - k), sample by sample; k from -K to K.

        Shapes: w, y and dy (…, N), s (…, 2K + 1). All places are counted modulo N.
            ∂y_i/∂w_j = s_(i - j)   ->   dw_j = Σ_k s_k dy_(j + k): what moved forth moves back
            ∂y_i/∂s_k = w_(i - k)   ->   ds_k = Σ_i dy_i w_(i - k)
        Torch has no module for it: torch.roll, once a shift.
        Source: Graves, Wayne, Danihelka, Neural Turing Machines (2014), equation 8.
        """
        weights, shift = cache
        dw: Array = sum(share * turned(grad_output, -by) for by, share in shares(shift))
        ds = [
            (grad_output * turned(weights, by)).sum(axis=-1, keepdims=True)
            for by, _ in shares(shift)
        ]
        return (dw, np.concatenate(ds, axis=-1)), {}


def shares(shift: Array) -> list[tuple[int, Array]]:
    """Return each shift from -K to K with its share (…, 1)."""
    count = shift.shape[-1]
    return [(k - count // 2, shift[..., k : k + 1]) for k in range(count)]


def turned(x: Array, by: int) -> Array:
    """Return x with every element of the last axis moved on by so many places, around the end."""
    at = -by % x.shape[-1]
    return np.concatenate((x[..., at:], x[..., :at]), axis=-1)


class SharpCache(NamedTuple):
    relative: Array  # w / max w
    largest: Array
    gamma: Array
    y: Array


class Sharpening(Layer):
    """A weighting made more pronounced: y_i = w_i^γ / Σ_j w_j^γ.

    Inputs: `weights` w (…, N), none negative; `gamma` γ (…, 1), at least 1. Output: y (…, N).

    Raises:
        ValueError: the shapes do not fit.
    """

    pictured = True
    equations = {
        "output": "y[b,i] = w[b,i]**g[b,0] / sum(j, w[b,j]**g[b,0])",
        "grad_weights": "dw[b,i] = g[b,0] * w[b,i]**(g[b,0] - 1) / S[b] "
        "* (dy[b,i] - sum(j, dy[b,j] * w[b,j]**g[b,0] / S[b]))\n"
        "where S[b] = sum(j, w[b,j]**g[b,0])",
        "grad_gamma": "dg[b,k] = sum(i, (dy[b,i] - sum(j, dy[b,j] * w[b,j]**g[b,0] / S[b])) "
        "* w[b,i]**g[b,0] / S[b] * log(w[b,i])) * (k == 0)\n"
        "where S[b] = sum(j, w[b,j]**g[b,0])",
    }
    symbols = {"w": "weights", "g": "gamma"}
    examples = (
        Example({}, (Draw((2, 4), "simplex"), Draw((2, 1), "uniform", 1, 3))),
        Example({}, (Draw((3,), "simplex"), Draw((1,), "uniform", 1, 3))),
    )

    def forward(self, weights: Array, gamma: Array) -> tuple[Array, SharpCache]:  # type: ignore[override]
        """Return u^γ / Σ u^γ with u = w / max w, whose largest power is 1: never 0 / 0."""
        if not weights.ndim or gamma.shape != (*weights.shape[:-1], 1):
            raise ValueError(
                "Sharpening: takes weights (…, N) and gamma (…, 1) with the same leading axes, "
                f"received {tuple(weights.shape)} and {tuple(gamma.shape)}."
            )
        largest = weights.max(axis=-1, keepdims=True)
        relative = weights / largest
        powers = relative**gamma
        y = powers / powers.sum(axis=-1, keepdims=True)
        return y, SharpCache(relative, largest, gamma, y)

    def backward(self, grad_output: Array, cache: SharpCache) -> tuple[tuple[Array, Array], Arrays]:
        r"""Chain rule through y_i = p_i / S with p_i = w_i^γ and S = Σ_j p_j, sample by sample.

        Shapes: w, y and dy (…, N), γ (…, 1).
        Quotient rule, as of softmax: dp_i = (dy_i - Σ_j dy_j y_j) / S
            ∂p_i/∂w_i = γ w_i^(γ-1)       ->  dw_i = dp_i γ w_i^(γ-1)
            ∂p_i/∂γ   = w_i^γ log w_i     ->  dγ   = Σ_i dp_i p_i log w_i
        y is the same for u = c w, whatever c is: with c = 1 / max w no power overflows, and
            dw_i = c (dy_i - Σ dy y) γ u_i^(γ-1) / Σ u^γ
            dγ   = Σ_i (dy_i - Σ dy y) y_i log u_i: log c is lost, as Σ_i (dy_i - Σ dy y) y_i = 0
        At w_i = 0: 0^γ log 0 counts as 0, its limit.
        Torch has no module for it: torch.pow and a quotient.
        Source: Graves, Wayne, Danihelka, Neural Turing Machines (2014), equation 9.
        """
        u, largest, gamma, y = cache
        inner = grad_output - (grad_output * y).sum(axis=-1, keepdims=True)
        total = (u**gamma).sum(axis=-1, keepdims=True)
        dw = inner * gamma * u ** (gamma - 1) / (total * largest)
        dgamma = (inner * y * np.log(u + (u == 0))).sum(axis=-1, keepdims=True)
        return (dw, dgamma), {}
