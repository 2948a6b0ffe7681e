"""Distances of rows that are stretched, of equal rows, of scalars, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from manual.distance import CosineSimilarity, PairwiseDistance
from manual.linear import Bilinear
from tests.helpers import check_against_torch, draw

SHAPES = [((3,), (3,)), ((2, 3), (3,)), ((2, 3), (2, 1)), ((2, 4, 3), (4, 3)), ((), ())]


@pytest.mark.parametrize(("one", "two"), SHAPES)
@pytest.mark.parametrize("p", [0.5, 1.0, 2.0, 3.0, float("inf"), -float("inf")])
def test_stretched_rows_have_torchs_distances(one: tuple, two: tuple, p: float) -> None:
    given = [draw(1, one), draw(2, two)]

    check_against_torch(PairwiseDistance(p), nn.PairwiseDistance(p), given, rtol=1e-11)
    with pytest.raises(AssertionError):
        check_against_torch(PairwiseDistance(p, eps=0.5), nn.PairwiseDistance(p), given)


@pytest.mark.parametrize(("one", "two"), SHAPES)
@pytest.mark.parametrize(("dim", "eps"), [(0, 1e-8), (-1, 1e-8), (-1, 5.0)])
def test_stretched_rows_have_torchs_cosines(one: tuple, two: tuple, dim: int, eps: float) -> None:
    twin, given = nn.CosineSimilarity(dim, eps), [draw(1, one), draw(2, two)]

    check_against_torch(CosineSimilarity(dim, eps), twin, given, rtol=1e-11, scale=1.0)


@pytest.mark.parametrize("p", [0.5, 1.0, 1.5, 2.0, 3.0, float("inf")])
def test_equal_rows_have_no_slope(p: float) -> None:
    x = np.ones((2, 3))

    check_against_torch(PairwiseDistance(p, eps=0.0), nn.PairwiseDistance(p, eps=0.0), [x, x])
    torch.testing.assert_close(
        CosineSimilarity().forward(x, 0 * x)[0],
        nn.CosineSimilarity()(torch.tensor(x), torch.tensor(0 * x)).numpy(),
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PairwiseDistance(0), "p must not be 0"),
        (lambda: PairwiseDistance().forward(np.ones(3), np.ones(4)), "must have one shape"),
        (lambda: CosineSimilarity(2).forward(np.ones((2, 3)), np.ones(3)), "dim = 2 is no axis"),
        (lambda: Bilinear(0, 2, 3), "in1_features must be at least 1, received 0"),
        (lambda: Bilinear(2, 3, 1).forward(np.ones((4, 2)), np.ones(3)), "other axes the same"),
    ],
)
def test_what_does_not_fit_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
