"""Every gate as its examples say, and on what only mutants need, beside torch's function.

All calls go forward, on one gate, before any goes backward, and backward runs twice: a cache kept
on the gate, or written into, shows.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import Check, FixedCheck, Lift, exact, lifted
from evidence.mutation.battery.data import make
from evidence.mutation.battery.gate_table import DECISIONS, MORE, OTHERS, PARTLY, REAL, WITHOUT_STEP
from evidence.mutation.battery.layers import Arguments, build
from manual import registry
from manual.examples import Draw, Example

Inputs = tuple[Any, ...]
STEP = 1e-30


@dataclass(frozen=True)
class GateCallCheck(Check):
    """One example of a gate.

    Args:
        type, number: the gate on both sides, and which of its examples.
    """

    type: str
    number: int

    @property
    def name(self) -> str:
        return f"call {self.number} of {self.type}"

    @property
    def example(self) -> Example:
        return calls_of(self.type)[self.number]

    @property
    def names(self) -> list[str]:
        """The names of what forward takes."""
        return list(inspect.signature(registry.GATES[self.type].forward).parameters)[1:]

    def count(self, inputs: Inputs) -> int:
        """Return how many gradients backward has: one per argument of forward."""
        found = inspect.signature(registry.GATES[self.type].forward).parameters.values()
        several = any(p.kind is p.VAR_POSITIONAL for p in found)
        return len(inputs) if several else len(self.names)

    @property
    def arguments(self) -> Arguments:
        return tuple(self.example.arguments.items())

    @cache  # noqa: B019  # checks live as long as the program
    def calls(self, seed: int) -> dict[str, Inputs]:
        """Return the example drawn twice, with whole numbers, and at its kinks."""
        specs = self.example.inputs
        found = {
            name: tuple(_drawn(s, self.rng(seed, name, i), name) for i, s in enumerate(specs))
            for name in ("drawn", "again", "whole")
        }
        if all(_same(a, b) for a, b in zip(found["drawn"], found["whole"], strict=True)):
            del found["whole"]
        number = self.number - len(registry.GATES[self.type].examples)
        if other := OTHERS.get((self.type, number)):
            found["other"] = tuple(
                _drawn(s, self.rng(seed, i), "other") for i, s in enumerate(other)
            )
        for label, points in self.example.kinks.items():
            drawn = zip(self.names, found["drawn"], strict=False)
            found[label] = tuple(
                np.broadcast_to(exact(points[n]), np.shape(x)) if n in points else x
                for n, x in drawn
            )
        return found

    def upstream(self, seed: int, call: str, port: int, shape: tuple[int, ...]) -> np.ndarray:
        return self.draw(seed, shape, call, port)

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        gate, calls = build(self.type, self.arguments), self.calls(seed)
        given = {k: [x if x is None else lifted(lift, x) for x in xs] for k, xs in calls.items()}
        wild = not all(np.isfinite(a).all() for a in self.raw(dtype, seed).values())
        with np.errstate(all="ignore") if wild else nullcontext():
            runs = {k: gate.forward(*xs) for k, xs in given.items()}
            values: Values = {}
            for call, (y, cache_) in runs.items():
                ports = y if isinstance(y, tuple) else (y,)
                ups = [lift(self.upstream(seed, call, i, np.shape(p))) for i, p in enumerate(ports)]
                values |= _outputs(call, ports)
                values[Key(call, "ports")] = np.float64(len(gate.outputs))
                for again in ("", " again"):
                    grads, _ = gate.backward(tuple(ups) if isinstance(y, tuple) else ups[0], cache_)
                    values |= self._gradients(call + again, grads, calls[call], dtype)
                    values[Key(call + again, "gradients")] = np.float64(len(grads))
                    values[Key(call + again, "others")] = self.others(grads, calls[call])
                if self.type in PARTLY and len(ports) > 1:
                    grads, _ = gate.backward((*ups[:-1], None), cache_)
                    values |= self._gradients(f"{call} partly", grads, calls[call], dtype)
                if self.type in DECISIONS:
                    values[Key(call, "decisions")] = _decided(gate.decisions(cache_))
        theirs = self.raw(dtype, seed)
        return {k: v for key in values for k, v in told(key, values[key], theirs.get(key)).items()}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        return {
            k: v for key, a in self.raw(dtype, seed).items() for k, v in told(key, a, a).items()
        }

    @cache  # noqa: B019
    def raw(self, dtype: np.dtype, seed: int) -> Values:
        """Return torch's numbers as they are."""
        import torch

        from evidence.mutation.battery.torch_side import module, tensor
        from torch_ref.captured import tensors_of
        from torch_ref.side import array_of

        values: Values = {}
        for call, inputs in self.calls(seed).items():
            leaves: list[Any] = [x if x is None else tensor(x, dtype) for x in inputs]
            twin = module(self.type, {}, dtype) if not self.arguments else _module(self)
            wanted = {i: leaves[i].requires_grad_() for i in self.real(inputs)}
            found = tensors_of(twin(*leaves))
            ports = [array_of(p).copy() for p in found]
            values |= _outputs(call, ports)
            values[Key(call, "ports")] = np.float64(len(ports))
            ends = [i for i, p in enumerate(found) if p.requires_grad]
            ups = [tensor(self.upstream(seed, call, i, ports[i].shape), dtype) for i in ends]
            grads: Any = [None] * len(wanted)
            if ends:
                grads = torch.autograd.grad(
                    [found[i] for i in ends], list(wanted.values()), ups,
                    allow_unused=True, retain_graph=True,
                )  # fmt: skip
            placed = dict(
                zip(wanted, (g if g is None else array_of(g) for g in grads), strict=True)
            )
            each = [placed.get(i) for i in range(len(inputs))]
            for again in ("", " again"):
                values |= self._gradients(call + again, each, inputs, dtype)
                values[Key(call + again, "gradients")] = np.float64(self.count(inputs))
                values[Key(call + again, "others")] = np.float64(0)
            if self.type in PARTLY and len(ports) > 1:
                kept = [i for i in ends if i < len(ports) - 1]
                part = torch.autograd.grad(
                    [0 * sum(w.sum() for w in wanted.values()), *(found[i] for i in kept)],
                    list(wanted.values()), [None, *(ups[ends.index(i)] for i in kept)],
                    allow_unused=True, materialize_grads=True, retain_graph=True,
                )  # fmt: skip
                placed = dict(zip(wanted, map(array_of, part), strict=True))
                each = [placed.get(i) for i in range(len(inputs))]
                values |= self._gradients(f"{call} partly", each, inputs, dtype)
            if self.type in DECISIONS:
                slopes = _slopes(found[0], list(wanted.values()))
                with np.errstate(all="ignore"):
                    told = DECISIONS[self.type](
                        *inputs, outputs=ports, slopes=slopes, **self.example.arguments
                    )
                values[Key(call, "decisions")] = _decided(told)
        return values

    def _gradients(self, call: str, grads: Any, inputs: Inputs, dtype: np.dtype) -> Values:
        zeros = {i: np.zeros(np.shape(inputs[i]), dtype) for i in self.real(inputs)}
        found = {i: zeros[i] if grads[i] is None else grads[i] for i in zeros}
        return {Key(call, f"grad_input#{i}"): g for i, g in found.items()}

    def others(self, grads: Any, inputs: Inputs) -> np.float64:
        """Count gradients of what has none: of masks, places, inputs left out."""
        has_none = set(range(len(grads))) - set(self.real(inputs))
        fixed = [i for i, n in enumerate(self.names) if n in self.example.fixed]
        return np.float64(sum(grads[i] is not None for i in has_none.difference(fixed)))

    def real(self, inputs: Inputs) -> list[int]:
        """Return which inputs have a gradient."""
        names = [*self.names, *[""] * len(inputs)]
        real = (i for i, x in enumerate(inputs) if x is not None and x.dtype.kind == "f")
        return [i for i in real if names[i] not in self.example.fixed]


@dataclass(frozen=True)
class GateStepCheck(FixedCheck):
    """A complex step through an example beside torch's gradient: as witnesses take it."""

    call: GateCallCheck

    @property
    def type(self) -> str:
        return self.call.type

    @property
    def name(self) -> str:
        return f"a complex step through {self.call.name}"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        gate = build(self.type, self.call.arguments)
        inputs = self.call.calls(seed)["drawn"]
        given = [self._moved(seed, i, x) for i, x in enumerate(inputs)]
        with np.errstate(all="ignore"):
            y, cache_ = gate.forward(*given)
        ports = y if isinstance(y, tuple) else (y,)
        ups = [self.call.upstream(seed, "drawn", i, np.shape(p)) for i, p in enumerate(ports)]
        found = [np.sum(u * np.imag(p)) / STEP for u, p in zip(ups, ports, strict=True)]
        reals = {Key("real", f"output#{i}"): np.real(p) * 1.0 for i, p in enumerate(ports)}
        values = {} if self.type in WITHOUT_STEP else {Key("", "slope"): np.sum(found)} | reals
        if self.type in REAL:
            values = reals | {Key("real", "complex"): np.float64(sum(map(np.iscomplexobj, ports)))}
        if self.type in DECISIONS:
            values[Key("drawn", "decisions")] = _decided(gate.decisions(cache_))
        return values

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        theirs = self.call.raw(dtype, seed)
        inputs = self.call.calls(seed)["drawn"]
        slope = sum(
            np.sum(theirs[Key("drawn", f"grad_input#{i}")] * self._direction(seed, i, inputs[i]))
            for i in self.call.real(inputs)
        )
        reals = {
            Key("real", key.quantity): value * 1.0
            for key, value in theirs.items()
            if key.layer == "drawn" and key.quantity[:6] == "output"
        }  # fmt: skip
        told = Key("drawn", "decisions")
        decided = {told: theirs[told]} if told in theirs else {}
        if self.type in REAL:
            return reals | {Key("real", "complex"): np.float64(0)}
        if self.type in WITHOUT_STEP:
            return decided
        return {Key("", "slope"): np.float64(slope)} | reals | decided

    def _moved(self, seed: int, i: int, x: Any) -> Any:
        if i not in self.call.real(self.call.calls(seed)["drawn"]):
            return x
        return x + 1j * STEP * self._direction(seed, i, x)

    def _direction(self, seed: int, i: int, x: np.ndarray) -> np.ndarray:
        return self.draw(seed, np.shape(x), "direction", i)


def _module(check: GateCallCheck) -> Any:
    from torch_ref.classes import module_class

    return module_class(check.type)(**check.example.arguments)


def _outputs(call: str, ports: Any) -> Values:
    return {Key(call, f"output#{i}"): p if _floating(p) else _plain(p) for i, p in enumerate(ports)}


def _floating(x: Any) -> bool:
    return not isinstance(x, np.ndarray) or x.dtype.kind == "f"


def _plain(x: Any) -> np.ndarray:
    """Return numbers that decide something, or places, as real numbers."""
    return np.asarray(getattr(x, "v", x), dtype=np.float64)


def told(key: Key, found: Any, theirs: Any) -> Values:
    """Return numbers where torch's are finite, and of which kind the others are."""
    finite = np.isfinite(0.0 if theirs is None else theirs)
    if finite.all():
        return {key: found}
    plain = np.asarray(getattr(found, "v", found))
    kinds = np.isnan(plain) + 2.0 * np.isposinf(plain) + 3.0 * np.isneginf(plain)
    kept = np.where(finite, found, np.zeros_like(plain))
    return {key: kept, key._replace(quantity=f"{key.quantity} kinds"): kinds}


def _decided(decisions: Any) -> np.ndarray:
    """Return decisions, which are an array, in a row; none where nothing is decided."""
    if isinstance(decisions, list | tuple):
        raise TypeError("Decisions are an array: the harness reads their shape.")
    return np.zeros(0) if decisions is None else np.nan_to_num(_plain(decisions), nan=9.0).ravel()


def _slopes(y: Any, leaves: list[Any]) -> list[np.ndarray]:
    """Return torch's derivatives of the sum of an output."""
    import torch

    from torch_ref.side import array_of

    if not y.requires_grad:
        return [np.zeros(tuple(x.shape)) for x in leaves]
    found = torch.autograd.grad(y.sum(), leaves, allow_unused=True, materialize_grads=True)
    return [array_of(g).copy() for g in found]


def _same(a: Any, b: Any) -> bool:
    return a is b or np.array_equal(a, b)


def _drawn(spec: Any, rng: np.random.Generator, call: str) -> Any:
    """Return one input: reals that float32 holds, others as they are."""
    if spec is None:
        return None
    if isinstance(spec, np.ndarray):
        return exact(spec) if spec.dtype.kind == "f" else spec
    draw = spec if isinstance(spec, Draw) else Draw(tuple(spec))
    if call == "whole" and draw.kind == "normal":
        return make("ties", rng, draw.shape)
    found = draw(rng)
    return exact(found) if found.dtype.kind == "f" else found


def calls_of(name: str) -> tuple[Example, ...]:
    """Return the gate's own examples, and those that only mutants need."""
    return (*registry.GATES[name].examples, *MORE.get(name, ()))


@cache
def gate_call_checks() -> list[Check]:
    """Return every call of every gate that takes something."""
    return list(_checks())


def _checks() -> Iterator[Check]:
    for name in registry.GATES:
        for number, example in enumerate(calls_of(name)):
            if example.inputs:
                yield GateCallCheck(name, number)
                stepped = name not in WITHOUT_STEP or name in DECISIONS or name in REAL
                if stepped and number < len(registry.GATES[name].examples):
                    yield GateStepCheck(GateCallCheck(name, number))
