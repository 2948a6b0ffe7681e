"""What the recurrent cells share: one step of the walk that the layers make along a sequence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from manual.arguments import check_size
from manual.layer import Array, Arrays, Layer
from manual.recurrent.refusals import check_cell_inputs
from manual.recurrent.unrolled import Past, States, Unit, Weights, run, run_backward


class CellCache(NamedTuple):
    past: Past
    batched: bool
    given: bool  # whether initial states were


class RecurrentCell(Layer):
    """A cell over the parameters W, U and their two biases; a class says which unit it is."""

    unit: Unit

    def _build(self, input_size: int, hidden_size: int, bias: bool) -> None:
        """Set the sizes, and parameters of zeros."""
        self.input_size, self.hidden_size = input_size, hidden_size
        for name in ("input_size", "hidden_size"):
            check_size(self, name, least=0)
        rows = self.unit.gates * hidden_size
        shapes = {"weight_ih": (rows, input_size), "weight_hh": (rows, hidden_size)}
        if bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}  # type: ignore[dict-item]
        self.params = {key: np.zeros(shape) for key, shape in shapes.items()}

    def _step(self, input: Array, given: Mapping[str, Array | None]) -> tuple[States, CellCache]:
        """Return the states after the step, in the layout of the input.

        Args:
            input: (N, I) or (I,).
            given: the states before by name, (N, H) or (H,); all of them or none.
        """
        check_cell_inputs(self, input, given)
        batched, found = input.ndim == 2, tuple(given.values())
        x = input if batched else input[None]  # (N, I)
        zeros = np.zeros_like(x, shape=(len(x), self.hidden_size))
        states = tuple(zeros if s is None else s if batched else s[None] for s in found)
        _, after, past = run(self.unit, x[None], states, self._weights())
        return _laid_out(after, batched), CellCache(past, batched, found[0] is not None)

    def _step_back(
        self, grad_output: tuple[Array | None, ...], cache: CellCache
    ) -> tuple[tuple[Array | None, ...], Arrays]:
        """Return the gradients of the input and the states, and those of the parameters."""
        zeros = np.zeros_like(cache.past.h[0])  # (N, H)
        ups = [zeros if d is None else d if cache.batched else d[None] for d in grad_output]
        dstates = (zeros, *ups[1:])
        back = run_backward(self.unit, ups[0][None], dstates, self._weights(), cache.past)
        grads = dict(zip(self.params, (g for g in back.weights if g is not None), strict=True))
        states = _laid_out(back.states, cache.batched) if cache.given else (None,) * len(ups)
        return (*_laid_out((back.x[0],), cache.batched), *states), grads  # type: ignore[index]

    def _weights(self) -> Weights:
        own = self.params
        return Weights(*(own.get(k) for k in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")))

    def variants(self, cache: CellCache) -> tuple[str, ...]:
        """Return which equations hold for a pass: those with a state before, or without."""
        return ("given state",) if cache.given else ()

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + (
            "" if "bias_ih" in self.params else ", bias=False"
        )


def _laid_out(states: States, batched: bool) -> States:
    """Return arrays (N, ·) without the batch axis if the input had none."""
    return states if batched else tuple(s[0] for s in states)
