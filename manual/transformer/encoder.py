"""The encoder of a Transformer: one layer, and the stack of them."""

from __future__ import annotations

from typing import Any, ClassVar

from manual.composed import Composed
from manual.graph import Tape
from manual.layer import Array, Arrays, Noise
from manual.nodes import Node
from manual.norm import LayerNorm
from manual.transformer.examples import ENCODER, ENCODER_LAYER
from manual.transformer.pieces import Sizes, check_count, made

__all__ = ["TransformerEncoder", "TransformerEncoderLayer"]


class TransformerEncoderLayer(Composed):
    r"""Self-attention, then two linear layers at each position, each added to its input.

        norms last:   h = LN₁(x + SA(x))      y = LN₂(h + FF(h))
        norms first:  h = x + SA(LN₁(x))      y = h + FF(LN₂(h))
        SA(x) = dropout(attention(x, x, x))   FF(x) = dropout(W₂ dropout(φ(W₁ x + b₁)) + b₂)

    Args:
        d_model: E, the size of a position's vector.
        nhead: the number of heads; it divides E.
        dim_feedforward: the width between the two linear layers.
        dropout: the probability of dropping: attention's weights, φ, and what is added.
        activation: φ, "relu", "gelu" or a layer.
        layer_norm_eps: ε of the norms.
        batch_first: sequences are (N, T, E) instead of (T, N, E).
        norm_first: the norms stand before each block instead of after each sum.
        bias: whether linear layers and norms add a vector.
        is_causal: a hint that `src_mask` hides what comes later, as of MultiheadAttention;
            torch.nn's argument of forward.

    Inputs: `src` (T, N, E), or (T, E); `src_mask` (T, T) or (N h, T, T); `src_key_padding_mask`
    (N, T) or (T,); masks as of MultiheadAttention. Output: as `src`. Noise: a tuple of four masks,
    of the attention's weights, of dropout1, dropout and dropout2; without dropout none is drawn.

    Parameters, in torch's layout: those of `self_attn`, `linear1`, `linear2`, `norm1`, `norm2`.

    Raises:
        ValueError: arguments or shapes do not fit; the message names the piece.
    """

    examples = ENCODER_LAYER
    call_arguments: ClassVar[tuple[str, ...]] = ("is_causal",)

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
        is_causal: bool | None = False,
    ) -> None:
        self.sizes = Sizes(
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first,
            norm_first, bias,
        )  # fmt: skip
        self.is_causal = is_causal
        masks = ("key_padding_mask=src_key_padding_mask", "attn_mask=src_mask")
        attention = Node("self_attn", self.sizes.attention(is_causal), ("x", "x", "x", *masks))
        first, h = self.sizes.block(1, "src", [attention])
        second, _ = self.sizes.block(2, h, self.sizes.feed_forward())
        super().__init__(
            [*first, *second],
            ("src", "src_mask", "src_key_padding_mask"),
            ("self_attn", "linear1", "linear2", "norm1", "norm2"),
        )

    def forward(  # type: ignore[override]
        self,
        src: Array,
        src_mask: Array | None = None,
        src_key_padding_mask: Array | None = None,
        *,
        noise: Noise = None,
    ) -> tuple[Array, Tape]:
        """Return the output in `src`'s shape; without noise nothing is dropped."""
        return self._run(src, src_mask, src_key_padding_mask, noise=noise)

    def backward(self, grad_output: Array, cache: Tape) -> tuple[tuple[Array | None, ...], Arrays]:
        r"""Chain rule through two blocks, each a sum of its input and what is made of it.

        All of x, h, y (T, N, E); J_Fᵀ d stands for what the backward pass of a piece F makes of an
        upstream gradient d: each is derived in its own class.
        A sum u = x + F(x) hands its gradient to both terms, and x gets both back:
            dx = du + J_Fᵀ du              the 1 is the path around F: no F can make dx vanish
        Norms last, from the output backwards:
            v = h + FF(h),  y = LN₂(v):    dv = J_LN₂ᵀ dy     dh = dv + J_FFᵀ dv
            u = x + SA(x),  h = LN₁(u):    du = J_LN₁ᵀ dh     dx = du + J_SAᵀ du
        Norms first, the path around is bare, and dy arrives at x unchanged:
            y = h + FF(LN₂(h)):            dh = dy + J_LN₂ᵀ J_FFᵀ dy
            h = x + SA(LN₁(x)):            dx = dh + J_LN₁ᵀ J_SAᵀ dh
        FF is a chain, FF = D₂ ∘ W₂ ∘ D ∘ φ ∘ W₁ (D a mask over 1 - p, its own transpose):
            J_FFᵀ d = W₁ᵀ φ'(a) ⊙ D W₂ᵀ D₂ d      a = W₁ x + b₁; the same at each position
        SA(x) = D₁ A(q, k, v) with q = k = v = x: three gradients arrive at the one x and add,
            J_SAᵀ d = (J_qᵀ + J_kᵀ + J_vᵀ) D₁ d
        Parameters: each piece's own rule, with the upstream gradient that reaches it here. A float
        mask's gradient is that of the scores, as in MultiheadAttention.

        Torch: nn.TransformerEncoderLayer, same names and layouts. In evaluation without gradients
        it takes a fused path, which rounds otherwise.
        Source: Vaswani et al., Attention Is All You Need (2017), sections 3.1 and 3.3; Xiong et
        al., On Layer Normalization in the Transformer Architecture (2020), for norms first.
        """
        return self._pulled(grad_output, cache)

    def hinted(self, is_causal: bool | None) -> TransformerEncoderLayer:
        """Return this layer with another hint."""
        return TransformerEncoderLayer(**vars(self.sizes), is_causal=is_causal)

    def extra_repr(self) -> str:
        return self.sizes.shown() + (", is_causal=True" if self.is_causal else "")


class TransformerEncoder(Composed):
    """Encoder layers of one kind, each with its own parameters, one after another.

    Args:
        encoder_layer: a TransformerEncoderLayer, or its arguments by name.
        num_layers: how many.
        norm: a LayerNorm after the last, its arguments by name, or None.
        enable_nested_tensor, mask_check: torch's, of evaluation without gradients; they change
            nothing here.
        is_causal: a hint, as of the layer, for all of them. torch's None looks for a causal mask
            itself, which changes no value. torch.nn's argument of forward.

    Inputs: `src`, `mask`, `src_key_padding_mask`, as the layer's. Noise: the layers' in a row.

    Parameters: `layers.0.self_attn.in_proj_weight` and so on, `norm.weight`, `norm.bias`.

    Raises:
        TypeError: `encoder_layer` or `norm` is something else.
        ValueError: there is no layer.
    """

    examples = ENCODER
    call_arguments: ClassVar[tuple[str, ...]] = ("is_causal",)

    def __init__(
        self,
        encoder_layer: Any,
        num_layers: int,
        norm: Any = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
        *,
        is_causal: bool | None = None,
    ) -> None:
        check_count(type(self).__name__, num_layers)
        layer = made(encoder_layer, TransformerEncoderLayer, type(self).__name__, "encoder_layer")
        layer = layer.hinted(is_causal)
        self.num_layers, self.is_causal = num_layers, is_causal
        self.enable_nested_tensor, self.mask_check = enable_nested_tensor, mask_check
        masks = ("src_mask=mask", "src_key_padding_mask=src_key_padding_mask")
        nodes, x = [], "src"
        for i in range(num_layers):
            nodes.append(Node(f"layers.{i}", layer, (x, *masks)))
            x = nodes[-1].name
        if norm is not None:
            nodes.append(Node("norm", made(norm, LayerNorm, type(self).__name__, "norm"), (x,)))
        super().__init__(nodes, ("src", "mask", "src_key_padding_mask"))

    def forward(  # type: ignore[override]
        self,
        src: Array,
        mask: Array | None = None,
        src_key_padding_mask: Array | None = None,
        *,
        noise: Noise = None,
    ) -> tuple[Array, Tape]:
        """Return the last layer's output, normalised if there is a norm."""
        return self._run(src, mask, src_key_padding_mask, noise=noise)

    def backward(self, grad_output: Array, cache: Tape) -> tuple[tuple[Array | None, ...], Arrays]:
        r"""Chain rule through x_i = F_i(x_(i-1)), i = 1 … n, y = LN(x_n) if there is a norm.

        dx_n = J_LNᵀ dy, dx_(i-1) = J_(F_i)ᵀ dx_i from the last layer to the first: each layer's
        rule is TransformerEncoderLayer's, and its parameters get their gradients from dx_i.
        One mask is used by every layer: the gradient of a float mask is the sum of theirs.
        Torch: nn.TransformerEncoder; in evaluation without gradients it may leave padded positions
        out altogether and returns zeros there.
        Source: Vaswani et al., Attention Is All You Need (2017), section 3.1.
        """
        return self._pulled(grad_output, cache)

    def extra_repr(self) -> str:
        return f"num_layers={self.num_layers}"
