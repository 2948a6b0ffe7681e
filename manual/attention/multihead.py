"""MultiheadAttention: queries look at keys and take a weighted mean of values, in several heads."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np

from manual.attention.dot_product import Attended, attend, attend_backward, told
from manual.attention.equations import EQUATIONS, SYMBOLS
from manual.attention.examples import EXAMPLES
from manual.attention.masks import Masks, merged
from manual.attention.refusals import check_arguments, check_inputs
from manual.layer import Array, Arrays, Layer, Noise

__all__ = ["MultiheadAttention"]

OWN = ("q_proj_weight", "k_proj_weight", "v_proj_weight")


class MultiheadCache(NamedTuple):
    inputs: tuple[Array, Array, Array]  # query, key, value, as they were given
    past: Attended
    context: Array  # what the heads found, side by side, as rows: (N L, E)
    masks: Masks


class MultiheadAttention(Layer):
    r"""Attention in heads: each mixes its part of the values by how its queries fit the keys.

        q, k, v = query W_qᵀ + b_q, key W_kᵀ + b_k, value W_vᵀ + b_v, each cut into heads of E / h
        head    = softmax(q kᵀ / √(E / h) + mask) v
        output  = the heads side by side, times W_oᵀ, plus b_o

    Args:
        embed_dim: E, the size of a query and of an output.
        num_heads: h, the number of heads; it divides E.
        dropout: the probability of dropping a weight (a mixing weight, not a parameter).
        bias: whether the projections add a vector.
        add_bias_kv: whether one learned key and value is appended to all samples.
        add_zero_attn: whether a key and value of zeros is appended.
        kdim: the size of a key, E by default.
        vdim: the size of a value, E by default.
        batch_first: inputs and output are (N, T, ·) instead of (T, N, ·).
        need_weights: whether the weights are an output; torch.nn's argument of forward, as are
        average_attn_weights: whether they are the mean over the heads, and
        is_causal: a hint that `attn_mask` hides what comes later; without weights and padding
            mask it replaces that mask, else it changes nothing.

    Inputs: `query` (L, N, E), `key` (S, N, kdim), `value` (S, N, vdim), or none with N;
    `key_padding_mask` (N, S) or (S,); `attn_mask` (L, S) or (N h, L, S). Boolean masks are True
    where nothing is to be seen; float masks are added to the scores, -inf hides. Outputs: `output`
    as the query; `weights` (N, L, S'), or (N, h, L, S') if not averaged, after dropout, S' counting
    what is appended. Noise: a 0/1 mask of the weights, (N h, L, S'); (N, h, L, S') if they are not
    needed, for torch draws it so.

    Parameters: `in_proj_weight` (3E, E), W_q, W_k and W_v on top of each other, or, if kdim or vdim
    is not E, `q_proj_weight` (E, E), `k_proj_weight` (E, kdim), `v_proj_weight` (E, vdim);
    `in_proj_bias` (3E,); `bias_k`, `bias_v` (1, 1, E); `out_proj.weight` (E, E), `out_proj.bias`
    (E,).

    A query that sees no key: torch gives NaN, and 0 before the output's projection if the weights
    are not needed; so does this class, forwards and backwards.

    Raises:
        ValueError: sizes do not fit, the hint comes without a mask, or the noise has another shape.
    """

    outputs: tuple[str, ...] = ("output", "weights")
    stochastic = True
    equations = EQUATIONS
    symbols = SYMBOLS
    examples = EXAMPLES
    call_arguments: ClassVar[tuple[str, ...]] = (
        "need_weights",
        "average_attn_weights",
        "is_causal",
    )

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        *,
        need_weights: bool = True,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> None:
        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, dropout
        self.bias, self.add_bias_kv, self.add_zero_attn = bias, add_bias_kv, add_zero_attn
        self.kdim, self.vdim = kdim or embed_dim, vdim or embed_dim
        self.batch_first, self.need_weights = batch_first, need_weights
        self.average_attn_weights, self.is_causal = average_attn_weights, is_causal
        self.chances = (dropout,) if dropout else ()
        check_arguments(self)
        self.outputs = ("output", "weights") if need_weights else ("output",)
        self.params = {key: np.zeros(shape) for key, shape in self._shapes().items()}

    @property
    def packed(self) -> bool:
        """Whether one matrix holds the three projections."""
        return self.kdim == self.vdim == self.embed_dim

    @property
    def appended(self) -> int:
        """How many keys are appended to the sequence."""
        return int(self.add_bias_kv) + int(self.add_zero_attn)

    # ── forward ──────────────────────────────────────────────────────────────────────────────────
    def forward(  # type: ignore[override]
        self,
        query: Array,
        key: Array,
        value: Array,
        key_padding_mask: Array | None = None,
        attn_mask: Array | None = None,
        *,
        noise: Noise = None,
    ) -> tuple[Array | tuple[Array, Array], MultiheadCache]:
        """Return `(output, weights)`, or `output` alone; without noise nothing is dropped."""
        check_inputs(self, (query, key, value), key_padding_mask, attn_mask)
        inputs, masks = (query, key, value), self._masks(key_padding_mask, attn_mask)
        q, k, v = (self._projected(j, x) for j, x in enumerate(inputs))
        k, v = self._lengthened(k, "bias_k"), self._lengthened(v, "bias_v")
        mask = merged(masks, q.shape[:3], k.shape[2])
        n, h, length, steps = shape = (*q.shape[:3], k.shape[2])
        dropped = told("MultiheadAttention", noise, self.dropout, shape, (n * h, length, steps))
        past = attend(q, k, v, mask, dropped, blind=np.nan if self.need_weights else 0.0)
        context = self._rows(past.output, query)  # (N L, E)
        output = context @ self.params["out_proj.weight"].T
        if self.bias:
            output += self.params["out_proj.bias"]
        cache = MultiheadCache(inputs, past, context, masks)
        output = output.reshape(*query.shape)
        if not self.need_weights:
            return output, cache
        weights = past.weights
        if self.average_attn_weights:
            weights = weights.sum(axis=1) / float(self.num_heads)
        return (output, weights if query.ndim == 3 else weights[0]), cache

    def _projected(self, j: int, x: Array) -> Array:
        """Return the j-th of query, key and value in heads: (N, h, T, d)."""
        weight, bias = self._projection(j)
        rows = x.reshape(-1, x.shape[-1]) @ weight.T  # (N T, E)
        if bias is not None:
            rows += bias
        return self._heads(rows, x)

    def _lengthened(self, heads: Array, name: str) -> Array:
        """Return keys or values with what is appended to each sample."""
        n, h, _, d = heads.shape
        parts = [heads]
        if self.add_bias_kv:
            parts.append(np.broadcast_to(self.params[name].reshape(1, h, 1, d), (n, h, 1, d)))
        if self.add_zero_attn:
            parts.append(np.zeros_like(heads, shape=(n, h, 1, d)))
        return np.concatenate(parts, axis=2) if len(parts) > 1 else heads

    # ── backward ─────────────────────────────────────────────────────────────────────────────────
    def backward(
        self, grad_output: Array | tuple[Array | None, ...], cache: MultiheadCache
    ) -> tuple[tuple[Array | None, ...], Arrays]:
        r"""Chain rule through the projections and the heads between them.

        Shapes: rows x of query, key, value (N T, E); W_q, W_k, W_v, W_o (E, E), b (E,); heads q
        (N, h, L, d), k and v (N, h, S', d), d = E / h; context c (N L, E); dy (N L, E).
        1. The output's projection, y = c W_oᵀ + b_o, as in Linear:
            dc = dy W_o       dW_o = dyᵀ c       db_o = Σ_rows dy
        2. A head has its own columns of c, so its do is those columns of dc.
        3. Each head, step by step in `attend_backward`:
            dv = wᵀ do        dw = do vᵀ (+ upstream of the weights)       da = dw m / (1 - p)
            dz = a (da - Σ da a)        dq = dz k / √d        dk = dzᵀ q / √d
          Weights that are means over h heads pass a share of 1/h of their gradient to each.
          A float mask is added to z, so its gradient is dz, summed over what it was spread over:
            d attn_mask_ls = Σ_nh dz_nhls       d key_padding_mask_ns = Σ_hl dz_nhls
          0 where it is -inf: there a = 0. A boolean mask has none.
        4. What was appended: bias_k is the same key in each sample, d bias_k = Σ_n dk_n,S+1; zeros
          are no parameter, their part of dk and dv is dropped.
        5. The projections, q = x W_qᵀ + b_q and so on, with the heads' columns side by side again:
            dx = dq W_q       dW_q = dqᵀ x       db_q = Σ_rows dq
        If one array is query, key and value at once, its gradient is the sum of the three.

        Torch: nn.MultiheadAttention, same layouts; in evaluation without gradients it takes another
        path, which rounds otherwise.
        Source: Vaswani et al., Attention Is All You Need (2017), section 3.2; Dao et al.,
        FlashAttention (2022), appendix B.
        """
        dheads, dz, grads = self._upto_projections(grad_output, cache)
        inputs = tuple(
            (d @ self._projection(j)[0]).reshape(*x.shape)
            for j, (d, x) in enumerate(zip(dheads, cache.inputs, strict=True))
        )
        batched = cache.inputs[0].ndim == 3
        return (*inputs, *cache.masks.gradients(dz, batched)), grads

    def grad_params(  # type: ignore[override]
        self, grad_output: Array | tuple[Array | None, ...], cache: MultiheadCache
    ) -> Arrays:
        """Return the parameters' gradients, without the three products of the inputs'."""
        return self._upto_projections(grad_output, cache)[2]

    def _upto_projections(
        self, grad_output: Array | tuple[Array | None, ...], cache: MultiheadCache
    ) -> tuple[list[Array], Array, Arrays]:
        """Return dq, dk and dv as rows (N T, E), dz of the given keys, and parameter gradients."""
        dy, dweights = self._upstream(grad_output, cache)
        grads: Arrays = {"out_proj.weight": dy.T @ cache.context}
        if self.bias:
            grads["out_proj.bias"] = dy.sum(axis=0)
        do = self._heads(dy @ self.params["out_proj.weight"], cache.inputs[0])
        dq, dk, dv, dz = attend_backward(do, dweights, cache.past)
        steps = dk.shape[2] - self.appended  # S
        if self.add_bias_kv:
            grads |= {"bias_k": self._appended(dk, steps), "bias_v": self._appended(dv, steps)}
        heads = (dq, dk[:, :, :steps], dv[:, :, :steps])
        rows = [self._rows(d, x) for d, x in zip(heads, cache.inputs, strict=True)]
        grads |= self._projection_gradients(rows, cache.inputs)
        return rows, dz[..., :steps], {key: grads[key] for key in self.params}

    def _projection_gradients(self, rows: list[Array], inputs: tuple[Array, ...]) -> Arrays:
        """Return dW = dqᵀ x and db = Σ dq of the three projections."""
        weights = [
            d.T @ x.reshape(-1, x.shape[-1]) for d, x in zip(rows, inputs, strict=True)
        ]  # (E, width) each
        if self.packed:
            grads: Arrays = {"in_proj_weight": np.concatenate(weights)}
        else:
            grads = dict(zip(OWN, weights, strict=True))
        if self.bias:
            grads["in_proj_bias"] = np.concatenate([d.sum(axis=0) for d in rows])
        return grads

    def _appended(self, d: Array, place: int) -> Array:
        return d[:, :, place].sum(axis=0).reshape(1, 1, self.embed_dim)

    def _upstream(
        self, grad_output: Array | tuple[Array | None, ...], cache: MultiheadCache
    ) -> tuple[Array, Array | None]:
        """Return dy as rows (N L, E), and dweights by head; None, of an unused output, is zero."""
        ports: Any = grad_output if self.need_weights else (grad_output, None)
        dy, dweights = ports
        if dy is None:
            dy = np.zeros_like(cache.context)
        if dweights is not None:
            dweights = dweights if cache.inputs[0].ndim == 3 else dweights[None]
            if self.average_attn_weights:
                dweights = dweights[:, None] / float(self.num_heads)
        return dy.reshape(-1, self.embed_dim), dweights

    # ── parameters and layouts ───────────────────────────────────────────────────────────────────
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        e = self.embed_dim
        widths = (e, self.kdim, self.vdim)
        shapes: dict[str, tuple[int, ...]] = (
            {"in_proj_weight": (3 * e, e)}
            if self.packed
            else {name: (e, width) for name, width in zip(OWN, widths, strict=True)}
        )
        if self.bias:
            shapes["in_proj_bias"] = (3 * e,)
        if self.add_bias_kv:
            shapes |= {"bias_k": (1, 1, e), "bias_v": (1, 1, e)}
        shapes["out_proj.weight"] = (e, e)
        if self.bias:
            shapes["out_proj.bias"] = (e,)
        return shapes

    def _projection(self, j: int) -> tuple[Array, Array | None]:
        """Return W and b of the query's (0), key's (1) or value's (2) projection."""
        third = slice(j * self.embed_dim, (j + 1) * self.embed_dim)
        weight = self.params["in_proj_weight"][third] if self.packed else self.params[OWN[j]]
        return weight, self.params["in_proj_bias"][third] if self.bias else None

    def _heads(self, rows: Array, like: Array) -> Array:
        """Return rows (N T, E), in the order of an input's, as (N, h, T, d)."""
        first, second = (like.shape[0], 1) if like.ndim == 2 else like.shape[:2]
        apart = rows.reshape(first, second, self.num_heads, self.embed_dim // self.num_heads)
        return (
            apart.transpose(0, 2, 1, 3) if self._batch_leads(like) else apart.transpose(1, 2, 0, 3)
        )

    def _rows(self, heads: Array, like: Array) -> Array:
        """Return (N, h, T, d) as rows (N T, E), in the order of an input's."""
        axes = (0, 2, 1, 3) if self._batch_leads(like) else (2, 0, 1, 3)
        return heads.transpose(*axes).reshape(-1, self.embed_dim)

    def _batch_leads(self, like: Array) -> bool:
        return self.batch_first and like.ndim == 3

    # ── noise and masks ──────────────────────────────────────────────────────────────────────────
    def draw(  # type: ignore[override]
        self,
        query: Array,
        key: Array,
        value: Array,
        key_padding_mask: Array | None = None,
        attn_mask: Array | None = None,
        *,
        rng: np.random.Generator,
    ) -> Array | None:
        """Return a mask of the weights in torch's shape; None if nothing is dropped."""
        if not self.dropout:
            return None
        n, length, steps = self.sizes(query, key)
        heads = (n * self.num_heads,) if self.need_weights else (n, self.num_heads)
        return rng.random((*heads, length, steps + self.appended)) >= self.dropout

    def _masks(self, key_padding_mask: Array | None, attn_mask: Array | None) -> Masks:
        causal = self.is_causal and not self.need_weights and key_padding_mask is None
        return Masks(key_padding_mask, attn_mask, causal)

    def sizes(self, query: Array, key: Array) -> tuple[int, int, int]:
        """Return N, L and S."""
        time, batch = (1, 0) if self._batch_leads(query) else (0, 1)
        n = query.shape[batch] if query.ndim == 3 else 1
        return n, query.shape[time], key.shape[time]

    # ── what is told about it ────────────────────────────────────────────────────────────────────
    def variants(self, cache: MultiheadCache) -> tuple[str, ...]:
        """Return which equations hold for a pass: those for one head without masks, or none."""
        plain = self.num_heads == 1 and self.packed and self.bias and not self.appended
        unmasked = cache.masks.padding is None and cache.masks.attention is None
        if plain and unmasked and cache.past.dropped is None and cache.inputs[0].ndim == 3:
            return ("one head",)
        return ()

    def extra_repr(self) -> str:
        usual = {
            "dropout": 0.0, "bias": True, "add_bias_kv": False, "add_zero_attn": False,
            "kdim": self.embed_dim, "vdim": self.embed_dim, "batch_first": False,
            "need_weights": True, "average_attn_weights": True, "is_causal": False,
        }  # fmt: skip
        rest = [f"{k}={getattr(self, k)}" for k, v in usual.items() if getattr(self, k) != v]
        return ", ".join([f"{self.embed_dim}, {self.num_heads}", *rest])
