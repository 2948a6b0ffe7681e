"""What a functional normalisation leaves in the running statistics that it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import compare
from manual.norm.channels import ChannelNorm

X = (torch.arange(15.0) * 1.7).sin().reshape(5, 3)


class Normed(nn.Module):
    def __init__(self, norm: Callable) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.linear = nn.Linear(3, 4)
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("var", torch.ones(4))
        self.weight = nn.Parameter(torch.arange(4.0) + 1)
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.linear(x), self)


def batch(h: Tensor, own: Any, **how: Any) -> Tensor:
    return F.batch_norm(h, own.mean, own.var, own.weight, None, training=True, **how)


def twice(h: Tensor, own: Any) -> Tensor:
    return batch(batch(h, own).tanh(), own, momentum=0.3)


def read_after(h: Tensor, own: Any) -> Tensor:
    return batch(h, own) + own.mean * h + own.var


def by_name(h: Tensor, own: Any) -> Tensor:
    return F.batch_norm(h, running_var=own.var, running_mean=own.mean, training=True, momentum=0.2)


def instance(h: Tensor, own: Any) -> Tensor:
    rows = h[:, :, None] * torch.arange(1.0, 4.0, dtype=h.dtype)
    return F.instance_norm(rows, own.mean, own.var, own.weight, momentum=0.2)


def inside(h: Tensor, own: Any) -> Tensor:
    layer = nn.BatchNorm1d(4, affine=False)
    return F.batch_norm(h.relu(), own.mean, own.var, training=layer.training)


NORMS = [batch, twice, read_after, by_name, instance, inside]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("norm", NORMS)
def test_the_statistics_that_are_left_agree(norm: Callable, dtype: str) -> None:
    report = compare.mirror(Normed(norm), X, steps=2, dtype=dtype)

    assert report.verdict == "agree", str(report)
    assert "output:running_var" in set(report.differences["quantity"])
    assert "was not compared" not in str(report.notes)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("statistic", ["running_mean", "running_var"])
def test_statistics_that_are_a_thousandth_off_are_found(
    norm: Callable, statistic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = ChannelNorm._moved
    monkeypatch.setattr(
        ChannelNorm,
        "_moved",
        lambda *args: {k: b * (1.001 if k == statistic else 1) for k, b in moved(*args).items()},
    )

    report = compare.mirror(Normed(norm), X)

    assert report.verdict == "disagree"
    assert report.first_divergence is not None
    assert report.first_divergence.quantity == f"output:{statistic}"


def test_a_layer_by_itself_keeps_its_statistics_as_buffers() -> None:
    class Own(nn.BatchNorm1d):
        """Not torch's class: opened, so that its function is what is compared."""

    report = compare.mirror(nn.Sequential(nn.Linear(3, 4), Own(4)), X)

    assert report.verdict == "agree"
    assert "output:running_mean" in set(report.differences["quantity"])
    (told,) = (note for note in report.notes if "was not compared" in note)
    assert "num_batches_tracked" in told
    assert "running" not in told
