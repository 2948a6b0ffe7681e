"""Whatever torch indexes by, the hand-written side finds the same places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_map

import compare
from compare.errors import UserError
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


class Does(torch.nn.Module):
    """A layer, and one thing done to its output (4, 8)."""

    def __init__(self, what: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.layer, self.what = torch.nn.Linear(6, 8), what

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.what(self.layer(x))


DONE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "method where": lambda y: y.where(y > 0, -3 * y),
    "method where of a number": lambda y: torch.full_like(y, -2.0).where(y > 0, y),
    "function where": lambda y: torch.where(y > 0, y, -3 * y),
    "memory of a transposed tensor": lambda y: y.t().as_strided((3, 4), (8, 1)),
    "memory of a slice": lambda y: y[1:, 2:6].as_strided((2, 2), (8, 1)),
    "memory from a place on": lambda y: y[1:].as_strided((2, 3), (8, 2), 9),
    "memory in overlapping rows": lambda y: y.reshape(-1).as_strided((7, 8), (4, 1)),
    "turned in place": lambda y: (2 * y).t_().mul_(3).relu(),
    "square and turned in place": lambda y: (y @ y.t()).t_().exp(),
    "a new axis in place": lambda y: (2 * y).unsqueeze_(1).relu(),
    "sizes that are tensors": lambda y: y.as_strided((T(3), T(4)), (8, 2)),
}


@pytest.mark.parametrize("what", DONE.values(), ids=DONE)
def test_what_depends_on_the_order_of_arguments_or_of_memory_agrees_by_hand(
    what: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        report = compare.mirror(Does(what), (torch.randn(4, 6),))

    assert report.verdict == "agree", str(report)
    assert report.coverage["nodes"] == 1


def test_memory_beyond_a_tensors_own_is_refused() -> None:
    with pytest.raises(UserError, match="beyond the tensor's own"):
        compare.mirror(Does(lambda y: y[1:].as_strided((2, 3), (8, 2), 0)), (torch.randn(4, 6),))


@pytest.mark.parametrize("in_place", [False, True])
def test_slopes_drawn_by_rrelu_are_recorded(in_place: bool) -> None:
    def drawn(y: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.rrelu(2 * y, training=True, inplace=in_place)

    report = compare.mirror(Does(drawn), (torch.randn(4, 6),))

    assert report.verdict == "agree", str(report)


class Experts(torch.nn.Module):
    """Rows sorted by expert, each multiplied by its expert's matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.matrices = torch.nn.Parameter(torch.randn(3, 8, 8))

    def forward(self, x: torch.Tensor, expert: torch.Tensor) -> torch.Tensor:
        order = expert.argsort()
        ends = expert.bincount(minlength=3).cumsum(0).to(torch.int32)
        return torch.nn.functional.grouped_mm(x[order], self.matrices, offs=ends).relu()


def test_rows_in_groups_are_multiplied_by_hand() -> None:
    """Torch has it in float32 alone."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        given = (Experts(), (torch.randn(6, 8), T([2, 0, 2, 2, 0, 2])))
    report = compare.mirror(*given, dtype="float32")

    assert report.verdict == "agree", str(report)
    assert report.coverage["nodes"] == 1
    with pytest.raises(UserError, match='dtype="float32"'):
        compare.mirror(*given)
