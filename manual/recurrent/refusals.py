"""What recurrent layers and cells refuse, and what they say about it."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

from manual.arguments import check_size
from manual.layer import Array


def check_arguments(layer: Any) -> None:
    """Refuse sizes that do not fit, options neither True nor False, and a wrong probability."""
    who = type(layer).__name__
    for name in ("input_size", "hidden_size", "num_layers"):
        check_size(layer, name, least=1)
    for name in ("bias", "batch_first", "bidirectional"):
        if not isinstance(getattr(layer, name), bool):
            value = getattr(layer, name)
            raise TypeError(f"{who}: {name} must be True or False, received {value!r}.")
    p = layer.dropout
    if isinstance(p, bool) or not isinstance(p, Real) or not 0 <= float(p) <= 1:
        raise ValueError(
            f"{who}: dropout is the probability of dropping an element and must lie between 0 and "
            f"1, received {p!r}."
        )
    if not 0 <= layer.proj_size < layer.hidden_size:
        raise ValueError(
            f"{who}: proj_size must be 0 (no projection) or from 1 to hidden_size - 1 = "
            f"{layer.hidden_size - 1}, received {layer.proj_size}."
        )


def check_inputs(
    layer: Any, input: Array, states: Mapping[str, Array | None], lengths: Array | None
) -> None:
    """Refuse a sequence, initial states or lengths that do not fit."""
    who = type(layer).__name__
    time = 1 if input.ndim == 3 and layer.batch_first else 0
    if not (input.ndim in (2, 3) and input.shape[-1] == layer.input_size and input.shape[time] > 0):
        layout = "(N, T, I)" if layer.batch_first else "(T, N, I)"
        raise ValueError(
            f"{who}: the input must be {layout} or unbatched (T, I), with T > 0 and I = input_size "
            f"= {layer.input_size}, received shape {tuple(input.shape)}. Set batch_first, or "
            "input_size, to what the data are."
        )
    _check_together(who, states)
    batch = () if input.ndim == 2 else (input.shape[1 - time],)
    for (name, state), size in zip(states.items(), layer.state_sizes, strict=True):
        expected = (layer.directions * layer.num_layers, *batch, size)
        if state is not None and tuple(state.shape) != expected:
            raise ValueError(
                f"{who}: {name} must have the shape (D · num_layers, N, size) = {expected}, "
                f"received {tuple(state.shape)}. It stays so with batch_first; N is left out for "
                "an unbatched input."
            )
    if lengths is not None:
        _check_lengths(who, lengths, batch, input.shape[time])


def _check_lengths(who: str, lengths: Array, batch: tuple[int, ...], steps: int) -> None:
    if lengths.dtype.kind != "i":
        raise TypeError(f"{who}: lengths must be whole numbers, received {lengths.dtype}.")
    if not batch or tuple(lengths.shape) != batch:
        fits = f"one number for each of the {batch[0]} sequences" if batch else "a batched input"
        raise ValueError(f"{who}: lengths need {fits}, received shape {tuple(lengths.shape)}.")
    wrong = lengths[(lengths < 1) | (lengths > steps)]
    if wrong.size:
        raise ValueError(
            f"{who}: every length must lie between 1 and T = {steps}, received {wrong[0]}. Leave "
            "empty sequences out."
        )


def check_cell_inputs(layer: Any, input: Array, states: Mapping[str, Array | None]) -> None:
    """Refuse an input or states of a cell that do not fit."""
    who = type(layer).__name__
    if not (input.ndim in (1, 2) and input.shape[-1] == layer.input_size):
        raise ValueError(
            f"{who}: the input must be (N, I) or unbatched (I,) with I = input_size = "
            f"{layer.input_size}, received shape {tuple(input.shape)}."
        )
    _check_together(who, states)
    expected = (*input.shape[:-1], layer.hidden_size)
    for name, state in states.items():
        if state is not None and tuple(state.shape) != expected:
            raise ValueError(
                f"{who}: {name} must have the shape {expected}, for this input and hidden_size = "
                f"{layer.hidden_size}, received {tuple(state.shape)}."
            )


def _check_together(who: str, states: Mapping[str, Array | None]) -> None:
    given = [name for name, state in states.items() if state is not None]
    if given and len(given) < len(states):
        (missing,) = states.keys() - set(given)
        raise ValueError(
            f"{who}: {' and '.join(states)} come together, received {given[0]} alone. Pass zeros "
            f"as {missing}."
        )
