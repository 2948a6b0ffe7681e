"""torch.nn's recurrent layers, called with the lengths of padded sequences: packed, run, padded."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

__all__ = ["GRU", "LSTM", "RNN"]


class _Packing(nn.Module):
    """The stock layer behind it; with lengths, between packing and padding."""

    batch_first: bool

    def forward(self, input: Tensor, hx: Any = None, *, lengths: Tensor | None = None) -> Any:
        """Return what torch's forward does; the output is 0 where a sequence is over."""
        if lengths is None:
            return super().forward(input, hx)
        packed = pack_padded_sequence(input, lengths.cpu(), self.batch_first, enforce_sorted=False)
        output, states = super().forward(packed, hx)
        steps = input.shape[1 if self.batch_first else 0]
        return pad_packed_sequence(output, self.batch_first, total_length=steps)[0], states


class RNN(_Packing, nn.RNN):
    """torch.nn.RNN."""


class LSTM(_Packing, nn.LSTM):
    """torch.nn.LSTM."""


class GRU(_Packing, nn.GRU):
    """torch.nn.GRU."""
