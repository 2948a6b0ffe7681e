"""as_torch: several ports, buffers, modes, named inputs, graphs; a layer's mistakes are named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import manual
from manual.graph import Layer
from tests.helpers import Planted, draw, set_params
from tests.torch_ref.hybrid_tools import F64, linear, tensor
from torch_ref import as_torch


# ── mistakes are named ───────────────────────────────────────────────────────────────────────────
def test_a_layer_that_writes_into_its_input_is_stopped() -> None:
    class InPlace(manual.ReLU):
        def forward(self, x):
            x *= 1
            return super().forward(x)

    with pytest.raises(ValueError, match="read-only"):
        as_torch(InPlace())(torch.ones(2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: np.stack([g] * 2), r"'weight' must have shape .* received shape \(2, 2, 3\)"),
        (lambda g: g.sum(0), r"'weight' must have shape .* received shape \(3,\)"),
        (lambda g: g.astype(np.float32), "dtype float64 as 'weight' has, received .* float32"),
        (lambda g: None, "returned no gradient of 'weight'"),
    ],
)
def test_a_gradient_that_autograd_would_bend_into_shape_is_refused(change, message) -> None:
    module = as_torch(Planted(linear(), param_grad=change))
    y = module(torch.ones(4, 3, dtype=F64, requires_grad=True))

    with pytest.raises((ValueError, RuntimeError), match=message):
        y.sum().backward()


def test_a_real_target_has_a_gradient() -> None:
    x, target = (tensor(draw(i, (2, 3)), requires_grad=True) for i in range(2))
    as_torch(manual.MSELoss())(x, target).backward()
    twin = target.detach().clone().requires_grad_()
    nn.MSELoss()(x, twin).backward()

    torch.testing.assert_close(target.grad, twin.grad)


def test_an_input_without_a_gradient_that_requires_one_is_refused() -> None:
    class Cut(manual.Add):
        def backward(self, grad_output, cache):
            return (grad_output, None), {}

    x, y = (torch.ones(2, 3, dtype=F64, requires_grad=True) for _ in range(2))
    total = as_torch(Cut())(x, y).sum()

    with pytest.raises(RuntimeError, match=r"no gradient of input 1, .* Detach"):
        total.backward()


def test_mixed_dtypes_and_what_numpy_lacks_are_refused() -> None:
    module = as_torch(linear())

    with pytest.raises(TypeError, match=r"received float32 and float64\. .*\.float\(\)"):
        module(torch.ones(2, 3))
    with pytest.raises(TypeError, match="no bfloat16"):
        module.bfloat16()(torch.ones(2, 3, dtype=torch.bfloat16))
    with pytest.raises(TypeError, match="takes tensors, received ndarray"):
        module(np.ones((2, 3)))


@pytest.mark.parametrize("thing", [manual.Linear, nn.ReLU(), 3])
def test_what_is_no_layer_is_refused(thing: Any) -> None:
    with pytest.raises(TypeError, match="Pass an object such as"):
        as_torch(thing)


# ── what the wider contract adds ─────────────────────────────────────────────────────────────────
class Centred(Layer):
    """x minus its running mean (in training the batch's), times an optional mask; two outputs."""

    outputs = ("output", "mean", "index")
    structure = ("output", ("mean", "index"))

    def __init__(self, features: int) -> None:
        self.params = {"weight": np.ones(features)}
        self.buffers = {"running_mean": np.zeros(features), "calls": np.array(0)}

    def forward(self, x, mask=None):  # type: ignore[override]
        mean = x.mean(axis=0) if self.training else self.buffers["running_mean"]
        m = np.ones_like(x) if mask is None else mask
        z = (x - mean) * m
        return (z * self.params["weight"], mean * 1, np.argmax(x, axis=1)), (
            z,
            m,
            mean,
            self.training,
        )

    def backward(self, grad_output, cache):
        dy, dmean, _ = grad_output
        z, m, _, training = cache
        dz = dy * self.params["weight"] * m
        dx = dz - dz.mean(axis=0) + dmean / len(z) if training else dz
        return (dx, None), {"weight": (dy * z).sum(axis=0)}

    def next_buffers(self, cache):
        if not cache[3]:
            return self.buffers
        moved = 0.75 * self.buffers["running_mean"] + 0.25 * cache[2]
        return {"running_mean": moved, "calls": self.buffers["calls"] + 1}


class TorchCentred(nn.Module):
    running_mean: torch.Tensor
    calls: torch.Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features, dtype=F64))
        self.register_buffer("running_mean", torch.zeros(features, dtype=F64))
        self.register_buffer("calls", torch.tensor(0))

    def forward(self, x, mask=None):
        mean = x.mean(0) if self.training else self.running_mean
        if self.training:
            with torch.no_grad():
                self.running_mean.mul_(0.75).add_(0.25 * mean)
                self.calls += 1
        z = (x - mean) * (1 if mask is None else mask)
        return z * self.weight, (mean * 1, x.argmax(1))


@pytest.mark.parametrize("train", [True, False])
def test_ports_buffers_modes_and_named_inputs_are_as_in_torch(train: bool) -> None:
    pair = as_torch(Centred(3)), TorchCentred(3)
    assert list(pair[0].state_dict()) == list(pair[1].state_dict())
    x, mask, found = tensor(draw(0, (4, 3))), torch.arange(12).reshape(4, 3) % 2, []
    for module in pair:
        module.train()(x)
        leaf = x.clone().requires_grad_()
        y, (mean, index) = module.train(train)(leaf, mask=mask)
        again = module(leaf)[0]
        if train:
            (y.square().sum() + mean.sum() + again.sum()).backward()
        else:
            (y.square().sum() + again.sum()).backward()
        found.append([y, mean, index, leaf.grad, module.weight.grad, *module.state_dict().values()])

    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-13, atol=1e-13)
    assert pair[0].calls == (3 if train else 1)


def test_tuples_of_inputs_are_unpacked() -> None:
    a, b, c = (tensor(draw(i, (2, 3))) for i in range(3))

    assert torch.equal(as_torch(manual.Add())(a, (b, c)), a + b + c)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x: m(x, maks=x), r"forward takes x, mask; received 'maks'\."),
        (lambda m, x: m(x, x=x), "received 'x' twice"),
    ],
)
def test_inputs_that_the_layer_does_not_take_are_refused(call: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call(as_torch(Centred(3)), torch.ones(2, 3, dtype=F64))


def test_a_graph_with_a_tied_weight_has_torchs_state_dict_and_gradients() -> None:
    nodes = [("fc.0", manual.Linear(3, 3), ("input",)), ("t", manual.Tanh(), ("fc.0",)),
             ("head", manual.Linear(3, 3, bias=False), ("t",))]  # fmt: skip
    module = as_torch(set_params(manual.Graph(nodes, tied={"head.weight": "fc.0.weight"}), 1))

    class Twin(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Sequential(nn.Linear(3, 3, dtype=F64))
            self.head = nn.Linear(3, 3, bias=False, dtype=F64)
            self.head.weight = self.fc[0].weight  # type: ignore[assignment]

        def forward(self, x):
            return self.head(self.fc(x).tanh())

    twin, x = Twin(), tensor(draw(5, (4, 3)))
    twin.load_state_dict(module.state_dict())
    for net in (module, twin):
        net(x).square().sum().backward()

    assert set(module.state_dict()) == set(twin.state_dict())
    assert len(list(module.parameters())) == 2
    theirs = dict(twin.named_parameters())
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs[name].grad, rtol=1e-13, atol=1e-13)


def test_a_graph_draws_its_noise_from_torchs_generator() -> None:
    module, x, found = as_torch(manual.Sequential(manual.Dropout(0.5))), torch.ones(50), []
    with torch.random.fork_rng():
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            found.append(module(x))

    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[1], found[2])
    assert torch.equal(module.eval()(x), x)
