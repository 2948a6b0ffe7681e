"""`compare.check` of every hand-written class beside torch's own: all are right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import compare
import manual
from compare.errors import UserError
from compare.pair.example import made
from tests.compare.classes import CLASSES, examples, torchs

OTHERWISE = {  # torch's EmbeddingBag has other inputs in between; its CTCLoss another gradient
    "EmbeddingBag", "CTCLoss",
}  # fmt: skip
DRAWN = {"RReLU", "FractionalMaxPool2d", "FractionalMaxPool3d"}  # of torch, in training or always
BLIND = {
    "GRUCell",
    "LSTMCell",
    "RNNCell",
}  # the first example has no state, so nothing reaches weight_hh
pytestmark = pytest.mark.filterwarnings("ignore:.*NLLLoss2d:FutureWarning")
RNG = np.random.default_rng(3)


def checked(name: str) -> Any:
    example = examples(name)[0]
    case = made(CLASSES[name], example, np.random.default_rng(1))
    given = {n: x for n, x in zip(case.names, case.inputs, strict=False) if x is not None}
    return compare.check(case.layer, None, torchs(case, example), given)


@pytest.mark.parametrize(
    "name", [n for n in CLASSES if "Dropout" not in n and n not in DRAWN | OTHERWISE]
)
def test_every_class_agrees_with_torchs(name: str) -> None:
    report = checked(name)

    if name in BLIND:
        assert report.verdict == "incomplete"
    elif name == "Hardsigmoid":  # torch's slope at its kinks: see docs/torch-surprises.md
        assert "Reference inaccurate" in report.reason
    else:
        assert report.agrees, report.reason


@pytest.mark.parametrize("name", [n for n in CLASSES if "Dropout" in n])
def test_a_reference_that_draws_is_no_reference(name: str) -> None:
    report = checked(name)

    assert report.verdict == "incomplete"
    assert ".eval()" in report.reason


class Table:
    """Rows of a table; its parameter's gradient is the only one."""

    def __init__(self, factor: float = 1.0) -> None:
        self.params, self.factor = {"weight": np.zeros((5, 3))}, factor

    def forward(self, index: Any) -> tuple[Any, Any]:
        return self.params["weight"][index], index

    def backward(self, dout: Any, index: Any) -> tuple[Any, Any]:
        dweight = np.zeros_like(self.params["weight"])
        np.add.at(dweight, index, dout)
        return (None,), {"weight": self.factor * dweight}


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "agree"), (-1.0, "disagree")])
def test_as_many_gradients_as_parameters_are_of_the_inputs(factor: float, verdict: str) -> None:
    given = {"index": np.array([[1, 0], [4, 1]]), "weight": RNG.standard_normal((5, 3))}

    assert compare.check(Table(factor), None, nn.Embedding(5, 3), given).verdict == verdict


@pytest.mark.parametrize(("wrong", "verdict"), [(False, "agree"), (True, "disagree")])
def test_the_states_of_a_recurrent_reference_are_given_to_it(wrong: bool, verdict: str) -> None:
    """A wrong one halves what the gates give to the input."""
    layer = manual.LSTMCell(3, 2)
    states = {"h_0": RNG.standard_normal((4, 2)), "c_0": RNG.standard_normal((4, 2))}
    given = {"input": RNG.standard_normal((4, 3)), **states}
    weights = {k: RNG.standard_normal(p.shape) for k, p in layer.params.items()}

    class Own:
        def __init__(self) -> None:
            self.params = dict(layer.params)

        def forward(self, input: Any, h_0: Any, c_0: Any) -> Any:
            return self.now().forward(input, h_0, c_0)

        def backward(self, grad_output: Any, cache: Any) -> Any:
            found, grads = self.now().backward(grad_output, cache)
            return ((0.5 if wrong else 1.0) * found[0], *found[1:]), grads

        def now(self) -> Any:
            return manual.LSTMCell(3, 2).with_params(self.params)

    report = compare.check(Own(), None, nn.LSTMCell(3, 2), given | weights)

    assert report.verdict == verdict, report.reason


def test_a_float_input_that_the_reference_does_not_take_is_refused() -> None:
    def forward(x: Any, y: Any) -> tuple[Any, Any]:
        return x * y, (x, y)

    def backward(dout: Any, cache: Any) -> Any:
        return dout * cache[1], dout * cache[0]

    with pytest.raises(UserError, match="takes \\(x\\)"):
        compare.check(forward, backward, lambda x: 2 * x, {"x": (3,), "y": (3,)})


def test_a_gradient_of_an_optional_input_that_is_not_there_is_left_out() -> None:
    class Scaled:
        def forward(self, x: Any, scale: Any = None) -> tuple[Any, Any]:
            return (2 * x if scale is None else scale * x), (x, scale)

        def backward(self, dout: Any, cache: Any) -> Any:
            x, scale = cache
            return (2 * dout, None) if scale is None else (scale * dout, x * dout)

    assert compare.check(Scaled(), None, lambda x: 2 * x, {"x": (3, 4)}).agrees
    assert compare.check(Scaled(), None, torch.mul, {"x": (3, 4), "scale": (3, 4)}).agrees
