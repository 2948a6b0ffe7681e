"""Torch's functions are known by the names that people call them by."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import compare
from compare.pair.mirror.functions import FUNCTIONS
from torch_ref.operations import operation

PLACES = {
    "": (torch, nn.functional, Tensor), "special.": (torch.special,), "linalg.": (torch.linalg,),
}  # fmt: skip


def callables() -> Iterator[tuple[str, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some are deprecated
        for prefix, places in PLACES.items():
            for place in places:
                yield from ((prefix + name, getattr(place, name)) for name in dir(place))


def test_what_has_a_twin_is_not_missed_for_a_second_name_of_torch() -> None:
    known = [(name, f) for name, f in callables() if name in FUNCTIONS and callable(f)]

    assert len(known) > 400
    assert [name for name, f in known if operation(f)[0] not in FUNCTIONS] == []


@pytest.mark.parametrize("product", [torch.mm, Tensor.mm, torch.matmul])
def test_a_matrix_product_is_by_hand_by_whatever_name(product: Any) -> None:
    class Product(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return product(x, self.weight.t())

    assert compare.mirror(Product(3, 2), torch.ones(4, 3)).coverage["nodes"] == 1
