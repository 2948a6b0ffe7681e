"""What every optimiser shares: one step over all parameters, argument checks, coupled decay."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from manual.arguments import Checked
from manual.graph import Array, Arrays

__all__ = ["Optimizer", "State", "States", "decayed", "nonnegative"]

State = dict[str, Any]  # torch's state names; {} before the first step
NEW: State = {}  # offers no memory: results are fresh arrays
LARGE = 1 << 22  # bytes: larger arrays are updated in blocks
BLOCK = 1 << 17  # elements of a block
States = dict[str, State]  # by the parameter's dotted name


class Optimizer(Checked, ABC):
    """One rule for moving a parameter against its gradient; it holds settings, never state."""

    lr: float
    equations: ClassVar[Mapping[str, str]] = {}  # by `param` and `state:<name>`; as a layer's
    symbols: ClassVar[Mapping[str, str]] = {}
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ()  # settings to try

    def variants(self, state: State) -> tuple[str, ...]:
        """Return the variants of the equations that hold, where only the state can tell."""
        return ()

    def initial(self, name: str) -> float:
        """Return what an entry of the state begins with."""
        return 0.0

    elementwise: ClassVar[bool] = False  # each element by itself: parameters may lie end to end
    blockwise: ClassVar[bool] = False  # also in many passes over memory: update takes `out`

    @abstractmethod
    def update(self, param: Array, grad: Array, state: State, lr: float) -> tuple[Array, State]:
        """Return `(new_param, new_state)`, fresh arrays; `state` is {} before the first step.

        A blockwise rule also takes `out`, memory to write them into: the parameter under `param`,
        state under its names.
        """

    def step(
        self,
        params: Mapping[str, Array],
        grads: Mapping[str, Array],
        states: Mapping[str, State],
        lr: float | None = None,
    ) -> tuple[Arrays, States]:
        """Update every parameter once.

        Args:
            params, grads: by dotted name; gradients of other names are ignored.
            states: each parameter's state; {} before the first step.
            lr: this step's learning rate, for schedules; None takes the optimiser's own.

        Returns:
            `(new_params, new_states)`, with the keys of `params`.

        Raises:
            ValueError: a parameter has no gradient, or one of another shape.
        """
        rate = self.lr if lr is None else float(lr)
        new_params, new_states = {}, {}
        for name, param in params.items():
            grad = self._gradient(name, param, grads)
            state = states.get(name, {})
            new_params[name], new_states[name] = self.updated(param, grad, state, rate)
        return new_params, new_states

    def updated(self, param: Array, grad: Array, state: State, lr: float) -> tuple[Array, State]:
        """Return what `update` returns, in blocks where that is faster."""
        large = type(param) is np.ndarray and param.nbytes > LARGE
        if large and self.blockwise and state:  # the first step makes the state
            return in_blocks(self, param, grad, state, lr)
        return self.update(param, grad, state, lr)

    def _gradient(self, name: str, param: Array, grads: Mapping[str, Array]) -> Array:
        if name not in grads:
            raise ValueError(
                f"{type(self).__name__}: every parameter needs a gradient, and '{name}' has none; "
                f"received gradients of {', '.join(grads) or 'nothing'}. Run backward over the "
                "whole network, or leave the parameter out of the step."
            )
        grad = grads[name]
        if grad.shape != param.shape:
            raise ValueError(
                f"{type(self).__name__}: the gradient of '{name}' must have the parameter's shape "
                f"{tuple(param.shape)}, received {tuple(grad.shape)}. Sum it over the axes that "
                "broadcasting added, or transpose it."
            )
        return grad


def in_blocks(
    optimizer: Optimizer, param: Array, grad: Array, state: State, lr: float
) -> tuple[Array, State]:
    """Return what `update` returns, worked out block by block into fresh arrays.

    A formula passes over its arrays once per operation: over a block, it does so in the cache.
    """
    arrays = {key: v.reshape(-1) for key, v in state.items() if np.ndim(v)}
    arrays |= {"param": param.reshape(-1), "grad": grad.reshape(-1)}
    made = {key: np.empty_like(v) for key, v in arrays.items() if key != "grad"}
    for start in range(0, param.size, BLOCK):
        block = slice(start, start + BLOCK)
        part = state | {key: v[block] for key, v in arrays.items()}
        out = {key: v[block] for key, v in made.items()}
        own = part.pop("param"), part.pop("grad"), part, lr
        _, new_state = optimizer.update(*own, out=out)  # type: ignore[call-arg]
    shaped = {key: v.reshape(param.shape) for key, v in made.items()}
    return shaped.pop("param"), new_state | shaped


def decayed(param: Array, grad: Array, weight_decay: float) -> Array:
    """Return g + λ θ, the gradient of loss + λ/2 ‖θ‖²; the gradient itself when λ = 0."""
    if weight_decay == 0:
        return grad
    g = param * weight_decay
    g += grad
    return g


def nonnegative(optimizer: Optimizer, *names: str) -> None:
    """Check settings, and keep them as Python numbers: a np.float64 would widen float32 arrays."""
    for name in names:
        value = getattr(optimizer, name)
        if not isinstance(value, Real) or not float(value) >= 0:  # nan is not
            raise ValueError(
                f"{type(optimizer).__name__}: {name} must be a number of at least 0, "
                f"received {value!r}."
            )
        object.__setattr__(optimizer, name, float(value))
