"""LSTM: long short-term memory over a sequence, stacked, in one direction or in both."""

from __future__ import annotations

import numpy as np

from manual.examples import Example
from manual.layer import Array, Arrays, Noise
from manual.recurrent.equations import LSTM_EQUATIONS, LSTM_SYMBOLS
from manual.recurrent.lstm_cell import LSTMUnit
from manual.recurrent.stack import Recurrent, RecurrentCache

__all__ = ["LSTM"]


class LSTM(Recurrent):
    r"""Long short-term memory: a state c that is kept, written to and read through gates.

    At each step, with σ the logistic function and ⊙ the product element by element:

        i = σ(W_i x + U_i h + b_i)      what to write        c' = f ⊙ c + i ⊙ g
        f = σ(W_f x + U_f h + b_f)      what to keep         h' = o ⊙ tanh c'
        g = tanh(W_g x + U_g h + b_g)   the new content      h' = R (o ⊙ tanh c') with `proj_size`
        o = σ(W_o x + U_o h + b_o)      what to show

    Args:
        input_size: I, the size of x at a step.
        hidden_size: H, the size of c.
        num_layers: layers on top of each other; each reads the outputs of the one below.
        bias: whether the two vectors b_ih and b_hh are added (b is their sum).
        batch_first: sequences are (N, T, I) and outputs (N, T, ·); states stay (layers, N, ·).
        dropout: the probability of dropping an output on its way to the layer above.
        bidirectional: a second LSTM per layer reads the sequence from its end; their outputs stand
            side by side.
        proj_size: P > 0 projects h to that size; 0 does not, and P = H.

    Inputs: `input` (T, N, I) or (T, I); `h_0` (D·num_layers, N, P) and `c_0` (D·num_layers, N, H),
    D = 2 if bidirectional, both or neither; zero if left out; `lengths` (N,) whole numbers from 1
    to T, in any order: how much of each padded sequence counts, T if left out. Outputs: `output`
    (T, N, D·P), 0 beyond a sequence's end; `h_n`, `c_n` as the initial states, of each sequence's
    end. Noise: a 0/1 mask (T, N, D·P), with lengths (Σ lengths, D·P), for each layer except the
    last.

    Parameters, for layer k (and its reverse, with the suffix `_reverse`): `weight_ih_l{k}` W
    (4H, I), above the first layer (4H, D·P); `weight_hh_l{k}` U (4H, P); `bias_ih_l{k}`,
    `bias_hh_l{k}` (4H,); `weight_hr_l{k}` R (P, H). Their 4H rows are i, f, g, o.

    Raises:
        ValueError: a size, a probability, or the shape of an input, a state or a mask does not fit.
    """

    outputs = ("output", "h_n", "c_n")
    structure = ("output", ("h_n", "c_n"))
    equations = LSTM_EQUATIONS
    symbols = LSTM_SYMBOLS
    unit = LSTMUnit()
    examples = (
        Example({"input_size": 3, "hidden_size": 2}, ((3, 2, 3), None, None)),
        Example({"input_size": 2, "hidden_size": 2}, ((2, 2, 2), (1, 2, 2), (1, 2, 2))),
        Example({"input_size": 2, "hidden_size": 2, "batch_first": True}, ((2, 3, 2), None, None)),
        Example({"input_size": 2, "hidden_size": 3, "bias": False}, ((4, 2), None, None)),
        Example(
            {"input_size": 2, "hidden_size": 2, "num_layers": 3, "dropout": 0.4},
            ((3, 2, 2), (3, 2, 2), (3, 2, 2)),
        ),
        Example(
            {"input_size": 2, "hidden_size": 2, "num_layers": 2, "dropout": 0.4},
            ((2, 1, 2), None, None),
            training=False,
            noise=False,
        ),
        Example(
            {"input_size": 2, "hidden_size": 2, "bidirectional": True},
            ((3, 2, 2), (2, 2, 2), (2, 2, 2)),
        ),
        Example({"input_size": 2, "hidden_size": 3, "proj_size": 2}, ((3, 2, 2), None, None)),
        Example(
            {
                "input_size": 2,
                "hidden_size": 3,
                "num_layers": 2,
                "batch_first": True,
                "dropout": 0.5,
                "bidirectional": True,
                "proj_size": 1,
            },
            ((2, 3, 2), (4, 2, 1), (4, 2, 3), np.array([2, 3])),
        ),
        Example(
            {"input_size": 2, "hidden_size": 2, "num_layers": 2, "bidirectional": True},
            ((3, 2), (4, 2), (4, 2)),
        ),  # unbatched
    )

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
    ) -> None:
        self.proj_size = proj_size
        self._build(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional)

    def forward(  # type: ignore[override]
        self,
        input: Array,
        h_0: Array | None = None,
        c_0: Array | None = None,
        lengths: Array | None = None,
        *,
        noise: Noise = None,
    ) -> tuple[tuple[Array, Array, Array], RecurrentCache]:
        """Return `(output, h_n, c_n)`; without noise nothing is dropped."""
        (y, h_n, c_n), cache = self._walk(input, {"h_0": h_0, "c_0": c_0}, lengths, noise)
        return (y, h_n, c_n), cache

    def backward(  # type: ignore[override]
        self, grad_output: tuple[Array | None, ...], cache: RecurrentCache
    ) -> tuple[tuple[Array | None, ...], Arrays]:
        r"""Chain rule through the cell, then through time, then through the layers.

        Shapes: x (T, N, I), W (4H, I), U (4H, P), b (4H,), R (P, H); z (T, N, 4H) the scores; i, f,
        g, o, c (T, N, H); h (T, N, P). A prime means after the step: c' = c_t, c = c_{t-1}. d·
        stands for the gradient of the loss with respect to ·.

        1. The cell: z = W x + U h + b, c' = f c + i g, m = o tanh c', h' = m, or R m.
            dm_k  = Σ_p dh'_p R_pk                       ->  dm = dh' R     (dm = dh' without R)
            do_k  = dm_k tanh c'_k
            dc'_k = dc'_k (from the next step) + dm_k o_k (1 - tanh² c'_k)     c' is read twice
            di_k  = dc'_k g_k      df_k = dc'_k c_k      dg_k = dc'_k i_k
            dc_k  = dc'_k f_k                            the path that forgets nothing where f = 1
          With σ' = σ (1 - σ) and tanh' = 1 - tanh², each from its own output:
            dz_i = di i (1 - i)    dz_f = df f (1 - f)    dz_g = dg (1 - g²)    dz_o = do o (1 - o)
          A score is a sum, z_r = Σ_i W_ri x_i + Σ_p U_rp h_p + b_r, so over all 4H rows r:
            dx_i = Σ_r dz_r W_ri   ->  dx = dz W          dh_p = Σ_r dz_r U_rp  ->  dh = dz U

        2. Unrolled: the same cell T times, each step's h' and c' being the next one's h and c.
          h_t is read by `output` and by step t+1, so its gradients add; the last step's reader is
          h_n (c_n for c):
            dh_t = doutput_t + dz_{t+1} U,   dh_T = doutput_T + dh_n
            dc_t = dm_t o_t (1 - tanh² c_t) + dc_{t+1} f_{t+1},   the last term of c_T is dc_n
          so t runs from T down to 1; what arrives at step 0 is dh_0 = dz_1 U and dc_0 = dc_1 f_1.
          W, U, b and R are used at every step, so their gradients are sums over t (and n), each
          one matrix product of the T N rows:
            dW_ri = Σ_tn dz_tnr x_tni      ->  dW = dzᵀ x
            dU_rp = Σ_tn dz_tnr h_{t-1},np ->  dU = dzᵀ h, h shifted by a step
            db_r  = Σ_tn dz_tnr;           b = b_ih + b_hh, so both have this gradient
            dR_pk = Σ_tn dh_tnp m_tnk      ->  dR = dhᵀ m

        3. Layers: the input of layer k is the output of layer k-1, dropped and scaled by mask
          / (1 - p), and so is its gradient. A reverse direction sees x turned around in time: its
          dy is turned before, its dx after. The two directions read the same x: their dx add.

        4. Lengths: beyond its end a sequence keeps its states, h_t = h_{t-1} and c_t = c_{t-1}, and
          shows 0; so dh_n and dc_n pass the steps there unchanged and enter at its own last step,
          dz, dx and what arrives from doutput are 0 there. The reverse direction turns each
          sequence at its own end.

        Torch: nn.LSTM, the same gate order and layouts; its gate bias is stored twice (for cuDNN).
        `output` and `h_n` share the last h: torch adds both upstream gradients, too. With lengths,
        nn.LSTM between pack_padded_sequence and pad_packed_sequence.
        Source: Hochreiter & Schmidhuber, Long Short-Term Memory (1997); Gers et al. (2000) for f;
        Werbos, Backpropagation Through Time (1990); Greff et al., LSTM: A Search Space Odyssey
        (2017), appendix A; Sak et al. (2014) for the projection.
        """
        return self._walked_back(grad_output, cache)
