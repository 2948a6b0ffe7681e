"""The planted mistakes are mistakes, and the versions they are planted in are right."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import Function

from tests.compare.mirror.example import Example
from tests.compare.mirror.mistakes import MISTAKES, RIGHT, Mistake


def gradients(example: Example) -> list[Tensor]:
    parameters = list(example.module.parameters())
    found = torch.autograd.grad(example.double().scalar(), parameters, allow_unused=True)
    return [torch.zeros(()) if grad is None else grad for grad in found]


def differentiated(function: type[Function]) -> type:
    """Return what autograd makes of the same forward."""

    class Context:
        def save_for_backward(self, *tensors: Tensor) -> None:
            pass

    class Plain:
        @staticmethod
        def apply(*inputs: Tensor) -> object:
            if function.setup_context is not Function.setup_context:
                return function.forward(*inputs)
            return function.forward(Context(), *inputs)

    return Plain


@pytest.mark.parametrize("function", RIGHT, ids=lambda function: function.__name__)
def test_a_right_version_has_the_gradients_that_autograd_derives(function) -> None:
    mistake = Mistake("", function, function)
    right = gradients(mistake.example())
    derived = gradients(mistake.example(differentiated(function)))

    assert all(torch.allclose(a, b, 1e-12, 1e-13) for a, b in zip(right, derived, strict=True))


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_has_other_gradients_than_the_right_version(name: str) -> None:
    mistake = MISTAKES[name]
    wrong, right = (gradients(mistake.example(f)) for f in (mistake.wrong, mistake.right))
    worst = max(
        float((a - b).abs().max() / b.abs().max()) for a, b in zip(wrong, right, strict=True)
    )

    assert worst > 1e-4
