"""The parameters of an object that no input names: which there are, and which can be checked."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from compare.pair.inputs import Inputs, Specification, as_float, fresh, is_float
from compare.pair.known import NO_GRADIENT, NO_RATE, Known
from compare.pair.objects import LayerObject, is_layer, is_model, methods_of
from compare.pair.parameters import (
    Parameter,
    Place,
    arrays,
    gradient,
    in_dictionaries,
    in_lists,
    left_out,
    walk,
)
from compare.pair.returned import unfolded
from compare.pair.signatures import positional
from compare.pair.unnamed import unnamed
from compare.pair.updates import depending, updated

MOVED = 1.125  # times a parameter: positive numbers stay so
SEVERAL = 50  # floats that are tried one by one


class OwnParameters(NamedTuple):
    """The inputs and those parameters of an object that can be checked, and what is known."""

    specification: Specification
    known: Known = Known()


def own_parameters(
    specification: Specification, layer: Any, reference: Any, no_grad: Collection[str] = ()
) -> OwnParameters:
    """Add the parameters that an object has, as far as both sides have a use for them.

    Those in a dictionary or list, and arrays of its own that forward leaves alone and of which
    backward leaves a gradient: where people keep it, or under another name, told by its numbers;
    but for those in `no_grad`.
    """
    if is_model(layer) or is_layer(layer):
        found = _but(in_dictionaries(layer), {*specification.names, *no_grad})
        specification = specification.with_drawn(found)
    if not is_layer(layer):
        return OwnParameters(specification)
    specification, notes = _with_lists(specification, layer, reference, no_grad)
    own = OwnParameters(specification, Known(tuple(notes)))
    own = _with_attributes(own, layer, reference, no_grad)
    return _without_silent(own, layer)


def _without_silent(own: OwnParameters, layer: Any) -> OwnParameters:
    """Ask for no gradient of inputs where backward returns those of parameters alone."""
    given = own.specification
    candidate = LayerObject(layer, given.names, given.differentiable)
    try:
        with np.errstate(all="ignore"):
            started = candidate.start(_drawn(given))
            returned = candidate.backward(_ones(started.outputs), started)
            silent = candidate.silent(returned, started)
    except Exception:  # told by the first case
        return own
    floats = tuple(name for name in given.differentiable if name not in silent)
    known = replace(own.known, ungiven=silent)
    return OwnParameters(replace(given, differentiable=floats), known)


def with_learned_floats(layer: Any, specification: Specification, no_grad: Collection[str]) -> Any:
    """Return a copy of an object whose Python floats are arrays where backward has gradients.

    A bias that starts as 0.0, or as [0.0, 0.0], is a parameter like an array; an eps, or a learning
    rate, is none.
    """
    if not is_layer(layer):
        return layer
    try:
        with np.errstate(all="ignore"):
            floats = _floats(layer, specification)
            if not _runs(layer, floats.values(), specification):
                one_by_one = [*floats.items()][:SEVERAL]
                floats = {n: p for n, p in one_by_one if _runs(layer, [p], specification)}
            trial = _as_arrays(layer, floats.values())
    except Exception:  # told by the first case
        return layer
    own = _with_attributes(OwnParameters(specification), trial, None, no_grad) if floats else None
    found = {*own.specification.names, *own.known.otherwise} if own else set()
    return _as_arrays(layer, [place for name, place in floats.items() if name in found])


def _floats(layer: Any, specification: Specification) -> dict[str, Place]:
    """Return where the object keeps Python floats that are no learning rates, by name."""
    found: dict[str, Place] = {}
    for place, held in walk(layer):  # a list comes before what is in it
        inside = any(place.keys[: len(p.keys)] == p.keys for p in found.values())
        if not inside and (type(held) is float or _is_listed(held)):
            found[place.name] = place
    if not found:
        return {}
    candidate = LayerObject(layer, specification.names, specification.differentiable)
    started = candidate.start(_drawn(specification))
    candidate.backward(_ones(started.outputs), started)
    rates = {place.name for place in candidate.rates or ()}
    return {name: place for name, place in found.items() if name not in rates}


def _is_listed(value: Any) -> bool:
    """Return whether this is a list of floats, or of such lists of one length."""
    if not isinstance(value, list) or not value:
        return False
    alike = all(map(_is_listed, value)) and len({len(row) for row in value}) == 1
    return alike or all(type(one) is float for one in value)


def _runs(layer: Any, places: Collection[Place], specification: Specification) -> bool:
    """Return whether the object goes forward and back with arrays in these places."""
    trial = _as_arrays(layer, places)
    candidate = LayerObject(trial, specification.names, specification.differentiable)
    try:
        started = candidate.start(_drawn(specification))
        candidate.backward(_ones(started.outputs), started)
    except Exception:  # a list that grows is none of numbers that learn
        return False
    return True


def _as_arrays(layer: Any, places: Collection[Place]) -> Any:
    layer = copy.deepcopy(layer) if places else layer
    for place in places:
        place.put(layer, np.array(place.get(layer)))
    return layer


def _but(found: Mapping[str, Parameter], names: Collection[str]) -> dict[str, Any]:
    return {name: p.value for name, p in found.items() if name not in names}


def _with_lists(
    specification: Specification, layer: Any, reference: Any, no_grad: Collection[str]
) -> tuple[Specification, list[str]]:
    found = _but(in_lists(layer), {*specification.names, *no_grad})
    if not found:
        return specification, []
    wider, listed = specification.with_drawn(found), ", ".join(found)
    if count := _other_count(reference, wider.names):
        return specification, [
            f"The reference takes {count} argument{'s' if count != 1 else ''}: the "
            f"object's {listed} kept their values, and no gradient of them was checked. Let it "
            "take them as well."
        ]
    try:
        lost = _without_gradients(layer, wider, found)
    except Exception:
        return wider, []  # told by the first case
    kept = {name: value for name, value in found.items() if name not in lost}
    notes = [
        f"No gradient of the object's {', '.join(lost)} was found, neither returned nor in grads, "
        "gradients, dW or the like: it was not checked."
    ]
    return specification.with_drawn(kept), notes if lost else []


def _other_count(reference: Any, names: Sequence[str]) -> int:
    """Return how many arguments a reference takes, if it takes other ones than these; else 0."""
    taken = None if reference is None else positional(getattr(reference, "forward", reference))
    return len(taken) if taken is not None and len(taken) != len(names) else 0


def _without_gradients(layer: Any, wider: Specification, names: Collection[str]) -> list[str]:
    """Run once; return which of these parameters get no gradient that can be found."""
    candidate = LayerObject(layer, wider.names, wider.differentiable)
    started = candidate.start(_drawn(wider))
    found = candidate.finish(_ones(started.outputs), started)
    return [name for name in names if found[name] is None]


def _with_attributes(
    own: OwnParameters, layer: Any, reference: Any, no_grad: Collection[str]
) -> OwnParameters:
    """Add the object's own arrays that learn, drawn anew if it can take any numbers there."""
    specification = own.specification
    try:
        with np.errstate(all="ignore"):
            ran = _learning(layer, specification, no_grad)
            found, told = ran.learned, {*ran.learned, *ran.otherwise}
            rest = {name: value for name, value in ran.used.items() if name not in told}
            more = unnamed(layer, specification.with_values(found), rest)
    except Exception:  # told by the first case
        return own
    found = found | {name: rest[name] for name in more.gradients}
    wider = specification.with_drawn(found)
    if found and _other_count(reference, wider.names):
        return own
    if found and not _is_finite(layer, wider):
        wider = specification.with_values(found)
    known = replace(
        own.known, places=more.gradients, others=more.others, otherwise=ran.otherwise,
        unused=ran.unused,
    )  # fmt: skip
    return OwnParameters(wider, known)


class _Learning(NamedTuple):
    """What one run with other numbers tells of an object's own arrays.

    Attributes:
        used: those that kept the numbers and that forward uses.
        learned: those of `used` with a gradient.
        otherwise: how others are updated: NO_GRADIENT or NO_RATE.
        unused: those that forward does not use.
    """

    used: dict[str, np.ndarray]
    learned: dict[str, np.ndarray]
    otherwise: Mapping[str, str] = MappingProxyType({})
    unused: Collection[str] = ()


def _learning(layer: Any, specification: Specification, no_grad: Collection[str]) -> _Learning:
    """Run once with other numbers."""
    taken = {*no_grad, *(positional(getattr(layer, methods_of(layer)[0])) or ())}
    left = left_out(layer, specification.names)
    own = {name: as_float(value) for name, value in left.items() if name not in taken}
    tried = specification.with_values({name: MOVED * value for name, value in own.items()})
    candidate = LayerObject(layer, tried.names, tried.differentiable)
    values = _drawn(tried)
    started = candidate.start(fresh(values))
    kept = _unchanged(tried.given, started.state.layer)  # else it is what forward remembers
    returned = candidate.backward(_ones(started.outputs), started)
    after = started.state.after
    own = {name: value for name, value in own.items() if name in kept}
    given = [np.shape(values[name]) for name in specification.differentiable]
    if listed := _by_shape(returned, own, given):
        return _Learning(own, listed)
    named = [part for part in (returned, *_last(returned)) if isinstance(part, Mapping)]
    found = {
        name
        for name in own
        if is_float(gradient(after, name).value)
        or any(is_float(candidate.under(part, name, "").value) for part in named)
    }
    moved = own.keys() - _unchanged(tried.given, after) - found
    by_update = updated(candidate, values, moved)
    learned, otherwise = by_update.learned, dict.fromkeys(by_update.otherwise, NO_GRADIENT)
    if not candidate.updates:
        learned, otherwise = set(), dict.fromkeys(learned | by_update.otherwise, NO_RATE)
    unused = own.keys() - found - by_update.learned - by_update.otherwise
    unused -= depending(candidate, values, unused - moved)
    used = {name: value for name, value in own.items() if name not in unused}
    learns = {name: used[name] for name in used if name in learned | found}
    return _Learning(used, learns, otherwise, unused)


def _unchanged(given: Inputs, layer: Any) -> set[str]:
    now = arrays(layer)
    return {n for n, value in given.items() if n in now and np.array_equal(now[n], value)}


def _by_shape(
    returned: Any, own: Mapping[str, Any], given: Sequence[tuple[int, ...]]
) -> dict[str, np.ndarray]:
    """Return what gradients are of, if shapes leave no doubt, in their order.

    They stand behind those of inputs of the shapes `given`, or alone.
    """
    grads = [*unfolded(returned).values()] if isinstance(returned, tuple | list) else []
    shapes = [np.shape(grad) for grad in grads] if all(map(is_float, grads)) else []
    alone = shapes[: len(given)] != [*given] and _only_ones(shapes, own)
    return alone or _only_ones(shapes[len(given) :], own)


def _only_ones(shapes: Sequence[tuple[int, ...]], own: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the arrays of these shapes; none if a shape is of none or several."""
    alike = [[name for name, value in own.items() if np.shape(value) == one] for one in shapes]
    unique = all(len(names) == 1 for names in alike) and len(set(shapes)) == len(shapes)
    return {names[0]: own[names[0]] for names in alike} if unique else {}


def _last(returned: Any) -> tuple[Any, ...]:
    """Return the second of two things returned: gradients by name, perhaps."""
    return returned[1:] if isinstance(returned, tuple) and len(returned) == 2 else ()


def _is_finite(layer: Any, specification: Specification) -> bool:
    """Return whether the object takes drawn parameters: not all numbers are standard deviations."""
    candidate = LayerObject(layer, specification.names, specification.differentiable)
    with np.errstate(all="ignore"):
        try:
            outputs = candidate.start(_drawn(specification)).outputs
        except Exception:
            return False
    return all(np.isfinite(np.asarray(y, dtype=float)).all() for y in outputs)


def _drawn(specification: Specification) -> Inputs:
    """Return inputs that code may write into."""
    return fresh(specification.draw(np.random.default_rng(0)))


def _ones(outputs: Sequence[Any]) -> list[np.ndarray]:
    return [np.ones(np.shape(y)) for y in outputs]
