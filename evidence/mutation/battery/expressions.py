"""Formulas beside the same formulas in torch: read from text, composed, written out, refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from typing import Any

import numpy as np

from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import Check, FixedCheck, Lift
from evidence.mutation.battery.data import Shape, make
from evidence.mutation.battery.formulas import COMPOSED, FORMULAS, GATES, REFUSED, REFUSED_TERMS

Formula = Callable[..., Any]
VALUE, LABEL = Key("f", "value"), Key("f", "value of its label, read again")


def package() -> Any:
    """Return the `manual.expression` that is loaded now."""
    return import_module("manual.expression")


@dataclass(frozen=True)
class ExpressionCheck(Check):
    """A formula at a point: its value, its gradients, and the same of the text of its label.

    Args:
        text: of FORMULAS, or the name of one of COMPOSED.
        composed: whether it is composed in Python instead of read.
    """

    text: str
    composed: bool = False

    @property
    def name(self) -> str:
        return f"expression {self.text}{', composed' if self.composed else ''}"

    @property
    def twin(self) -> Formula:
        return COMPOSED[self.text][0] if self.composed else FORMULAS[self.text][0]

    @property
    def shapes(self) -> tuple[tuple[str, Shape], ...]:
        return COMPOSED[self.text][1] if self.composed else FORMULAS[self.text][1]

    def inputs(self, seed: int) -> dict[str, np.ndarray]:
        return {k: make("positive", self.rng(seed, k), s) for k, s in self.shapes}

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        inputs = {name: lift(x) for name, x in self.inputs(seed).items()}
        formula: Any = self.text
        if self.composed:
            formula = COMPOSED[self.text][2](*package().variables(" ".join(inputs)))
        found = package().expression(formula, **inputs)
        again = package().expression(found.labels["f"], **inputs)
        values: Values = {VALUE: found.value, LABEL: again.value}
        grads = found.backward(lift(self.draw(seed, np.shape(found.value), "dy")))
        values |= {Key(name, "gradient"): grads[name] for name in inputs}
        if np.shape(found.value) == ():
            values |= {Key(name, "gradient, from 1"): g for name, g in found.gradients.items()}
        doubled = found.at({name: x + x for name, x in inputs.items()})
        return values | {Key("f", "value elsewhere"): doubled.value}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        from evidence.mutation.battery.torch_side import run_module, tensor

        inputs = self.inputs(seed)
        upstream = lambda shape: self.draw(seed, shape, "dy")  # noqa: E731
        y, grads, _ = run_module(self.twin, {}, list(inputs.values()), upstream, dtype)
        values: Values = {VALUE: y, LABEL: y}
        values |= {Key(k, "gradient"): g for k, g in zip(inputs, grads, strict=True)}
        if y.shape == ():
            _, grads, _ = run_module(self.twin, {}, list(inputs.values()), np.ones, dtype)
            values |= {Key(k, "gradient, from 1"): g for k, g in zip(inputs, grads, strict=True)}
        twice = [tensor(x, dtype) * 2 for x in inputs.values()]
        return values | {Key("f", "value elsewhere"): self.twin(*twice).numpy()}


@dataclass(frozen=True)
class ExchangedGateCheck(Check):
    """An expression with one gate exchanged; the first one stays as it was."""

    @property
    def name(self) -> str:
        return "expression x * y + z, then - in the place of +"

    def data(self, seed: int) -> list[np.ndarray]:
        return [self.draw(seed, (), name) for name in "xyz"]

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        inputs = dict(zip("xyz", map(lift, self.data(seed)), strict=True))
        found = package().expression("x * y + z", **inputs)
        other = found.with_layers({"f": import_module("manual").SubtractGate()})
        return {Key(k, "value"): e.value for k, e in (("other", other), ("first", found))}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        from evidence.mutation.battery.torch_side import tensor

        x, y, z = (tensor(a, dtype) for a in self.data(seed))
        return {
            Key("other", "value"): (x * y - z).numpy(), Key("first", "value"): (x * y + z).numpy()
        }  # fmt: skip


@dataclass(frozen=True)
class ListsCheck(FixedCheck):
    """Numbers, nested lists and whole-number arrays count as float64."""

    @property
    def name(self) -> str:
        return "expression of numbers and lists"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        inputs: Any = {"W": [[1, 2], [3, 4]], "x": np.array([3, 5]), "n": 7, "m": np.int64(-1)}
        found = package().expression("sum(W @ x) * n / m", **inputs)
        return {Key("f", "value"): found.value, **self._kinds(found)}

    def _kinds(self, found: Any) -> Values:
        return {Key(k, "is float64"): np.float64(x.dtype == float) for k, x in found.inputs.items()}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch

        w, x = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).double(), torch.tensor([3.0, 5.0]).double()
        found = {Key("f", "value"): np.asarray((w @ x).sum() * 7 / -1)}
        return found | {Key(k, "is float64"): np.asarray(1.0) for k in ("W", "x", "n", "m")}


@dataclass(frozen=True)
class GatesCheck(FixedCheck):
    """Which gates a formula is made of, and how its nodes and inputs are named and ordered."""

    @property
    def name(self) -> str:
        return "gates and names of expressions"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        point = {"x": np.ones(2), "y": np.ones(2)}
        values: Values = {}
        for text, gates in GATES.items():
            found = package().expression(text, **{n: v for n, v in point.items() if n in text})
            kinds = [type(node.layer).__name__ for node in found.graph.nodes]
            values[Key(text, "gates")] = np.float64(kinds == gates.split())
        found = package().expression("q2 + q2 * y - 4", y=2, q2=3)
        right = (
            list(found.inputs) == ["q2", "y"],
            list(found.labels) == ["q2", "y", "q1", "q3", "f"],
            all(isinstance(label, str) for label in found.labels.values()),
            [found.values[name] for name in ("q2", "y", "q1", "q3", "f")] == [3, 2, 6, 9, 5],
            [found.node_gradients()[name] for name in ("q1", "q3", "f")] == [1, 1, 1],
        )
        return values | {Key("f", f"rule {i}"): np.float64(r) for i, r in enumerate(right)}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        rules = {Key("f", f"rule {i}"): np.asarray(1.0) for i in range(5)}
        return {Key(text, "gates"): np.asarray(1.0) for text in GATES} | rules


@dataclass(frozen=True)
class RefusedCheck(FixedCheck):
    """What no formula may be: each text, point or term must raise a ValueError or TypeError."""

    @property
    def name(self) -> str:
        return "expressions that are refused"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        return {Key(name, "is refused"): np.float64(_refuses(run)) for name, run in self._runs()}

    def _runs(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        for text, values in REFUSED:
            yield f"{text[:40]} at {values}", partial(_evaluate, text, values)
        for name, build in REFUSED_TERMS.items():
            yield name, partial(_build, build)

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        return {Key(name, "is refused"): np.asarray(1.0) for name, _ in self._runs()}


def _evaluate(text: str, values: dict[str, Any]) -> Any:
    return package().expression(text, **values)


def _build(build: Callable[[Any], Any]) -> Any:
    return build(package())


def _refuses(run: Callable[[], Any]) -> bool:
    try:
        run()
    except (ValueError, TypeError) as error:
        return bool(str(error)) and not isinstance(error, UnicodeError)
    return False


@cache
def expression_checks() -> list[Check]:
    """Return the formulas as text and composed, and what is refused."""
    read = [ExpressionCheck(text) for text in FORMULAS]
    composed = [ExpressionCheck(name, composed=True) for name in COMPOSED]
    return [*read, *composed, ExchangedGateCheck(), ListsCheck(), GatesCheck(), RefusedCheck()]
