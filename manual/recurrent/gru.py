"""GRU: a gated recurrent network over a sequence, stacked, in one direction or in both."""

from __future__ import annotations

import numpy as np

from manual.examples import Example
from manual.layer import Array, Arrays, Noise
from manual.recurrent.equations import GRU_EQUATIONS, GRU_SYMBOLS
from manual.recurrent.gru_cell import GRUUnit
from manual.recurrent.stack import Recurrent, RecurrentCache

__all__ = ["GRU"]

SMALL = {"input_size": 2, "hidden_size": 2}


class GRU(Recurrent):
    r"""Gated recurrent network: at each step, gates choose between the old state and a new one.

        r = σ(W_r x + b_r + U_r h + c_r)         what of the old state to look at
        z = σ(W_z x + b_z + U_z h + c_z)         what of the old state to keep
        n = tanh(W_n x + b_n + r ⊙ (U_n h + c_n))         the new content
        h' = (1 - z) ⊙ n + z ⊙ h

    Args:
        input_size: I, the size of x at a step.
        hidden_size: H, the size of h.
        num_layers: layers on top of each other; each reads the outputs of the one below.
        bias: whether b (`bias_ih`) and c (`bias_hh`) are added.
        batch_first: sequences are (N, T, I) and outputs (N, T, ·); states stay (layers, N, H).
        dropout: the probability of dropping an output on its way to the layer above.
        bidirectional: a second GRU per layer reads the sequence from its end; their outputs stand
            side by side.

    Inputs: `input` (T, N, I) or (T, I); `h_0` (D·num_layers, N, H), D = 2 if bidirectional, zero if
    left out; `lengths` (N,) whole numbers from 1 to T, in any order: how much of each padded
    sequence counts, T if left out. Outputs: `output` (T, N, D·H), 0 beyond a sequence's end; `h_n`
    as `h_0`, of each sequence's end. Noise: a 0/1 mask (T, N, D·H), with lengths (Σ lengths, D·H),
    for each layer except the last.

    Parameters, for layer k (and its reverse, with the suffix `_reverse`): `weight_ih_l{k}` W
    (3H, I), above the first layer (3H, D·H); `weight_hh_l{k}` U (3H, H); `bias_ih_l{k}` b,
    `bias_hh_l{k}` c (3H,). Their 3H rows are r, z, n.

    Raises:
        TypeError: a size or a length is no whole number, or an option neither True nor False.
        ValueError: a size, a probability, or the shape of an input, a state or a mask does not fit.
    """

    outputs = ("output", "h_n")
    equations = GRU_EQUATIONS
    symbols = GRU_SYMBOLS
    unit = GRUUnit()
    examples = (
        Example(SMALL, ((3, 2, 2), (1, 2, 2))),
        Example({**SMALL, "batch_first": True}, ((2, 3, 2), None)),
        Example({**SMALL, "num_layers": 2, "bias": False}, ((3, 2), (2, 2))),
        Example(
            {"input_size": 2, "hidden_size": 1, "num_layers": 2, "batch_first": True,
             "dropout": 0.4, "bidirectional": True},
            ((3, 3, 2), (4, 3, 1), np.array([2, 1, 3])),
        ),
    )  # fmt: skip

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
    ) -> None:
        self._build(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional)

    def forward(  # type: ignore[override]
        self,
        input: Array,
        h_0: Array | None = None,
        lengths: Array | None = None,
        *,
        noise: Noise = None,
    ) -> tuple[tuple[Array, Array], RecurrentCache]:
        """Return `(output, h_n)`; without noise nothing is dropped."""
        (y, h_n), cache = self._walk(input, {"h_0": h_0}, lengths, noise)
        return (y, h_n), cache

    def backward(  # type: ignore[override]
        self, grad_output: tuple[Array | None, ...], cache: RecurrentCache
    ) -> tuple[tuple[Array | None, ...], Arrays]:
        r"""Chain rule through the cell, then through time, then through the layers.

        Shapes: x (T, N, I), h, r, z, n (T, N, H); the scores s = W x + b and q = U h + c
        (T, N, 3H) with the columns r, z, n; W (3H, I), U (3H, H), b, c (3H,). d· stands for the
        gradient of the loss with respect to ·.

        1. The cell (`GRUCell.backward`): from dh' to ds, dq, and what goes straight to h, dh' z.

        2. Unrolled: the same cell T times, each step's h' being the next one's h. h_t is read by
          `output`, by step t+1's scores q and by its blend (1 - z) n + z h; the last one by h_n:
            dh_t = doutput_t + dq_{t+1} U + dh_{t+1} z_{t+1},         dh_T = doutput_T + dh_n
          so t runs from T down to 1; what arrives at step 0 is dh_0 = dq_1 U + dh_1 z_1. The second
          way leads past all products: where z = 1 nothing is forgotten.
          The parameters are used at every step, so their gradients are sums over t (and n), each
          one matrix product of the T N rows:
            dW_mi = Σ_tn ds_tnm x_tni          ->  dW = dsᵀ x         db_m = Σ_tn ds_tnm
            dU_mp = Σ_tn dq_tnm h_{t-1},np     ->  dU = dqᵀ h         dc_m = Σ_tn dq_tnm
            dx_ti = Σ_m ds_tnm W_mi            ->  dx = ds W
          with h shifted by a step. In the rows r and z of the scores ds = dq, so db = dc there; in
          the rows n they differ by the factor r.

        3. Layers, directions and lengths: as every recurrent layer (`manual.recurrent.stack`).

        Torch: nn.GRU, same layouts; r stands behind the product, as there. With lengths, nn.GRU
        between pack_padded_sequence and pad_packed_sequence.
        Source: Cho et al., Learning Phrase Representations using RNN Encoder–Decoder (2014),
        section 2.3, with r before the product; Werbos, Backpropagation Through Time (1990).
        """
        return self._walked_back(grad_output, cache)
