"""Every hand-written layer and loss, and random networks, before the witnesses."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compare.witness.cases import GradientCase, graph_case
from compare.witness.complex_step import complex_step
from compare.witness.items import items
from manual import ELU, GELU, Linear, LogSoftmax, ReLU, Sequential, Sigmoid, Softplus, Tanh
from tests.compare.witness.witness_pairs import NUMERIC, RNG, changed

STEPS = {
    "FloorGate",
    "CeilGate",
    "RoundGate",
    "TruncGate",
    "SignGate",
    "AngleGate",
    "FillGate",
    "RoundedDivideGate",
}  # their gradient is 0, times anything
GRADIENTS = [i for i in items() if i.kind != "optimizer" and "p=1.0" not in i.name
             and i.group not in STEPS]  # fmt: skip
LAYERS = list({i.group: i for i in reversed(GRADIENTS)}.values())  # one of every class


OF_ABS = (  # |z| of a complex number is real; SciPy has some functions of reals alone
    "L1", "Abs", "LogDeterminant", "PairwiseDistance", "TripletMargin", "Norm", "MatrixNorm",
    "Dist", "Cdist", "Pdist", "Renorm", "Copysign", "Atan2", "Erfinv", "Ndtri", "Polygamma",
)  # fmt: skip


@pytest.mark.parametrize("witness", NUMERIC)
@pytest.mark.parametrize("item", LAYERS, ids=lambda item: item.name)
def test_every_layer_and_loss_is_confirmed(item: Any, witness: Callable) -> None:
    case = item.case(RNG(3))
    found = witness(case.forward, case.backward, case.inputs)

    assert found.agrees, found.evidence
    assert found.conclusive or (witness is complex_step and item.group.startswith(OF_ABS))


@pytest.mark.parametrize("witness", NUMERIC)
@pytest.mark.parametrize("item", LAYERS, ids=lambda item: item.name)
def test_every_layer_and_loss_with_a_gradient_off_by_1e_5_is_refuted(
    item: Any, witness: Callable
) -> None:
    case = item.case(RNG(3))
    found = witness(case.forward, changed(case.backward, 0, lambda g: g * (1 + 1e-5)), case.inputs)

    assert not found.agrees or (witness is complex_step and item.group.startswith(OF_ABS))


def network(seed: int) -> GradientCase:
    """Return a random network, from tiny to large inputs and weights."""
    rng = RNG(seed)
    activation = (Tanh, ReLU, Sigmoid, GELU, Softplus, ELU)[rng.integers(6)]
    widths = rng.integers(1, 7, rng.integers(2, 5)).tolist()
    layers: list[Any] = []
    for a, b in pairwise(widths):
        layers += [Linear(a, b), activation()]
    graph = Sequential(*layers, LogSoftmax(-1))
    scale = 10.0 ** rng.uniform(-2, 0.5)
    params = {name: scale * rng.normal(size=p.shape) for name, p in graph.params.items()}
    x = 10.0 ** rng.uniform(-4, 2) * rng.normal(size=(int(rng.integers(1, 5)), widths[0]))
    return graph_case(graph.with_params(params), x)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.integers(0, 10**6))
def test_random_networks_are_never_refuted(seed: int) -> None:
    case = network(seed)

    for witness in NUMERIC:
        found = witness(case.forward, case.backward, case.inputs, seed=seed)
        assert found.agrees, found.evidence
