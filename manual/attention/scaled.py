"""ScaledDotProductAttention: queries look at keys and take a weighted mean of values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np

from manual.attention.dot_product import Attended, Mask, attend, attend_backward, told
from manual.attention.masks import is_added, parted
from manual.examples import Example
from manual.gates.broadcasting import summed_to
from manual.layer import Array, Arrays, Layer, Noise

__all__ = ["ScaledDotProductAttention"]

HIDES = np.array([[0.5, -np.inf, 0.0], [-1.0, 0.25, -np.inf]])
Shape = tuple[int, ...]
WEIGHTS = (
    "\nwhere a[n,l,s] = exp(z[n,l,s]) / sum(u, exp(z[n,l,u]))"
    "\nwhere z[n,l,s] = c * sum(j, Q[n,l,j] * K[n,s,j])"
)
SCORES = (
    "\nwhere dz[n,l,s] = a[n,l,s] * (da[n,l,s] - sum(u, da[n,l,u] * a[n,l,u]))"
    "\nwhere da[n,l,s] = sum(j, dy[n,l,j] * V[n,s,j])" + WEIGHTS
)


class ScaledCache(NamedTuple):
    shapes: tuple[tuple[int, ...], ...]  # of query, key and value
    past: Attended
    mask: Array | None
    scale: float


class ScaledDotProductAttention(Layer):
    r"""A weighted mean of values, by how each query fits the keys: softmax(c q kᵀ + mask) v.

    Args:
        dropout_p: the probability of dropping a weight, in training.
        is_causal: whether query l sees the keys 0 … l alone; then there is no mask.
        scale: c, 1 / √d without it.
        enable_gqa: whether keys and values may have fewer heads than queries: each is then seen by
            as many heads of queries in a row.

    Inputs: `query` (…, L, d), `key` (…, S, d), `value` (…, S, e), whose leading axes broadcast, and
    with `enable_gqa` are (…, heads); `attn_mask`, which broadcasts to (…, L, S): True where a key
    is seen (of MultiheadAttention's masks it is where none is), or numbers that are added to the
    scores, -inf hides. Output: (…, L, e). Noise: a 0/1 mask of the weights, (…, L, S).

    A query that sees no key gives 0, forwards and backwards.

    Raises:
        ValueError: arguments or shapes do not fit, or there are a mask and causality.
    """

    equations: ClassVar[Mapping[str, str]] = {
        "output/plain": "y[n,l,e] = sum(s, a[n,l,s] * V[n,s,e])" + WEIGHTS,
        "grad_query/plain": "dQ[n,l,i] = c * sum(s, dz[n,l,s] * K[n,s,i])" + SCORES,
        "grad_key/plain": "dK[n,s,i] = c * sum(l, dz[n,l,s] * Q[n,l,i])" + SCORES,
        "grad_value/plain": "dV[n,s,e] = sum(l, a[n,l,s] * dy[n,l,e])" + WEIGHTS,
    }
    symbols: ClassVar[Mapping[str, str]] = {
        "Q": "query", "K": "key", "V": "value", "c": "cache.scale",
    }  # fmt: skip
    stochastic = True
    examples = (
        Example({}, ((2, 2, 3), (2, 3, 3), (2, 3, 2))),
        Example({"scale": 0.75}, ((2, 1, 2, 2), (1, 3, 2), (3, 3, 2), HIDES), fixed=("attn_mask",)),
        Example({"enable_gqa": True, "is_causal": True}, ((4, 2, 2), (2, 3, 2), (1, 3, 2))),
        Example({"dropout_p": 0.4}, ((2, 2), (3, 2), (3, 2), (2, 3))),
    )

    def __init__(
        self,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> None:
        if not 0 <= dropout_p <= 1:
            raise ValueError(
                "ScaledDotProductAttention: dropout_p is the probability of dropping a weight and "
                f"must lie between 0 and 1, received {dropout_p}."
            )
        self.dropout_p, self.is_causal = dropout_p, is_causal
        self.scale, self.enable_gqa = scale, enable_gqa
        self.chances = (dropout_p,) if dropout_p else ()

    def forward(  # type: ignore[override]
        self,
        query: Array,
        key: Array,
        value: Array,
        attn_mask: Array | None = None,
        *,
        noise: Noise = None,
    ) -> tuple[Array, ScaledCache]:
        """Return the means of values; without noise nothing is dropped."""
        self._check_inputs(query, key, value, attn_mask)
        shapes, shape = (query.shape, key.shape, value.shape), self._shape(query, key)
        dropped = told(type(self).__name__, noise, self.dropout_p, shape)
        key, value = self._repeated(key, query), self._repeated(value, query)
        mask = self._mask(attn_mask, shape)
        past = attend(query, key, value, mask, dropped, blind=0.0, scale=self.scale)
        return past.output, ScaledCache(shapes, past, attn_mask, past.scale)

    def backward(
        self, grad_output: Array, cache: ScaledCache
    ) -> tuple[tuple[Array | None, ...], Arrays]:
        r"""Chain rule through o = a v, a = softmax(z), z = c q kᵀ + mask.

        Shapes: q (…, L, d), k (…, S, d), v (…, S, e), dy (…, L, e). Step by step in
        `attend_backward`, with c for 1 / √d and w = a m / (1 - p) for the weights after dropout:
            dv = wᵀ dy        da = (dy vᵀ) m / (1 - p)        dz = a (da - Σ_s da a)
            dq = c dz k       dk = c dzᵀ q                    dmask = dz
        What was stretched to fit gets the sum of what each of its copies got: leading axes that
        broadcast, a mask that several rows share, and with grouped queries a key's head
            dk_g = Σ_(h in group g) dk_h
        that several heads of queries looked at.

        Torch: nn.functional.scaled_dot_product_attention. Its boolean mask says who is seen.
        Source: Vaswani et al., Attention Is All You Need (2017), section 3.2.1; Ainslie et al.,
        GQA (2023), section 2.2, for the groups.
        """
        dq, dk, dv, dz = attend_backward(grad_output, None, cache.past)
        shapes = cache.shapes
        keys, values = self._grouped(dk, shapes[1]), self._grouped(dv, shapes[2])
        mask = summed_to(dz, tuple(cache.mask.shape)) if is_added(cache.mask) else None
        return (summed_to(dq, shapes[0]), keys, values, mask), {}

    # ── heads in groups ──────────────────────────────────────────────────────────────────────────
    def _repeated(self, x: Array, query: Array) -> Array:
        """Return keys or values with one head for each of the queries'."""
        if not self.enable_gqa:
            return x
        heads = x.shape[-3]
        return x[..., np.repeat(np.arange(heads), query.shape[-3] // heads), :, :]

    def _grouped(self, grad: Array, shape: tuple[int, ...]) -> Array:
        """Return the gradient of keys or values, that of a head's copies added up."""
        if self.enable_gqa:
            sizes = (*grad.shape[:-3], shape[-3], grad.shape[-3] // shape[-3], *grad.shape[-2:])
            grad = grad.reshape(sizes).sum(axis=-3)
        return summed_to(grad, shape)

    # ── noise and masks ──────────────────────────────────────────────────────────────────────────
    def draw(  # type: ignore[override]
        self,
        query: Array,
        key: Array,
        value: Array,
        attn_mask: Array | None = None,
        *,
        rng: np.random.Generator,
    ) -> Array | None:
        """Return a mask of the weights in torch's shape; None if nothing is dropped."""
        if not self.dropout_p:
            return None
        return rng.random(self._shape(query, key)) >= self.dropout_p

    def _shape(self, query: Array, key: Array) -> tuple[int, ...]:
        """Return the shape of the weights, (…, L, S); raise ValueError if there is none."""
        keys = (*key.shape[:-3], query.shape[-3]) if self.enable_gqa else key.shape[:-2]
        leading = np.broadcast_shapes(query.shape[:-2], keys)
        return (*leading, query.shape[-2], key.shape[-2])

    def _mask(self, mask: Array | None, shape: tuple[int, ...]) -> Mask:
        if self.is_causal:
            return Mask(np.arange(shape[-1]) > np.arange(shape[-2])[:, None])
        if mask is None:
            return Mask()
        return Mask(*parted(mask)) if is_added(mask) else Mask(~mask)

    def _check_inputs(self, query: Array, key: Array, value: Array, mask: Array | None) -> None:
        """Refuse shapes that do not fit, and a mask beside causality."""
        shapes = tuple(query.shape), tuple(key.shape), tuple(value.shape)
        try:
            self._check_fit(*shapes, mask=None if mask is None else tuple(mask.shape))
        except ValueError:
            raise ValueError(
                "ScaledDotProductAttention: query (…, L, d), key (…, S, d), value (…, S, e) must "
                "broadcast, attn_mask to (…, L, S), and with enable_gqa the heads of key and value "
                f"divide the query's; received {', '.join(map(str, shapes))} and mask "
                f"{None if mask is None else tuple(mask.shape)}."
            ) from None
        self._check_mask(mask)

    def _check_fit(self, query: Shape, key: Shape, value: Shape, mask: Shape | None) -> None:
        if min(map(len, (query, key, value))) < (3 if self.enable_gqa else 2):
            raise ValueError
        if query[-1] != key[-1] or key[-2] != value[-2]:
            raise ValueError
        if self.enable_gqa and (query[-3] % key[-3] or query[-3] % value[-3]):
            raise ValueError
        cut = 3 if self.enable_gqa else 2
        shape = (*np.broadcast_shapes(query[:-cut], key[:-cut]), *query[-cut:-1], key[-2])
        np.broadcast_shapes(shape[:-cut], value[:-cut])
        if mask is not None and np.broadcast_shapes(shape, mask) != shape:
            raise ValueError

    def _check_mask(self, mask: Array | None) -> None:
        if mask is None:
            return
        if self.is_causal:
            raise ValueError(
                "ScaledDotProductAttention: is_causal takes the place of attn_mask, and both were "
                "given. Leave one out."
            )
        if mask.dtype.kind in "iu":
            raise ValueError(
                "ScaledDotProductAttention: attn_mask must be boolean (True is seen) or of floats "
                f"(added to the scores), received {mask.dtype}. Compare it: mask != 0."
            )

    def variants(self, cache: ScaledCache) -> tuple[str, ...]:
        """Return whether the equations hold: without a mask, groups, dropout or broadcasting."""
        alike = all(len(s) == 3 and s[0] == cache.shapes[0][0] for s in cache.shapes)
        masked = self.is_causal or cache.mask is not None or cache.past.dropped is not None
        return ("plain",) if alike and not masked else ()

    def extra_repr(self) -> str:
        usual = {"dropout_p": 0.0, "is_causal": False, "scale": None, "enable_gqa": False}
        return ", ".join(
            f"{k}={getattr(self, k)}" for k, v in usual.items() if getattr(self, k) != v
        )
