"""Masks and positions: what other layers need beside numbers. Nothing has a gradient here.

They are layers of a network, and are compared as such; a class whose backward is empty has nothing
to be certified.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from manual.layer import Array, Arrays, Layer

__all__ = ["CausalMask", "Positions"]

GROUP = "mask"


class MaskCache(NamedTuple):
    """Nothing is needed: there is no gradient."""


class CausalMask(Layer):
    """Who may not see whom in a sequence that is read from its start: True where s comes after l.

    Args:
        dim: the input's axis that time runs along.

    The output (T, T) is a mask for MultiheadAttention and Transformer; of the input only the length
    matters.

    Raises:
        ValueError: there is no such axis.
    """

    equations = {"output": "m[l,s] = (s > l)"}

    def __init__(self, dim: int = 1) -> None:
        self.dim = dim

    def forward(self, input: Array) -> tuple[Array, MaskCache]:  # type: ignore[override]
        if not -input.ndim <= self.dim < input.ndim:
            raise ValueError(f"CausalMask: {self.dim} is no axis of an input {tuple(input.shape)}.")
        step = np.arange(input.shape[self.dim])
        return step > step[:, None], MaskCache()

    def backward(self, grad_output: Array, cache: MaskCache) -> tuple[tuple[None], Arrays]:
        r"""No gradient: the mask does not change with the input's numbers.

        Torch: nn.Transformer.generate_square_subsequent_mask, which writes 0 and -inf.
        Source: Vaswani et al., Attention Is All You Need, 2017, section 3.2.3.
        """
        return (None,), {}

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Positions(Layer):
    """The place of each element in its sequence, 0 … T - 1: for an Embedding of places.

    The input is (N, T, …), the output (N, T) of whole numbers.

    Raises:
        ValueError: the input has no axis of time.
    """

    equations = {"output": "p[n,t] = t"}

    def forward(self, input: Array) -> tuple[Array, MaskCache]:  # type: ignore[override]
        if input.ndim < 2:
            raise ValueError(f"Positions: takes (N, T, …), received shape {tuple(input.shape)}.")
        n, length = input.shape[:2]
        return np.tile(np.arange(length), (n, 1)), MaskCache()

    def backward(self, grad_output: Array, cache: MaskCache) -> tuple[tuple[None], Arrays]:
        r"""No gradient: places do not change with the input's numbers.

        Torch: torch.arange(T).expand(N, T); torch.nn has no module for it.
        Source: Radford et al., Improving Language Understanding by Generative Pre-Training, 2018,
        section 4.1: learned position embeddings.
        """
        return (None,), {}
