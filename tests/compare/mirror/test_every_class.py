"""Every class of torch.nn that something hand-written stands for, as a model and inside one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import compare
from compare.pair.example import made
from compare.pair.mirror import modules
from compare.report.report import Report
from manual.examples import Example
from tests.compare.classes import CLASSES, examples, torchs
from torch_ref.network import nested

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*NLLLoss2d:FutureWarning"),
    pytest.mark.filterwarnings("ignore:dropout2d:UserWarning"),
]


class Inside(nn.Module):
    """A model of one module."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *inputs: Any) -> Any:
        return self.inner(*inputs)


def mirrored(name: str, example: Example, *, inside: bool) -> Report:
    case = made(CLASSES[name], example, np.random.default_rng(1))
    module = torchs(case, example)
    inputs: list[Tensor | None] = [None if x is None else torch.tensor(x) for x in case.inputs]
    while inputs[-1] is None:
        inputs.pop()
    return compare.mirror(Inside(module) if inside else module, nested(module, inputs))


def reports(name: str, *, inside: bool) -> Iterator[Report]:
    return (mirrored(name, example, inside=inside) for example in examples(name))


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_inside_a_model_is_taken_by_hand(name: str) -> None:
    found = list(reports(name, inside=True))

    assert [r.missing for r in found] == [()] * len(found)
    assert {r.verdict for r in found} <= {"agree", "incomplete"}  # of a few all is zero
    assert any(r.agrees for r in found)


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_as_the_model_itself_is_taken_by_hand(name: str) -> None:
    for example in examples(name)[:2]:
        report = mirrored(name, example, inside=False)
        assert (report.verdict, report.missing) == ("agree", ()), report.reason


def test_an_argument_that_torch_keeps_elsewhere_is_not_guessed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(modules, "ATTRIBUTES", {})

    assert mirrored("PairwiseDistance", CLASSES["PairwiseDistance"].examples[1], inside=True).agrees


def test_an_argument_read_wrongly_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modules, "ATTRIBUTES", {("PairwiseDistance", "p"): "eps"})

    report = mirrored("PairwiseDistance", CLASSES["PairwiseDistance"].examples[1], inside=True)

    assert report.verdict == "disagree"


def test_outputs_that_torch_computes_from_one_another_are_kept_apart() -> None:
    class Cell(nn.Module):  # a function of torch's, which nothing hand-written stands for
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.last = nn.LSTMCell(3, 2), nn.Linear(4, 1)

        def forward(self, x: Tensor) -> Tensor:
            zeros = x.new_zeros(len(x), 2)
            weights = (p for _, p in self.cell.named_parameters())
            h, c = torch.lstm_cell(x, (zeros, zeros), *weights)
            return self.last(torch.cat((h, c), dim=1)).square().mean()

    torch.manual_seed(0)
    report = compare.mirror(Cell(), torch.randn(4, 3))

    assert [operation for operation, *_ in report.missing] == ["lstm_cell"]
    assert not report.differences["verdict"].eq("disagree").any()
