"""Objects whose backward updates their parameters: a gradient is what it takes off them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from compare.pair.inputs import Inputs, as_float, fresh
from compare.pair.nests import attributes, same
from compare.pair.parameters import Attribute, Place, arrays, parameter, parts
from compare.pair.returned import NOTHING, Found

if TYPE_CHECKING:
    from compare.pair.objects import LayerObject

RATES = ("learning_rate", "lr", "eta", "rate", "step_size")  # of an update inside backward
RATE = 2.0**40  # so large that of a parameter before its update no digit of the gradient is lost
KEPT = (*RATES, "alpha", "l_rate", "learn_rate", "learningRate")  # tried before they are believed
CLOSE = 1e-9


def takes_rate(wanted: Sequence[str] | None, names: Collection[str]) -> bool:
    """Return whether the last argument of a backward is a learning rate, and no input."""
    return bool(wanted) and wanted[-1] in RATES and wanted[-1] not in names  # type: ignore[index]


def used_rates(layer: Any, back: Callable[[Any], Any]) -> tuple[Place, ...]:
    """Return where an object and the layers in it keep a learning rate, if backward updates them.

    So is called what arrays change in proportion to, and nothing that is returned (as to a
    dropout's rate, which is none).

    Args:
        layer: the object after its forward pass; it is left as it is.
        back: goes back through a copy of it, and returns what that returns.
    """
    return tuple(place for place in _kept_rates(layer) if _updates_at(layer, place, back))


def _kept_rates(layer: Any) -> list[Place]:
    return [
        Place((*place.keys, Attribute(name)))
        for place, part in ((Place(), layer), *parts(layer))
        for name in KEPT
        if isinstance(held := attributes(part).get(name), int | float)
        and not isinstance(held, bool)
    ]


def _updates_at(layer: Any, place: Place, back: Callable[[Any], Any]) -> bool:
    layers = [with_rates(layer, (place,), factor * RATE) for factor in (0, 1, 2)]
    with np.errstate(all="ignore"):
        returned = [back(one) for one in layers]
    none, once, twice = (arrays(one) for one in layers)
    moved = [name for name, held in none.items() if not np.array_equal(held, once[name])]
    return (
        bool(moved)
        and all(same(returned[0], other) for other in returned[1:])
        and all(
            np.allclose(twice[n] - none[n], 2 * (once[n] - none[n]), rtol=CLOSE, atol=0)
            for n in moved
        )
    )


def with_rates(layer: Any, places: Collection[Place], rate: float = RATE) -> Any:
    """Return a copy of an object to update, at the rate for which it shows its gradients."""
    layer = copy.deepcopy(layer)
    for place in places:
        place.put(layer, rate)
    return layer


def subtracted(layer: Any, name: str, before: Any) -> Found:
    """Return what an update took off a parameter, for a learning rate of 1."""
    held = parameter(layer, name)
    if held is None or np.shape(held.value) != np.shape(before):
        return NOTHING
    after = held.places[0].text
    where = f"({after.replace('layer', 'before', 1)} - {after}) / 2.0**40"
    return Found((before - held.value) / RATE, where, of_update=True)


class Updated(NamedTuple):
    """Arrays that an update changes and of which nothing else is a gradient.

    `learned` move by a multiple of the upstream gradient, as a gradient does; `otherwise` by
    something else. What forward does not depend on (a velocity) is neither.
    """

    learned: set[str]
    otherwise: set[str]


def updated(candidate: LayerObject, values: Inputs, names: Collection[str]) -> Updated:
    """Tell arrays that learn from others among `names`; `values` are left as they are."""
    if not names:
        return Updated(set(), set())
    rng = np.random.default_rng(0)
    outputs = candidate.start(fresh(values)).outputs
    upstreams = [rng.standard_normal(np.shape(y)) for y in outputs]
    used = depending(candidate, values, names)
    once = _steps(candidate, values, used, upstreams)
    twice = _steps(candidate, values, used, [2 * dy for dy in upstreams])
    learned = {
        name
        for name in used
        if not candidate.takes_upstream
        or np.linalg.norm(twice[name] - 2 * once[name]) <= CLOSE * np.linalg.norm(once[name])
    }
    return Updated(learned, used - learned)


def depending(candidate: LayerObject, values: Inputs, names: Collection[str]) -> set[str]:
    """Return those among `names` that forward depends on; `values` are left as they are."""
    if not names:
        return set()
    rng = np.random.default_rng(0)
    outputs = candidate.start(fresh(values)).outputs

    def depends(name: str) -> bool:
        moved = fresh({**values, name: values[name] + rng.standard_normal(np.shape(values[name]))})
        now = candidate.start(moved).outputs
        return any(not np.array_equal(y, before) for y, before in zip(now, outputs, strict=True))

    return {name for name in sorted(names) if depends(name)}


def _steps(
    candidate: LayerObject, values: Inputs, names: Collection[str], upstreams: Sequence[Any]
) -> dict[str, np.ndarray]:
    started = candidate.start(fresh(values))
    candidate.backward(upstreams, started)
    after = started.state.after
    return {name: as_float(subtracted(after, name, values[name]).value) for name in names}
