"""A NumPy port, piece by piece: right ones agree, and a mistake is found where it stands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import compare
import manual
from compare.errors import UserError
from compare.report.report import Report
from tests.compare.mirror.pieces import RIGHT, WRONG, ported, twin


def mirrored(pieces: dict) -> Report:
    example = ported()
    return compare.mirror(example.module, example.args, twin=pieces)


def test_a_port_of_every_module_agrees() -> None:
    report = mirrored(RIGHT)

    assert report.verdict == "agree", str(report)
    assert {n.name for n in report.nodes if "given" in n.manual} == set(RIGHT)


@pytest.mark.parametrize("path", RIGHT)
def test_a_port_of_one_module_agrees(path: str) -> None:
    assert mirrored({path: RIGHT[path]}).verdict == "agree"


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_piece_is_found_where_it_stands(name: str) -> None:
    report = mirrored(twin(name))

    assert report.verdict == "disagree"
    assert report.first_divergence is not None
    assert report.first_divergence.layer == WRONG[name].path
    assert report.first_divergence.own_or_inherited == "own"


# ── modules that keep buffers, draw, or return several outputs ───────────────────────────────────
X = torch.arange(18.0).sin().reshape(6, 3)
Pieces = dict[str, Any]


def between(module: nn.Module) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4), module, nn.Linear(4, 2))


def batch_norm(x, weight, bias):
    std = np.sqrt(x.var(0) + 1e-5)
    z = (x - x.mean(0)) / std
    return z * weight + bias, (z, std, weight)


def batch_norm_back(dy, cache):
    z, std, weight = cache
    g = dy * weight
    return (g - g.mean(0) - z * (g * z).mean(0)) / std, (dy * z).sum(0), dy.sum(0)


def evaluated(x, weight, bias, running_mean, running_var):
    std = np.sqrt(running_var + 1e-5)
    z = (x - running_mean) / std
    return z * weight + bias, (z, std, weight)


def evaluated_back(dy, cache):
    z, std, weight = cache
    return dy * weight / std, (dy * z).sum(0), dy.sum(0)


LAYERS = {
    "batch norm": (nn.BatchNorm1d(4), manual.BatchNorm1d(4)),
    "evaluated": (nn.BatchNorm1d(4).eval(), manual.BatchNorm1d(4)),
    "dropout": (nn.Dropout(0.3), manual.Dropout(0.3)),
    "functions": (nn.BatchNorm1d(4), (batch_norm, batch_norm_back)),
    "functions evaluated": (nn.BatchNorm1d(4).eval(), (evaluated, evaluated_back)),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", LAYERS)
def test_a_right_piece_of_a_module_with_buffers_or_draws_agrees(case: str, dtype: str) -> None:
    module, piece = LAYERS[case]

    report = compare.mirror(between(module), X, twin={"1": piece}, steps=2, dtype=dtype)

    assert report.verdict == "agree", str(report)
    left = [note for note in report.notes if "leave no buffers" in note]
    assert bool(left) == (case == "functions")


def test_a_recurrent_layer_stands_for_its_module() -> None:
    model, x = nn.Sequential(nn.GRU(3, 4, batch_first=True)), X.reshape(2, 3, 3)

    report = compare.mirror(model, x, twin={"0": manual.GRU(3, 4, batch_first=True)})

    assert report.verdict == "agree", str(report)


class Shifted(manual.BatchNorm1d):
    def backward(self, grad_output, cache):
        (dx,), own = super().backward(grad_output, cache)
        return (dx + 1e-3,), own


class Recounted(manual.BatchNorm1d):
    def next_buffers(self, cache):
        left = super().next_buffers(cache)
        return {**left, "num_batches_tracked": left["num_batches_tracked"] + 1}


PLANTED = {
    "backward": (Shifted(4), "grad_input"),
    "count": (Recounted(4), "buffer:num_batches_tracked"),
    "momentum": (manual.BatchNorm1d(4, momentum=0.2), "buffer:running_mean"),
    "eps": (manual.BatchNorm1d(4, eps=1e-4), "output"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_mistake_in_a_layer_with_buffers_is_found(name: str) -> None:
    layer, quantity = PLANTED[name]

    report = compare.mirror(between(nn.BatchNorm1d(4)), X, twin={"1": layer})

    assert report.verdict == "disagree"
    assert report.first_divergence is not None
    assert (report.first_divergence.layer, report.first_divergence.quantity) == ("1", quantity)


class Rude(manual.Linear):
    def forward(self, x):
        return super().forward(np.asarray(x, dtype=np.float64))


REFUSED: dict[str, tuple[nn.Module, Pieces, str]] = {
    "draws": (nn.Dropout(0.5), {"1": (lambda x: (x, None), lambda d, _: d)}, "Dropout draws"),
    "less": (nn.Tanh(), {"0": manual.Linear(3, 4, bias=False)}, "has no parameter bias"),
    "shape": (nn.Tanh(), {"0": manual.Linear(3, 5)}, "has shape"),
    "rude": (nn.Tanh(), {"0": Rude(3, 4)}, "'0' .*NumPy functions that dispatch"),
    "idle": (nn.Dropout(0.5).eval(), {"1": manual.Dropout(0.5)}, "not dropout in evaluation"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_piece_that_does_not_fit_is_refused_in_a_sentence(case: str) -> None:
    module, pieces, said = REFUSED[case]

    with pytest.raises(UserError, match=said):
        compare.mirror(between(module), X, twin=pieces)


@pytest.mark.parametrize("name", ["weight", "wieght"])
def test_gradients_may_come_by_name_and_a_name_that_is_none_is_told(name: str) -> None:
    def backward(dy, cache):
        x, weight = cache
        return {"x": dy @ weight, name: dy.T @ x, "bias": dy.sum(0)}

    piece = (lambda x, weight, bias: (x @ weight.T + bias, (x, weight)), backward)

    report = compare.mirror(between(nn.Tanh()), X, twin={"0": piece})

    assert report.verdict == ("agree" if name == "weight" else "disagree")
    assert ("it returned x, wieght, bias" in str(report)) == (name == "wieght")
