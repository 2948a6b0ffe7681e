"""Ports, calls, buffers and ties in a lockstep run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import compare
import torch_ref.layers
from compare.report.report import Report
from manual import registry
from manual.layer import Layer


class Running(Layer):
    """Columns minus their mean (in evaluation the running one), in halves, and indices."""

    outputs = ("left", "right", "index")

    def __init__(self, num_features: int) -> None:
        self.params = {"weight": np.ones(num_features)}
        self.buffers = {"running_mean": np.full(num_features, 0.5), "calls": np.array(1)}

    def forward(self, x):
        mean = x.mean(axis=0) if self.training else self.buffers["running_mean"]
        z = x - mean
        y, half = z * self.params["weight"], x.shape[1] // 2
        return (y[:, :half], y[:, half:], np.argmax(x, axis=1)), (z, mean)

    def backward(self, grad_output, cache):
        dy = np.concatenate(grad_output[:2], axis=1)
        dz = dy * self.params["weight"]
        dx = dz - dz.mean(axis=0) if self.training else dz
        return (dx,), {"weight": (dy * cache[0]).sum(axis=0)}

    def next_buffers(self, cache):
        if not self.training:
            return self.buffers
        moved = 0.75 * self.buffers["running_mean"] + 0.25 * cache[1]
        return {"running_mean": moved, "calls": self.buffers["calls"] + 1}


class TorchRunning(torch.nn.Module):
    running_mean: torch.Tensor
    calls: torch.Tensor

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(num_features))
        self.register_buffer("running_mean", torch.full((num_features,), 0.5))
        self.register_buffer("calls", torch.tensor(1))

    def forward(self, x):
        mean = self.running_mean
        if self.training:
            mean = x.mean(0)
            with torch.no_grad():
                self.running_mean.mul_(0.75).add_(0.25 * mean)
                self.calls += 1
        y, half = (x - mean) * self.weight, x.shape[1] // 2
        return y[:, :half], (y[:, half:], x.argmax(1))


WIDE = """
[data]
dataset = "iris"
[[layers]]
name = "stem"
type = "Linear"
in_features = 4
out_features = 4
bias = false
[[layers]]
name = "norm@0"
type = "Running"
num_features = 4
[[layers]]
name = "joined"
type = "Concatenate"
inputs = ["norm@0:right", "norm@0"]
[[layers]]
type = "Dropout"
name = "drop"
p = 0.25
[[layers]]
name = "norm@1"
type = "Running"
num_features = 4
[[layers]]
name = "tail"
type = "Concatenate"
inputs = ["norm@1", "joined"]
[[layers]]
name = "first"
type = "Linear"
in_features = 6
out_features = 6
[[layers]]
name = "again"
type = "Linear"
in_features = 6
out_features = 6
[[layers]]
name = "head"
type = "Linear"
in_features = 6
out_features = 3
[init]
scheme = "uniform"
low = -0.9
high = 0.9
[train]
steps = 3
batch_size = 8
EVALUATE
[tied]
"again.weight" = "first.weight"
"""


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Report]:
    """Return what runs a network with ports, calls, buffers and a tied weight."""
    monkeypatch.setitem(registry.LAYERS, "Running", Running)
    monkeypatch.setattr(torch_ref.layers, "Running", TorchRunning, raising=False)

    def run(evaluate: bool = False, **options: Any) -> Report:
        file = tmp_path / "wide.toml"
        text = WIDE.replace("EVALUATE", f"evaluate = {str(evaluate).lower()}")
        file.write_text(text)
        return compare.run(file, drift=False, **options)

    return run


@pytest.mark.parametrize("evaluate", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_ports_calls_buffers_and_ties_agree(wide, dtype: str, evaluate: bool) -> None:
    report = wide(evaluate, dtype=dtype)
    rows = report.differences
    found = set(zip(rows["layer"], rows["quantity"], strict=True))

    assert report.verdict == "agree", report.reason
    assert {("norm@0", "output"), ("norm@0", "output:right"), ("norm@1", "output:index"),
            ("norm@0", "grad_output:right"), ("norm@1", "grad_output"), ("norm", "grad:weight"),
            ("norm", "buffer:running_mean"), ("norm", "buffer:calls"), ("first", "grad:weight"),
            ("again", "grad:bias")} <= found  # fmt: skip
    assert not {("again", "grad:weight"), ("again", "param:weight"), ("norm@0", "grad:weight"),
                ("norm@0", "grad_output:index"), ("norm@1", "grad_output:right"),
                } & found  # fmt: skip
    assert not rows.duplicated(["step", "layer", "quantity"]).any()


@pytest.mark.parametrize(
    ("method", "wrong", "place"),
    [
        ("next_buffers", lambda f: lambda s, c: {k: b * 2 + 1 for k, b in f(s, c).items()},
         ("norm", "buffer:")),
        ("next_buffers", lambda f: lambda s, c: s.buffers | {"calls": f(s, c)["calls"]},
         ("norm", "buffer:running_mean")),
        ("forward", lambda f: lambda s, x: ((*f(s, x)[0][:2], f(s, x)[0][2] + 1), f(s, x)[1]),
         ("norm@0", "output:index")),
        ("forward", lambda f: lambda s, x: ((f(s, x)[0][0], f(s, x)[0][1] * 1.01, f(s, x)[0][2]),
                                            f(s, x)[1]), ("norm@0", "output:right")),
        ("backward", lambda f: lambda s, g, c: (f(s, g, c)[0], {"weight": f(s, g, c)[1]["weight"]
                                                               * (1 + 1e-6)}),
         ("norm", "grad:weight")),
        ("backward", lambda f: lambda s, g, c: ((None,), f(s, g, c)[1]), None),
    ],
    ids=["buffers", "buffer not moved", "index", "second port", "shared gradient", "cut"],
)  # fmt: skip
def test_a_mistake_in_the_wider_contract_is_found(
    wide, monkeypatch: pytest.MonkeyPatch, method: str, wrong: Any, place: Any
) -> None:
    monkeypatch.setattr(Running, method, wrong(getattr(Running, method)))
    report = wide()
    bad = report.differences.query("verdict in ['disagree', 'missing']")
    found = list(zip(bad["layer"], bad["quantity"], strict=True))

    assert report.verdict != "agree"
    if place is None:  # the path is cut: what lies before it is missing, not zero
        missing = report.differences.query("verdict == 'missing'")
        assert ("stem", "grad:weight") in set(
            zip(missing["layer"], missing["quantity"], strict=True)
        )
    else:
        assert any(layer == place[0] and what.startswith(place[1]) for layer, what in found), found
