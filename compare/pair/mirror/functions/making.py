"""How the tables make a call of a hand-written layer from a function's arguments."""

from __future__ import annotations

from typing import Any

from compare.pair.mirror.call import Builder, Call, NoTwin, Value
from compare.pair.mirror.functions.places import listed
from manual import registry
from manual.gates.functional import Functional
from manual.layer import Layer

AXES = (1, 2, 3)


def made(name: str, *args: Any, **kwargs: Any) -> Layer:
    """Return a hand-written layer or loss; NoTwin where it refuses its arguments."""
    try:
        return registry.find(name)(*args, **kwargs)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise NoTwin(f"{error}") from None


def held(
    layer: Layer, inputs: tuple[Value | None, ...], /, *,
    form: type[Functional] = Functional, **given: Value | None,
) -> Call:  # fmt: skip
    """Return the call of a layer whose parameters are given beside its inputs."""
    known = {k: v for k, v in given.items() if v is not None}
    if not known:
        return Call(layer, inputs)
    return Call(form(layer, tuple(known), len(inputs)), (*inputs, *known.values()))


def plain(x: Any) -> Any:
    """Return an argument without Values: what a constructor takes."""
    if isinstance(x, Value):
        return x.array.item() if x.array.size == 1 else x.array.tolist()
    return tuple(plain(part) for part in x) if listed(x) else x


def of_one(name: str) -> Builder:
    """Return the builder of a layer whose arguments are the function's, after the input."""

    def builder(input: Value, *args: Any, **kwargs: Any) -> Call:
        layer = made(name, *map(plain, args), **{k: plain(v) for k, v in kwargs.items()})
        return Call(layer, (input,))

    return builder
