"""What a recurrent network begins with, if that is learned: InitialState."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from manual.examples import Example
from manual.layer import Array, Arrays, Layer
from manual.linear import NoCache

__all__ = ["InitialState"]


class InitialState(Layer):
    """A learned state, the same for every sample of a batch: what a recurrent network begins with.

    Args:
        shape: of one sample's state.

    Input: `like` (B, …), which counts by its number of samples alone. Output: (B, *shape).
    Parameter: `state` (*shape,).

    Raises:
        ValueError: a length is negative, or the input has no axis of samples.
    """

    equations = {
        "output": "y[b,i] = s[i]",
        "output/two axes": "y[b,i,j] = s[i,j]",
        "grad:state": "ds[i] = sum(b, dy[b,i])",
        "grad:state/two axes": "ds[i,j] = sum(b, dy[b,i,j])",
    }
    symbols = {"s": "state"}
    examples = (
        Example({"shape": (3,)}, ((2, 4),), fixed=("like",)),
        Example({"shape": (2, 3)}, ((4,),), fixed=("like",)),
    )

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = tuple(shape)
        if any(n < 0 for n in self.shape):
            raise ValueError(f"InitialState: no length may be negative, received {self.shape}.")
        self.params = {"state": np.zeros(self.shape)}

    def forward(self, like: Array) -> tuple[Array, NoCache]:  # type: ignore[override]
        if not like.ndim:
            raise ValueError(
                "InitialState: takes a batch, whose first axis counts samples; got ()."
            )
        state = self.params["state"]
        return np.stack([state] * len(like)), NoCache()

    def backward(self, grad_output: Array, cache: NoCache) -> tuple[tuple[None], Arrays]:
        r"""Chain rule through y_b = s for every sample b.

        Shapes: s (…), y and dy (B, …).
        One s feeds B samples, and gradients add at branches   ->   ds = Σ_b dy_b
        The input counts by its length alone, and has no gradient.
        Torch has no module for it: nn.Parameter and expand.
        Source: Graves, Wayne, Danihelka, Neural Turing Machines (2014), section 4: learned biases.
        """
        return (None,), {"state": grad_output.sum(axis=0)}

    def variants(self, cache: NoCache) -> tuple[str, ...]:
        return ("two axes",) if len(self.shape) == 2 else ()

    def extra_repr(self) -> str:
        return f"shape={self.shape}"
