"""Where an object keeps its parameters and their gradients: attributes, dictionaries and lists.

Parameters of the layers that it holds are its own: `layers[0].W`.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from compare.pair.inputs import is_float
from compare.pair.nests import attributes
from compare.pair.preserved import is_own
from compare.pair.returned import NOTHING, Found, attribute, spellings
from compare.pair.signatures import names_gradient

STORES = ("grads", "gradients", "grad")  # attributes that hold gradients by name or in order
HOLDERS = ("params", "parameters", "weights", "W")  # attributes that hold several parameters
DEEP = 12  # attributes, keys and indices on the way to an array
PASSES = ("forward", "backward", "__call__")  # one of them makes an object a layer


class Attribute(str):
    """The name of an attribute, on the way to an array; other steps are keys and indices."""


class Place(NamedTuple):
    """Where a value stands: an attribute, then others, keys and indices; `text` is it in Python."""

    keys: tuple[Any, ...] = ()

    @property
    def text(self) -> str:
        return "layer" + "".join(
            f".{key}" if isinstance(key, Attribute) else f"[{key!r}]" for key in self.keys
        )

    @property
    def path(self) -> str:
        return self.text.removeprefix("layer.")

    @property
    def in_dictionary(self) -> bool:
        """Whether it is an entry of `params`: `params["W"]` of any layer is its W."""
        holder, key = (None, None, *self.keys)[-2:]
        plain = isinstance(key, str) and not isinstance(key, Attribute)
        return plain and isinstance(holder, Attribute) and holder in HOLDERS[:2]

    @property
    def name(self) -> str:
        """What a parameter there is called."""
        if not self.in_dictionary:
            return self.path
        return Place((*self.keys[:-2], Attribute(self.keys[-1]))).path

    def within(self, place: Place) -> Place:
        """Return the place of what stands there in something that stands in `place`."""
        return Place((*place.keys, *self.keys))

    def above(self, layer: Any) -> Any:
        """Return what holds it."""
        return Place(self.keys[:-1]).get(layer)

    def get(self, layer: Any) -> Any:
        held = layer
        for key in self.keys:
            held = getattr(held, key) if isinstance(key, Attribute) else held[key]
        return held

    def put(self, layer: Any, value: Any) -> None:
        """Write there; a tuple on the way is made anew."""
        holder, last = self.above(layer), self.keys[-1]
        if isinstance(holder, tuple):
            Place(self.keys[:-1]).put(layer, _replaced(holder, last, value))
        elif isinstance(last, Attribute):
            setattr(holder, last, value)
        else:
            holder[last] = value


def _replaced(holder: tuple, last: Any, value: Any) -> tuple:
    if isinstance(last, Attribute):
        return holder._replace(**{last: value})  # type: ignore[attr-defined, no-any-return]
    return (*holder[:last], value, *holder[last + 1 :])


class Parameter(NamedTuple):
    """One parameter: all places at which an object holds the same array."""

    value: Any
    places: tuple[Place, ...]


def named(layer: Any) -> dict[str, Parameter]:
    """Return what an object holds that is no function, by every name that it has."""
    held: dict[Any, tuple[Any, list[Place]]] = {}
    for place, value in walk(layer):
        if not callable(value):
            one = id(value) if is_float(value) else place
            held.setdefault(one, (value, []))[1].append(place)
    found: dict[str, Parameter] = {}
    for value, places in held.values():
        for place in places:
            if place.in_dictionary or place.name not in found:
                found[place.name] = Parameter(value, tuple(dict.fromkeys([place, *places])))
    return found


def parameters(layer: Any, names: Iterable[str]) -> dict[str, Parameter]:
    """Return those of an object's parameters that have these names."""
    found, held = {}, named(layer)
    for name in names:
        if name in held:
            found[name] = held[name]
        elif not callable(value := getattr(layer, name, len)):  # a property
            same = [p.places for p in held.values() if p.value is value and is_float(value)]
            found[name] = Parameter(value, (Place((Attribute(name),)), *(same[0] if same else ())))
    return found


def parameter(layer: Any, name: str) -> Parameter | None:
    """Return an object's parameter of that name; None if it has none."""
    return parameters(layer, [name]).get(name)


def owner(layer: Any, name: str) -> tuple[Place, str]:
    """Return where the layer stands that a parameter belongs to, and the name that it has there."""
    for place, _ in parts(layer):
        if name.startswith(f"{place.path}."):
            deeper, local = owner(place.get(layer), name.removeprefix(f"{place.path}."))
            return deeper.within(place), local
    return Place(), name


def in_dictionaries(layer: Any) -> dict[str, Parameter]:
    """Return the parameters that stand in the object's dictionaries, by their keys."""
    return {
        name: one
        for name, one in named(layer).items()
        if one.places[0].in_dictionary and len(one.places[0].keys) == 2 and _is_numeric(one.value)
    }


def _is_numeric(value: Any) -> bool:
    """Return whether these are numbers, and some: an array, a float, lists of one length."""
    try:
        found = np.asarray(value)
    except ValueError:
        return False
    return found.size > 0 and found.dtype.kind in "fiu"


def in_lists(layer: Any) -> dict[str, Parameter]:
    """Return the parameters that stand in lists: by an attribute that is the same array, or index.

    So `self.params = [self.W, self.b]` holds W and b, `self.W = [W1, W2]` holds `W[0]` and `W[1]`.
    """
    found = {}
    for holder in HOLDERS:
        held = getattr(layer, holder, None)
        if isinstance(held, list | tuple) and held and all(map(is_float, held)):
            for i in range(len(held)):
                place = Place((Attribute(holder), i))
                one = named(layer)[place.name]
                alone = (p.name for p in one.places if len(p.keys) == 1)
                found[next(alone, place.name)] = one
    return found


def parts(layer: Any) -> Iterator[tuple[Place, Any]]:
    """Yield the objects that an object holds, nearest first: layers, and what the user has made."""
    return ((place, held) for place, held in walk(layer) if _is_part(held))


def _is_part(thing: Any) -> bool:
    kind = type(thing)
    strange = isinstance(thing, type | tuple) or kind.__module__ == "builtins"
    if strange or not attributes(thing):
        return False
    layer = any(callable(getattr(kind, name, None)) for name in PASSES)
    return layer or isinstance(thing, SimpleNamespace) or _is_users(kind)


def _is_users(kind: type) -> bool:
    """Return whether a class is the user's own: of a file that is not installed."""
    module = sys.modules.get(kind.__module__)
    return module is None or module.__name__ == "__main__" or is_own(module)


def walk(layer: Any) -> Iterator[tuple[Place, Any]]:
    """Yield everything that an object holds, and where, nearest first."""
    waiting, opened = [(Place(), layer)], {id(layer)}
    for place, value in waiting:
        for key, held in _items(value):
            there = Place((*place.keys, key))
            yield there, held
            inner = isinstance(held, dict | list | tuple) or _is_part(held)
            if inner and id(held) not in opened and len(there.keys) < DEEP:
                opened |= set() if isinstance(held, tuple) else {id(held)}  # it is made anew
                waiting.append((there, held))


def in_precision(layer: Any, dtype: str) -> Any:
    """Return a copy of an object whose arrays of float64 have this dtype: they would widen all."""
    if dtype == "float64":
        return layer
    layer, narrowed = copy.deepcopy(layer), dict[int, Any]()
    for place, held in [*walk(layer)]:
        if is_float(held) and held.dtype == np.float64:
            with suppress(AttributeError, TypeError):  # it cannot be written to
                place.put(layer, narrowed.setdefault(id(held), held.astype(dtype)))
    return layer


def _items(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, dict):
        return value.items()
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return ((Attribute(name), getattr(value, name)) for name in value._fields)
    if isinstance(value, list | tuple):
        return enumerate(value)
    return ((Attribute(name), held) for name, held in (attributes(value) | _holders(value)).items())


def _holders(thing: Any) -> dict[str, Any]:
    """Return what a property or a class holds several parameters in."""
    own = attributes(thing)
    found = {name: getattr(thing, name, None) for name in HOLDERS if name not in own}
    return {name: held for name, held in found.items() if isinstance(held, dict | list | tuple)}


def gradient(layer: Any, name: str) -> Found:
    """Return the gradient of a parameter that an object keeps, wherever people keep it."""
    found = _kept_gradient(layer, name)
    if isinstance(found.value, list) and _is_numeric(found.value):
        return found._replace(value=np.array(found.value))
    return found


def _kept_gradient(layer: Any, name: str) -> Found:
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
    place, local = owner(layer, name)
    if place.keys:
        found = gradient(place.get(layer), local)
        return found._replace(where=found.where.replace("layer", place.text, 1))
    return _in_order(layer, name) or _beside(layer, name) or NOTHING


def _in_order(layer: Any, name: str) -> Found | None:
    """Return what stands in a list of gradients where the parameter does in a dictionary."""
    for holder in HOLDERS[:2]:
        held = getattr(layer, holder, None)
        if not isinstance(held, Mapping) or name not in held:
            continue
        for store in STORES:
            kept = getattr(layer, store, None)
            if isinstance(kept, list | tuple) and len(kept) == len(held):
                at = list(held).index(name)
                return Found(kept[at], f"layer.{store}[{at}]")
    return None


def _beside(layer: Any, name: str) -> Found | None:
    """Return what stands where the parameter does in something beside what holds it.

    So is `grads["first"]["W"]` of `params["first"]["W"]`, `dweights[0][1]` of `weights[0][1]`, and
    `layers[0]["dW"]` of `layers[0]["W"]`. An object of one array keeps its gradient as `grad`.
    """
    known = named(layer).get(name)
    place = known.places[0] if known else Place()
    if len(place.keys) > 1:
        holder, last = place.above(layer), place.keys[-1]
        for key in spellings(last, holder) if isinstance(holder, Mapping) else ():
            if key in holder:
                return Found(holder[key], Place((*place.keys[:-1], key)).text)
        for store in (*STORES, *spellings(place.keys[0])):
            beside = Place((Attribute(store), *place.keys[1:]))
            with suppress(AttributeError, KeyError, IndexError, TypeError):
                return Found(beside.get(layer), beside.text)
    elif len(arrays(layer)) == 1:
        for store in STORES:
            if is_float(kept := getattr(layer, store, None)):
                return Found(kept, f"layer.{store}")
    return None


def named_gradient(name: str) -> str:
    """Return under what name the gradient of a parameter is found.

    >>> [named_gradient(name) for name in ("W", "first.W", "weights[0][1]")]
    ['dW', 'first.dW', 'dweights[0][1]']
    """
    stem, bracket, rest = name.partition("[")
    if "." in rest:  # layers[0].W
        stem, bracket, rest = name, "", ""
    above, dot, last = stem.rpartition(".")
    return f"{above}{dot}d{last}{bracket}{rest}"


def arrays(layer: Any) -> dict[str, Any]:
    """Return the float arrays that could be parameters, of an object and of the layers in it.

    Each once, by the name that `parameter` knows it by: a dictionary's key, else the nearest.
    """
    found: dict[int, tuple[str, Any]] = {}
    for name, one in named(layer).items():
        place, value = one.places[0], one.value
        learns = is_float(value) and np.size(value) > 0 and not _is_of_a_pass(place)
        if learns and (place.in_dictionary or id(value) not in found):
            found[id(value)] = name, value
    return dict(found.values())


def _is_of_a_pass(place: Place) -> bool:
    """Return whether something on the way is named as a gradient, or as what forward remembers."""
    names = [key for key in place.keys if isinstance(key, str)]
    return any(names_gradient(name) or "cache" in name.lower() for name in names)


def left_out(layer: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return the arrays that could be parameters, but for those that are one of these."""
    known = [one.value for one in parameters(layer, names).values()]
    return {
        name: value
        for name, value in arrays(layer).items()
        if not any(value is one for one in known)
    }
