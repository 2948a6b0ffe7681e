"""A recurrent layer on packed rows: sequences of several lengths as a PackedSequence holds them."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np

from manual.gates.places import TakeGate
from manual.layer import Array, Arrays, Layer, Noise
from manual.recurrent.stack import Recurrent

__all__: list[str] = []  # it is tried as the layer that it holds


class PackedCache(NamedTuple):
    unpack: Any
    own: Any
    pack: Any
    given: int  # how many first states were


class PackedRecurrent(Layer):
    """Rows laid out over (T, N), the layer with lengths, rows again.

    Shapes: rows (Σ lengths, I): step by step, at each step the sequences that are not over, longest
    first. States (D layers, N, ·) are in the order of the batch.

    Args:
        layer: RNN, LSTM or GRU, time first.
        batch_sizes: how many sequences there are at each step, (T,).
        order: which sequence is the longest, the second, …; None: they are in this order.
    """

    stochastic = True

    def __init__(self, layer: Recurrent, batch_sizes: Array, order: Array | None = None) -> None:
        self.layer, self.params, self.outputs = layer, layer.params, layer.outputs
        self.training, self.chances = layer.training, layer.chances
        sizes = np.asarray(batch_sizes)
        n = np.arange(sizes[0])
        active = n < sizes[:, None]  # (T, N)
        self.lengths, self.active = active.sum(axis=0), active
        self.places = np.where(active, (np.cumsum(sizes) - sizes)[:, None] + n, -1)
        self.order = np.arange(sizes[0]) if order is None else np.asarray(order)

    def forward(self, input: Array, *states: Array | None, noise: Noise = None) -> Any:
        """Return what the layer does: the output as rows, the last states."""
        x, unpack = _wide(self.places, input.shape[1]).forward(input)
        first = (None if h is None else h[:, self.order] for h in states)
        given = dict(zip(self.outputs[1:], first, strict=False))
        named = {key.replace("_n", "_0"): h for key, h in given.items()}
        (y, *last), own = self.layer.forward(x, lengths=self.lengths, noise=noise, **named)
        rows, pack = _wide(self._back, y.shape[2]).forward(y)
        back = np.argsort(self.order)
        return (rows, *(h[:, back] for h in last)), PackedCache(unpack, own, pack, len(states))

    def backward(self, grad_output: Any, cache: PackedCache) -> tuple[tuple[Any, ...], Arrays]:
        """Chain rule: places are given back (`TakeGate`), states reordered, the layer between.

        Torch: nn.RNN, nn.LSTM and nn.GRU on a PackedSequence.
        """
        drows, *dlast = grad_output
        back = np.argsort(self.order)
        dy = None
        if drows is not None:
            ((dy,), _) = _wide(self._back, drows.shape[1]).backward(drows, cache.pack)
        own = (dy, *(None if d is None else d[:, self.order] for d in dlast))
        (dx, *dfirst), grads = self.layer.backward(own, cache.own)
        ((dinput,), _) = _wide(self.places, dx.shape[2]).backward(dx, cache.unpack)
        states = dfirst[: cache.given]
        return (dinput, *(None if d is None else d[:, back] for d in states)), grads

    @property
    def _back(self) -> Array:
        """Return which place (t, n) of (T, N) each row comes from, (Σ lengths,)."""
        return np.flatnonzero(self.active)

    def with_params(self, params: Arrays) -> Self:
        return self._twin(params=dict(params), layer=self.layer.with_params(params))

    def train(self, mode: bool = True) -> Self:
        return self._twin(layer=self.layer.train(mode), training=mode)

    def __repr__(self) -> str:
        return f"packed {self.layer!r}"


def _wide(rows: Array, width: int) -> TakeGate:
    """Return the gate that takes whole rows of this width; -1 is a row of zeros."""
    columns = np.arange(width)
    return TakeGate(np.where(rows[..., None] < 0, -1, rows[..., None] * width + columns))
