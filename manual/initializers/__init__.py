"""Initial weights: the schemes by name, and the function that draws a whole network with one."""

from manual.initializers.draw import initialize
from manual.initializers.schemes import (
    INITIALIZERS,
    calculate_gain,
    constant,
    default,
    fans,
    kaiming_normal,
    kaiming_uniform,
    normal,
    uniform,
    xavier_normal,
    xavier_uniform,
    zeros,
)

__all__ = [
    "INITIALIZERS",
    "calculate_gain",
    "constant",
    "default",
    "fans",
    "initialize",
    "kaiming_normal",
    "kaiming_uniform",
    "normal",
    "uniform",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]
