"""What LSTM refuses, and what it says about it."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING

from manual.layer import Array

if TYPE_CHECKING:
    from manual.recurrent.lstm import LSTM


def check_arguments(layer: LSTM) -> None:
    """Refuse sizes below 1, a probability that is none, and a projection that is too large."""
    for name in ("input_size", "hidden_size", "num_layers"):
        size = getattr(layer, name)
        if not isinstance(size, Integral):
            raise TypeError(f"LSTM: {name} must be a whole number, received {size!r}.")
        if size < 1:
            raise ValueError(f"LSTM: {name} must be at least 1, received {size}.")
    for name in ("bias", "batch_first", "bidirectional"):
        if not isinstance(getattr(layer, name), bool):
            value = getattr(layer, name)
            raise TypeError(f"LSTM: {name} must be True or False, received {value!r}.")
    if not 0 <= layer.dropout <= 1:
        raise ValueError(
            "LSTM: dropout is the probability of dropping an element and must lie between 0 and 1, "
            f"received {layer.dropout}."
        )
    if not 0 <= layer.proj_size < layer.hidden_size:
        raise ValueError(
            "LSTM: proj_size must be 0 (no projection) or from 1 to hidden_size - 1 = "
            f"{layer.hidden_size - 1}, received {layer.proj_size}."
        )


def check_inputs(layer: LSTM, input: Array, h_0: Array | None, c_0: Array | None) -> None:
    """Refuse a sequence or initial states whose shapes do not fit."""
    time = 1 if input.ndim == 3 and layer.batch_first else 0
    if not (input.ndim in (2, 3) and input.shape[-1] == layer.input_size and input.shape[time] > 0):
        layout = "(N, T, I)" if layer.batch_first else "(T, N, I)"
        raise ValueError(
            f"LSTM: the input must be {layout} or unbatched (T, I), with T > 0 and I = input_size "
            f"= {layer.input_size}, received shape {tuple(input.shape)}. Set batch_first, or "
            "input_size, to what the data are."
        )
    if (h_0 is None) != (c_0 is None):
        given, missing = ("h_0", "c_0") if c_0 is None else ("c_0", "h_0")
        raise ValueError(
            f"LSTM: h_0 and c_0 come together, received {given} alone. Pass zeros as {missing}."
        )
    if h_0 is not None:
        _check_state(layer, "h_0", h_0, input, layer.output_size)
        _check_state(layer, "c_0", c_0, input, layer.hidden_size)


def _check_state(layer: LSTM, name: str, state: Array, input: Array, size: int) -> None:
    batch = () if input.ndim == 2 else (input.shape[0 if layer.batch_first else 1],)
    expected = (layer.directions * layer.num_layers, *batch, size)
    if tuple(state.shape) != expected:
        raise ValueError(
            f"LSTM: {name} must have the shape (D · num_layers, N, size) = {expected}, received "
            f"{tuple(state.shape)}. It stays so with batch_first; N is left out for an unbatched "
            "input."
        )
