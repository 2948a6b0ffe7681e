"""Which gradient belongs to which input: by order, or by the name under which it was returned."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from compare.errors import UserError
from compare.pair.nests import attributes


class Found(NamedTuple):
    """A gradient and where it was, in Python: `grads[1]`, `layer.dW`.

    `of_update` is true of one that an update subtracted, which may hold what earlier ones have left
    (momentum).
    """

    value: Any
    where: str
    of_update: bool = False


SYNONYMS = {
    "weights": ("W", "w"), "weight": ("W", "w"), "biases": ("b",), "bias": ("b",),
    "W": ("weights", "weight"), "b": ("bias", "biases"),
}  # fmt: skip
NOTHING = Found(None, "None")


def by_name(
    returned: Any, floats: Sequence[str], names: Sequence[str], who: str, where: str = "grads"
) -> dict[str, Found]:
    """Return one gradient per differentiable input, `NOTHING` where there is none.

    Args:
        returned: an array, a tuple in the order of the inputs, or a mapping by name.
        floats: the differentiable inputs.
        names: all inputs.
        who: whose result this is, for messages.
        where: what the result is called in a script.

    Raises:
        UserError: the number of gradients fits neither.
    """
    if isinstance(returned, Mapping):
        return {name: under(returned, name, where) for name in floats}
    if isinstance(returned, tuple | list):
        for entries in (_entries(returned), unfolded(returned)):
            for order in (floats, names):
                if len(entries) == len(order):
                    listed = {
                        n: Found(g, f"{where}{at}")
                        for n, (at, g) in zip(order, entries.items(), strict=True)
                    }
                    return {name: listed[name] for name in floats}
        count = len(returned)
    elif len(floats) == 1:
        return {floats[0]: Found(returned, where)}
    elif returned is None:
        return dict.fromkeys(floats, NOTHING)
    else:
        count = 1
    listed_names = ", ".join(floats) or "none"
    raise UserError(
        f"{who} returned {count} gradient{'s' if count != 1 else ''} for {len(floats)} "
        f"differentiable input{'s' if len(floats) != 1 else ''} ({listed_names}). Return one for "
        "each, in the order of the inputs (None for one that has no gradient), or name the inputs "
        "that have none in no_grad (on the command line --no-grad NAME)."
        + (" What is no gradient can be cut off by a function around it." if count > 1 else "")
    )


def _entries(returned: Sequence[Any]) -> dict[str, Any]:
    return {f"[{i}]": value for i, value in enumerate(returned)}


def unfolded(returned: Sequence[Any]) -> dict[str, Any]:
    """Return the gradients in a tuple, those of tuples in it one by one, by where they stand.

    >>> unfolded((1.0, (2.0, 3.0)))
    {'[0]': 1.0, '[1][0]': 2.0, '[1][1]': 3.0}
    """
    found: dict[str, Any] = {}
    for at, value in _entries(returned).items():
        several = isinstance(value, tuple | list)
        inner = _entries(value) if several else {"": value}
        found |= {f"{at}{deeper}": one for deeper, one in inner.items()}
    return found


def spellings(name: str, others: Collection[str] = ()) -> tuple[str, ...]:
    """Return the names under which people keep the gradient of `name`: of weights also dW.

    >>> "dW" in spellings("weights"), "dW" in spellings("weights", ["weights", "W"])
    (True, False)
    """
    return tuple(s for stem in (name, *_synonyms(name, others)) for s in _spellings(stem))


def _synonyms(name: str, others: Collection[str]) -> list[str]:
    return [other for other in SYNONYMS.get(name, ()) if other not in others]


def _spellings(name: str) -> tuple[str, ...]:
    return (
        f"d{name}", f"d_{name}", f"grad_{name}", f"{name}_grad", f"d{name.capitalize()}",
        f"{name}grad", f"g_{name}", f"grad{name}", f"g{name}", f"gradient_{name}",
        f"{name}_gradient", f"delta_{name}", f"{name}_delta", f"nabla_{name}", f"dLd{name}",
        f"dL_d{name}", f"_d{name}",
    )  # fmt: skip


def under(mapping: Mapping[str, Any], name: str, where: str) -> Found:
    """Return the gradient of `name` from a mapping keyed by it or by one of its spellings."""
    for key in (name, *_synonyms(name, ()), *spellings(name, mapping)):
        if key in mapping:
            return Found(mapping[key], f"{where}[{key!r}]")
    return NOTHING


def inside(nest: Any, keys: Sequence[Any], where: str) -> Found:
    """Return what a nest holds behind these keys, one after the other.

    >>> inside({"first": [3.0]}, ("first", 0), "grads")
    Found(value=3.0, where="grads['first'][0]", of_update=False)
    """
    try:
        for key in keys:
            nest, where = nest[key], f"{where}[{key!r}]"
    except (KeyError, IndexError, TypeError):
        return NOTHING
    return Found(nest, where)


def attribute(thing: Any, name: str, stores: Sequence[str], where: str = "layer") -> Found:
    """Return the gradient of `name` that an object keeps: in one of its stores, or by itself."""
    for store in stores:
        kept = getattr(thing, store, None)
        if isinstance(kept, Mapping):
            found = under(kept, name, f"{where}.{store}")
            if found.value is not None:
                return found
    for spelling in spellings(name, attributes(thing)):
        if hasattr(thing, spelling):
            return Found(getattr(thing, spelling), f"{where}.{spelling}")
    return NOTHING
