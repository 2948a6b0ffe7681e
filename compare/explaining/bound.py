"""What the names in an equation stand for: an object's own numbers, found by its `symbols`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Number
from typing import Any

import numpy as np

from compare.explaining.equations import Equation
from compare.explaining.evaluate import head
from compare.pair.example import argument_names

At = tuple[int, ...]
FUNCTIONS = {
    "fold": "the same element's index in the other shape",
    "Phi": "the normal distribution function",
    "phi": "its density, e^(−x²/2) / √(2π)",
    "single": "rounded to float32, as torch keeps it",
}
WORDS = {
    "size": "the number of elements", "shape.0": "the number of samples",
    "shape.1": "the number of classes",
}  # fmt: skip


def _same(at: At) -> At:
    return at


@dataclass
class Bound:
    """The names of one equation.

    Attributes:
        arrays, scalars: by name, as the equation reads them.
        means: what the names stand for, in words.
        at: from a tensor's index to the equation's.
        fold: for `fold(i)`.
    """

    arrays: dict[str, Any] = field(default_factory=dict)
    scalars: dict[str, Any] = field(default_factory=dict)
    means: dict[str, str] = field(default_factory=dict)
    at: Callable[[At], At] = _same
    fold: Callable[[Any], Any] | None = None

    def add(self, name: str, value: Any, means: str) -> None:
        """Bind a name to an array or a number; None stands for ones."""
        if value is None:
            self.arrays[name], means = Ones(), f"{means}, all 1"
        elif isinstance(value, np.ndarray) or np.ndim(value):
            self.arrays[name] = np.asarray(value)
        else:
            self.scalars[name] = value
        self.means[name] = means


class Ones:
    """Weights that were not given: 1 wherever they are read."""

    shape = None

    def __getitem__(self, at: At) -> float:
        return 1.0


@dataclass(frozen=True)
class Pass:
    """One pass through a layer or loss, and what is asked of it: a role, by which input.

    Attributes:
        upstream: the gradient of the output, of several a tuple; None: it is not needed, or was
            never computed.
        position: which input, for the gradient of one.
        noise: what the pass drew.
    """

    layer: Any
    role: str
    inputs: tuple[np.ndarray, ...]
    upstream: Any = None
    position: int = 0
    noise: Any = None

    @cached_property
    def cache(self) -> Any:
        """What forward leaves for backward."""
        return self.forward()[1]

    def forward(self) -> tuple[Any, Any]:
        """Run the layer's forward."""
        noise = {"noise": self.noise} if self.layer.stochastic else {}
        return self.layer.forward(*self.inputs, **noise)

    @property
    def arguments(self) -> dict[str, np.ndarray]:
        """The inputs by the names that forward gives them; none if it takes any number."""
        if self.joins:
            return {}
        names = argument_names(self.layer, len(self.inputs))
        return dict(zip(names, self.inputs, strict=True))

    @property
    def joins(self) -> bool:
        """Whether forward takes any number of inputs."""
        kinds = [p.kind for p in inspect.signature(self.layer.forward).parameters.values()]
        return inspect.Parameter.VAR_POSITIONAL in kinds

    def holds(self, part: str) -> bool:
        """Return whether what a variant's name says is true of this pass."""
        layer = self.layer
        if part == "evaluation":
            return not layer.training or (layer.stochastic and self.noise is None)
        if part.startswith("no "):
            return part.removeprefix("no ") not in layer.params
        return said(layer, part) or part in layer.variants(self.cache)

    def bound(self, equation: Equation) -> Bound:
        """Return the names of an equation.

        Raises:
            ValueError: the upstream gradient is needed and missing.
        """
        bound = Bound(means=dict(FUNCTIONS))
        used = equation.used
        if "dy" in used and self.upstream is None:
            raise ValueError("the gradient of this layer's output was not computed")
        for name in sorted(used - equation.definitions.keys()):
            self._bind(bound, name)
        if "fold" in used:
            self._fold(bound)
        self._turn(bound, equation)
        return bound

    def _bind(self, bound: Bound, name: str) -> None:
        layer, symbols = self.layer, self.layer.symbols
        if name in symbols:
            bound.add(name, *self._value(symbols[name]))
        elif name == "dy":
            dy = self.upstream[0] if isinstance(self.upstream, tuple) else self.upstream
            bound.add(name, dy, "the gradient of the loss by this layer's output, ∂L/∂y")
        elif self.joins and name in ("x", "k"):
            self._joined(bound)
        elif name in self.arguments or name == "x":
            value = self.arguments.get(name, self.inputs[self.position])
            bound.add(name, value, "the layer's input")
        elif name in layer.params or name in layer.buffers or hasattr(layer, name):
            bound.add(name, *self._value(name))

    def _joined(self, bound: Bound) -> None:
        if len({x.shape for x in self.inputs}) == 1:
            bound.add("x", np.stack(self.inputs, axis=-1), "the inputs, the last index says which")
        bound.scalars["k"] = self.position

    def _value(self, path: str) -> tuple[Any, str]:
        """Return what a symbol stands for, and its name in words."""
        first, *rest = path.split(".")
        if first == "grad_output":
            port = f" {self.layer.outputs[int(rest[0])]}" if rest else ""
            words = f"the gradient of the loss by this layer's output{port}"
            return follow(self.upstream, rest), words
        if path == "decisions":
            return self.layer.decisions(self.cache), "which element each window took"
        if path in self.layer.params:  # a name with dots: "out_proj.weight"
            return self.layer.params[path], path
        places: list[tuple[str, Any]] = [
            ("cache", None), ("layer", self.layer), *self.layer.params.items(),
            *self.layer.buffers.items(), *self.arguments.items(),
        ]  # fmt: skip
        found = dict(reversed(places))
        if first == "cache":
            value = self.cache
        else:
            value = found[first] if first in found else getattr(self.layer, first)
        words = "the input" if first == "input" else "the target" if first == "target" else path
        words = WORDS.get(".".join(rest), words)
        return follow(value, rest), words.removeprefix("cache.").removeprefix("layer.")

    def _fold(self, bound: Bound) -> None:
        """Number the elements of all inputs, and let forward say where each one goes."""
        ends = np.cumsum([0, *(x.size for x in self.inputs)])
        numbers = [
            np.arange(a, b, dtype=float).reshape(x.shape)
            for a, b, x in zip(ends[:-1], ends[1:], self.inputs, strict=True)
        ]
        moved = self.layer.forward(*numbers)[0]
        if self.role == "output":
            flat = np.concatenate([x.ravel() for x in self.inputs])
            bound.add("x", flat, "the elements of all inputs, in their order")
            bound.fold = lambda at: int(moved[at])
        else:
            own = numbers[self.position]
            bound.fold = lambda at: tuple(int(i) for i in np.argwhere(moved == own[at])[0])

    def _turn(self, bound: Bound, equation: Equation) -> None:
        """Move the axis that an index is bound to (`dim`) behind the others, where there is one."""
        own, left = self.inputs[0].ndim, head(equation.left)[1]
        for index, of in self.layer.symbols.items():
            if of not in ("dim", "cache.dim") or index not in {*left, *equation.used}:
                continue
            axis = self._value(of)[0] % own
            bound.arrays = {
                k: np.moveaxis(a, axis, -1) if np.ndim(a) == own else a
                for k, a in bound.arrays.items()
            }
            if index in left:
                bound.at = (
                    lambda at, axis=axis: (  # type: ignore[misc]
                        (*at[:axis], *at[axis + 1 :], at[axis]) if len(at) == own else at
                    )
                )


def role_of(layer: Any, position: int, count: int) -> str:
    """Return the role of the gradient of one of `count` inputs: its own, or that of all."""
    own = f"grad_{argument_names(layer, count)[position]}"
    return own if own in {key.partition("/")[0] for key in layer.equations} else "grad_input"


def said(owner: Any, part: str) -> bool:
    """Return whether an object's settings say what a variant is called: `p = 1`, `sum`."""
    name, _, wanted = part.partition(" = ")
    value = getattr(owner, name, None)
    if wanted:
        return str(value) in (wanted, f"{wanted}.0")
    texts = [v for v in vars(owner).values() if isinstance(v, str)]
    off = value is None or value is False or (isinstance(value, Number) and value == 0)
    return part in texts or not off


def follow(value: Any, path: Sequence[str]) -> Any:
    """Return what a dotted path leads to: attributes, and elements by their numbers."""
    for part in path:
        value = value[int(part)] if part.isdecimal() else getattr(value, part)
    return value


@dataclass(frozen=True)
class Update:
    """One parameter's update, and what is asked of it: `param`, or `state:<name>`."""

    optimizer: Any
    role: str
    name: str  # the parameter's dotted name
    param: np.ndarray
    grads: Mapping[str, np.ndarray]  # of all parameters, for clipping by their joint norm
    state: Mapping[str, Any]
    lr: float
    clip_norm: float | None
    clip_value: float | None

    def holds(self, part: str) -> bool:
        """Return whether what a variant's name says is true of this update."""
        return said(self.optimizer, part) or part in self.optimizer.variants(self.param, self.state)

    def with_gradient(self, equation: Equation) -> Equation:
        """Return an equation with the definition of g, the gradient that the update uses.

        That is ∂L/∂θ, clipped if asked, its negative to maximise, with λ θ if the decay is coupled.
        """
        if "g" not in equation.used:
            return equation
        text, where = "grad[i]", []
        if self.clip_norm is not None:
            text, where = f"{text} * f", ["f = min(1, c / (norm + 1e-6))"]
        if self.clip_value is not None:
            text = f"max(min({text}, cap), -cap)"
        if self.optimizer.maximize:
            text = f"-{text}"
        if self.optimizer.weight_decay and not self.optimizer.decoupled_weight_decay:
            text = f"{text} + lam * theta_old[i]"
        return equation._replace(where=(*equation.where, f"g[i] = {text}", *where))

    def bound(self, equation: Equation) -> Bound:
        """Return the names of an equation, those of the gradient as well."""
        bound, optimizer, step = Bound(), self.optimizer, self.state.get("step", 0)
        given = optimizer.named(self.param, self.grads[self.name], self.state) | {
            "theta_old": (self.param, "the parameter before the step"),
            "grad": (self.grads[self.name], "its gradient"),
            "eta": (self.lr, "the learning rate of this step"),
            "lam": (optimizer.weight_decay, "weight_decay"),
            "t": (step + 1, "the number of this step"),
            "t_old": (step, "the number of the step before"),
            "c": (self.clip_norm, "clip_norm"),
            "norm": (self._norm(), "the norm of all gradients together"),
            "cap": (self.clip_value, "clip_value"),
        }
        for name in sorted(equation.used - equation.definitions.keys()):
            if name in optimizer.symbols:
                bound.add(name, *self._value(optimizer.symbols[name]))
            elif name in given and given[name][0] is not None:
                bound.add(name, *given[name])
            elif hasattr(optimizer, name):
                bound.add(name, getattr(optimizer, name), name)
        return bound

    def _value(self, path: str) -> tuple[Any, str]:
        if f"state:{path}" not in self.optimizer.equations:
            first, *rest = path.split(".")
            words = first + "".join(f"[{part}]" for part in rest)
            return follow(getattr(self.optimizer, first), rest), words
        before = self.state.get(path, self.optimizer.initial(path, self.lr))
        if "[" in self.optimizer.equations[f"state:{path}"].partition(" = ")[0]:
            before = np.broadcast_to(before, self.param.shape)
        return before, f"{path} before the step"

    def _norm(self) -> float | None:
        if self.clip_norm is None:
            return None
        squares = (np.sum(np.square(g, dtype=np.float64)) for g in self.grads.values())
        return math.sqrt(sum(squares))
