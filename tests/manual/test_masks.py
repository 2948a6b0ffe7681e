"""Masks and positions beside torch's: nothing here has a gradient, and all of it is compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from compare.running.experiment import prepare
from compare.running.lockstep import Lockstep
from manual.masks import CausalMask, Positions
from torch_ref import layers


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (CausalMask(), layers.CausalMask()),
        (CausalMask(dim=-1), layers.CausalMask(dim=-1)),
        (Positions(), layers.Positions()),
    ],
)
@pytest.mark.parametrize("shape", [(2, 3), (1, 4, 2), (3, 1), (2, 0)])
def test_it_is_torchs(mine: Any, theirs: Any, shape: tuple[int, ...]) -> None:
    x = np.ones(shape)

    output, cache = mine.forward(x)

    np.testing.assert_array_equal(output, theirs(torch.tensor(x)).numpy(), strict=True)
    assert mine.backward(None, cache) == ((None,), {})


@pytest.mark.parametrize(
    ("layer", "x"), [(CausalMask(2), np.ones((2, 3))), (Positions(), np.ones(3))]
)
def test_an_input_without_time_is_refused(layer: Any, x: np.ndarray) -> None:
    with pytest.raises(ValueError, match=type(layer).__name__):
        layer.forward(x)


@pytest.mark.parametrize("node", ["mask", "positions"])
def test_a_mask_that_is_off_in_one_element_is_found(
    node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from compare.description.config import load

    cls: Any = {"mask": CausalMask, "positions": Positions}[node]
    right = cls.forward

    def wrong(self: Any, input: np.ndarray) -> Any:
        output, cache = right(self, input)
        output[0, 1] = output[1, 0]
        return output, cache

    experiment = prepare(load("tiny-gpt", {"train.batch_size": 2}))
    monkeypatch.setattr(cls, "forward", wrong)
    step = Lockstep(experiment).step(0, next(experiment.batches()))

    assert (node, "output") in {step.rows.keys[i] for i in step.rows.bad}
