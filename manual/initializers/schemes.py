r"""Initial weights, drawn with `numpy.random.Generator`.

The pre-activation of one unit is z = Σ_i w_i x_i over fan_in inputs. With independent weights of
mean 0 and variance s²,
    Var z = fan_in · s² · E x²
and backwards, over the fan_out units that one input feeds, Var dx = fan_out · s² · E dz². A scheme
chooses s so that a signal neither vanishes nor explodes from layer to layer:
    forward and backward compromise:  s² = 2 / (fan_in + fan_out)       (Xavier)
    ReLU halves E x²:                 s² = 2 / fan_in                    (Kaiming)
A uniform distribution on (-b, b) has variance b²/3, so b = s √3.

Every name of `INITIALIZERS` is a function of the scheme's arguments that returns
`draw(shape, rng)`. Shapes are torch's: (out, in), or (out, in / groups, *kernel) of a convolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

__all__ = [
    "INITIALIZERS",
    "Draw",
    "Shape",
    "calculate_gain",
    "constant",
    "default",
    "fans",
    "kaiming_normal",
    "kaiming_uniform",
    "normal",
    "uniform",
    "within",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]

Shape = tuple[int, ...]
Draw = Callable[[Shape, np.random.Generator], np.ndarray]
Mode = Literal["fan_in", "fan_out"]
Nonlinearity = Literal["linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"]


def fans(shape: Shape) -> tuple[int, int]:
    """Return (fan_in, fan_out): how many inputs a unit sums, how many units an input feeds.

    A convolution's unit sums a whole window, of in / groups channels; an input feeds as many
    windows as the kernel has places (at stride 1), in every output channel. Torch counts all of
    them, of every group: nn.init._calculate_fan_in_and_fan_out.
    """
    if len(shape) < 2:
        raise ValueError(
            f"fan_in and fan_out need a weight of shape (out, in) or (out, in, *kernel), received "
            f"{shape}. Use the scheme normal, uniform or constant."
        )
    places = math.prod(shape[2:])
    return shape[1] * places, shape[0] * places


def calculate_gain(nonlinearity: str, a: float = 0.01) -> float:
    """Return torch's gain: what makes up for the activation's shrinking of its input.

    Leaky ReLU with slope a keeps (1 + a²) / 2 of E x², so its gain is √(2 / (1 + a²)); ReLU is
    a = 0. Torch: nn.init.calculate_gain, whose 5/3 (tanh) and 3/4 (SELU) are empirical.
    """
    gains = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4}
    gains["leaky_relu"] = math.sqrt(2 / (1 + a * a))
    if nonlinearity not in gains:
        raise ValueError(f"nonlinearity must be one of {', '.join(gains)}, got '{nonlinearity}'.")
    return gains[nonlinearity]


def default() -> Draw:
    """Torch's own for Linear: uniform within 1/√fan_in, weights and biases alike.

    It is kaiming_uniform with a = √5: gain √(2/6), b = √(1/3) √3 / √fan_in = 1/√fan_in.
    """
    return kaiming_uniform(a=math.sqrt(5))


def xavier_uniform(gain: float = 1.0) -> Draw:
    """Xavier (Glorot), uniform: within gain · √(6 / (fan_in + fan_out)).

    Source: Glorot, Bengio, Understanding the difficulty of training deep networks, 2010, eq. 16.
    """
    return lambda shape, rng: within(math.sqrt(3) * gain * _xavier_std(shape), shape, rng)


def xavier_normal(gain: float = 1.0) -> Draw:
    """Xavier (Glorot), normal: standard deviation gain · √(2 / (fan_in + fan_out))."""
    return lambda shape, rng: rng.normal(0.0, gain * _xavier_std(shape), shape)


def kaiming_uniform(
    a: float = 0.0, mode: Mode = "fan_in", nonlinearity: Nonlinearity = "leaky_relu"
) -> Draw:
    """Kaiming (He), uniform: within gain · √(3 / fan), the gain from the nonlinearity.

    Source: He, Zhang, Ren, Sun, Delving Deep into Rectifiers, 2015, equations 10 and 15.
    """
    std = _kaiming_std(a, mode, nonlinearity)
    return lambda shape, rng: within(math.sqrt(3) * std(shape), shape, rng)


def kaiming_normal(
    a: float = 0.0, mode: Mode = "fan_in", nonlinearity: Nonlinearity = "leaky_relu"
) -> Draw:
    """Kaiming (He), normal: standard deviation gain / √fan, the gain from the nonlinearity."""
    std = _kaiming_std(a, mode, nonlinearity)
    return lambda shape, rng: rng.normal(0.0, std(shape), shape)


def uniform(low: float, high: float) -> Draw:
    """Uniform between `low` and `high`."""
    if not low <= high:
        raise ValueError(f"uniform: low must be at most high, received low={low}, high={high}.")
    return lambda shape, rng: rng.uniform(low, high, shape)


def normal(mean: float = 0.0, std: float = 1.0) -> Draw:
    """Normal with mean `mean` and standard deviation `std`."""
    if not std >= 0:
        raise ValueError(f"normal: std must be at least 0, received {std}.")
    return lambda shape, rng: rng.normal(mean, std, shape)


def constant(value: float) -> Draw:
    """Every element is `value`."""
    return lambda shape, rng: np.full(shape, float(value))


def zeros() -> Draw:
    """Every element is 0 (units of a layer stay equal: only for biases and lessons)."""
    return constant(0.0)


INITIALIZERS: dict[str, Callable[..., Draw]] = {
    f.__name__: f
    for f in (default, xavier_uniform, xavier_normal, kaiming_uniform, kaiming_normal,
              uniform, normal, constant, zeros)
}  # fmt: skip


def within(bound: float, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Draw uniformly from (-bound, bound)."""
    return rng.uniform(-bound, bound, shape)


def _xavier_std(shape: Shape) -> float:
    return math.sqrt(2 / max(sum(fans(shape)), 1))


def _kaiming_std(a: float, mode: str, nonlinearity: str) -> Callable[[Shape], float]:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"mode must be 'fan_in' or 'fan_out', received {mode!r}.")
    gain, axis = calculate_gain(nonlinearity, a), 0 if mode == "fan_in" else 1
    return lambda shape: gain / math.sqrt(max(fans(shape)[axis], 1))
