"""What every optimiser shares: one step over all parameters, weight decay, argument checks."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from manual.arguments import Checked
from manual.graph import Array, Arrays

__all__ = ["Optimizer", "State", "States", "as_number", "as_numbers", "check_betas", "nonnegative",
           "number", "single"]  # fmt: skip

State = dict[str, Any]  # torch's state names; {} before the first step
NEW: State = {}  # offers no memory: results are fresh arrays
LARGE = 1 << 19  # elements: larger arrays are updated in blocks
BLOCK = 1 << 17  # elements of a block
States = dict[str, State]  # by the parameter's dotted name


class Optimizer(Checked, ABC):
    """One rule for moving a parameter against its gradient; it holds settings, never state."""

    lr: float
    equations: ClassVar[Mapping[str, str]] = {}  # by `param` and `state:<name>`; as a layer's
    symbols: ClassVar[Mapping[str, str]] = {}
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ()  # settings to try

    def variants(self, param: Array, state: State) -> tuple[str, ...]:
        """Return the variants of the equations that hold, where only these can tell."""
        return ()

    def named(self, param: Array, grad: Array, state: State) -> dict[str, tuple[Any, str]]:
        """Return what else equations read, and what it is: by name."""
        return {}

    def initial(self, name: str, lr: float) -> float:
        """Return what an entry of the state begins with, at this learning rate."""
        return 0.0

    elementwise: ClassVar[bool] = False  # each element by itself: parameters may lie end to end
    blockwise: ClassVar[bool] = False  # also in many passes over memory: update takes `out`
    matrices_only: ClassVar[bool] = False
    needs: ClassVar[str] = ""  # what a run of one dense gradient a step does not give it
    implementations: ClassVar[tuple[str, ...]] = ("foreach", "capturable", "differentiable")
    """Torch's arguments that choose how it computes this one rule."""

    weight_decay: float = 0.0
    maximize: bool = False
    decoupled_weight_decay: bool = False

    def direction(self, param: Array, grad: Array) -> Array:
        """Return g, what the rule descends along: ± ∂L/∂θ + λ θ.

        Minus to maximise; λ θ, the gradient of λ/2 ‖θ‖², unless the decay is decoupled.
        """
        g = -grad if self.maximize else grad
        if self.weight_decay == 0 or self.decoupled_weight_decay:
            return g
        decayed = param * self.weight_decay
        decayed += g
        return decayed

    def shrunk(self, param: Array, lr: float) -> Array:
        """Return what the step starts from: θ, or (1 - η λ) θ where the decay is decoupled."""
        return param * (1 - lr * self.weight_decay) if self.decoupled_weight_decay else param

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
        """Update every parameter once; one without a gradient stays as it is, as in torch.

        Args:
            params, grads: by dotted name; gradients of other names are ignored.
            states: each parameter's state; {} before the first step.
            lr: this step's learning rate, for schedules; None takes the optimiser's own.

        Returns:
            `(new_params, new_states)`, with the keys of `params`.

        Raises:
            ValueError: a gradient has another shape than its parameter, or a parameter has none
                while there is one under a name that no parameter has.
        """
        rate = self.lr if lr is None else float(lr)
        new_params, new_states = dict(params), {name: states.get(name, {}) for name in params}
        for name in self.moved(params, grads):
            rule = self.rule_for(name)
            found = rule.updated(params[name], grads[name], new_states[name], rate)
            new_params[name], new_states[name] = found
        return new_params, new_states

    def rule_for(self, name: str) -> Optimizer:
        """Return what moves the parameter of this name: itself, where there are no groups."""
        return self

    def moved(self, params: Mapping[str, Array], grads: Mapping[str, Array]) -> list[str]:
        """Return the names of the parameters that have a gradient; raise as `step` does."""
        names = [name for name in params if grads.get(name) is not None]
        if len(names) < len(params) and grads.keys() - params.keys():
            self._refuse_names(params, grads)
        for name in names:
            self._check_shape(name, params[name], grads[name])
        return names

    def updated(self, param: Array, grad: Array, state: State, lr: float) -> tuple[Array, State]:
        """Return what `update` returns, in blocks where that is faster."""
        large = math.prod(param.shape) > LARGE
        if large and self.blockwise and state:  # the first step makes the state
            return in_blocks(self, param, grad, state, lr)
        return self.update(param, grad, state, lr)

    def _refuse_names(self, params: Mapping[str, Array], grads: Mapping[str, Array]) -> None:
        without = ", ".join(f"'{name}'" for name in params if grads.get(name) is None)
        unknown = ", ".join(f"'{name}'" for name in grads if name not in params)
        raise ValueError(
            f"{type(self).__name__}: {without} would stay as it is, having no gradient, but there "
            f"is a gradient of {unknown}, which is no parameter. Name it as its parameter."
        )

    def _check_shape(self, name: str, param: Array, grad: Array) -> None:
        if grad.shape != param.shape:
            raise ValueError(
                f"{type(self).__name__}: the gradient of '{name}' must have the parameter's shape "
                f"{tuple(param.shape)}, received {tuple(grad.shape)}. Sum it over the axes that "
                "broadcasting added, or transpose it."
            )


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


def nonnegative(optimizer: Optimizer, *names: str) -> None:
    """Check settings, and keep them as Python numbers: a np.float64 would widen float32 arrays."""
    for name in names:
        value = number(optimizer, name)
        if not value >= 0:  # nan is not
            raise ValueError(
                f"{type(optimizer).__name__}: {name} must be a number of at least 0, "
                f"received {value!r}."
            )


def number(optimizer: Optimizer, name: str) -> float:
    """Return a setting, kept as a Python float; an array or a tensor of one element is one."""
    given = getattr(optimizer, name)
    value = as_number(given)
    if value is None:
        raise ValueError(
            f"{type(optimizer).__name__}: {name} must be a number, received {given!r}."
        )
    object.__setattr__(optimizer, name, value)
    return value


def as_number(value: Any) -> float | None:
    """Return a number or an array's one element as a float; None for anything else."""
    if not isinstance(value, Real) and math.prod(getattr(value, "shape", (0,))) == 1:
        value = value.item()
    return float(value) if isinstance(value, Real) else None


def as_numbers(values: Any) -> tuple[float | None, ...]:
    """Return several as `as_number` does; none of what is not several."""
    return tuple(map(as_number, values)) if isinstance(values, Iterable) else ()


def check_betas(optimizer: Any) -> None:
    """Check `betas`, the shares of two running averages, and keep them as floats."""
    betas = as_numbers(optimizer.betas)
    whole = bool(betas) and any(isinstance(b, int) for b in optimizer.betas)  # so 1 is no slip
    if len(betas) != 2 or whole or not all(b is not None and 0 <= b < 1 for b in betas):
        raise ValueError(
            f"{type(optimizer).__name__}: betas must be two floats in [0, 1), received "
            f"{optimizer.betas!r}. The usual values are (0.9, 0.999); write 0 as 0.0."
        )
    object.__setattr__(optimizer, "betas", betas)


def single(x: Any) -> Any:
    """Return a float as torch keeps a state of one number: in float32. Exact numbers stay so."""
    return float(np.float32(x)) if isinstance(x, float) else x
