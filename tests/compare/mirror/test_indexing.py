"""Whatever torch indexes by, the hand-written side finds the same places."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_map

from compare.pair.mirror.call import NoTwin, Value
from compare.pair.mirror.functions import FUNCTIONS

X = torch.arange(60.0, dtype=torch.float64).reshape(3, 4, 5)
T = torch.tensor
ROWS, MASK = T([2, 0, 2]), T([True, False, True])
INDICES: dict[str, Any] = {
    "number": 1, "last": -1, "slice": slice(1, None, 2), "new axis": (None, 2), "all": ...,
    "behind all": (..., 1), "array": ROWS, "mask": MASK, "list": [0, 2],
    "array after slice": (slice(None), T([3, 1])),
    "arrays apart": (T([0, 1]), slice(None), T([4, 2])),
    "number beside an array": (1, slice(None), T([4, 2])), "number after": (T([0, 1]), 2),
    "arrays that broadcast": (T([[0], [2]]), T([1, 3])), "mask of two axes": X[:, :, 0] > 20,
    "mask behind": (..., T([True, False, True, True, False])), "new axis and array": (None, ROWS),
    "number of torch": (T(1), T([0, 2])), "true": True,
    "empty": T([], dtype=torch.int64), "array and new axis": (ROWS, None, slice(0, 2)),
}  # fmt: skip


def values(tree: Any) -> Any:
    return tree_map(
        lambda x: Value("x", x.numpy(), True) if isinstance(x, torch.Tensor) else x, tree
    )


def built(name: str, *args: Any, **kwargs: Any) -> Any:
    call = FUNCTIONS[name](*values(args), **values(kwargs))
    return call, call.layer.forward(*(v.array for v in call.inputs if v is not None))


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_reading_finds_torchs_elements(index: Any) -> None:
    _, (y, _) = built("getitem", X, index)

    np.testing.assert_array_equal(y, X[index])


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_writing_finds_torchs_elements_and_takes_their_gradient(index: Any) -> None:
    new = -torch.arange(1.0, 1 + X[index].numel(), dtype=torch.float64).reshape(X[index].shape)
    x, v = X.clone().requires_grad_(), new.requires_grad_()
    theirs = x.clone()
    theirs[index] = v
    dy = torch.arange(60.0, dtype=torch.float64).reshape(3, 4, 5) + 1
    grads = torch.autograd.grad(theirs, (x, v), dy)
    if X[index].unique().numel() < new.numel():
        with pytest.raises(NoTwin, match="twice"):
            built("setitem", X, index, new.detach())
        return
    call, (y, cache) = built("setitem", X, index, new.detach())
    np.testing.assert_array_equal(y, theirs.detach())
    for mine, grad in zip(call.layer.backward(dy.numpy(), cache)[0], grads, strict=True):
        np.testing.assert_array_equal(mine, grad)


@pytest.mark.parametrize("value", [T(-1.0).double(), torch.full((1, 1, 5), -2.0).double(), -3.0])
def test_what_is_written_broadcasts(value: Any) -> None:
    theirs = X.clone()
    theirs[:, 1:3] = value
    _, (y, _) = built("setitem", X, (slice(None), slice(1, 3)), value)

    np.testing.assert_array_equal(y, theirs)
