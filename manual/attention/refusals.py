"""What MultiheadAttention refuses, and what it says about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manual.layer import Array

if TYPE_CHECKING:
    from manual.attention.multihead import MultiheadAttention

NAMES = ("query", "key", "value")


def check_arguments(layer: MultiheadAttention) -> None:
    """Refuse sizes that make no heads, and a probability that is none."""
    if layer.embed_dim < 1 or layer.num_heads < 1 or layer.embed_dim % layer.num_heads:
        raise ValueError(
            "MultiheadAttention: each head takes embed_dim / num_heads columns, so num_heads must "
            f"divide embed_dim, received embed_dim = {layer.embed_dim} and num_heads = "
            f"{layer.num_heads}."
        )
    if not 0 <= layer.dropout <= 1:
        raise ValueError(
            "MultiheadAttention: dropout is the probability of dropping a weight and must lie "
            f"between 0 and 1, received {layer.dropout}."
        )


def check_inputs(
    layer: MultiheadAttention,
    inputs: tuple[Array, Array, Array],
    padding: Array | None,
    attention: Array | None,
) -> None:
    """Refuse inputs and masks whose shapes do not fit, and a hint without its mask."""
    _check_widths(layer, inputs)
    query, key, value = inputs
    n, length, steps = layer.sizes(query, key)
    if layer.sizes(query, value) != (n, length, steps) or _batches(layer, inputs) != [n] * 3:
        raise ValueError(
            "MultiheadAttention: key and value must be equally long, and all three must have one "
            f"batch size, received query {tuple(query.shape)}, key {tuple(key.shape)}, value "
            f"{tuple(value.shape)}."
        )
    _check_mask("key_padding_mask", padding, [(n, steps) if query.ndim == 3 else (steps,)])
    flat = (n * layer.num_heads, length, steps)
    _check_mask("attn_mask", attention, [(length, steps), flat])
    if layer.is_causal and attention is None:
        raise ValueError(
            "MultiheadAttention: is_causal is a hint about attn_mask, which was left out. Pass it: "
            "np.triu(np.ones((L, S), bool), 1)."
        )


def _check_widths(layer: MultiheadAttention, inputs: tuple[Array, ...]) -> None:
    widths = (layer.embed_dim, layer.kdim, layer.vdim)
    for name, x, width in zip(NAMES, inputs, widths, strict=True):
        if x.ndim not in (2, 3) or x.shape[-1] != width or x.ndim != inputs[0].ndim:
            layout = f"(N, T, {width})" if layer.batch_first else f"(T, N, {width})"
            raise ValueError(
                f"MultiheadAttention: {name} must be {layout}, or all three without N, received "
                f"shape {tuple(x.shape)}. Set batch_first, embed_dim, kdim or vdim to what the "
                "data are."
            )


def _batches(layer: MultiheadAttention, inputs: tuple[Array, ...]) -> list[int]:
    return [layer.sizes(x, x)[0] for x in inputs]


def _check_mask(name: str, mask: Array | None, shapes: list[tuple[int, ...]]) -> None:
    if mask is None:
        return
    if tuple(mask.shape) not in shapes:
        raise ValueError(
            f"MultiheadAttention: {name} must have the shape {' or '.join(map(str, shapes))}, "
            f"received {tuple(mask.shape)}. torch's (N h, L, S) has the heads of a sample in a row."
        )
    if mask.dtype.kind in "iu":
        raise ValueError(
            f"MultiheadAttention: {name} must be boolean (True hides) or of floats (added to the "
            f"scores), received {mask.dtype}. Compare it: mask != 0, or mask == 0."
        )
