"""What backward promises besides the right numbers: nothing is changed, and it can be repeated.

Some promises are a matter of style: a cache may be written to or used up if that changes no
result, and gradients kept on an object may be added to, as torch does. These are notes, unless
`purity` is "fail". Changing an argument, or another result for the same arguments, is a failure.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from compare.pair.candidates import Candidate, called
from compare.pair.inputs import Inputs, fresh, is_float
from compare.pair.nests import same, snapshot
from compare.pair.returned import Found
from compare.running.cases.raised import one_line


class Promise(NamedTuple):
    """One promise and whether it was kept; `now` and `then` are what was compared.

    `style` is true of one whose breach changes no result.
    """

    quantity: str
    kept: bool
    now: np.ndarray
    then: np.ndarray
    text: str
    style: bool = False


class Contract(NamedTuple):
    """Every promise that was tested, and remarks that are not failures."""

    promises: list[Promise]
    notes: list[str]

    def strict(self, strict: bool) -> Contract:
        """Return breaches of style as failures, or else as notes."""
        if strict:
            return self
        notes = [p.text for p in self.promises if p.style and not p.kept]
        return Contract([p for p in self.promises if p.kept or not p.style], notes + self.notes)


def examine(candidate: Candidate, values: Inputs, upstreams: Sequence[Any], dtype: Any) -> Contract:
    """Run forward once and backward twice, a different forward in between; see what has changed."""
    given, original = fresh(values, dtype), fresh(values, dtype)
    dys = [np.array(dy) for dy in upstreams]
    started = candidate.start(given)
    after_forward = copy.deepcopy(given)
    kept = snapshot(started.cache)
    found = _found(candidate, dys, started)
    first = snapshot(found) or {}
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
    untouched = kept is None or same(started.cache, kept)
    shared = _shared(found, dys, backward)
    second = _again(candidate, values, upstreams, dtype, started)
    if isinstance(second, Promise):
        repeated = [second]
    else:
        repeated = [_repeated(name, second.get(name), f, backward) for name, f in first.items()]
        shared += _reused(found, second, backward)
        later = _on_the_next_batch(candidate, values, upstreams, dtype, started.outputs, first)
        repeated = [later.get(p.quantity, p) if p.kept else p for p in repeated]
    if started.cache is not None and kept is not None:
        harmless = all(p.kept or p.style for p in repeated)
        promises.append(_cache(untouched and same(started.cache, kept), backward, harmless))
    return Contract(promises + repeated, _notes(given, original, forward) + shared)


def _found(candidate: Candidate, dys: list, started: Any) -> dict[str, Found]:
    return candidate.gradients(candidate.backward(dys, started), started)


def _again(
    candidate: Candidate, values: Inputs, upstreams: Sequence[Any], dtype: Any, started: Any
) -> dict[str, Found] | Promise:
    """Run backward a second time, after another forward pass where the cache is not on itself."""
    if not candidate.stores_cache:
        other = fresh(values, dtype)
        candidate.start(
            {n: v * 0.5 if n in candidate.differentiable else v for n, v in other.items()}
        )
    if candidate.at_once:
        started = candidate.start(fresh(values, dtype))
    try:
        return _found(candidate, [np.array(dy) for dy in upstreams], started)
    except Exception as error:
        backward, one = called(candidate.backward_code), np.array(1.0)
        text = f"{backward} can be called only once after a forward pass: then {one_line(error)}."
        return Promise("repeated", False, one, 0 * one, text, style=True)


def _on_the_next_batch(
    candidate: Candidate, values: Inputs, upstreams: Sequence[Any], dtype: Any,
    outputs: Sequence[Any], first: Mapping[str, Found],
) -> dict[str, Promise]:  # fmt: skip
    """Return the promises that an object breaks once it has seen another batch, by quantity.

    It must give the same outputs again: what draws, or averages over batches, promises nothing.
    """
    turned = {
        name: np.ravel(v)[::-1].reshape(v.shape) if name in candidate.differentiable else v
        for name, v in fresh(values, dtype).items()
    }
    try:
        used = candidate.used(turned, [np.array(dy) for dy in upstreams])
        started = used.start(fresh(values, dtype)) if used is not None else None
        if used is None or started is None or not same(started.outputs, tuple(outputs)):
            return {}
        now = _found(used, [np.array(dy) for dy in upstreams], started)
        before = candidate.run(turned, upstreams).grads
    except Exception:  # the turned inputs are nobody's
        return {}
    backward = called(candidate.backward_code)
    return {
        f"repeated:{name}": _stale(name, now[name].value, f, before[name], backward)
        for name, f in first.items()
        if f.value is not None and np.shape(now[name].value) == np.shape(f.value)
        if not f.of_update and not same(now[name].value, f.value)
    }


def _stale(name: str, now: Any, first: Found, before: Any, who: str) -> Promise:
    now, then = np.asarray(now), np.asarray(first.value)
    text = (
        f"{who} gives another gradient of {name} once the object has seen another batch, though "
        "forward gives the same: it uses what an earlier forward pass has left."
    )
    near = 1e-5 * np.max(np.abs([then, before]), initial=0)
    adds = first.where.startswith("layer.") and np.allclose(now, then + before, rtol=0, atol=near)
    if adds:
        text = (
            f"{who} adds to {first.where} instead of replacing it, as torch does: set it to zero "
            "between two steps."
        )
    return Promise(f"repeated:{name}", False, now, then, text, bool(adds))


def _unchanged(name: str, now: Any, then: Any, who: str) -> Promise:
    return Promise(
        f"unchanged:{name}", same(now, then), np.asarray(now), np.asarray(then),
        f"{who} changes {name} in place: whoever owns that array loses it. Work on a copy.",
    )  # fmt: skip


def _cache(kept: bool, who: str, harmless: bool) -> Promise:
    text = (
        f"{who} changes the cache that it is given (or a later forward pass does): calling it "
        "again gives another answer. Work on copies."
    )
    if harmless:
        text = f"{who} writes into the cache that it is given; its gradients stay the same."
    return Promise(
        "unchanged:cache", kept, np.array(float(not kept)), np.array(0.0), text, harmless
    )


def _repeated(name: str, second: Found | None, first: Found, who: str) -> Promise:
    now, then = None if second is None else second.value, first.value
    text = (
        f"{who}, called twice with the same arguments, gives two different gradients of {name}: it "
        "adds to the old one, draws random numbers, or uses what was changed in between."
    )
    if now is None or then is None:
        return Promise(f"repeated:{name}", now is then, np.array(0.0), np.array(0.0), text)
    now, then = np.asarray(now), np.asarray(then)
    adds = first.where.startswith("layer.") and _twice(now, then)
    if adds:
        text = (
            f"{who} adds to {first.where} instead of replacing it, as torch does: set it to zero "
            "between two steps."
        )
    return Promise(f"repeated:{name}", same(now, then), now, then, text, adds)


def _twice(now: np.ndarray, then: np.ndarray) -> bool:
    return now.shape == then.shape and bool(np.allclose(now, 2 * then, rtol=1e-5, atol=0))


def _shared(found: Mapping[str, Found], dys: list[np.ndarray], backward: str) -> list[str]:
    """Remark on gradients that lie in the upstream gradient's memory, or in each other's."""
    arrays = {n: f.value for n, f in found.items() if isinstance(f.value, np.ndarray)}
    lent = [n for n, array in arrays.items() if any(np.shares_memory(array, dy) for dy in dys)]
    told = [f"{backward} returns the memory of the upstream gradient as that of {', '.join(lent)}"]
    told = told if lent else []
    told += [
        f"{backward} returns one memory as the gradients of {a} and {b}"
        for a, b in combinations(arrays, 2)
        if not {a, b} <= set(lent) and np.shares_memory(arrays[a], arrays[b])
    ]
    return [f"{text}: who changes one in place changes the other." for text in told]


def _reused(first: Mapping[str, Found], second: Mapping[str, Found], backward: str) -> list[str]:
    """Remark on gradients that the second call has written where the first one's were."""
    return [
        f"{backward} reuses its memory: the gradient of {name} that one call returns is "
        "overwritten by the next."
        for name, gradient in first.items()
        if isinstance(gradient.value, np.ndarray) and gradient.where.startswith("grads")
        and np.shares_memory(gradient.value, second[name].value)
    ]  # fmt: skip


def _notes(given: Inputs, original: Inputs, forward: str) -> list[str]:
    """Remark on what passes through and was written to: a hidden output, often intended."""
    return [
        f"{forward} writes into '{name}', which it is given: a hidden output, not checked."
        for name, value in given.items()
        if not is_float(value) and not same(value, original[name])
    ]
