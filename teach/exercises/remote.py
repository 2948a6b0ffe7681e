"""A submission as a candidate of the checker: the numbers come from its own process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compare.errors import UserError
from compare.pair.candidates import Candidate, Started
from compare.pair.inputs import Inputs
from compare.pair.returned import Found, by_name
from teach.exercises.child import decoded, encoded
from teach.exercises.worker import Worker


class SubmissionError(UserError):
    """What a submission returned is nothing that can be judged."""


class RemoteCache:
    """Stands for a cache in the other process; `digest` changes when its numbers do."""

    def __init__(self, digest: str) -> None:
        self.digest = digest


class RemoteFunction:
    """Stands for a function in the other process, where a report wants its name."""

    def __init__(self, name: str) -> None:
        self.__qualname__ = name
        self.__doc__ = ""


class RemotePair(Candidate):
    """`out, cache = forward(*inputs)` and `dx, … = backward(dout, cache)` in a worker."""

    def __init__(
        self, worker: Worker, functions: tuple[str, str], names: Sequence[str],
        floats: Sequence[str],
    ) -> None:  # fmt: skip
        self.worker = worker
        self.names, self.differentiable = tuple(names), tuple(floats)
        self.name = "your code"  # in what the checker says of it
        self.forward_code, self.backward_code = (RemoteFunction(name) for name in functions)
        self.calls = 0

    def start(self, values: Inputs) -> Started:
        self.calls += 1
        call, given = self.calls, list(values.values())
        reply = self.worker.ask(do="forward", call=call, inputs=[_sent(v) for v in given])
        if "bad" in reply:
            raise SubmissionError(str(reply["bad"]))
        _written_back(reply["inputs"], given)
        outputs = tuple(_numbers(y, self.name) for y in decoded(reply["outputs"]))
        return Started(outputs, RemoteCache(reply["digest"]), (call, given))

    def backward(self, upstreams: Sequence[Any], started: Started) -> Any:
        call, given = started.state
        reply = self.worker.ask(do="backward", call=call, upstreams=[_sent(dy) for dy in upstreams])
        _written_back(reply["inputs"], given)
        _written_back(reply["upstreams"], list(upstreams))
        started.cache.digest = reply["digest"]
        try:
            return decoded(reply["grads"])
        except ValueError as error:
            raise SubmissionError(f"{self.backward_code.__qualname__} {error}.") from None

    def gradients(self, returned: Any, started: Started) -> dict[str, Found]:
        who = self.backward_code.__qualname__
        count = len(returned) if isinstance(returned, tuple | list) else 1
        wanted = {len(self.differentiable), len(self.names)}
        if not isinstance(returned, dict) and returned is not None and count not in wanted:
            raise SubmissionError(
                f"{who} returned {count} gradient{'s' if count != 1 else ''}; wanted are "
                f"{len(self.differentiable)}, in this order: "
                f"{', '.join(f'd{name}' for name in self.differentiable)}."
            )
        found = by_name(returned, self.differentiable, self.names, who)
        for name, gradient in found.items():
            if gradient.value is not None:
                found[name] = gradient._replace(value=_numbers(gradient.value, f"{who}: d{name}"))
        return found


def _sent(value: Any) -> tuple[Any, bool]:
    """Return a value for the pipe, and whether its memory is not contiguous."""
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind not in "biuf":
        raise TypeError(f"a submission is not run on arrays of {value.dtype}")
    plain = np.ndarray | np.generic | str | int | float | tuple | list | dict | None
    if not isinstance(value, plain):
        raise TypeError(f"a submission is not run on a {type(value).__name__}")
    return encoded(value), isinstance(value, np.ndarray) and not value.flags.c_contiguous


def _written_back(changed: Sequence[Any], given: Sequence[Any]) -> None:
    """Make a change that the submission made to its arguments visible here."""
    for new, old in zip(changed, given, strict=True):
        value = None if new is None else decoded(new)
        if isinstance(value, np.ndarray) and isinstance(old, np.ndarray):
            if value.shape == old.shape:
                old[...] = value
            else:
                old[...] = np.nan


def _numbers(value: Any, who: str) -> Any:
    """Return an array; lists of numbers become one, as everywhere in NumPy."""
    if isinstance(value, np.ndarray):
        return value if value.dtype.kind != "f" or value.ndim else value[()]
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise SubmissionError(f"{who} is no array of numbers, but a {type(value).__name__}.")
    return array.astype(float) if isinstance(value, float) or array.dtype.kind != "f" else array
