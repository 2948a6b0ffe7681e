"""torch.nn's recurrent layers, called with the lengths of padded sequences: packed, run, padded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

__all__ = ["GRU", "LSTM", "RNN", "call_of"]


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


class RNN(_Packing, nn.RNN):  # type: ignore[misc]
    """torch.nn.RNN."""


class LSTM(_Packing, nn.LSTM):  # type: ignore[misc]
    """torch.nn.LSTM."""


class GRU(_Packing, nn.GRU):  # type: ignore[misc]
    """torch.nn.GRU."""


def call_of(module: nn.Module, inputs: Sequence[Any]) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Return a layer's or cell's arguments from those of the hand-written forward, left out or not.

    The two states of an LSTM are one argument, and lengths are given by name.
    """
    count = 2 if isinstance(module, nn.LSTM | nn.LSTMCell) else 1
    x, states, rest = inputs[0], tuple(inputs[1 : count + 1]), inputs[count + 1 :]
    given = bool(states) and states[0] is not None
    places = (x, states if count == 2 else states[0]) if given else (x,)
    return places, {"lengths": rest[0]} if rest and rest[0] is not None else {}
