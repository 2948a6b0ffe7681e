"""Draw all parameters of a network from one generator."""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from manual.initializers.schemes import (
    INITIALIZERS,
    Draw,
    Shape,
    constant,
    fans,
    normal,
    within,
    zeros,
)

__all__ = ["initialize"]

WITHOUT_FANS = ("uniform", "normal", "constant")


def initialize(
    shapes: Mapping[str, Shape],
    scheme: str,
    rng: np.random.Generator,
    *,
    bias: str | float | None = None,
    stacks: Collection[str] = (),
    **args: Any,
) -> dict[str, np.ndarray]:
    """Draw every parameter, in the order of `shapes`; float64 arrays of float32 values.

    Args:
        shapes: by dotted name; what is called `bias`, or a vector called `bias_ih_l0` and the like,
            is a bias. A vector called `weight` holds scales (of a normalisation).
        scheme: a name of `INITIALIZERS`, for the weights. Scales have no fans: under a scheme that
            needs them they are uniform in ½ … 1½, so that none is 1 and none can be forgotten
            unnoticed.
        rng: what everything is drawn from.
        bias: "default" (uniform within 1/√fan_in of the layer's weight, or of the bias's own length
            where there is no such weight), "zeros", "normal" (the
            scheme's mean and std if the scheme is normal, else standard normal), or a number;
            None is "default" for the default scheme, and "zeros" for the others.
        stacks: the weights that hold several maps, counted by their first axis (`Graph.stacks`):
            each map is drawn by itself.
        args: the scheme's own arguments.

    Raises:
        ValueError: an unknown scheme, argument or bias rule, a weight without fans for a scheme
            that needs them, or values beyond float32.
    """
    weight = _scheme(scheme, args)
    draws = {}
    rule = ("default" if scheme == "default" else "zeros") if bias is None else bias
    maps = {name: tuple(shape[1 if name in stacks else 0 :]) for name, shape in shapes.items()}
    for name, shape in shapes.items():
        try:
            if _is_bias(name, shape):
                draw = _bias(name, shape, rule, maps, args if scheme == rule else {})
                drawn = draw(tuple(shape), rng)
            elif name in stacks:
                drawn = np.stack([weight(maps[name], rng) for _ in range(shape[0])])
            elif len(shape) == 1 and scheme not in WITHOUT_FANS:
                drawn = rng.uniform(0.5, 1.5, shape)
            else:
                drawn = weight(maps[name], rng)
            draws[name] = _float32(drawn)
        except ValueError as error:
            raise ValueError(f"Initial value of '{name}': {error}") from None
    return draws


def _is_bias(name: str, shape: Shape) -> bool:
    own = name.rpartition(".")[2]
    return own == "bias" or (len(shape) == 1 and "bias" in own)


def _scheme(scheme: str, args: Mapping[str, Any]) -> Draw:
    if scheme not in INITIALIZERS:
        raise ValueError(f"Unknown init scheme '{scheme}'; known are {', '.join(INITIALIZERS)}.")
    known = inspect.signature(INITIALIZERS[scheme]).parameters
    unknown = [key for key in args if key not in known]
    missing = [k for k, p in known.items() if p.default is p.empty and k not in args]
    if unknown or missing:
        raise ValueError(
            f"Init scheme '{scheme}' takes {', '.join(known) or 'no arguments'}; "
            f"received {', '.join(args) or 'none'}."
        )
    return INITIALIZERS[scheme](**args)


def _bias(
    name: str, shape: Shape, rule: Any, shapes: Mapping[str, Shape], args: Mapping[str, Any]
) -> Draw:
    if isinstance(rule, int | float) and not isinstance(rule, bool):
        return constant(rule)
    if rule == "zeros":
        return zeros()
    if rule == "normal":
        return normal(**args)
    if rule != "default":
        raise ValueError(
            f"bias must be 'default', 'zeros', 'normal' or a number, received {rule!r}."
        )
    path, dot, own = name.rpartition(".")
    sibling = path + dot + own.replace("bias", "weight")
    found = tuple(shapes.get(sibling, ()))
    fan_in, _ = fans(found if len(found) > 1 else (1, *shape))
    bound = 1 / math.sqrt(fan_in) if fan_in else 0.0  # torch: zeros where there are no inputs
    return lambda shape, rng: within(bound, shape, rng)


def _float32(drawn: np.ndarray) -> np.ndarray:
    """Round to float32 and return float64, so that both dtypes start from the same numbers."""
    with np.errstate(over="ignore"):
        rounded = drawn.astype(np.float32).astype(np.float64)
    if not np.isfinite(rounded).all():
        raise ValueError("the scheme's arguments give values beyond float32.")
    return rounded
