"""RNN: a simple recurrent network over a sequence, stacked, in one direction or in both."""

from __future__ import annotations

import numpy as np

from manual.examples import Example
from manual.layer import Array, Arrays, Noise
from manual.recurrent.equations import RNN_EQUATIONS, RNN_SYMBOLS
from manual.recurrent.packing import kept
from manual.recurrent.rnn_cell import UNITS, check_nonlinearity
from manual.recurrent.stack import Recurrent, RecurrentCache, along
from manual.recurrent.unrolled import Unit

__all__ = ["RNN"]

SMALL = {"input_size": 2, "hidden_size": 2}


class RNN(Recurrent):
    r"""Simple recurrent network: h' = tanh(W x + U h + b) at each step, or with a rectifier.

    Args:
        input_size: I, the size of x at a step.
        hidden_size: H, the size of h.
        num_layers: layers on top of each other; each reads the outputs of the one below.
        nonlinearity: "tanh" or "relu".
        bias: whether the two vectors b_ih and b_hh are added (b is their sum).
        batch_first: sequences are (N, T, I) and outputs (N, T, ·); states stay (layers, N, H).
        dropout: the probability of dropping an output on its way to the layer above.
        bidirectional: a second RNN per layer reads the sequence from its end; their outputs stand
            side by side.

    Inputs: `input` (T, N, I) or (T, I); `h_0` (D·num_layers, N, H), D = 2 if bidirectional, zero if
    left out; `lengths` (N,) whole numbers from 1 to T, in any order: how much of each padded
    sequence counts, T if left out. Outputs: `output` (T, N, D·H), 0 beyond a sequence's end; `h_n`
    as `h_0`, of each sequence's end. Noise: a 0/1 mask (T, N, D·H), with lengths (Σ lengths, D·H),
    for each layer except the last.

    Parameters, for layer k (and its reverse, with the suffix `_reverse`): `weight_ih_l{k}` W
    (H, I), above the first layer (H, D·H); `weight_hh_l{k}` U (H, H); `bias_ih_l{k}`,
    `bias_hh_l{k}` (H,).

    Raises:
        TypeError: a size or a length is no whole number, or an option neither True nor False.
        ValueError: a size, a probability, or the shape of an input, a state or a mask does not fit.
    """

    outputs = ("output", "h_n")
    equations = RNN_EQUATIONS
    symbols = RNN_SYMBOLS
    examples = (
        Example(SMALL, ((3, 2, 2), (1, 2, 2))),
        Example({**SMALL, "batch_first": True}, ((2, 3, 2), None)),
        Example(
            {**SMALL, "num_layers": 2, "nonlinearity": "relu"},
            ((3, 2), (2, 2)),
        ),
        Example(
            {"input_size": 2, "hidden_size": 1, "num_layers": 2, "dropout": 0.4,
             "bidirectional": True},
            ((3, 3, 2), (4, 3, 1), np.array([2, 1, 3])),
        ),
    )  # fmt: skip

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
    ) -> None:
        self.nonlinearity = nonlinearity
        check_nonlinearity(self)
        self._build(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional)

    @property
    def unit(self) -> Unit:  # type: ignore[override]
        return UNITS[self.nonlinearity]

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

        Shapes: x (T, N, I), W (H, I), U (H, H), b (H,), h and the scores z (T, N, H); d· stands for
        the gradient of the loss with respect to ·.

        1. The cell (`RNNCell.backward`): z_t = W x_t + U h_{t-1} + b, h_t = tanh z_t.
            dz_t = dh_t (1 - h_t²),  with a rectifier  dz_t = dh_t [h_t > 0]

        2. Unrolled: the same cell T times, each step's h' being the next one's h. h_t is read by
          `output` and by step t+1, the last one by h_n, and the gradients of both readers add:
            dh_t = doutput_t + dz_{t+1} U,         dh_T = doutput_T + dh_n
          so t runs from T down to 1; what arrives at step 0 is dh_0 = dz_1 U. From step t back to
          step s the gradient passes t - s factors diag(tanh') U: it vanishes or explodes with them.
          W, U and b are used at every step, so their gradients are sums over t (and n), each one
          matrix product of the T N rows:
            dW_ki = Σ_tn dz_tnk x_tni          ->  dW = dzᵀ x
            dU_kp = Σ_tn dz_tnk h_{t-1},np     ->  dU = dzᵀ h, h shifted by a step
            db_k  = Σ_tn dz_tnk;               b = b_ih + b_hh, so both have this gradient
            dx_ti = Σ_k dz_tnk W_ki            ->  dx = dz W

        3. Layers, directions and lengths: as every recurrent layer (`manual.recurrent.stack`).

        Torch: nn.RNN, same layouts; at z = 0 the rectifier's slope is 0 in both. With lengths,
        nn.RNN between pack_padded_sequence and pad_packed_sequence.
        Source: Elman, Finding Structure in Time (1990); Werbos, Backpropagation Through Time
        (1990); Bengio, Simard, Frasconi, Learning Long-Term Dependencies with Gradient Descent Is
        Difficult (1994).
        """
        return self._walked_back(grad_output, cache)

    def decisions(self, cache: RecurrentCache) -> Array | None:
        """Return where the rectifiers let through (D layers, T, N, H); None with tanh."""
        if self.nonlinearity == "tanh":
            return None
        suffixes = [suffix for layer in self._layers() for suffix in layer]
        passed = (np.stack(past.steps).swapaxes(1, 2) for past in cache.pasts)
        found = [along(p, s, cache.packed) for p, s in zip(passed, suffixes, strict=True)]
        return np.stack([kept(p, cache.packed) for p in found])
