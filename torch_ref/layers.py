"""Modules that torch.nn lacks, in its style, written with torch operations only."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations


class Add(nn.Module):
    """Sum of two or more inputs of one shape."""

    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.stack(inputs).sum(dim=0)


class Multiply(nn.Module):
    """Element-wise product of two or more inputs of one shape."""

    def forward(self, *inputs: Tensor) -> Tensor:
        product = inputs[0]
        for factor in inputs[1:]:
            product = product * factor
        return product


class Concatenate(nn.Module):
    """Inputs side by side along `dim`."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.cat(inputs, dim=self.dim)


class Select(nn.Module):
    """One index of one axis, which is dropped."""

    def __init__(self, dim: int, index: int) -> None:
        super().__init__()
        self.dim, self.index = dim, index

    def forward(self, input: Tensor) -> Tensor:
        return input.select(self.dim, self.index)


class Transpose(nn.Module):
    """Two axes that change places."""

    def __init__(self, dim0: int, dim1: int) -> None:
        super().__init__()
        self.dim0, self.dim1 = dim0, dim1

    def forward(self, input: Tensor) -> Tensor:
        return input.transpose(self.dim0, self.dim1)


class CausalMask(nn.Module):
    """True where one position of a sequence comes after another."""

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        size = input.shape[self.dim]
        return nn.Transformer.generate_square_subsequent_mask(size, input.device) < 0


class Positions(nn.Module):
    """The place of each element in its sequence."""

    def forward(self, input: Tensor) -> Tensor:
        n, length = input.shape[:2]
        return torch.arange(length, device=input.device).expand(n, length)


class Unbind(nn.Module):
    """All `count` elements of one axis, each by itself."""

    def __init__(self, dim: int, count: int) -> None:
        super().__init__()
        self.dim, self.count = dim, count

    def forward(self, input: Tensor) -> tuple[Tensor, ...]:
        return input.unbind(self.dim)


class Maxout(nn.Module):
    """The largest of `num_pieces` affine maps, unit by unit (Goodfellow et al., 2013).

    `weight` (num_pieces, out_features, in_features), `bias` (num_pieces, out_features). `winner`
    is the piece that each unit took in the last forward pass.
    """

    winner: Tensor

    def __init__(
        self, in_features: int, out_features: int, num_pieces: int = 2, bias: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_pieces, out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(num_pieces, out_features)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        pieces = torch.einsum("...i,koi->...ko", x, self.weight)
        if self.bias is not None:
            pieces = pieces + self.bias
        largest = pieces.max(dim=-2)
        self.winner = largest.indices
        return largest.values


class Hardsigmoid(nn.Module):
    """torch.nn's Hardsigmoid, whose float64 gradient holds float32's 1/6: here without."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu6(x + 3) / 6


class CELU(nn.Module):
    """torch.nn's CELU, whose float64 gradient rounds alpha to float32: here without."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.aten.elu(x, self.alpha, 1.0, 1 / self.alpha)


class Bias(nn.Module):
    """A learned number added to each channel, along `dim`."""

    def __init__(self, num_features: int, dim: int = 1) -> None:
        super().__init__()
        self.bias, self.dim = nn.Parameter(torch.zeros(num_features)), dim

    def forward(self, x: Tensor) -> Tensor:
        return (x.movedim(self.dim, -1) + self.bias).movedim(-1, self.dim)


class Crop(nn.Module):
    """The part of x, from `offset` on, that has the size of another tensor from `axis` on."""

    def __init__(self, axis: int = 2, offset: int | Sequence[int] = 0) -> None:
        super().__init__()
        self.axis, self.offset = axis, offset

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        axes = range(self.axis % x.ndim, x.ndim)
        first = [self.offset] * len(axes) if isinstance(self.offset, int) else self.offset
        for dim, start in zip(axes, first, strict=True):
            x = x.narrow(dim, int(start), like.shape[dim])
        return x


class BatchReindex(nn.Module):
    """Samples of a batch picked by their numbers."""

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        return x.index_select(0, index)


class LocalContrastNorm(nn.Module):
    """Each pixel less the mean of the square around it, by the square's spread if above c."""

    def __init__(self, size: int = 5, c: float = 1.0) -> None:
        super().__init__()
        self.size, self.c = size, c

    def forward(self, x: Tensor) -> Tensor:
        v = x - self._mean(x)
        square = self._mean(v * v)
        return v / torch.where(square > self.c**2, square, self.c**2).sqrt()

    def _mean(self, x: Tensor) -> Tensor:
        images = x.reshape(-1, 1, *x.shape[-2:])
        return nn.functional.avg_pool2d(images, self.size, 1, self.size // 2).reshape(x.shape)


class ScaledDotProductAttention(nn.Module):
    """torch.nn.functional.scaled_dot_product_attention, which drops in training alone."""

    def __init__(
        self,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> None:
        super().__init__()
        self.dropout_p = dropout_p
        self.options: dict[str, Any] = {
            "is_causal": is_causal,
            "scale": scale,
            "enable_gqa": enable_gqa,
        }

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None
    ) -> Tensor:
        dropped = self.dropout_p if self.training else 0.0
        return nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask, dropped, **self.options
        )


def _made(given: Any, kind: type[nn.Module]) -> Any:
    return kind(**given) if isinstance(given, Mapping) else given


class TransformerEncoder(nn.TransformerEncoder):
    """torch.nn's, whose layer and norm may also be their arguments by name."""

    def __init__(
        self,
        encoder_layer: Any,
        num_layers: int,
        norm: Any = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        layer = _made(encoder_layer, nn.TransformerEncoderLayer)
        with warnings.catch_warnings():  # that it will not take its fast path
            warnings.simplefilter("ignore")
            super().__init__(
                layer, num_layers, _made(norm, nn.LayerNorm), enable_nested_tensor, mask_check
            )


class TransformerDecoder(nn.TransformerDecoder):
    """torch.nn's, whose layer and norm may also be their arguments by name."""

    def __init__(self, decoder_layer: Any, num_layers: int, norm: Any = None) -> None:
        layer = _made(decoder_layer, nn.TransformerDecoderLayer)
        super().__init__(layer, num_layers, _made(norm, nn.LayerNorm))


class Transformer(nn.Transformer):
    """torch.nn's, whose stacks may also be their arguments by name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kinds = {"custom_encoder": TransformerEncoder, "custom_decoder": TransformerDecoder}
        kwargs |= {k: _made(kwargs[k], kind) for k, kind in kinds.items() if k in kwargs}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            super().__init__(*args, **kwargs)


class EmbeddingBag(nn.EmbeddingBag):
    """torch.nn's, whose scale_grad_by_freq divides by other rows' frequencies: here by its own."""

    def forward(
        self,
        input: Tensor,
        offsets: Tensor | None = None,
        per_sample_weights: Tensor | None = None,
    ) -> Tensor:
        if not self.scale_grad_by_freq:
            return super().forward(input, offsets, per_sample_weights)
        self.scale_grad_by_freq = False
        with torch.no_grad():  # checks, and rescales rows that are too long
            found = super().forward(input, offsets, per_sample_weights)
        self.scale_grad_by_freq = True
        rising = torch.arange(len(input), device=input.device)
        if offsets is None:
            bag = rising.repeat_interleave(input.shape[1])
        else:
            bag = torch.searchsorted(offsets, rising, right=True) - 1
        index = input.reshape(-1)
        counts = index != (-1 if self.padding_idx is None else self.padding_idx)
        index, bag = index[counts], bag[counts]
        rows = nn.functional.embedding(index, self.weight, scale_grad_by_freq=True)
        if per_sample_weights is not None:
            rows = rows * per_sample_weights.reshape(-1)[counts, None]
        if self.mode == "mean":
            rows = rows / torch.bincount(bag)[bag, None]
        return torch.zeros_like(found).index_add(0, bag, rows)


class GridSample(nn.Module):
    """Images read at the places of a grid: torch's functional."""

    def __init__(
        self,
        mode: str = "bilinear",
        padding_mode: str = "zeros",
        align_corners: bool | None = None,
    ) -> None:
        super().__init__()
        self.mode, self.padding_mode = mode, padding_mode
        self.align_corners = bool(align_corners)

    def forward(self, input: Tensor, grid: Tensor) -> Tensor:
        options = self.mode, self.padding_mode, self.align_corners
        return nn.functional.grid_sample(input, grid, *options)


class AffineGrid(nn.Module):
    """The grid of an affine map: torch's functional."""

    def __init__(self, size: Sequence[int], align_corners: bool | None = None) -> None:
        super().__init__()
        self.size, self.align_corners = list(size), bool(align_corners)

    def forward(self, theta: Tensor) -> Tensor:
        return nn.functional.affine_grid(theta, self.size, self.align_corners)


class WeightNorm(nn.Module):
    """Torch's module under its own parametrisation: this class makes one and is none."""

    def __new__(cls, module: Mapping[str, Any], name: str = "weight", dim: int | None = 0) -> Any:
        return parametrizations.weight_norm(_module(module), name, dim)  # type: ignore[arg-type]


class SpectralNorm(nn.Module):
    """Torch's module under its own parametrisation; u and v start from 1, 2, 3 …, not at random."""

    def __new__(cls, module: Mapping[str, Any], name: str = "weight", **options: Any) -> Any:
        made = parametrizations.spectral_norm(_module(module), name, **options)
        for key, vector in made.named_buffers():
            if key.endswith(("0._u", "0._v")):
                rising = torch.arange(1, len(vector) + 1, dtype=torch.float64)
                made.get_buffer(key).copy_(rising / rising.norm())
        return made


def _module(table: Mapping[str, Any]) -> nn.Module:
    return getattr(nn, table["type"])(**{k: v for k, v in table.items() if k != "type"})
