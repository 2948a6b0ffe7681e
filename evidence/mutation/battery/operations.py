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
from typing import Any, ClassVar, NamedTuple

import numpy as np

from compare.gauge import Gauge
from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import Check, Lift, lifted
from evidence.mutation.battery.gate_calls import told

MOST = 4  # samples of each variant of an operation


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

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        found = captured(self)
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
        return {k: v for key, a in captured(self).values.items() for k, v in told(key, a, a).items()}


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


@cache
def captured(check: OperationCheck) -> Captured:
    """Return a sample as torch ran it."""
    return KEPT[check]


KEPT: dict[OperationCheck, Captured] = {}


@cache
def operation_checks() -> list[Check]:
    return list(_checks())


def _checks() -> Iterator[Check]:
    import torch

    from evidence.corpus.ops import _operations, names
    from evidence.corpus.samples import SEED

    for name in names():
        if name in LEFT:
            continue
        for info in _operations()[name]:
            torch.manual_seed(SEED)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for number, sample in enumerate(info.sample_inputs("cpu", torch.float64, True)):
                    if number == MOST:
                        break
                    check = OperationCheck(name, info.variant_test_name, number)
                    if (found := _captured(info, sample)) is not None:
                        KEPT[check] = found
                        yield check


def _captured(info: Any, sample: Any) -> Captured | None:
    """Run a sample; None where nothing is by hand, or torch refuses."""
    import torch

    from compare.errors import UserError
    from compare.pair.mirror.derive import Deriver
    from compare.running.mirror.model import Model
    from evidence.corpus.ops import _strided, _taken
    from torch_ref.captured import paired
    from torch_ref.captured_side import CapturedSide
    from torch_ref.side import array_of

    operation, inputs = _taken(info, sample)
    try:
        found = operation(*(x.detach().clone() for x in inputs))
    except Exception:
        return None
    if not _strided((inputs, found)):
        return None
    default = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        model = Model.copied(operation, inputs, {}, None, None, "float64")
        side = CapturedSide(
            model.module, model.run, model.inputs, None, torch.float64, Deriver()
        )
        side.forward_backward()
        graph, data = _mirrored(side)
    except Exception:
        return None
    finally:
        torch.set_default_dtype(default)
    own = [node for node in graph.nodes if node.name[:8] != "upstream"]
    if not any(type(node.layer).__module__.startswith("manual.gates.") for node in own):
        return None
    known = {p for node in own for p in _ports(node)}
    values = {Key(k, "output"): v for k, v in side.outputs().items() if k in known}
    values |= {
        Key(k, "gradient"): v
        for k, v in side.grad_outputs().items()
        if k in known or k in data
    }
    return Captured(side, values)


def _ports(node: Any) -> tuple[str, ...]:
    return import_module("manual.nodes").ports_of(node)
