"""Forward and backward by hand on torch tensors: they are checked as those on arrays are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import compare
from compare.errors import UserError

INPUTS = {"x": (2, 3, 4), "w": (4,), "b": (4,)}


class Norm:
    """A layer norm whose methods keep nothing on an object."""

    @staticmethod
    def forward(x: Tensor, w: Tensor, b: Tensor) -> Any:
        C = x.size(2)
        mean = x.sum(-1, keepdim=True) / C
        rstd = (((x - mean) ** 2).sum(-1, keepdim=True) / C + 1e-5) ** -0.5
        return (x - mean) * rstd * w + b, (x, w, mean, rstd)

    @staticmethod
    def backward(dout: Tensor, cache: Any) -> Any:
        x, w, mean, rstd = cache
        norm = (x - mean) * rstd
        dnorm = dout * w
        dx = dnorm - dnorm.mean(-1, keepdim=True) - norm * (dnorm * norm).mean(-1, keepdim=True)
        return dx * rstd, (dout * norm).sum((0, 1)), dout.sum((0, 1))


def without_the_projection(dout: Tensor, cache: Any) -> Any:
    x, w, mean, rstd = cache
    norm = (x - mean) * rstd
    dnorm = dout * w
    dx = dnorm - dnorm.mean(-1, keepdim=True)
    return dx * rstd, (dout * norm).sum((0, 1)), dout.sum((0, 1))


def layer_norm(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return torch.nn.functional.layer_norm(x, x.shape[-1:], w, b)


@pytest.mark.parametrize("given", [(Norm,), (Norm(),), (Norm.forward, Norm.backward)])
@pytest.mark.parametrize(("reference", "dtype"), [(None, "float64"), (layer_norm, "float32")])
def test_a_pair_on_tensors_agrees(given: tuple, reference: Any, dtype: str) -> None:
    report = compare.check(*given, reference=reference, inputs=INPUTS, dtype=dtype)

    assert report.agrees, str(report)
    assert any("takes torch tensors" in note for note in report.notes)


def test_a_mistake_on_tensors_is_found_named_and_replayed(tmp_path: Path) -> None:
    report = compare.check(Norm.forward, without_the_projection, inputs=INPUTS)

    assert report.first_divergence is not None
    assert report.first_divergence.quantity == "grad:x"
    assert "without_the_projection" in str(report)
    script = report.save(tmp_path / "report") / "replay.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert "grad:x is wrong." in done.stdout, done.stderr


def test_a_gradient_that_is_not_returned_is_missing() -> None:
    report = compare.check(
        Norm.forward, lambda dout, cache: (*Norm.backward(dout, cache)[:2], None), inputs=INPUTS
    )

    assert report.verdict == "disagree"
    assert "grad:b" in report.reason


def test_what_runs_on_arrays_stays_on_arrays() -> None:
    def backward(dout: Any, cache: Any) -> Any:
        return dout * cache

    def forward(x: Any) -> Any:
        return np.exp(x), np.exp(x)

    report = compare.check(forward, backward, torch.exp, {"x": (3, 4)})

    assert report.agrees
    assert not any("tensors" in note for note in report.notes)


def test_what_runs_on_neither_is_told_as_it_fails_on_arrays() -> None:
    with pytest.raises(UserError, match="fails on the inputs x"):
        compare.check(lambda x: x.nothing(), lambda dout, x: dout, inputs={"x": (3,)})
