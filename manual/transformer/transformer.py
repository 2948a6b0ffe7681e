"""The whole Transformer: an encoder, and a decoder that looks at what it found."""

from __future__ import annotations

from typing import Any, ClassVar

from manual.composed import Composed
from manual.graph import Tape
from manual.layer import Array, Arrays, Noise
from manual.nodes import Node
from manual.transformer.decoder import TransformerDecoder
from manual.transformer.encoder import TransformerEncoder
from manual.transformer.examples import TRANSFORMER
from manual.transformer.pieces import Sizes, check_pair, made

__all__ = ["Transformer"]

INPUTS = (
    "src", "tgt", "src_mask", "tgt_mask", "memory_mask", "src_key_padding_mask",
    "tgt_key_padding_mask", "memory_key_padding_mask",
)  # fmt: skip


class Transformer(Composed):
    r"""Encoder and decoder of a Transformer: y = decoder(tgt, memory), memory = encoder(src).

    Args:
        d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first,
            norm_first, bias: as of TransformerEncoderLayer; both stacks end with a norm.
        num_encoder_layers, num_decoder_layers: how many layers each stack has.
        custom_encoder, custom_decoder: a TransformerEncoder and a TransformerDecoder to take the
            stacks' places, or their arguments by name.
        src_is_causal, tgt_is_causal, memory_is_causal: hints, as of the stacks; torch.nn's
            arguments of forward.

    Inputs: `src` (S, N, E), `tgt` (T, N, E), or none with N; `src_mask` (S, S), `tgt_mask` (T, T),
    `memory_mask` (T, S), or with N h before; `src_key_padding_mask` (N, S), `tgt_key_padding_mask`
    (N, T), `memory_key_padding_mask` (N, S), or without N. Output: as `tgt`. Noise: the encoder's
    masks, then the decoder's.

    Parameters: `encoder.layers.0.self_attn.in_proj_weight` and so on.

    Raises:
        ValueError: arguments or shapes do not fit.
    """

    examples = TRANSFORMER
    call_arguments: ClassVar[tuple[str, ...]] = (
        "src_is_causal",
        "tgt_is_causal",
        "memory_is_causal",
    )

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Any = "relu",
        custom_encoder: Any = None,
        custom_decoder: Any = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> None:
        self.sizes = sizes = Sizes(
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first,
            norm_first, bias,
        )  # fmt: skip
        self.src_is_causal, self.tgt_is_causal = src_is_causal, tgt_is_causal
        self.memory_is_causal = memory_is_causal
        given = vars(sizes)
        encoder: Any = custom_encoder or {
            "encoder_layer": given, "num_layers": num_encoder_layers, "norm": sizes.norm(),
            "is_causal": src_is_causal,
        }  # fmt: skip
        decoder: Any = custom_decoder or {
            "decoder_layer": given, "num_layers": num_decoder_layers, "norm": sizes.norm(),
            "tgt_is_causal": tgt_is_causal, "memory_is_causal": memory_is_causal,
        }  # fmt: skip
        encoder = made(encoder, TransformerEncoder, "Transformer", "custom_encoder")
        decoder = made(decoder, TransformerDecoder, "Transformer", "custom_decoder")
        masks = ("tgt_mask", "memory_mask", "tgt_key_padding_mask", "memory_key_padding_mask")
        nodes = [
            Node("encoder", encoder, ("src", "src_mask", "src_key_padding_mask")),
            Node("decoder", decoder, ("tgt", "encoder", *masks)),
        ]
        super().__init__(nodes, INPUTS)

    def forward(  # type: ignore[override]
        self,
        src: Array,
        tgt: Array,
        src_mask: Array | None = None,
        tgt_mask: Array | None = None,
        memory_mask: Array | None = None,
        src_key_padding_mask: Array | None = None,
        tgt_key_padding_mask: Array | None = None,
        memory_key_padding_mask: Array | None = None,
        *,
        noise: Noise = None,
    ) -> tuple[Array, Tape]:
        """Return the decoder's output, in `tgt`'s shape; without noise nothing is dropped."""
        check_pair(src, tgt, self.sizes)
        return self._run(
            src, tgt, src_mask, tgt_mask, memory_mask, src_key_padding_mask, tgt_key_padding_mask,
            memory_key_padding_mask, noise=noise,
        )  # fmt: skip

    def backward(self, grad_output: Array, cache: Tape) -> tuple[tuple[Array | None, ...], Arrays]:
        r"""Chain rule through m = encoder(src), y = decoder(tgt, m).

        The decoder's rule gives dtgt and dm, where every layer's look at m has been added up; dm is
        the upstream gradient of the encoder, whose rule gives dsrc. src has no other way to y: what
        the encoder learns, it learns through the decoder's second attention.
        Torch: nn.Transformer, same names and layouts.
        Source: Vaswani et al., Attention Is All You Need (2017), section 3.1, figure 1.
        """
        return self._pulled(grad_output, cache)

    def extra_repr(self) -> str:
        return self.sizes.shown()
