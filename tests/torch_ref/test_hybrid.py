"""as_torch: a hand-written layer is a torch module like any other."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd import gradcheck
from torch.utils._pytree import tree_leaves

import manual
from compare.pair.example import Made, is_real, made
from manual import registry
from tests.helpers import Planted, draw
from tests.torch_ref.hybrid_tools import F64, grad, linear, tensor
from torch_ref import as_torch

CONVENTIONS = {"padding_idx", "scale_grad_by_freq"}  # gradients that are, as torch's, no derivative
LAYERS = registry.LAYERS | registry.PENALTIES | getattr(registry, "GATES", {})


# ── right for every layer ────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("name", LAYERS)
def test_every_registered_layer_passes_gradcheck(name: str) -> None:
    examples = (e for e in LAYERS[name].examples if not e.convention)
    for example in (e for e in examples if not CONVENTIONS & e.arguments.keys()):
        if name.startswith("FractionalMaxPool") and "_random_samples" not in example.arguments:
            continue  # each call of gradcheck would draw other windows
        check_gradients(made(LAYERS[name], example, np.random.default_rng(1)))


def check_gradients(case: Made) -> None:
    """Compare with difference quotients every float output's derivatives, in evaluation."""
    module = as_torch(case.layer).eval()
    given = [None if x is None else torch.tensor(x) for x in case.inputs]
    names = case.names
    real = [i for i, x in enumerate(case.inputs) if is_real(x) and names[i] not in case.fixed]
    leaves = [given[i].requires_grad_() for i in real] + list(module.parameters())  # type: ignore[union-attr]

    def run(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        own = dict(zip(case.layer.params, tensors[len(real) :], strict=True))
        values = dict(zip(real, tensors, strict=False))
        inputs = tuple(values.get(i, x) for i, x in enumerate(given))
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(3)  # random windows are drawn in evaluation too
            found = tree_leaves(torch.func.functional_call(module, own, inputs))
        return tuple(y for y in found if isinstance(y, torch.Tensor) and y.is_floating_point())

    if leaves:
        assert gradcheck(run, leaves, fast_mode=True)
    else:
        assert not any(y.requires_grad for y in run())


@pytest.mark.parametrize("name", registry.LOSSES)
def test_every_registered_loss_passes_gradcheck(name: str) -> None:
    cls = registry.LOSSES[name]

    check_gradients(made(cls, cls.examples[0], np.random.default_rng(0)))


@pytest.mark.parametrize("wrong", [lambda dx, dy: dx * 1.01, lambda dx, dy: dx * 0])
def test_gradcheck_rejects_a_planted_mistake(wrong: Any) -> None:
    module = as_torch(Planted(manual.Tanh(), wrong))

    x = tensor(draw(0, (2, 3)), requires_grad=True)

    assert not gradcheck(module, x, fast_mode=True, raise_exception=False)


def test_a_random_layer_passes_gradcheck_under_one_mask() -> None:
    module = as_torch(manual.Dropout(0.4))

    def run(x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(3)
        return module(x)

    with torch.random.fork_rng():
        assert gradcheck(run, tensor(draw(0, (4, 5)), requires_grad=True))


# ── a module like any other ──────────────────────────────────────────────────────────────────────
def test_parameters_have_the_layers_names_values_and_dtype() -> None:
    layer = linear()
    module = as_torch(layer)

    assert list(module.state_dict()) == list(nn.Linear(3, 2).state_dict())
    assert all(isinstance(p, nn.Parameter) for p in module.parameters())
    for key, value in layer.params.items():
        assert module.state_dict()[key].dtype == F64
        np.testing.assert_array_equal(module.state_dict()[key], value)


WEIGHTED = {
    "CrossEntropyLoss": ("weight",),
    "NLLLoss": ("weight",),
    "BCELoss": ("weight",),
    "BCEWithLogitsLoss": ("weight", "pos_weight"),
    "MultiMarginLoss": ("weight",),
    "MultiLabelSoftMarginLoss": ("weight",),
}


@pytest.mark.parametrize("name", WEIGHTED)
def test_the_weights_of_a_loss_are_buffers_as_torchs_are(name: str) -> None:
    given = {key: [0.5, 1.0, 2.0] for key in WEIGHTED[name]}
    ours = as_torch(getattr(manual, name)(**given))
    theirs = getattr(nn, name)(**{k: torch.tensor(v, dtype=F64) for k, v in given.items()})

    assert list(ours.state_dict()) == list(theirs.state_dict())


def test_loaded_weights_of_a_loss_are_used() -> None:
    ours = as_torch(manual.CrossEntropyLoss(weight=[1.0, 1.0, 1.0]))
    theirs = nn.CrossEntropyLoss(weight=torch.tensor([0.5, 1.0, 2.0], dtype=F64))
    ours.load_state_dict(theirs.state_dict())
    x, labels = tensor(draw(0, (4, 3))), torch.tensor([0, 1, 2, 2])

    torch.testing.assert_close(ours(x, labels), theirs(x, labels))


def test_weights_go_to_torchs_module_and_back() -> None:
    ours, theirs = as_torch(manual.Linear(3, 2)).float(), nn.Linear(3, 2)
    ours.load_state_dict(theirs.state_dict())
    x = torch.tensor(draw(0, (4, 3)), dtype=torch.float32)

    torch.testing.assert_close(ours(x), theirs(x))
    theirs.load_state_dict(as_torch(linear()).state_dict())
    assert theirs.weight[0, 0] == np.float32(linear().params["weight"][0, 0])


def test_it_trains_in_a_sequential_with_torchs_optimizer_as_the_stock_network_does() -> None:
    stock = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    mixed = nn.Sequential(as_torch(manual.Linear(3, 4)), nn.Tanh(), as_torch(manual.Linear(4, 2)))
    mixed.load_state_dict(stock.state_dict())
    x, target = tensor(draw(0, (5, 3))), torch.tensor([0, 1, 1, 0, 1])
    losses = {stock: nn.CrossEntropyLoss(), mixed: as_torch(manual.CrossEntropyLoss())}
    for network, loss in losses.items():
        optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
        for _ in range(20):
            optimizer.zero_grad()
            loss(network(x), target).backward()
            optimizer.step()

    for key, value in stock.state_dict().items():
        torch.testing.assert_close(mixed.state_dict()[key], value, rtol=1e-10, atol=1e-12)
    assert mixed.state_dict()["0.weight"][0, 0] != tensor(0.0)


def test_it_is_printed_copied_and_pickled() -> None:
    module = as_torch(linear())

    assert repr(module) == "HandWritten(Linear(3, 2, bias=True))"
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(other.weight, module.weight)
        assert other.weight.data_ptr() != module.weight.data_ptr()


def test_grad_fn_names_the_layer() -> None:
    y = as_torch(linear())(torch.ones(1, 3, dtype=F64))

    assert type(y.grad_fn).__name__ == "LinearByHandBackward"


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_the_dtype_is_kept_everywhere(dtype: torch.dtype) -> None:
    module = as_torch(linear()).to(dtype)
    x = torch.ones(2, 3, dtype=dtype, requires_grad=True)
    y = module(x)
    y.sum().backward()

    assert {y.dtype, grad(x).dtype, grad(module.weight).dtype} == {dtype}


def test_inputs_and_gradients_may_be_strided() -> None:
    module = as_torch(manual.Multiply())
    a, b = (tensor(draw(i, (3, 4)), requires_grad=True) for i in (0, 1))
    expected = torch.autograd.grad((a.T * b.T)[::2].sum(), (a, b))
    found = torch.autograd.grad(module(a.T, b.T)[::2].sum(), (a, b))
    whole = torch.autograd.grad(module(a.T, b.T).sum(), a)  # an expanded gradient: strides of 0

    for mine, theirs in zip(found, expected, strict=True):
        assert torch.equal(mine, theirs)
    assert torch.equal(whole[0], b)


def test_a_layer_that_only_has_the_two_methods_will_do() -> None:
    class Double:
        def forward(self, x):
            return 2 * x, None

        def backward(self, grad_output, cache):
            return (2 * grad_output,), {}

    assert gradcheck(as_torch(Double()), tensor([1.0, -2.0], requires_grad=True))


@pytest.mark.cuda
def test_it_runs_between_modules_on_a_gpu() -> None:
    mixed = nn.Sequential(nn.Linear(3, 4), as_torch(manual.Tanh()), as_torch(manual.Linear(4, 2)))
    mixed = mixed.to("cuda", F64)
    x = tensor(draw(0, (5, 3)), device="cuda", requires_grad=True)

    assert gradcheck(mixed, x)
    assert mixed(x).is_cuda
    with pytest.raises(RuntimeError, match="one device"):
        mixed[2](torch.ones(1, 4, dtype=F64))


@pytest.mark.cuda
@pytest.mark.parametrize("made", [
    lambda: manual.Dropout(0.5), lambda: manual.RReLU(), lambda: manual.BatchNorm1d(3),
])  # fmt: skip
def test_what_draws_and_what_keeps_buffers_runs_on_a_gpu(made: Any) -> None:
    module = as_torch(made()).to("cuda", F64)
    x = tensor(draw(0, (5, 3)), device="cuda", requires_grad=True)
    y = module(x)
    y.sum().backward()

    assert y.is_cuda
    assert x.grad is not None
    assert all(b.is_cuda for b in module.buffers())


@pytest.mark.cuda
def test_lengths_stay_on_the_cpu_beside_a_sequence_on_a_gpu() -> None:
    module = as_torch(manual.LSTM(3, 2, batch_first=True)).to("cuda", F64)
    x = tensor(draw(0, (2, 4, 3)), device="cuda", requires_grad=True)
    y, _ = module(x, lengths=[4, 2])

    assert y.is_cuda


def test_lengths_are_whole_numbers_that_need_not_be_moved() -> None:
    """The rule by which a GPU's sequence and the CPU's lengths go together, without a GPU."""
    from torch_ref.hybrid import _check, _device

    far = torch.ones(2, 3, device="meta")
    lengths = torch.tensor([3, 1])
    _check(manual.Linear(3, 2), [far, lengths], {})

    assert _device([lengths, far]) == far.device
    with pytest.raises(RuntimeError, match="received meta and cpu"):
        _check(manual.Linear(3, 2), [far, torch.ones(2, 3)], {})
