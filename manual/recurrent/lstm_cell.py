"""LSTMCell: one step of long short-term memory, and its unit."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np

from manual.activations.pointwise import sigmoid
from manual.examples import Example
from manual.layer import Array, Arrays
from manual.recurrent.cell import CellCache, RecurrentCell
from manual.recurrent.equations import LSTM_CELL
from manual.recurrent.unrolled import States, Unit

__all__ = ["LSTMCell"]


class LSTMStep(NamedTuple):
    """What one step leaves, (4H, N) and (H, N)."""

    gates: Array  # i, f, g, o
    c: Array  # the cell state before
    tanh_c: Array  # of the cell state after


class LSTMUnit(Unit):
    """c' = f c + i g and h' = o tanh c'."""

    gates, joint = 4, True

    def forward(self, from_x: Array, from_h: Array, states: States) -> tuple[States, LSTMStep]:
        """Return (h', c') and what the step leaves.

        g has a tanh of its own: 2 σ(2z) - 1, one σ for all four, would lose the digits of a small
        g, and is no faster.
        """
        _, c = states
        size = len(c)
        from_h += from_x
        gates = sigmoid(from_h)
        gates[2 * size : 3 * size] = np.tanh(from_h[2 * size : 3 * size])
        i, f, g, o = four(gates)
        after = f * c
        after += i * g
        tanh_c = np.tanh(after)
        return (o * tanh_c, after), LSTMStep(gates, c, tanh_c)

    def backward(self, dstates: States, step: LSTMStep) -> tuple[Array, Array, tuple]:
        r"""Return dz (4H, N), twice, and dc (H, N), upstream of the step.

        c' has two readers, the next step and h' = o tanh c', so their gradients add up:
            dc' = dc + dh' o (1 - tanh² c')
        From c' = f c + i g:  di = dc' g,  df = dc' c,  dg = dc' i,  and the way on is dc = dc' f.
        From h':              do = dh' tanh c'
        Through σ' = σ (1 - σ) for i, f, o and tanh' = 1 - tanh² for g.
        """
        (dh, dc), (gates, c, tanh_c) = dstates, step
        i, f, g, o = four(gates)
        through_h = 1 - tanh_c * tanh_c
        through_h *= dh * o
        dc = dc + through_h
        slopes = 1 - gates
        slopes *= gates
        slopes[2 * len(c) : 3 * len(c)] = 1 - g * g
        dz = np.concatenate((dc * g, dc * c, dc * i, dh * tanh_c))
        dz *= slopes
        return dz, dz, (None, dc * f)


def four(gates: Array) -> tuple[Array, ...]:
    """Return the blocks i, f, g, o."""
    size = len(gates) // 4
    return tuple(gates[k * size : (k + 1) * size] for k in range(4))


class LSTMCell(RecurrentCell):
    r"""One step of long short-term memory: a state c that is kept, written to and read.

        i = σ(W_i x + U_i h + b_i)      what to write
        f = σ(W_f x + U_f h + b_f)      what to keep         c' = f ⊙ c + i ⊙ g
        g = tanh(W_g x + U_g h + b_g)   the new content      h' = o ⊙ tanh c'
        o = σ(W_o x + U_o h + b_o)      what to show

    Args:
        input_size: I, the size of x.
        hidden_size: H, the size of h and of c.
        bias: whether the two vectors b_ih and b_hh are added (b is their sum).

    Inputs: `input` x (N, I) or (I,); `h_0` and `c_0` (N, H) or (H,), both or neither, zero if left
    out. Outputs: h', c', as them. Parameters: `weight_ih` W (4H, I), `weight_hh` U (4H, H),
    `bias_ih`, `bias_hh` (4H,). Their 4H rows are i, f, g, o.

    Raises:
        TypeError: a size is no whole number.
        ValueError: a size is negative, or a shape does not fit.
    """

    outputs = ("output", "c_1")
    equations = LSTM_CELL
    symbols: ClassVar[dict[str, str]] = {
        "W": "weight_ih", "U": "weight_hh", "b": "bias_ih", "r": "bias_hh", "H": "hidden_size",
        "x": "input", "h0": "h_0", "c0": "c_0", "dc_n": "grad_output.1",
    }  # fmt: skip
    examples = (
        Example({"input_size": 2, "hidden_size": 1}, ((2,), None, None)),
        Example({"input_size": 3, "hidden_size": 3}, ((2, 3), (2, 3), (2, 3))),
        Example({"input_size": 2, "hidden_size": 3, "bias": False}, ((2, 2), (2, 3), (2, 3))),
    )
    unit = LSTMUnit()

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        self._build(input_size, hidden_size, bias)

    def forward(  # type: ignore[override]
        self, input: Array, h_0: Array | None = None, c_0: Array | None = None
    ) -> tuple[tuple[Array, Array], CellCache]:
        """Return `(h', c')` and the cache."""
        (h, c), cache = self._step(input, {"h_0": h_0, "c_0": c_0})
        return (h, c), cache

    def backward(  # type: ignore[override]
        self, grad_output: tuple[Array | None, Array | None], cache: CellCache
    ) -> tuple[tuple[Array, Array | None, Array | None], Arrays]:
        r"""Chain rule through the cell z = W x + U h + b, c' = f c + i g, h' = o tanh c'.

        Shapes: x (N, I), h, c, i, f, g, o (N, H), z (N, 4H), W (4H, I), U (4H, H), b (4H,). A prime
        means after the step; d· stands for the gradient of the loss with respect to ·.
        1. c' is read by h' and by whoever comes next, so its gradients add:
            do_k  = dh'_k tanh c'_k
            dc'_k = dc'_k (of the output c') + dh'_k o_k (1 - tanh² c'_k)
        2. c'_k = f_k c_k + i_k g_k:
            di_k = dc'_k g_k      df_k = dc'_k c_k      dg_k = dc'_k i_k
            dc_k = dc'_k f_k                            the path that forgets nothing where f = 1
        3. With σ' = σ (1 - σ) and tanh' = 1 - tanh², each from its own output:
            dz_i = di i (1 - i)    dz_f = df f (1 - f)    dz_g = dg (1 - g²)    dz_o = do o (1 - o)
        4. A score is a sum, z_nr = Σ_i W_ri x_ni + Σ_p U_rp h_np + b_r, so over all 4H columns r:
            dx_ni = Σ_r dz_nr W_ri  ->  dx = dz W         dW_ri = Σ_n dz_nr x_ni  ->  dW = dzᵀ x
            dh_np = Σ_r dz_nr U_rp  ->  dh = dz U         dU_rp = Σ_n dz_nr h_np  ->  dU = dzᵀ h
            db_r  = Σ_n dz_nr;      b = b_ih + b_hh, so both have this gradient

        Torch: nn.LSTMCell, the same gate order and layouts; its bias is stored twice (for cuDNN).
        Source: Hochreiter & Schmidhuber, Long Short-Term Memory (1997); Gers et al. (2000) for f;
        Greff et al., LSTM: A Search Space Odyssey (2017), appendix A.
        """
        (dx, dh, dc), grads = self._step_back(grad_output, cache)
        return (dx, dh, dc), grads
