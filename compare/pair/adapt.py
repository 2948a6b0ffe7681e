"""Whatever a user gives, as a candidate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from inspect import signature
from typing import Any

from compare.errors import UserError, nearest
from compare.pair.candidates import Candidate, FunctionPair, ValueAndGradient, called, described
from compare.pair.objects import LayerObject, ModelObject, is_layer, is_model, made, methods
from compare.pair.signatures import FORMS, positional

ALIKE = 0.75  # of two names, 1 being the same: nearer ones are one, misspelt


def adapt(forward: Any, backward: Any, names: Sequence[str], floats: Sequence[str]) -> Candidate:
    """Return whatever the user gave as a `Candidate`.

    Raises:
        UserError: it has none of the known forms, or an input's name is misspelt.
    """
    if backward is not None:
        for what, function in (("forward", forward), ("backward", backward)):
            if not callable(function):
                raise UserError(f"{what} must be a function; received {described(function)}.")
        _refuse_misnamed(forward, names)
        return FunctionPair(forward, backward, names, floats)
    if isinstance(forward, type):
        forward = made(forward)
    if is_layer(forward):
        return LayerObject(forward, names, floats)
    if is_model(forward):
        return ModelObject(forward, names, floats)
    if pair := methods(forward):
        if positional(pair[1]) == []:  # it remembers what went forward
            own = (pair[0].__name__, pair[1].__name__)
            return LayerObject(forward, names, floats, own)
        return FunctionPair(*pair, names, floats)
    if callable(forward):
        _refuse_misnamed(forward, names)
        return ValueAndGradient(forward, names, floats)
    raise UserError(f"{described(forward)} cannot be checked. {FORMS}")


def _refuse_misnamed(function: Callable, names: Sequence[str]) -> None:
    """Raise a UserError for an input that is nearly an argument that has none, where others fit.

    Inputs are given by position, so other names are as good as any.
    """
    missing = [name for name in positional(function) or () if name not in names]
    arguments = signature(function).parameters if missing else ()
    unknown = [name for name in names if name not in arguments]
    folded = [name.casefold() for name in missing]
    unknown = [n for n in unknown if get_close_matches(n.casefold(), folded, cutoff=ALIKE)]
    if 0 < len(unknown) < len(names):
        raise UserError(
            f"{called(function)} has no argument '{unknown[0]}'. "
            f"{nearest(unknown[0], missing, what='Arguments without an input')}"
        )
