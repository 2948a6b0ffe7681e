"""Modules of a Neural Turing Machine that torch.nn lacks, written with torch operations only."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class MemoryRead(nn.Module):
    """Rows of a memory, weighted and added up."""

    def forward(self, memory: Tensor, weights: Tensor) -> Tensor:
        return torch.einsum("...nm,...n->...m", memory, weights)


class MemoryErase(nn.Module):
    """A memory times 1 - w eᵀ."""

    def forward(self, memory: Tensor, weights: Tensor, erase: Tensor) -> Tensor:
        return memory * (1 - weights.unsqueeze(-1) * erase.unsqueeze(-2))


class MemoryAdd(nn.Module):
    """A memory plus w aᵀ."""

    def forward(self, memory: Tensor, weights: Tensor, add: Tensor) -> Tensor:
        return memory + torch.einsum("...n,...m->...nm", weights, add)


class Interpolation(nn.Module):
    """A gate between two weightings; without the old one, that is all on the first place."""

    def forward(self, new: Tensor, gate: Tensor, old: Tensor | None = None) -> Tensor:
        if old is None:
            first = torch.zeros(new.shape[-1], dtype=torch.long, device=new.device)[:1]
            old = nn.functional.one_hot(first[0], new.shape[-1]).to(new).expand_as(new)
        return torch.lerp(old, new, gate)


class CircularConvolution(nn.Module):
    """A weighting moved by -K … K places around a circle, in the shares of `shift`."""

    def forward(self, weights: Tensor, shift: Tensor) -> Tensor:
        most = shift.shape[-1] // 2
        moved = [weights.roll(by, dims=-1) for by in range(-most, most + 1)]
        return torch.einsum("...nk,...k->...n", torch.stack(moved, dim=-1), shift)


class Sharpening(nn.Module):
    """A weighting to a power, normalised."""

    def forward(self, weights: Tensor, gamma: Tensor) -> Tensor:
        powers = torch.pow(weights, gamma)
        return powers / powers.sum(dim=-1, keepdim=True)


class InitialState(nn.Module):
    """A parameter, the same for every sample of a batch."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.state = nn.Parameter(torch.zeros(tuple(shape)))

    def forward(self, like: Tensor) -> Tensor:
        """Return a copy for each sample: a view would change with the next update."""
        return self.state.repeat(len(like), *[1] * self.state.ndim)
