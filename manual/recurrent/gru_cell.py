"""GRUCell: one step of a gated recurrent network, and its unit."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np

from manual.activations.pointwise import sigmoid
from manual.examples import Example
from manual.layer import Array, Arrays
from manual.recurrent.cell import CellCache, RecurrentCell
from manual.recurrent.equations import GRU_CELL
from manual.recurrent.unrolled import States, Unit

__all__ = ["GRUCell"]


class GRUStep(NamedTuple):
    """What one step leaves, (2H, N) and (H, N)."""

    gates: Array  # r, z
    n: Array  # the new content
    recalled: Array  # U_n h + b_hn, what r lets through
    h: Array  # before


class GRUUnit(Unit):
    """h' = n + z (h - n): a step of the way from the new content back to the old state."""

    gates, joint = 3, False

    def forward(self, from_x: Array, from_h: Array, states: States) -> tuple[States, GRUStep]:
        (h,) = states
        size = len(h)
        recalled = from_h[2 * size :]
        gates = sigmoid(from_x[: 2 * size] + from_h[: 2 * size])
        r, z = gates[:size], gates[size:]
        n = np.tanh(from_x[2 * size :] + r * recalled)
        return (n + z * (h - n),), GRUStep(gates, n, recalled, h)

    def backward(self, dstates: States, step: GRUStep) -> tuple[Array, Array, tuple[Array]]:
        r"""Return the gradients of the scores and of h, upstream of the step.

        From h' = n + z (h - n):  dz = dh' (h - n),  dn = dh' (1 - z),  and straight to h: dh' z.
        Through n = tanh(a + r q) with q = U_n h + b_hn:
            da = dn (1 - n²),  dq = da r,  dr = da q
        Through σ' = σ (1 - σ) for r and z, whose two scores are added: they share a gradient.
        """
        (dh,), (gates, n, recalled, h) = dstates, step
        size = len(n)
        r, z = gates[:size], gates[size:]
        da = dh * (1 - z)
        da *= 1 - n * n
        dgates = np.concatenate((da * recalled, dh * (h - n)))
        dgates *= gates
        dgates *= 1 - gates
        return np.concatenate((dgates, da)), np.concatenate((dgates, da * r)), (dh * z,)


class GRUCell(RecurrentCell):
    r"""One step of a gated recurrent network: gates choose between the old state and a new one.

        r = σ(W_r x + b_r + U_r h + c_r)         what of the old state to look at
        z = σ(W_z x + b_z + U_z h + c_z)         what of the old state to keep
        n = tanh(W_n x + b_n + r ⊙ (U_n h + c_n))         the new content
        h' = (1 - z) ⊙ n + z ⊙ h

    Args:
        input_size: I, the size of x.
        hidden_size: H, the size of h.
        bias: whether b (`bias_ih`) and c (`bias_hh`) are added.

    Inputs: `input` x (N, I) or (I,); `hx` h (N, H) or (H,), zero if left out. Output: h', as h.
    Parameters: `weight_ih` W (3H, I), `weight_hh` U (3H, H), `bias_ih` b, `bias_hh` c (3H,). Their
    3H rows are r, z, n.

    Raises:
        TypeError: a size is no whole number.
        ValueError: a size is negative, or a shape does not fit.
    """

    equations = GRU_CELL
    symbols: ClassVar[dict[str, str]] = {
        "x": "input", "h0": "hx", "H": "hidden_size",
        "W": "weight_ih", "U": "weight_hh", "b": "bias_ih", "c": "bias_hh",
    }  # fmt: skip
    examples = (
        Example({"input_size": 2, "hidden_size": 1}, ((2,), None)),
        Example({"input_size": 3, "hidden_size": 3}, ((2, 3), (2, 3))),
        Example({"input_size": 2, "hidden_size": 3, "bias": False}, ((2, 2), (2, 3))),
    )
    unit = GRUUnit()

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        self._build(input_size, hidden_size, bias)

    def forward(  # type: ignore[override]
        self, input: Array, hx: Array | None = None
    ) -> tuple[Array, CellCache]:
        """Return h' and the cache."""
        (h,), cache = self._step(input, {"hx": hx})
        return h, cache

    def backward(
        self, grad_output: Array, cache: CellCache
    ) -> tuple[tuple[Array, Array | None], Arrays]:
        r"""Chain rule through the cell; s = W x + b and q = U h + c are its two scores.

        Shapes: x (N, I), h, h', r, z, n (N, H); s, q (N, 3H) with the columns r, z, n; W (3H, I),
        U (3H, H), b, c (3H,).
        1. h'_k = (1 - z_k) n_k + z_k h_k is read three times:
            dz_k = dh'_k (h_k - n_k)       dn_k = dh'_k (1 - z_k)       dh_k gets dh'_k z_k
        2. n_k = tanh(s_k + r_k q_k) in the last H columns, with tanh' = 1 - tanh²:
            ds_k = dn_k (1 - n_k²)         dq_k = ds_k r_k         dr_k = ds_k q_k
          r stands behind the product U h + c: so s and q, and the biases b and c, have different
          gradients here.
        3. r = σ(s + q) and z = σ(s + q) in theirs, with σ' = σ (1 - σ):
            ds_k = dq_k = dr_k r_k (1 - r_k)         ds_k = dq_k = dz_k z_k (1 - z_k)
        4. The scores, over all 3H columns m:
            dx_ni = Σ_m ds_nm W_mi  ->  dx = ds W     dW = dsᵀ x     db = Σ_n ds_n
            dh_np gets Σ_m dq_nm U_mp:  dh = dq U + dh' z     dU = dqᵀ h     dc = Σ_n dq_n

        Torch: nn.GRUCell, same layouts; r behind the product, where Cho et al. have U_n (r ⊙ h).
        Source: Cho et al., Learning Phrase Representations using RNN Encoder–Decoder (2014),
        section 2.3 (z as here); Chung et al., Empirical Evaluation of Gated Recurrent Neural
        Networks (2014), with 1 - z for z.
        """
        (dx, dh), grads = self._step_back((grad_output,), cache)
        return (dx, dh), grads
