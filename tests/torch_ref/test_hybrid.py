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
from manual.graph import Layer
from tests.helpers import Planted, draw, set_params
from torch_ref import as_torch
from torch_ref.classes import module_class

F64 = torch.float64
CONVENTIONS = {"padding_idx", "scale_grad_by_freq"}  # gradients that are, as torch's, no derivative
LAYERS = registry.LAYERS | registry.PENALTIES | getattr(registry, "GATES", {})


def tensor(array: Any, **options: Any) -> torch.Tensor:
    return torch.tensor(array, dtype=F64, **options)


def grad(leaf: Any) -> torch.Tensor:
    assert leaf.grad is not None
    return leaf.grad


def linear() -> Layer:
    return set_params(manual.Linear(3, 2), 1)


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
