"""Inputs that a check refuses, in words."""

from __future__ import annotations

import numpy as np
import pytest

from compare.errors import UserError
from compare.pair.inputs import specify


@pytest.mark.parametrize("array", [np.ones((1, 2)).view(np.matrix), np.ma.array([1.0])])
def test_arrays_with_an_arithmetic_of_their_own_are_refused(array: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"Input 'x' is a (matrix|MaskedArray).*np\.asarray"):
        specify({"x": array})


def test_a_memory_map_is_an_array(tmp_path) -> None:
    np.save(tmp_path / "x.npy", np.ones(3))

    given = specify({"x": np.load(tmp_path / "x.npy", mmap_mode="r")}).given

    assert type(given["x"]) is np.ndarray


@pytest.mark.parametrize("name", ["x\ny", "\ud800", "\x00", 1])
def test_names_that_no_report_can_show_are_refused(name) -> None:
    with pytest.raises(UserError, match="printed"):
        specify({name: (2, 3)})
