"""ScaledDotProductAttention beside torch's function: masks, groups, draws, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from manual.attention import ScaledDotProductAttention
from torch_ref import as_torch
from torch_ref.layers import ScaledDotProductAttention as Torch

SEEN = np.array([[True, False, True], [False, False, False]])  # the second query sees nothing
HIDES = np.where(SEEN, 0.5, -np.inf)


def arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape) for shape in shapes]


def run(module: Any, inputs: list[np.ndarray]) -> list[np.ndarray]:
    leaves = [torch.tensor(x, requires_grad=x.dtype == float) for x in inputs]
    torch.manual_seed(3)
    y = module(*leaves)
    torch.manual_seed(4)
    y.backward(torch.randn_like(y))
    return [y.detach().numpy(), *(x.grad.numpy() for x in leaves if x.requires_grad)]  # type: ignore[union-attr]


PLAIN = ((2, 3), (3, 3), (3, 2))
CASES: list[tuple[dict[str, Any], list[np.ndarray]]] = [
    ({}, [*arrays(*PLAIN), SEEN]),
    ({"scale": -0.5}, [*arrays(*PLAIN), HIDES]),
    ({"is_causal": True, "dropout_p": 0.5}, arrays((2, 3, 4), (2, 4, 4), (2, 4, 2))),
    ({"dropout_p": 0.5}, [*arrays((2, 1, 2, 3), (3, 3, 3), (3, 3, 3)), *arrays((2, 1, 1, 3))]),
    ({"dropout_p": 1.0}, arrays(*PLAIN)),
    ({"enable_gqa": True}, arrays((1, 4, 2, 3), (2, 2, 3, 3), (2, 1, 3, 3))),
    ({"is_causal": True}, arrays((2, 0, 3), (2, 3, 3), (2, 3, 2))),
]


@pytest.mark.parametrize(("options", "inputs"), CASES)
@pytest.mark.parametrize("training", [True, False])
def test_outputs_and_gradients_are_torchs(
    options: dict[str, Any], inputs: list[np.ndarray], training: bool
) -> None:
    layer = ScaledDotProductAttention(**options).train(training)
    mine = run(as_torch(layer).train(training), inputs)
    theirs = run(Torch(**options).train(training), inputs)

    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("place", range(3))
def test_a_planted_mistake_is_noticed(place: int) -> None:
    class Wrong(ScaledDotProductAttention):
        def backward(self, grad_output: Any, cache: Any) -> Any:
            grads, own = super().backward(grad_output, cache)
            return tuple(g * (1 + 1e-6 * (i == place)) for i, g in enumerate(grads[:3])), own

    inputs = arrays(*PLAIN)
    mine, theirs = run(as_torch(Wrong()), inputs), run(Torch(), inputs)

    assert not np.allclose(mine[place + 1], theirs[place + 1], rtol=1e-9, atol=0)


MASK = np.ones((2, 3), bool)
REFUSED: list[tuple[dict[str, Any], list[np.ndarray], str]] = [
    ({"dropout_p": 1.5}, arrays(*PLAIN), "dropout_p .* between 0 and 1, received 1.5"),
    ({"is_causal": True}, [*arrays(*PLAIN), MASK], "both were given"),
    ({}, arrays((2, 3), (3, 2), (3, 2)), r"broadcast.*\(2, 3\), \(3, 2\), \(3, 2\) and mask None"),
    ({}, arrays((2, 3), (3, 3), (2, 2)), "must broadcast"),
    ({}, arrays((2, 2, 3), (3, 3, 3), (3, 3, 2)), "must broadcast"),
    ({}, [*arrays(*PLAIN), np.ones((2, 2, 3), bool)], "attn_mask to"),
    ({}, [*arrays(*PLAIN), np.ones((3, 3), bool)], "attn_mask to"),
    ({}, [*arrays(*PLAIN), np.ones((2, 3), int)], "True is seen.*Compare it: mask != 0"),
    ({"enable_gqa": True}, arrays(*PLAIN), "heads of key and value"),
    ({"enable_gqa": True}, arrays((4, 2, 3), (3, 3, 3), (2, 3, 3)), "heads of key and value"),
    ({}, arrays((3,), (3, 3), (3, 2)), "must broadcast"),
]


@pytest.mark.parametrize(("options", "inputs", "message"), REFUSED)
def test_what_torch_refuses_is_refused_in_a_sentence(
    options: dict[str, Any], inputs: list[np.ndarray], message: str
) -> None:
    with pytest.raises(ValueError, match=f"ScaledDotProductAttention: .*{message}"):
        ScaledDotProductAttention(**options).forward(*inputs)
    with pytest.raises((RuntimeError, ValueError, IndexError)):
        Torch(**options)(*map(torch.tensor, inputs))


def test_noise_of_another_shape_is_refused() -> None:
    layer = ScaledDotProductAttention(dropout_p=0.5)

    with pytest.raises(ValueError, match=r"mask of the weights, \(2, 3\), received \(3, 3\)"):
        layer.forward(*arrays(*PLAIN), noise=np.ones((3, 3)))
