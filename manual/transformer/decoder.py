"""The decoder of a Transformer: one layer, and the stack of them."""

from __future__ import annotations

from typing import Any, ClassVar

from manual.composed import Composed
from manual.graph import Tape
from manual.layer import Array, Arrays, Noise
from manual.nodes import Node
from manual.norm import LayerNorm
from manual.transformer.examples import DECODER, DECODER_LAYER
from manual.transformer.pieces import Sizes, check_count, made

__all__ = ["TransformerDecoder", "TransformerDecoderLayer"]

INPUTS = (
    "tgt", "memory", "tgt_mask", "memory_mask", "tgt_key_padding_mask", "memory_key_padding_mask",
)  # fmt: skip


class TransformerDecoderLayer(Composed):
    r"""Self-attention, attention to the encoder's output, two linear layers, each added.

        norms last:   g = LN₁(x + SA(x))   h = LN₂(g + CA(g, m))     y = LN₃(h + FF(h))
        norms first:  g = x + SA(LN₁(x))   h = g + CA(LN₂(g), m)     y = h + FF(LN₃(h))
        SA(x) = dropout(attention(x, x, x))   CA(x, m) = dropout(attention(x, m, m))
        FF(x) = dropout(W₂ dropout(φ(W₁ x + b₁)) + b₂)

    Args:
        d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first,
            norm_first, bias: as of TransformerEncoderLayer.
        tgt_is_causal: a hint that `tgt_mask` hides what comes later; torch.nn's argument of
            forward, as is
        memory_is_causal: the same of `memory_mask`.

    Inputs: `tgt` x (T, N, E), or (T, E); `memory` m (S, N, E), or (S, E); `tgt_mask` (T, T) or
    (N h, T, T), `memory_mask` (T, S) or (N h, T, S); `tgt_key_padding_mask` (N, T) or (T,),
    `memory_key_padding_mask` (N, S) or (S,). Output: as `tgt`. Noise: a tuple of six masks: of the
    self-attention's weights, dropout1, the other attention's weights, dropout2, dropout, dropout3.

    Parameters, in torch's layout: those of `self_attn`, `multihead_attn`, `linear1`, `linear2`,
    `norm1`, `norm2`, `norm3`.

    Raises:
        ValueError: arguments or shapes do not fit; the message names the piece.
    """

    examples = DECODER_LAYER
    call_arguments: ClassVar[tuple[str, ...]] = ("tgt_is_causal", "memory_is_causal")

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Any = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        tgt_is_causal: bool | None = False,
        memory_is_causal: bool = False,
    ) -> None:
        self.sizes = sizes = Sizes(
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first,
            norm_first, bias,
        )  # fmt: skip
        self.tgt_is_causal, self.memory_is_causal = tgt_is_causal, memory_is_causal
        own = ("key_padding_mask=tgt_key_padding_mask", "attn_mask=tgt_mask")
        others = ("key_padding_mask=memory_key_padding_mask", "attn_mask=memory_mask")
        to_self = Node("self_attn", sizes.attention(tgt_is_causal), ("x", "x", "x", *own))
        sources = ("x", "memory", "memory", *others)
        to_memory = Node("multihead_attn", sizes.attention(memory_is_causal), sources)
        first, g = sizes.block(1, "tgt", [to_self])
        second, h = sizes.block(2, g, [to_memory])
        third, _ = sizes.block(3, h, sizes.feed_forward())
        super().__init__(
            [*first, *second, *third],
            INPUTS,
            ("self_attn", "multihead_attn", "linear1", "linear2", "norm1", "norm2", "norm3"),
        )

    def forward(  # type: ignore[override]
        self,
        tgt: Array,
        memory: Array,
        tgt_mask: Array | None = None,
        memory_mask: Array | None = None,
        tgt_key_padding_mask: Array | None = None,
        memory_key_padding_mask: Array | None = None,
        *,
        noise: Noise = None,
    ) -> tuple[Array, Tape]:
        """Return the output in `tgt`'s shape; without noise nothing is dropped."""
        return self._run(
            tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask,
            noise=noise,
        )  # fmt: skip

    def backward(self, grad_output: Array, cache: Tape) -> tuple[tuple[Array | None, ...], Arrays]:
        r"""Chain rule through three blocks, each a sum of its input and what is made of it.

        x, g, h, y (T, N, E), m (S, N, E); J_Fᵀ d as in TransformerEncoderLayer, whose rule for a
        sum u = x + F(x), dx = du + J_Fᵀ du, is used three times. Norms last, from the output
        backwards:
            w = h + FF(h),     y = LN₃(w):   dw = J_LN₃ᵀ dy     dh = dw + J_FFᵀ dw
            v = g + CA(g, m),  h = LN₂(v):   dv = J_LN₂ᵀ dh     dg = dv + J_qᵀ D₂ dv
                                                                dm = (J_kᵀ + J_vᵀ) D₂ dv
            u = x + SA(x),     g = LN₁(u):   du = J_LN₁ᵀ dg     dx = du + (J_qᵀ + J_kᵀ + J_vᵀ) D₁ du
        Norms first: the gradient on the path around a block stays as it is, and what comes back
        through the block passes the norm before it, J_LN₂ᵀ J_qᵀ D₂ dh and so on.
        The memory is key and value but no query: it is reached by two of the three gradients, and
        by no residual path. D is a dropout, a mask over 1 - p.

        Torch: nn.TransformerDecoderLayer, same names and layouts.
        Source: Vaswani et al., Attention Is All You Need (2017), sections 3.1 and 3.2.3.
        """
        return self._pulled(grad_output, cache)

    def hinted(self, tgt_is_causal: bool | None, memory_is_causal: bool) -> TransformerDecoderLayer:
        """Return this layer with other hints."""
        return TransformerDecoderLayer(
            **vars(self.sizes), tgt_is_causal=tgt_is_causal, memory_is_causal=memory_is_causal
        )

    def extra_repr(self) -> str:
        hints = ", ".join(f"{name}=True" for name in self.call_arguments if getattr(self, name))
        return self.sizes.shown() + (f", {hints}" if hints else "")


class TransformerDecoder(Composed):
    """Decoder layers of one kind, one after another, each looking at the same memory.

    Args:
        decoder_layer: a TransformerDecoderLayer, or its arguments by name.
        num_layers: how many.
        norm: a LayerNorm after the last, its arguments by name, or None.
        tgt_is_causal, memory_is_causal: hints, as of the layer, for all of them. torch's None
            looks for a causal mask itself, which changes no value. torch.nn's arguments of forward.

    Inputs: as the layer's. Noise: the layers' masks in a row.

    Parameters: `layers.0.self_attn.in_proj_weight` and so on, `norm.weight`, `norm.bias`.

    Raises:
        TypeError: `decoder_layer` or `norm` is something else.
        ValueError: there is no layer.
    """

    examples = DECODER
    call_arguments: ClassVar[tuple[str, ...]] = ("tgt_is_causal", "memory_is_causal")

    def __init__(
        self,
        decoder_layer: Any,
        num_layers: int,
        norm: Any = None,
        *,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> None:
        check_count(type(self).__name__, num_layers)
        layer = made(decoder_layer, TransformerDecoderLayer, type(self).__name__, "decoder_layer")
        layer = layer.hinted(tgt_is_causal, memory_is_causal)
        self.num_layers = num_layers
        self.tgt_is_causal, self.memory_is_causal = tgt_is_causal, memory_is_causal
        nodes, x = [], "tgt"
        for i in range(num_layers):
            nodes.append(Node(f"layers.{i}", layer, (x, *INPUTS[1:])))
            x = nodes[-1].name
        if norm is not None:
            nodes.append(Node("norm", made(norm, LayerNorm, type(self).__name__, "norm"), (x,)))
        super().__init__(nodes, INPUTS)

    def forward(  # type: ignore[override]
        self,
        tgt: Array,
        memory: Array,
        tgt_mask: Array | None = None,
        memory_mask: Array | None = None,
        tgt_key_padding_mask: Array | None = None,
        memory_key_padding_mask: Array | None = None,
        *,
        noise: Noise = None,
    ) -> tuple[Array, Tape]:
        """Return the last layer's output, normalised if there is a norm."""
        return self._run(
            tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask,
            noise=noise,
        )  # fmt: skip

    def backward(self, grad_output: Array, cache: Tape) -> tuple[tuple[Array | None, ...], Arrays]:
        r"""Chain rule through x_i = F_i(x_(i-1), m), i = 1 … n, y = LN(x_n) if there is a norm.

        dx_n = J_LNᵀ dy; then from the last layer to the first, by TransformerDecoderLayer's rule,
            (dx_(i-1), dm_i) = J_(F_i)ᵀ dx_i        dm = Σ_i dm_i
        Every layer looks at the same memory, so its gradients add, as do those of float masks.
        Torch: nn.TransformerDecoder.
        Source: Vaswani et al., Attention Is All You Need (2017), section 3.1.
        """
        return self._pulled(grad_output, cache)

    def extra_repr(self) -> str:
        return f"num_layers={self.num_layers}"
