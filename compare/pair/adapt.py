"""Whatever a user gives, as a candidate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from compare.errors import UserError
from compare.pair.candidates import Candidate, FunctionPair, ValueAndGradient, described
from compare.pair.objects import LayerObject, is_layer, made, methods
from compare.pair.signatures import FORMS


def adapt(forward: Any, backward: Any, names: Sequence[str], floats: Sequence[str]) -> Candidate:
    """Return whatever the user gave as a `Candidate`.

    Raises:
        UserError: it has none of the known forms.
    """
    if backward is not None:
        for what, function in (("forward", forward), ("backward", backward)):
            if not callable(function):
                raise UserError(f"{what} must be a function; received {described(function)}.")
        return FunctionPair(forward, backward, names, floats)
    if isinstance(forward, type):
        forward = made(forward)
    if is_layer(forward):
        return LayerObject(forward, names, floats)
    if pair := methods(forward):
        return FunctionPair(*pair, names, floats)
    if callable(forward):
        return ValueAndGradient(forward, names, floats)
    raise UserError(f"{described(forward)} cannot be checked. {FORMS}")
