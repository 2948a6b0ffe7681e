"""What a certificate is about: a pair to differentiate, or a formula beside its definition."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from compare.pair.example import Made, at_kinks, is_real, made
from compare.witness.certify import Certificate, certificate, certify
from compare.witness.decisions import BranchPointError, Decisions, deciding
from compare.witness.pairs import Backward, Forward
from compare.witness.precision import working
from manual.examples import Example
from manual.graph import Arrays, Graph, Layer

POINTS = 3  # at which every item is certified


@dataclass(frozen=True)
class GradientCase:
    """A pair, the point where it is differentiated, and itself at its branch points by label."""

    forward: Forward
    backward: Backward
    inputs: Mapping[str, Any]
    branches: Mapping[str, GradientCase] = field(default_factory=dict)
    remark: str = ""

    def certify(self, bits: int, digits: float, seed: int) -> Certificate:
        """Compare backward with forward's derivative, there and at the branch points."""
        found = certify(
            self.forward, self.backward, self.inputs, bits=bits, digits=digits, seed=seed
        )
        with working(bits, digits):
            from compare.witness.branches import at_branch

            judged = [
                at_branch(at.forward, at.backward, at.inputs, label, digits)
                for label, at in self.branches.items()
            ]
        note = [found.note, *(branch.note for branch in judged), self.remark]
        certified = found.certified and all(branch.certified for branch in judged)
        return replace(found, certified=certified, note="; ".join(filter(None, note)))


@dataclass(frozen=True)
class DefinitionCase:
    """A formula without a derivative (an optimiser's step), beside its definition written anew."""

    formula: Callable[[], Arrays]
    definition: Callable[[], Arrays]
    note: str

    def certify(self, bits: int, digits: float, seed: int) -> Certificate:
        """Evaluate both in balls and compare every array."""
        with working(bits, digits), deciding():
            from compare.witness.agreement import tensor_digits

            found, expected = self.formula(), self.definition()
            shared = [name for name in expected if name in found]
            tensors = [tensor_digits(name, found[name], expected[name]) for name in shared]
            proven = certificate(tensors, Decisions(), digits)
        if alone := sorted(found.keys() ^ expected.keys()):
            note = f"WRONG: only one of the two has {', '.join(alone)}"
            return replace(proven, certified=False, digits=0.0, note=note)
        return replace(proven, note="; ".join(filter(None, (proven.note, self.note))))


@dataclass(frozen=True)
class Item:
    """One row: what is certified, of which kind and class, and what makes its case."""

    name: str
    kind: str
    group: str
    case: Callable[[np.random.Generator], GradientCase | DefinitionCase]

    def certify(self, bits: int, digits: float, seed: int) -> Certificate:
        """Certify it at a few points, which depend on the seed and the item's name.

        The worst one counts: a digit lost at any of them is lost.
        """
        name = zlib.crc32(self.name.encode())
        cases = [self.case(np.random.default_rng([seed, name, k])) for k in range(POINTS)]
        found = [_attempt(case, bits, digits, seed) for case in cases]
        worst = min(found, key=lambda c: (c.certified, c.digits))
        closest = min(c.nearest for c in found)
        radius = max(c.radius for c in found)
        notes = (
            "exact" if radius == 0 and worst.certified else "",
            worst.note,
            "" if math.isinf(closest) else f"nearest branch {closest:.1g} away",
        )
        return replace(worst, radius=radius, nearest=closest, note="; ".join(filter(None, notes)))


def _attempt(
    case: GradientCase | DefinitionCase, bits: int, digits: float, seed: int
) -> Certificate:
    """Certify a case; what balls cannot pass is not certified, for the reason they give."""
    from compare.witness.balls import NotBallsError

    try:
        return case.certify(bits, digits, seed)
    except (BranchPointError, NotBallsError) as reason:
        return Certificate(0.0, math.inf, False, str(reason))


def layer_case(layer: Layer, *inputs: Any, fixed: tuple[str, ...] = ()) -> GradientCase:
    """Return a layer's pair: its inputs, except those named as fixed, and its parameters."""
    return made_case(Made(layer, inputs, fixed=fixed))


def example_case(cls: type[Layer], example: Example, rng: np.random.Generator) -> GradientCase:
    """Return the pair of one example of a class, and the same at its kinks."""
    case = made(cls, example, rng)
    branches = {label: made_case(at) for label, at in at_kinks(case, example)}
    return replace(made_case(case), branches=branches, remark=example.note)


def made_case(case: Made) -> GradientCase:
    """Return the pair of a layer with its inputs: what has a gradient, by name."""
    names = list(case.values)
    others = {
        name: x
        for name, x in zip(case.names, case.inputs, strict=True)
        if name not in names and is_real(x)
    }

    def forward(*values: Any) -> tuple[Any, Any]:
        bound = case.with_values(dict(zip(names, values, strict=True)) | _lifted(others, values))
        y, cache = bound.forward()
        return y, (bound, cache)

    def backward(dout: Any, saved: Any) -> tuple:
        bound, cache = saved
        grads = bound.gradients(dout, cache)
        return tuple(grads[name] for name in names)

    return GradientCase(forward, backward, case.values)


def graph_case(graph: Graph, x: np.ndarray) -> GradientCase:
    """Return a whole network's pair: its input, then its parameters by their dotted names."""
    keys = list(graph.params)

    def forward(x: Any, *params: Any) -> tuple[Any, Any]:
        bound = graph.with_params(dict(zip(keys, params, strict=True)))
        tape = bound.run(x)
        return tape.output, (bound, tape)

    def backward(dout: Any, saved: Any) -> tuple:
        bound, tape = saved
        grads = bound.gradients(tape, dout, wrt=bound.inputs)
        return (grads.values[bound.inputs[0]], *(grads.params[key] for key in keys))

    return GradientCase(forward, backward, {"input": x} | graph.params)


def _lifted(others: Arrays, values: tuple) -> Arrays:
    """Return what is held fixed; real numbers join the others' number system."""
    if not values or values[0].dtype != object:
        return others
    from compare.witness.ball_array import balls

    return {name: balls(x) for name, x in others.items()}
