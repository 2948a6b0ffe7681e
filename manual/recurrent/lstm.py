"""LSTM: long short-term memory over a sequence, stacked, in one direction or in both."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manual.examples import Example
from manual.layer import Array, Arrays, Layer, Noise
from manual.recurrent.equations import EQUATIONS, SYMBOLS
from manual.recurrent.lstm_cell import Back, Past, Weights, run, run_backward
from manual.recurrent.refusals import check_arguments, check_inputs

__all__ = ["LSTM"]


class LSTMCache(NamedTuple):
    pasts: tuple[Past, ...]  # of each layer, forward then reverse
    keeps: tuple[Array, ...]  # the dropout masks; empty in evaluation
    batched: bool
    given: bool  # whether initial states were


class LSTM(Layer):
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
    D = 2 if bidirectional, both or neither; zero if left out. Outputs: `output` (T, N, D·P), `h_n`,
    `c_n` as the initial states. Noise: a 0/1 mask (T, N, D·P) for each layer except the last.

    Parameters, for layer k (and its reverse, with the suffix `_reverse`): `weight_ih_l{k}` W
    (4H, I), above the first layer (4H, D·P); `weight_hh_l{k}` U (4H, P); `bias_ih_l{k}`,
    `bias_hh_l{k}` (4H,); `weight_hr_l{k}` R (P, H). Their 4H rows are i, f, g, o.

    Raises:
        ValueError: a size, a probability, or the shape of an input, a state or a mask does not fit.
    """

    outputs = ("output", "h_n", "c_n")
    stochastic = True
    equations = EQUATIONS
    symbols = SYMBOLS
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
            ((2, 3, 2), (4, 2, 1), (4, 2, 3)),
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
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, dropout
        self.bidirectional, self.proj_size = bidirectional, proj_size
        check_arguments(self)
        self.params = {
            key: np.zeros(shape)
            for layer in self._layers()
            for suffix in layer
            for key, shape in self._shapes(suffix).items()
        }

    @property
    def output_size(self) -> int:
        """P, the size of h: proj_size, or hidden_size without a projection."""
        return self.proj_size or self.hidden_size

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def scale(self) -> float:
        """1 / (1 - p): what dropout leaves is scaled up; 0 for p = 1, where nothing is left."""
        return 0.0 if self.dropout == 1 else 1 / (1 - self.dropout)

    # ── forward ──────────────────────────────────────────────────────────────────────────────────
    def forward(  # type: ignore[override]
        self,
        input: Array,
        h_0: Array | None = None,
        c_0: Array | None = None,
        *,
        noise: Noise = None,
    ) -> tuple[tuple[Array, Array, Array], LSTMCache]:
        """Return `(output, h_n, c_n)`; without noise nothing is dropped."""
        check_inputs(self, input, h_0, c_0)
        batched, given = input.ndim == 3, h_0 is not None
        x = self._time_first(input, batched)  # (T, N, I)
        keeps = self._keeps(noise, x)
        h_0 = self._states(h_0, x, self.output_size, batched)  # (D layers, N, P)
        c_0 = self._states(c_0, x, self.hidden_size, batched)  # (D layers, N, H)
        pasts: list[Past] = []
        ends: list[tuple[Array, Array]] = []
        for suffixes in self._layers():
            if pasts and keeps:
                x = x * keeps[len(pasts) // self.directions - 1] * self.scale
            ys = []
            for suffix in suffixes:
                at, turn = len(pasts), _turn(suffix)
                y, c, past = run(x[::turn], h_0[at], c_0[at], self._weights(suffix))
                pasts.append(past)
                ends.append((y[-1], c))
                ys.append(y[::turn])
            x = np.concatenate(ys, axis=-1) if self.bidirectional else ys[0]  # (T, N, D P)
        h_n, c_n = (_unbatched(np.stack(states), batched) for states in zip(*ends, strict=True))
        cache = LSTMCache(tuple(pasts), keeps, batched, given)
        return (self._laid_out(x, batched), h_n, c_n), cache

    # ── backward ─────────────────────────────────────────────────────────────────────────────────
    def backward(  # type: ignore[override]
        self, grad_output: tuple[Array | None, ...], cache: LSTMCache
    ) -> tuple[tuple[Array | None, Array | None, Array | None], Arrays]:
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

        Torch: nn.LSTM, the same gate order and layouts; its gate bias is stored twice (for cuDNN).
        `output` and `h_n` share the last h: torch adds both upstream gradients, too.
        Source: Hochreiter & Schmidhuber, Long Short-Term Memory (1997); Gers et al. (2000) for f;
        Werbos, Backpropagation Through Time (1990); Greff et al., LSTM: A Search Space Odyssey
        (2017), appendix A; Sak et al. (2014) for the projection.
        """
        dx, dh_0, dc_0, grads = self._walk_back(grad_output, cache, input_grad=True)
        dx = self._laid_out(dx, cache.batched)
        if not cache.given:
            return (dx, None, None), grads
        return (dx, _unbatched(dh_0, cache.batched), _unbatched(dc_0, cache.batched)), grads

    def grad_params(self, grad_output: tuple[Array | None, ...], cache: LSTMCache) -> Arrays:  # type: ignore[override]
        """Return the parameters' gradients, without the last product, dx = dz W."""
        return self._walk_back(grad_output, cache, input_grad=False)[3]

    def _walk_back(
        self, grad_output: tuple[Array | None, ...], cache: LSTMCache, input_grad: bool
    ) -> tuple[Array, Array, Array, Arrays]:
        """Return dx (T, N, I), dh_0, dc_0 (D layers, N, ·) and the parameters' gradients."""
        dy, dh_n, dc_n = self._upstream(grad_output, cache)
        backs: list[Back] = []  # from the last to the first
        for layer, suffixes in reversed(list(enumerate(self._layers()))):
            found: list[Array] = []
            for d, suffix in reversed(list(enumerate(suffixes))):
                at, turn = layer * self.directions + d, _turn(suffix)
                own = dy[..., d * self.output_size : (d + 1) * self.output_size][::turn]
                wanted = input_grad or layer > 0
                weights, past = self._weights(suffix), cache.pasts[at]
                back = run_backward(own, dh_n[at], dc_n[at], weights, past, wanted)
                backs.append(back)
                if back.x is not None:
                    found.append(back.x[::turn])
            if found:
                dy = found[0] if len(found) == 1 else found[0] + found[1]
            if layer and cache.keeps:
                dy = dy * cache.keeps[layer - 1] * self.scale
        backs.reverse()
        grads = self._named([back.weights for back in backs])
        return dy, np.stack([b.h for b in backs]), np.stack([b.c for b in backs]), grads

    def _upstream(
        self, grad_output: tuple[Array | None, ...], cache: LSTMCache
    ) -> tuple[Array, Array, Array]:
        """Return the upstream gradients, time first; None, of an unused output, is zero."""
        dy, dh_n, dc_n = grad_output
        like = cache.pasts[0].x  # (T, N, I)
        steps, n, _ = like.shape
        if dy is None:
            dy = np.zeros_like(like, shape=(steps, n, self.directions * self.output_size))
        else:
            dy = self._time_first(dy, cache.batched)
        return (
            dy,
            self._states(dh_n, like, self.output_size, cache.batched),
            self._states(dc_n, like, self.hidden_size, cache.batched),
        )

    # ── parameters ───────────────────────────────────────────────────────────────────────────────
    def _layers(self) -> list[tuple[str, ...]]:
        """Return torch's suffixes of the parameters, by layer: `l0`, and `l0_reverse`."""
        names = [f"l{k}" for k in range(self.num_layers)]
        return [(name, f"{name}_reverse") if self.bidirectional else (name,) for name in names]

    def _shapes(self, suffix: str) -> dict[str, tuple[int, ...]]:
        below = self.directions * self.output_size
        width = self.input_size if suffix in self._layers()[0] else below
        rows = 4 * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {
            f"weight_ih_{suffix}": (rows, width),
            f"weight_hh_{suffix}": (rows, self.output_size),
        }
        if self.bias:
            shapes |= {f"bias_ih_{suffix}": (rows,), f"bias_hh_{suffix}": (rows,)}
        if self.proj_size:
            shapes[f"weight_hr_{suffix}"] = (self.proj_size, self.hidden_size)
        return shapes

    def _weights(self, suffix: str) -> Weights:
        own = self.params
        bias = own[f"bias_ih_{suffix}"] + own[f"bias_hh_{suffix}"] if self.bias else None
        projection = own[f"weight_hr_{suffix}"] if self.proj_size else None
        return Weights(own[f"weight_ih_{suffix}"], own[f"weight_hh_{suffix}"], bias, projection)

    def _named(self, gradients: list[Weights]) -> Arrays:
        """Return the gradients under their parameters' names, in their order."""
        grads: Arrays = {}
        suffixes = [suffix for layer in self._layers() for suffix in layer]
        for suffix, (ih, hh, bias, hr) in zip(suffixes, gradients, strict=True):
            grads |= {f"weight_ih_{suffix}": ih, f"weight_hh_{suffix}": hh}
            if bias is not None:
                grads |= {f"bias_ih_{suffix}": bias, f"bias_hh_{suffix}": bias.copy()}
            if hr is not None:
                grads[f"weight_hr_{suffix}"] = hr
        return grads

    # ── layouts ──────────────────────────────────────────────────────────────────────────────────
    def _time_first(self, a: Array, batched: bool) -> Array:
        """Return a sequence as (T, N, ·)."""
        if not batched:
            return a[:, None]
        return a.swapaxes(0, 1) if self.batch_first else a

    def _laid_out(self, a: Array, batched: bool) -> Array:
        """Return (T, N, ·) in the layout of the input."""
        if not batched:
            return a[:, 0]
        return a.swapaxes(0, 1) if self.batch_first else a

    def _states(self, given: Array | None, like: Array, size: int, batched: bool) -> Array:
        """Return states, or their gradients, as (D layers, N, size); zero if not given."""
        if given is None:
            count = self.directions * self.num_layers
            return np.zeros_like(like, shape=(count, like.shape[1], size))
        return given if batched else given[:, None]

    # ── noise ────────────────────────────────────────────────────────────────────────────────────
    def draw(  # type: ignore[override]
        self,
        input: Array,
        h_0: Array | None = None,
        c_0: Array | None = None,
        *,
        rng: np.random.Generator,
    ) -> tuple[Array, ...]:
        """Return a mask (T, N, D·P) for each layer except the last; none if nothing is dropped."""
        shape = self._mask_shape(self._time_first(input, input.ndim == 3))
        count = self.num_layers - 1 if self.dropout else 0
        return tuple(rng.random(shape) >= self.dropout for _ in range(count))

    def _mask_shape(self, x: Array) -> tuple[int, int, int]:
        return x.shape[0], x.shape[1], self.directions * self.output_size

    def _keeps(self, noise: Noise, x: Array) -> tuple[Array, ...]:
        """Return the masks as booleans, which lift no float32."""
        if noise is None:
            return ()
        masks = (noise,) if hasattr(noise, "shape") else tuple(noise)
        count = self.num_layers - 1 if self.dropout else 0
        shape = self._mask_shape(x)
        if [tuple(m.shape) for m in masks] != [shape] * count:
            raise ValueError(
                f"LSTM: noise must be {count} masks of shape {shape} (time first, one for each "
                f"layer except the last), received {[tuple(m.shape) for m in masks]}. Draw them "
                "with LSTM.draw(input, rng=rng)."
            )
        return tuple(mask != 0 for mask in masks)

    def variants(self, cache: LSTMCache) -> tuple[str, ...]:
        """Return which equations hold for a pass: those for one layer, or none."""
        plain = self.num_layers == self.directions == 1 and self.bias and not self.proj_size
        if not (plain and cache.batched):
            return ()
        return ("one layer", "initial states") if cache.given else ("one layer",)

    def extra_repr(self) -> str:
        changed = {
            "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0,
            "bidirectional": False, "proj_size": 0,
        }  # fmt: skip
        rest = [f"{k}={getattr(self, k)}" for k, v in changed.items() if getattr(self, k) != v]
        return ", ".join([f"{self.input_size}, {self.hidden_size}", *rest])


def _turn(suffix: str) -> int:
    """Return the step with which a direction walks the sequence."""
    return -1 if suffix.endswith("_reverse") else 1


def _unbatched(states: Array, batched: bool) -> Array:
    """Return states (D layers, N, ·) without the batch axis if the input had none."""
    return states if batched else states[:, 0]
