"""Trace an expression: hand-written gates beside autograd, judged edge by edge by the gauge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from compare.errors import UserError
from compare.gauge import K, gauge, gauging
from compare.judge.judge import VACUOUS, VERDICTS, Rows, gauged, judge
from compare.judge.quantities import Key, Values
from manual.expression import Expression, Term, expression
from manual.graph import Array
from teach.trace.edges import (
    BRANCH,
    TIE,
    Edge,
    branches,
    edge_gradients,
    edge_key,
    edges,
    local_gradient,
    summed_names,
    ties,
)
from teach.trace.guarded import guarded, writers

F64 = np.dtype(np.float64)


class Judged(NamedTuple):
    """A number or array on both sides, the share of its tolerance that is used, and a verdict."""

    manual: Array
    torch: Array
    budget: float
    verdict: str

    @property
    def unjudged(self) -> bool:
        """Whether rounding may be all there is of it, though a side is not exactly zero."""
        if self.verdict != VERDICTS[VACUOUS]:
            return False
        return bool(np.any(self.manual) or np.any(self.torch))


class Step(NamedTuple):
    """One row of the way back: local gradient times upstream gradient, along one edge."""

    edge: Edge
    local: Any
    upstream: Array
    gradient: Judged
    remark: str


@dataclass(frozen=True)
class Trace:
    """What `trace` found. `verdict` is agree, disagree, or incomplete (not all could be judged).

    Attributes:
        expression: the hand-written side.
        values: every gate's value, in the order of evaluation.
        steps: every edge, in the order of backward.
        sums: the gradient of every input, and of every gate whose value is used twice.
        writers: gates whose backward changed the upstream gradient that it was given.
        seed: of the random upstream gradient; None if it was given or is 1.
    """

    expression: Expression
    upstream: Array
    seed: int | None
    values: dict[str, Judged]
    steps: list[Step]
    sums: dict[str, Judged]
    writers: tuple[str, ...] = ()

    @cached_property
    def first(self) -> str | None:
        """What is wrong first, in words; None if nothing is."""
        labels = self.expression.labels
        for name, value in self.values.items():
            if value.verdict not in PASSING:
                return f"the value of {name}, {labels[name]}, {_wrong(value)}"
        for step in self.steps:
            if self._wrong_sum(step.edge.node.name):  # before the edges that pass it on
                return self._branch(step.edge.node.name)
            if step.gradient.verdict not in PASSING:
                (name, layer, _), source = step.edge.node, step.edge.source
                return (
                    f"{type(layer).__name__} at {name}, {labels[name]}: the gradient that it "
                    f"hands back to {labels[source]} {_wrong(step.gradient)}"
                )
        for name in self.sums:
            if self._wrong_sum(name):
                return self._branch(name)
        for name in self.writers:
            return f"the backward of {name}, {labels[name]}, changes its upstream gradient in place"
        return None

    def _wrong_sum(self, name: str) -> bool:
        return name in self.sums and self.sums[name].verdict not in PASSING

    def _branch(self, name: str) -> str:
        said = self.expression.labels[name]
        where = said if said == name else f"{name}, {said}"
        return f"the gradient of {where}, a sum over its branches, {_wrong(self.sums[name])}"

    @property
    def verdict(self) -> str:
        if self.first is not None:
            return "disagree"
        nothing = all(found.verdict == VERDICTS[VACUOUS] for found in self.sums.values())
        judged = [*self.sums.values(), *(step.gradient for step in self.steps)]
        return "incomplete" if nothing or any(j.unjudged for j in judged) else "agree"

    @property
    def agrees(self) -> bool:
        return self.verdict == "agree"

    @property
    def gradients(self) -> dict[str, Judged]:
        """∂f/∂input, by the input's name."""
        return {name: self.sums[name] for name in self.expression.graph.inputs}

    def svg(self) -> str:
        """Return the drawing of the graph."""
        from teach.trace.drawing import to_svg

        return to_svg(self)

    def _repr_svg_(self) -> str:
        return self.svg()

    def __str__(self) -> str:
        from teach.trace.show import text

        return text(self)


def _wrong(found: Judged) -> str:
    return "is not finite" if found.verdict == "non-finite" else "is not torch's"


PASSING = ("agree", "vacuous")


def trace(
    formula: str | Term | Expression,
    values: Mapping[str, Any] | None = None,
    *,
    upstream: Any = None,
    seed: int = 0,
) -> Trace:
    """Compare every value and every gradient of an expression with torch's.

    Args:
        formula: text, a term, or an expression that has its values.
        values: of the inputs, by name.
        upstream: ∂L/∂f; if it is not given, 1 for a single number, else random.
        seed: of the random one.

    Raises:
        UserError: the formula or a value cannot be used, or a gate has no finite value or
            derivative there.
    """
    with np.errstate(all="ignore"):
        try:
            if not isinstance(formula, Expression):
                formula = expression(formula, **(values or {}))
            _check_finite(formula)
            upstream, drawn = _upstream(formula, upstream, seed)
            safe = guarded(formula)
            gradients = safe.node_gradients(upstream)
        except (ValueError, TypeError) as error:
            raise UserError(str(error)) from error
        return _compared(formula, safe, upstream, drawn, gradients)


def _upstream(formula: Expression, given: Any, seed: int) -> tuple[Array, int | None]:
    shape = np.shape(formula.value)
    if given is not None:
        return np.asarray(given, dtype=float)[()], None
    if shape == ():
        return np.float64(1.0), None
    return np.random.default_rng(seed).standard_normal(shape), seed


def _check_finite(formula: Expression) -> None:
    named = {**formula.inputs, **formula.values}
    for name, value in named.items():
        if not np.isfinite(value).all():
            node = next((n for n in formula.graph.nodes if n.name == name), None)
            of = {formula.labels[i]: named[i] for i in node.inputs} if node else {}
            at = f" at {', '.join(f'{k} = {v}' for k, v in of.items())}" if of else ""
            raise UserError(
                f"'{formula.labels[name]}' is not finite{at}: received or found {value}. Choose "
                "values at which every gate has a finite value."
            )


def _check_derivatives(formula: Expression, theirs: Values) -> None:
    """Refuse a point at which torch has no finite gradient: nothing can be judged there."""
    labels = formula.labels
    for edge in edges(formula):
        of = ", ".join(f"{labels[i]} = {formula.values[i]}" for i in edge.node.inputs)
        what = f"'{labels[edge.node.name]}' with respect to '{labels[edge.source]}'"
        _refuse_infinite(theirs.get(edge_key(edge)), f"{what} is not finite at {of}")
    for name in summed_names(formula):
        what = f"'{labels['f']}' with respect to '{labels[name]}'"
        _refuse_infinite(theirs.get(Key(name, "gradient")), f"{what} is not finite")


def _refuse_infinite(found: Any, what: str) -> None:
    if found is not None and not np.isfinite(found).all():
        raise UserError(
            f"The gradient of {what}: torch has {_plain(found)}. Choose values at which every gate "
            "has a finite derivative."
        )


def _compared(
    formula: Expression, safe: Expression, upstream: Array, seed: int | None, gradients: Any
) -> Trace:
    from teach.trace.torch_side import torch_values

    mine = _values(formula, safe, gradients)
    theirs = torch_values(formula, upstream)
    _check_derivatives(formula, theirs)
    rows = judge(list(mine), _arrays(mine), theirs, _tolerances(formula, upstream))
    found = {
        key: Judged(_plain(mine.get(key)), _plain(theirs.get(key)), float(budget), str(verdict))
        for key, budget, verdict in zip(
            rows.keys, rows.measures.budget, VERDICTS[rows.verdicts], strict=True
        )
    }
    return Trace(
        formula,
        upstream,
        seed,
        {node.name: found[Key(node.name, "value")] for node in formula.graph.nodes},
        [_step(formula, edge, gradients, found[edge_key(edge)]) for edge in edges(formula)],
        {key.layer: judged for key, judged in found.items() if key.quantity == "gradient"},
        tuple(writers(safe)),
    )


def _step(formula: Expression, edge: Edge, gradients: Any, found: Judged) -> Step:
    more = {TIE: ties(formula, edge), BRANCH: edge.source in branches(edges(formula))}
    remark = ", ".join([edge.pattern, *(word for word, true in more.items() if true)])
    upstream = gradients[edge.node.name]
    return Step(edge, local_gradient(formula, edge), upstream, found, remark)


def _values(formula: Expression, run: Expression, gradients: Any) -> Values:
    """Return every value and gradient that `run` (of the same graph) found, by its key."""
    values = {Key(n.name, "value"): run.values[n.name] for n in formula.graph.nodes}
    handed = edge_gradients(run, gradients)
    places = {(e.node.name, e.position): share for e, share in handed.items()}
    values |= {edge_key(e): places[e.node.name, e.position] for e in edges(formula)}
    return values | {Key(name, "gradient"): gradients[name] for name in summed_names(formula)}


def _tolerances(formula: Expression, upstream: Array, *, wide: bool = False) -> dict[Key, Any]:
    """Run the same gates on gauge arrays: how far rounding may take each number.

    Where squared errors overflow, once more in extended precision.
    """
    with gauging(F64, wide=wide):
        lifted = formula.at({name: gauge(np.array(x)) for name, x in formula.inputs.items()})
        gradients = lifted.node_gradients(gauge(np.array(upstream)))
        found = gauged(_values(formula, lifted, gradients), F64, K)
    if wide or all(np.isfinite(tolerance).all() for tolerance in found.values()):
        return found
    return _tolerances(formula, upstream, wide=True)


def _arrays(values: Values) -> dict[Key, np.ndarray]:
    return {key: np.asarray(value, dtype=F64) for key, value in values.items()}


def _plain(value: Any) -> Any:
    return None if value is None else np.asarray(value, dtype=F64)[()]


__all__ = ["Judged", "Rows", "Step", "Trace", "trace"]
