"""as_torch keeps autograd's rules, draws what torch draws, and shares no memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import manual
from manual.graph import Layer
from tests.helpers import draw, set_params
from tests.torch_ref.hybrid_tools import F64, grad, linear, tensor
from torch_ref import as_torch
from torch_ref.classes import module_class


# ── autograd's rules ─────────────────────────────────────────────────────────────────────────────
def test_gradients_of_a_module_used_twice_add() -> None:
    ours, theirs = as_torch(set_params(manual.Linear(3, 3), 1)), nn.Linear(3, 3).double()
    theirs.load_state_dict(ours.state_dict())
    x = tensor(draw(0, (4, 3)))
    for module in (ours, theirs):
        module(module(x).tanh()).sum().backward()
        module(x).sum().backward()  # and onto what .grad holds

    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    torch.testing.assert_close(ours.bias.grad, theirs.bias.grad)


def test_only_wanted_gradients_are_computed() -> None:
    calls = []

    class Watched(manual.Linear):
        def backward(self, grad_output, cache):
            calls.append("backward")
            return super().backward(grad_output, cache)

        def grad_params(self, grad_output, cache):
            calls.append("grad_params")
            return super().grad_params(grad_output, cache)

    module = as_torch(Watched(3, 2))
    x = torch.ones(2, 3, dtype=F64)
    module(x).sum().backward()
    assert calls == ["grad_params"]

    module.weight.requires_grad_(False)
    module.weight.grad = module.bias.grad = None
    x.requires_grad_()
    module(x).sum().backward()
    assert module.weight.grad is None
    assert module.bias.grad is not None
    assert x.grad is not None
    assert not module.requires_grad_(False)(x.detach()).requires_grad
    with torch.no_grad():
        assert not module(x).requires_grad


def test_a_second_derivative_is_refused() -> None:
    x = torch.ones(2, 3, dtype=F64, requires_grad=True)
    (dx,) = torch.autograd.grad(as_torch(manual.Tanh())(x).sum(), x, create_graph=True)

    with pytest.raises(RuntimeError, match=r"Tanh\(\): a second derivative was asked for"):
        (x.sum() + dx.square().sum()).backward()  # a gradient penalty


PENALTIES = {
    "gradients of what is named": lambda loss, x, w: torch.autograd.grad(loss, x),
    "of several": lambda loss, x, w: torch.autograd.grad(loss, (w, x), allow_unused=True),
    "backward into what is named": lambda loss, x, w: loss.backward(inputs=[w]),
    "backward": lambda loss, x, w: loss.backward(),
}


@pytest.mark.parametrize("after", [nn.Identity(), nn.Tanh(), as_torch(manual.Tanh())], ids=repr)
@pytest.mark.parametrize("ask", PENALTIES.values(), ids=PENALTIES)
def test_a_gradient_penalty_is_refused_whatever_is_asked_for(ask: Any, after: nn.Module) -> None:
    module = as_torch(set_params(manual.Linear(3, 3), 1))
    x = tensor(draw(0, (2, 3)), requires_grad=True)
    (dx,) = torch.autograd.grad(after(module(x)).square().sum(), x, create_graph=True)
    loss = dx.square().sum() + x.square().sum() + module.weight.square().sum()

    with pytest.raises(RuntimeError, match="a second derivative was asked for"):
        ask(loss, x, module.weight)


def test_a_first_derivative_may_keep_its_graph() -> None:
    x = tensor(draw(0, (2, 3)), requires_grad=True)
    (dx,) = torch.autograd.grad(as_torch(manual.Tanh())(x).sum(), x, create_graph=True)

    torch.testing.assert_close(dx.detach(), (1 - x.tanh().square()).detach())


@pytest.mark.parametrize("changed", ["input", "weight"])
def test_what_was_changed_in_place_before_backward_is_refused_as_by_torch(changed: str) -> None:
    for module in (as_torch(linear()), nn.Linear(3, 2).double()):
        x = tensor(draw(0, (4, 3)), requires_grad=True)
        h = x * 1
        loss = module(h).square().sum()
        with torch.no_grad():
            (h if changed == "input" else module.weight).mul_(2)

        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def test_a_freed_graph_is_refused_and_a_retained_one_is_not() -> None:
    x = torch.ones(2, 3, dtype=F64, requires_grad=True)
    loss = as_torch(manual.Tanh())(x).sum()
    loss.backward(retain_graph=True)
    once = grad(x).clone()
    loss.backward()

    assert torch.equal(x.grad, 2 * once)
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


# ── random layers ────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_dropout_draws_what_torch_draws(p: float, dtype: torch.dtype) -> None:
    found = []
    x = torch.tensor(draw(0, (6, 5)), dtype=dtype)
    with torch.random.fork_rng():
        for module in (nn.Dropout(p), as_torch(manual.Dropout(p))):
            torch.manual_seed(7)
            leaf = x.clone().requires_grad_()
            y = module(leaf)
            y.sum().backward()
            found.append((y, leaf.grad, torch.rand(3)))  # the generator, left as torch leaves it

    for theirs, mine in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("lengths", [None, [2, 4, 2]])
def test_recurrent_layers_drop_what_torch_drops_between_layers(lengths: Any) -> None:
    x, sizes = tensor(draw(0, (4, 3, 2))), lengths and torch.tensor(lengths)
    stock = module_class("GRU")(2, 5, num_layers=3, dropout=0.5).to(F64)
    mine = as_torch(manual.GRU(2, 5, num_layers=3, dropout=0.5))
    mine.load_state_dict(stock.state_dict())
    found = []
    with torch.random.fork_rng():
        for module in (stock, mine):
            torch.manual_seed(7)
            found.append((*module(x, lengths=sizes), torch.rand(3)))

    for theirs, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)


def test_a_packed_sequence_is_refused_with_what_to_pass_instead() -> None:
    packed = nn.utils.rnn.pack_padded_sequence(tensor(draw(0, (4, 2, 2))), torch.tensor([4, 2]))

    with pytest.raises(TypeError, match=r"GRU\(2, 3\) takes padded sequences .*lengths=lengths"):
        as_torch(manual.GRU(2, 3))(packed)


def test_dropout_in_evaluation_is_the_identity() -> None:
    x = tensor(draw(0, (4, 3)))

    assert torch.equal(as_torch(manual.Dropout(0.9)).eval()(x), x)


def test_a_random_layer_of_another_kind_is_seeded_by_torch() -> None:
    class Noisy(Layer):
        stochastic = True

        def draw(self, x, *, rng):  # type: ignore[override]
            return rng.standard_normal(x.shape)

        def forward(self, x, *, noise=None):  # type: ignore[override]
            return (x if noise is None else x + noise), None

        def backward(self, grad_output, cache):
            return (grad_output,), {}

    x, found = torch.zeros(3, dtype=F64), []
    with torch.random.fork_rng():
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            found.append(as_torch(Noisy())(x))

    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[1], found[2])


# ── two memories ─────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("layer", [manual.Identity(), manual.Flatten(), manual.ReLU()], ids=repr)
def test_an_output_written_over_leaves_input_and_gradient_alone(layer: Layer) -> None:
    x = tensor(draw(0, (2, 3)), requires_grad=True)
    before = x.detach().clone()
    y = as_torch(layer)(x)
    y.mul_(2)
    y.sum().backward()

    assert torch.equal(x, before)
    assert set(grad(x).unique().tolist()) <= {0.0, 2.0}


def test_what_is_written_over_after_forward_does_not_reach_backward() -> None:
    module, x = as_torch(linear()), tensor(draw(0, (4, 3)))
    kept, weight = x.clone(), module.weight.detach().clone()
    leaf = tensor(draw(1, (4, 3)), requires_grad=True)
    loss = module(x).sum() + module(leaf).sum()
    x.data.zero_()  # behind torch's back
    module.weight.data.zero_()
    loss.backward()

    torch.testing.assert_close(grad(module.weight)[0], (kept + leaf).sum(0).detach())
    torch.testing.assert_close(leaf.grad, weight.sum(0).expand(4, 3))


def test_module_and_layer_share_no_memory() -> None:
    layer = linear()
    before = {k: p.copy() for k, p in layer.params.items()}
    module = as_torch(layer)
    with torch.no_grad():
        module.weight.fill_(7)
    layer.params["bias"][...] = 9

    assert np.array_equal(layer.params["weight"], before["weight"])
    assert np.array_equal(module.bias.detach(), before["bias"])


def test_a_gradient_that_is_handed_on_to_two_inputs_is_no_shared_tensor() -> None:
    a, b = (torch.ones(2, dtype=F64, requires_grad=True) for _ in range(2))
    as_torch(manual.Add())(a, b).sum().backward()
    grad(a).zero_()

    assert grad(b).tolist() == [1, 1]
