"""Torch's own samples of its operations, each captured once, against the gates of the mirror.

What torch computes is kept: values, and gradients under a random upstream one. The hand-written
graph is derived anew at every check, from the `manual` that is loaded, and run.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import islice
from typing import Any, ClassVar, NamedTuple

import numpy as np

from compare.gauge import Gauge
from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import Check, Lift, lifted
from evidence.mutation.battery.gate_calls import told

MOST = 3  # samples of each variant of an operation
LEFT = {  # samples that a mirror settles otherwise than number by number
    "as_strided_scatter",  # torch's gradient is another: see the ledger of the corpus
    "cfloat", "chalf",  # another precision than the run's
    "masked.log_softmax", "masked.logaddexp",  # infinities on the way
    "nn.functional.hardsigmoid",  # at its kinks, where torch takes the other side
}  # fmt: skip


class Captured(NamedTuple):
    """A sample as torch ran it."""

    side: Any  # CapturedSide
    values: Values


@dataclass(frozen=True)
class OperationCheck(Check):
    """One sample of an operation, every value and gradient of its mirror.

    Args:
        operation, variant, number: of torch's samples.
    """

    dtypes: ClassVar[tuple[str, ...]] = ("float64",)
    operation: str
    variant: str
    number: int

    @property
    def name(self) -> str:
        return f"torch's sample {self.number} of {self.operation} {self.variant}".strip()

    def prepare(self) -> None:
        """Run the operation's samples in this process, if that is still to be done."""
        if self not in KEPT:
            list(_checks(self.operation))

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        found = KEPT[self]
        theirs = found.values
        graph, data = _mirrored(found.side)
        inputs = tuple(k for k in found.side.inputs if k in data)
        given = {k: lifted(lift, np.asarray(x)) for k, x in data.items()}
        noise = found.side.noise()
        turned = {k: _turned(x) if k in inputs else x for k, x in given.items()}
        others = () if any(isinstance(x, Gauge) for x in given.values()) else (turned,)
        with np.errstate(all="ignore"):  # samples hold nan and numbers outside of a domain
            tape, *_ = [graph.run(x, noise=noise) for x in (given, *others)]
            graph.gradients(tape, lift(np.ones(())), wrt=inputs)
            grads = graph.gradients(tape, lift(np.ones(())), wrt=inputs).values
        mine: Values = {}
        for key, value in theirs.items():
            if key.quantity == "output":
                mine |= told(key, tape.values[key.layer], value)
            else:
                mine |= told(key, grads.get(key.layer, np.zeros_like(value)), value)
        return mine

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        theirs = KEPT[self].values
        return {k: v for key, a in theirs.items() for k, v in told(key, a, a).items()}


def _turned(x: Any) -> Any:
    """Return the numbers the other way round: another input, in the same domain."""
    return np.flip(x).reshape(np.shape(x)) if np.ndim(x) else x


def _mirrored(side: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """Return the graph of a captured run, of the `manual` that is loaded, and its data."""
    derive = import_module("compare.pair.mirror.derive").derive
    mirrored = import_module("compare.pair.mirror.graph").mirrored
    for call in side.capture.calls:
        call.twin = derive(side.capture, call)
    found = mirrored(side.network, side.capture, side.loss)
    if found.by_torch:
        raise ValueError(f"nothing hand-written stands for {found.by_torch}")
    return found.graph, found.data


KEPT: dict[OperationCheck, Captured] = {}


@cache
def operation_checks(names: tuple[str, ...] = ()) -> list[Check]:
    """Return the samples of these operations (all) that gates compute."""
    from evidence.corpus.cli import known

    return [check for name in names or known(ops=True) for check in _checks(name)]


def _checks(name: str) -> Iterator[Check]:
    """Run an operation's samples, and yield those that stand for themselves."""
    for variant, number, operation, inputs in _samples(name) if name not in LEFT else ():
        check = OperationCheck(name, variant, number)
        if (found := _captured(operation, inputs)) is not None:
            KEPT[check] = found
            yield check


def _samples(name: str) -> Iterator[tuple[str, int, Any, tuple[Any, ...]]]:
    import torch

    from evidence.corpus.ops import operations, taken
    from evidence.corpus.samples import SEED

    for info in operations()[name]:
        torch.manual_seed(SEED)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = info.sample_inputs("cpu", torch.float64, True)
            for number, sample in enumerate(islice(found, MOST)):
                yield info.variant_test_name, number, *taken(info, sample)


def _captured(operation: Any, inputs: tuple[Any, ...]) -> Captured | None:
    """Run a sample; None where no gate is by hand, or torch refuses."""
    from evidence.corpus.ops import strided

    try:
        found = operation(*(x.detach().clone() for x in inputs))
        if not strided((inputs, found)):
            return None
        side = _run(operation, inputs)
        graph, data = _mirrored(side)
    except Exception:
        return None  # what torch or the mirror refuses is counted by `handgrad corpus --ops`
    own = [node for node in graph.nodes if not node.name.startswith("upstream")]
    if not any(f"{type(node.layer).__module__}.".startswith("manual.gates.") for node in own):
        return None
    ports_of = import_module("manual.nodes").ports_of
    known = {port for node in own for port in ports_of(node)}
    values = {Key(k, "output"): v for k, v in side.outputs().items() if k in known}
    slopes = side.grad_outputs().items()
    values |= {Key(k, "gradient"): v for k, v in slopes if k in known or k in data}
    return Captured(side, values)


def _run(operation: Any, inputs: tuple[Any, ...]) -> Any:
    """Run an operation and go back through it under the capture."""
    import torch

    from compare.pair.mirror.derive import Deriver
    from compare.running.mirror.model import Model
    from torch_ref.captured_side import CapturedSide

    default = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        model = Model.copied(operation, inputs, {}, None, None, "float64")
        side = CapturedSide(model.module, model.run, model.inputs, None, model.dtype, Deriver())
        side.forward_backward()
    finally:
        torch.set_default_dtype(default)
    return side
