"""Every loss and penalty as its examples say, as checks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from evidence.mutation.battery.base import Check
from evidence.mutation.battery.examples import examples
from evidence.mutation.battery.layer_table import frozen
from evidence.mutation.battery.layers import Arguments
from evidence.mutation.battery.losses import (
    EndsCheck,
    ExactLossCheck,
    Float64LossCheck,
    LossCheck,
    MaskedLossCheck,
    is_probability,
)
from manual import registry
from manual.examples import Draw

TIES = ("ties", "large")
OVERFLOW = {"KLDivLoss", "PoissonNLLLoss", "SoftMarginLoss"}  # torch's exponentials, where large
INEXACT = 1.1  # given weights times this are not exact in float32


@cache
def loss_checks() -> list[Check]:
    """Return every loss and penalty with the arguments of its examples."""
    return [c for name in (*registry.LOSSES, *registry.PENALTIES) for c in _checks(name)]


def _checks(name: str) -> Iterator[Check]:
    cls = registry.find(name)
    grouped: dict[Arguments, list[int]] = {}
    for number, example in enumerate(cls.examples):
        grouped.setdefault(_inexact(frozen(example.arguments)), []).append(number)
    for arguments, numbers in grouped.items():
        x, *target = cls.examples[numbers[0]].inputs
        yield from _of(name, arguments, tuple(numbers), x, target)
        if any(cls.examples[n].exact for n in numbers):
            yield ExactLossCheck(name, arguments, tuple(numbers))
    for number, example in list(enumerate(examples(name)))[len(cls.examples) :]:
        kinds = ("random", "small", "positive", "ties")
        yield LossCheck(name, frozen(example.arguments), (number,), kinds)


def _of(
    name: str, arguments: Arguments, numbers: tuple[int, ...], x: Any, target: list
) -> Iterator[Check]:
    """Yield a check for each kind of numbers that an input may be made of."""
    made = [spec.kind if isinstance(spec, Draw) else "array" for spec in (x, *target)]
    listed = any(_weights(value) for _, value in arguments)  # one number per column
    certain = is_probability(x)
    if made[0] == "uniform":
        yield LossCheck(name, arguments, numbers, ("random", "small") if certain else ("random",))
    else:
        yield LossCheck(name, arguments, numbers, ("random", "small", "positive"))
        yield LossCheck(name, arguments, numbers, ("ties",) if name in OVERFLOW else TIES)
    if certain:
        yield Float64LossCheck(name, arguments, numbers, ("large",))
        if not listed:
            yield EndsCheck(name, arguments, numbers[:1])
    if name not in OVERFLOW and made[1:] in (["normal"], ["uniform"], []) and not listed:
        yield LossCheck(name, arguments, numbers[:1], ("grid",), of_input=certain)
    if len(target) == 1 and is_probability(target[0]):
        yield LossCheck(name, arguments, numbers, coarse=True, of_input=True)
    labels = len(target) == 1 and isinstance(target[0], np.ndarray) and target[0].ndim == 1
    if labels and not dict(arguments).keys() - {"reduction"}:
        yield MaskedLossCheck(name, arguments, numbers[:1], ("random",))


def _weights(value: Any) -> bool:
    return isinstance(value, tuple) and any(isinstance(w, float) for w in value)


def _inexact(arguments: Arguments) -> Arguments:
    return tuple(
        (key, tuple(w * INEXACT for w in value) if _weights(value) else value)
        for key, value in arguments
    )
