"""The witness by balls on anybody's functions, and the certificate."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest

from compare.errors import UserError
from compare.witness.ball_witness import ball_witness
from compare.witness.certify import certify
from compare.witness.precision import available
from tests.compare.witness.witness_pairs import (
    COLUMNS,
    RIGHT,
    balls_needed,
    batchnorm,
    batchnorm_backward,
    into_floats,
    point,
    sigmoid,
    sigmoid_backward,
)


@balls_needed
def test_batch_normalisation_is_certified_element_by_element() -> None:
    found = certify(batchnorm, batchnorm_backward, COLUMNS)

    assert found.certified
    assert [(t.name, t.elements) for t in found.tensors] == [("x0", 15), ("x1", 3), ("x2", 3)]


@balls_needed
def test_constants_of_float64_pass_the_witness_but_not_the_certificate() -> None:
    witness, proven = ball_witness(*RIGHT["gelu"]), certify(*RIGHT["gelu"])

    assert witness.agrees
    assert witness.conclusive
    assert 15 < proven.digits < 18
    assert not proven.certified


@balls_needed
@pytest.mark.parametrize(
    ("forward", "why"),
    [
        (into_floats, "plain float"),
        (lambda x: (np.fmod(x, 2.0), x), "cannot pass"),
        (lambda x: (np.maximum(x - x.copy() * 1, 0), x), "cannot be decided"),
    ],
)
def test_code_that_balls_cannot_pass_is_left_undecided(forward: Callable, why: str) -> None:
    found = ball_witness(forward, lambda dout, x: dout, point((2, 2)))

    assert found.agrees
    assert not found.conclusive
    assert why in found.evidence


def test_without_python_flint_the_way_to_install_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "flint", None)

    assert not available()
    with pytest.raises(UserError, match=r"pip install 'handgrad\[certify\]'"):
        certify(sigmoid, sigmoid_backward, point((2,)))


@balls_needed
def test_an_old_python_flint_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import flint

    monkeypatch.setattr(flint, "__version__", "0.8.0")

    with pytest.raises(UserError, match=r"0\.9 or newer.*0\.8\.0 is installed"):
        certify(sigmoid, sigmoid_backward, point((2,)))
