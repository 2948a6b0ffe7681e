"""What backward promises besides the right numbers: nothing is changed, and it can be repeated."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from compare.pair.candidates import Candidate, called
from compare.pair.inputs import Inputs, fresh, is_float


class Promise(NamedTuple):
    """One promise and whether it was kept; `now` and `then` are what was compared."""

    quantity: str
    kept: bool
    now: np.ndarray
    then: np.ndarray
    text: str


class Contract(NamedTuple):
    """Every promise that was tested, and remarks that are not failures."""

    promises: list[Promise]
    notes: list[str]


def examine(candidate: Candidate, values: Inputs, upstreams: Sequence[Any], dtype: Any) -> Contract:
    """Run forward once and backward twice, a different forward in between; see what has changed."""
    given, original = fresh(values, dtype), fresh(values, dtype)
    dys = [np.array(dy) for dy in upstreams]
    started = candidate.start(given)
    after_forward = copy.deepcopy(given)
    kept = snapshot(started.cache)
    first = copy.deepcopy(candidate.finish(dys, started))
    if not candidate.stores_cache:
        other = fresh(values, dtype)
        candidate.start(
            {n: v * 0.5 if n in candidate.differentiable else v for n, v in other.items()}
        )
    second = candidate.finish([np.array(dy) for dy in upstreams], started)
    forward, backward = called(candidate.forward_code), called(candidate.backward_code)
    promises = [
        _unchanged(name, given[name], original[name], forward if not same(
            after_forward[name], original[name]) else backward)
        for name in values
        if is_float(values[name])
    ]  # fmt: skip
    promises += [
        _unchanged(f"upstream gradient{i or ''}", now, then, backward)
        for i, (now, then) in enumerate(zip(dys, upstreams, strict=True))
    ]
    if started.cache is not None and kept is not None:
        promises.append(_cache(same(started.cache, kept), backward))
    promises += [_repeated(name, second.get(name), first.get(name), backward) for name in first]
    return Contract(promises, _notes(given, original, forward))


def _unchanged(name: str, now: Any, then: Any, who: str) -> Promise:
    return Promise(
        f"unchanged:{name}", same(now, then), np.asarray(now), np.asarray(then),
        f"{who} changes {name} in place: whoever owns that array loses it. Work on a copy.",
    )  # fmt: skip


def _cache(kept: bool, who: str) -> Promise:
    text = (
        f"{who} changes the cache that it is given (or a later forward pass does): calling it "
        "again gives another answer. Work on copies."
    )
    return Promise("unchanged:cache", kept, np.array(float(not kept)), np.array(0.0), text)


def _repeated(name: str, now: Any, then: Any, who: str) -> Promise:
    text = (
        f"{who}, called twice with the same arguments, gives two different gradients of {name}: it "
        "adds to the old one, draws random numbers, or uses what was changed in between."
    )
    if now is None or then is None:
        return Promise(f"repeated:{name}", now is then, np.array(0.0), np.array(0.0), text)
    return Promise(f"repeated:{name}", same(now, then), np.asarray(now), np.asarray(then), text)


def _notes(given: Inputs, original: Inputs, forward: str) -> list[str]:
    """Remark on what passes through and was written to: a hidden output, often intended."""
    return [
        f"{forward} writes into '{name}', which it is given: a hidden output, not checked."
        for name, value in given.items()
        if not is_float(value) and not same(value, original[name])
    ]


def snapshot(value: Any) -> Any:
    """Return a deep copy, or None of what cannot be copied."""
    try:
        return copy.deepcopy(value)
    except Exception:
        return None


def same(a: Any, b: Any) -> bool:
    """Return whether two nests of containers, objects and arrays are equal, bit for bit."""
    if isinstance(a, np.ndarray | np.generic) and isinstance(b, np.ndarray | np.generic):
        return np.shape(a) == np.shape(b) and a.dtype == b.dtype and _equal(a, b)
    if type(a) is not type(b):
        return False
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(same, a, b))
    if hasattr(a, "__dict__") and not isinstance(a, Callable):  # type: ignore[arg-type]
        return same(vars(a), vars(b))
    try:
        return a is b or bool(a == b)
    except Exception:
        return True  # not comparable: nothing can be said


def _equal(a: Any, b: Any) -> bool:
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))
