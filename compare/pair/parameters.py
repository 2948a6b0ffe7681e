"""Where an object keeps its parameters and their gradients: attributes, dictionaries and lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from compare.pair.inputs import is_float
from compare.pair.returned import NOTHING, Found, attribute
from compare.pair.signatures import names_gradient

STORES = ("grads", "gradients", "grad")  # attributes that hold gradients by name or in order
HOLDERS = ("params", "parameters", "weights", "W")  # attributes that hold several parameters
DEEP = 3  # lists in dictionaries in attributes


class Place(NamedTuple):
    """Where a value stands: an attribute, then keys and indices; `text` is the same in Python."""

    keys: tuple[Any, ...]

    @property
    def text(self) -> str:
        return f"layer.{self.keys[0]}" + "".join(f"[{key!r}]" for key in self.keys[1:])

    def put(self, layer: Any, value: Any) -> None:
        *above, last = self.keys
        if not above:
            setattr(layer, last, value)
            return
        holder = getattr(layer, above[0])
        for key in above[1:]:
            holder = holder[key]
        holder[last] = value


class Parameter(NamedTuple):
    """One parameter: all places at which an object holds the same array."""

    value: Any
    places: tuple[Place, ...]


def parameter(layer: Any, name: str) -> Parameter | None:
    """Return an object's parameter of that name; None if it has none."""
    for holder in HOLDERS[:2]:
        held = getattr(layer, holder, None)
        if isinstance(held, Mapping) and name in held:
            return _everywhere(layer, held[name], Place((holder, name)))
    listed = in_lists(layer)
    if name in listed:
        return listed[name]
    if hasattr(layer, name) and not callable(getattr(layer, name)):
        return _everywhere(layer, getattr(layer, name), Place((name,)))
    return None


def in_dictionaries(layer: Any) -> dict[str, Parameter]:
    """Return the parameters that stand in dictionaries, by their keys."""
    found: dict[str, Parameter] = {}
    for holder in HOLDERS[:2]:
        held = getattr(layer, holder, None)
        if isinstance(held, Mapping):
            found |= {k: p for k in held if np.size(held[k]) and (p := parameter(layer, k))}
    return found


def in_lists(layer: Any) -> dict[str, Parameter]:
    """Return the parameters that stand in lists: by an attribute that is the same array, or index.

    So `self.params = [self.W, self.b]` holds W and b, `self.W = [W1, W2]` holds `W[0]` and `W[1]`.
    """
    found = {}
    for holder in HOLDERS:
        held = getattr(layer, holder, None)
        if isinstance(held, list | tuple) and held and all(map(is_float, held)):
            for i, value in enumerate(held):
                place = Place((holder, i))
                one = _everywhere(layer, value, place)
                alone = (p.keys[0] for p in one.places if len(p.keys) == 1)
                found[next(alone, f"{holder}[{i}]")] = one
    return found


def _everywhere(layer: Any, value: Any, first: Place) -> Parameter:
    """Return a parameter with all places of its array, but for those that cannot be written to."""
    same = [place for place, held in _walk(layer) if held is value and is_float(value)]
    return Parameter(value, tuple(dict.fromkeys([first, *same])))


def _walk(layer: Any) -> Iterator[tuple[Place, Any]]:
    waiting = [(Place((name,)), value) for name, value in getattr(layer, "__dict__", {}).items()]
    while waiting:
        place, value = waiting.pop(0)
        yield place, value
        if isinstance(value, dict | list) and len(place.keys) < DEEP:
            items = value.items() if isinstance(value, dict) else enumerate(value)
            waiting += [(Place((*place.keys, key)), item) for key, item in items]


def gradient(layer: Any, name: str) -> Found:
    """Return the gradient of a parameter that an object keeps, wherever people keep it."""
    found = attribute(layer, name, STORES)
    if found.value is not None:
        return found
    known = in_lists(layer).get(name)
    for holder, *keys in (place.keys for place in known.places) if known else ():
        if len(keys) != 1 or not isinstance(keys[0], int):
            continue
        count = len(getattr(layer, holder))
        for store in (*STORES, f"d{holder}", f"grad_{holder}", f"{holder}_grad", "dparams"):
            kept = getattr(layer, store, None)
            if isinstance(kept, list | tuple) and len(kept) == count:
                return Found(kept[keys[0]], f"layer.{store}[{keys[0]}]")
    return NOTHING


def left_out(layer: Any, names: list[str]) -> list[str]:
    """Return the float arrays among an object's attributes that are no parameters.

    Neither one of these, nor in a list.
    """
    known = [p.value for name in names if (p := parameter(layer, name))]
    known += [p.value for p in in_lists(layer).values()]
    return [
        name
        for name, value in getattr(layer, "__dict__", {}).items()
        if is_float(value) and np.size(value) and not names_gradient(name)
        and not any(value is one for one in known)
    ]  # fmt: skip
