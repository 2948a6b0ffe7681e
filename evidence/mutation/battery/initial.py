"""Initial weights beside torch's.

Both libraries are handed the same uniform and normal numbers, so their draws can be compared one by
one: bounds, deviations and fans show directly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, ClassVar
from unittest import mock

import numpy as np

from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import Check, FixedCheck, Lift
from evidence.mutation.battery.layers import Arguments

Shapes = tuple[tuple[str, tuple[int, ...]], ...]
LAYERS: Shapes = (
    ("0.weight", (7, 5)), ("0.bias", (7,)), ("2.weight", (2, 7)), ("2.bias", (2,)),
)  # fmt: skip
KERNELS: Shapes = (("weight", (4, 3, 2, 3)), ("bias", (4,)))
PIECES: Shapes = (("weight", (3, 4, 6)), ("bias", (3, 4)))
NARROW: Shapes = (("weight", (4, 1)), ("bias", (4,)))
NOTHING: Shapes = (("weight", (0, 0)), ("bias", (0,)))
EMPTY: Shapes = (("weight", (3, 0)), ("bias", (3,)))

NAMES: Shapes = (  # scales, biases called after what they belong to, and what looks like either
    ("n.weight", (3,)), ("n.bias", (3,)), ("l.weight_ih", (8, 3)), ("l.bias_ih", (8,)),
    ("a.bias_k", (1, 2, 2, 2)), ("m.bias", (3, 4)), ("unbiased.weight", (2,)),
)  # fmt: skip
WITHOUT_FANS = ("uniform", "normal", "constant")


class Shared(np.random.Generator):
    """A generator that turns the next standard numbers of one sequence into what is asked for."""

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
        return low + (high - low) * self.random(size)

    def normal(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None) -> Any:
        return loc + scale * self.standard_normal(size)


@contextmanager
def torch_draws_from(rng: np.random.Generator) -> Iterator[None]:
    """Let torch's uniform_ and normal_ take their standard numbers from a NumPy generator."""
    import torch

    def uniform(self: Any, a: float = 0.0, b: float = 1.0, **_: Any) -> Any:
        return self.copy_(torch.tensor(a + (b - a) * rng.random(tuple(self.shape))))

    def normal(self: Any, mean: float = 0.0, std: float = 1.0, **_: Any) -> Any:
        return self.copy_(torch.tensor(mean + std * rng.standard_normal(tuple(self.shape))))

    patch = mock.patch.object
    with patch(torch.Tensor, "uniform_", uniform), patch(torch.Tensor, "normal_", normal):
        yield


def _stacks(shapes: Shapes) -> tuple[str, ...]:
    """Return the weights of a Maxout."""
    return tuple(name for name, _ in shapes if name == "weight") if shapes == PIECES else ()


@dataclass(frozen=True)
class InitialCheck(FixedCheck):
    """One scheme with its arguments and a rule for biases."""

    scheme: str
    arguments: Arguments = ()
    bias: str | float | None = None
    shapes: Shapes = LAYERS
    rtol: ClassVar[float] = 2e-7  # the draws are rounded to float32

    @property
    def name(self) -> str:
        shown = ", ".join(f"{key}={value}" for key, value in self.arguments)
        return f"initialize {self.scheme}({shown}) of {self.shapes[0][1]}, bias={self.bias}"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        rng = Shared(np.random.PCG64(seed))
        initialize = import_module("manual").initialize
        drawn = initialize(
            dict(self.shapes), self.scheme, rng, bias=self.bias, stacks=_stacks(self.shapes),
            **dict(self.arguments),
        )  # fmt: skip
        values = {Key(name, "initial value"): array for name, array in drawn.items()}
        return values | {Key(name, "is float32"): _is_float32(a) for name, a in drawn.items()}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch

        values: Values = {}
        with torch_draws_from(np.random.Generator(np.random.PCG64(seed))), torch.no_grad():
            for name, shape in self.shapes:
                tensor = torch.zeros(shape, dtype=torch.float64)
                own = name.rpartition(".")[2]
                if own == "bias" or ("bias" in own and len(shape) == 1):
                    self._bias(tensor, self._fan_in(name, own))
                elif len(shape) == 1 and self.scheme not in WITHOUT_FANS:
                    torch.nn.init.uniform_(tensor, 0.5, 1.5)
                elif tensor.numel():
                    for piece in tensor if name in _stacks(self.shapes) else [tensor]:
                        _scheme(self.scheme, dict(self.arguments))(piece)
                values[Key(name, "initial value")] = tensor.numpy()
                values[Key(name, "is float32")] = np.float64(1)
        return values

    def _fan_in(self, name: str, own: str) -> int:
        weight = name.removesuffix(own) + own.replace("bias", "weight")
        shape = dict(self.shapes).get(weight, ())
        if len(shape) < 2:
            return math.prod(dict(self.shapes)[name])
        return math.prod(shape[2:] if weight in _stacks(self.shapes) else shape[1:])

    def _bias(self, tensor: Any, fan_in: int) -> None:
        from torch.nn import init

        rule = self.bias
        if rule is None:
            rule = "default" if self.scheme == "default" else 0.0
        if rule == "default":
            bound = 1 / math.sqrt(fan_in) if fan_in else 0.0  # as nn.Linear has it
            init.uniform_(tensor, -bound, bound)
        elif rule == "normal":
            init.normal_(tensor, **(dict(self.arguments) if self.scheme == "normal" else {}))
        else:
            init.constant_(tensor, 0.0 if rule == "zeros" else float(rule))


@dataclass(frozen=True)
class DrawnCheck(InitialCheck):
    """Layers without inputs or outputs: that the scheme draws at all, and float32 numbers."""

    @property
    def name(self) -> str:
        return f"{super().name}, that it draws"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        return {k: v for k, v in super().values(lift, dtype, seed).items() if k[1] == "is float32"}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        return {Key(name, "is float32"): np.float64(1) for name, _ in self.shapes}


@dataclass(frozen=True)
class RefusedCheck(FixedCheck):
    """A rule for biases that is no rule: True is not the number 1."""

    @property
    def name(self) -> str:
        return "initialize refuses bias=True"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        try:
            import_module("manual").initialize(
                dict(LAYERS), "zeros", np.random.default_rng(seed), bias=True
            )
        except ValueError:
            return {Key("bias", "refused"): np.float64(1)}
        return {Key("bias", "refused"): np.float64(0)}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        return {Key("bias", "refused"): np.float64(1)}


def _is_float32(array: np.ndarray) -> np.float64:
    """Both dtypes start from the same numbers, so they must be exact in float32."""
    return np.float64(np.array_equal(array, array.astype(np.float32)))


def _scheme(name: str, arguments: dict[str, Any]) -> Callable[[Any], Any]:
    """Return torch's own initialiser of this name; `default` is what nn.Linear and Conv2d do."""
    from torch import nn

    def default(tensor: Any) -> None:
        out, into, *kernel = tensor.shape
        options: dict[str, Any] = {"bias": False, "dtype": tensor.dtype}
        layer = (
            nn.Conv2d(into, out, kernel, **options) if kernel else nn.Linear(into, out, **options)
        )
        tensor.copy_(layer.weight)

    if name == "default":
        return default
    if name in ("uniform", "normal", "constant"):
        arguments = {
            {"low": "a", "high": "b", "value": "val"}.get(k, k): v for k, v in arguments.items()
        }
    return lambda tensor: getattr(nn.init, f"{name}_")(tensor, **arguments)


@dataclass(frozen=True)
class GainCheck(FixedCheck):
    """Torch's gains, and leaky_relu's for several slopes."""

    @property
    def name(self) -> str:
        return "calculate_gain"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        return _gains(import_module("manual.initializers").calculate_gain)

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        from torch.nn.init import calculate_gain

        return _gains(calculate_gain)


def _gains(gain: Callable[..., float]) -> Values:
    names = ("linear", "sigmoid", "tanh", "relu", "selu", "leaky_relu")
    values = {Key(name, "gain"): np.float64(gain(name)) for name in names}
    slopes = {a: np.float64(gain("leaky_relu", a)) for a in (0.3, 1.5)}
    return values | {Key(f"leaky_relu {a}", "gain"): g for a, g in slopes.items()}


@cache
def initial_checks() -> list[Check]:
    """Return every scheme with its options and bias rules, and the gains."""
    schemes: list[tuple[str, dict[str, Any]]] = [
        ("default", {}),
        ("xavier_uniform", {}), ("xavier_uniform", {"gain": 1.5}),
        ("xavier_normal", {}), ("xavier_normal", {"gain": 1.5}),
        ("kaiming_uniform", {}), ("kaiming_uniform", {"a": 0.5, "mode": "fan_out"}),
        ("kaiming_normal", {}), ("kaiming_normal", {"nonlinearity": "relu", "mode": "fan_out"}),
        ("kaiming_normal", {"a": 0.5}), ("kaiming_uniform", {"nonlinearity": "tanh"}),
        ("uniform", {"low": -0.25, "high": 0.75}),
        ("normal", {}), ("normal", {"mean": 0.5, "std": 0.125}),
        ("constant", {"value": 0.375}), ("zeros", {}),
    ]  # fmt: skip
    checks: list[Check] = [GainCheck(), RefusedCheck()]
    for name, given in schemes:
        for bias in (None, "default", "zeros", "normal", 0.25):
            checks.append(InitialCheck(name, tuple(given.items()), bias))
        checks.append(InitialCheck(name, tuple(given.items()), "default", PIECES))
        checks.append(InitialCheck(name, tuple(given.items()), "default", KERNELS))
        checks.append(InitialCheck(name, tuple(given.items()), "default", NARROW))
        checks.append(InitialCheck(name, tuple(given.items()), "default", NAMES))
        if not given:
            checks += [InitialCheck(name, bias=b, shapes=EMPTY) for b in ("zeros", "default")]
            checks += [
                DrawnCheck(name, bias="default", shapes=shapes) for shapes in (EMPTY, NOTHING)
            ]
    return checks
