"""Where a mirror might see less than it says: each must be found, or said."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

import compare
from compare.errors import UserError

X = torch.linspace(-2, 2, 15).reshape(5, 3)


class Between(nn.Module):
    """Linear, a function, Linear."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.first(x)))


# ── custom Functions that compute out of sight ───────────────────────────────────────────────────
class Times(Function):
    """Keeps what it multiplies with as a constant, and forgets in backward that it is none."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: Any) -> Tensor:
        ctx.factor = factor(x)
        return x * ctx.factor

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        return grad * ctx.factor, None


@pytest.mark.parametrize(
    "factor",
    [lambda x: x.norm().item(), lambda x: torch.from_numpy(x.numpy().copy()).tanh()],
    ids=["item", "numpy"],
)
def test_what_a_function_computes_out_of_sight_is_not_called_derived(factor: Any) -> None:
    report = compare.mirror(Between(lambda x: Times.apply(x, factor)), X)

    assert [what for what, _, _ in report.missing] == ["Times"]
    assert report.coverage["gradients"] < 1


@pytest.mark.parametrize("factor", [lambda x: x.detach().sin(), lambda x: x.data.sin()])
def test_detach_inside_a_function_hides_no_wrong_backward(factor: Any) -> None:
    assert compare.mirror(Between(lambda x: Times.apply(x, factor)), X).verdict == "disagree"


# ── pieces that nobody calls ─────────────────────────────────────────────────────────────────────
def forward(x: Any, weight: Any, bias: Any) -> Any:
    return x @ weight.T + bias, (x, weight)


def backward(dy: Any, cache: Any) -> Any:
    return 100 * dy, dy, dy  # wrong, should it ever run


class Reads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.inner.weight, self.inner.bias)


def hooked() -> Any:
    module = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
    module[0].register_forward_hook(lambda *_: None)
    return module, X, "0"


def frozen() -> Any:
    module = nn.Sequential(nn.Embedding(4, 3).requires_grad_(False), nn.Linear(3, 2))
    module[1].requires_grad_(False)
    return nn.Sequential(module, nn.Linear(2, 2)), torch.tensor([1, 2]), "0.1"


UNUSED = {
    "only read": lambda: (Reads(), X, "inner"),
    "hooked": hooked,
    "no gradient": frozen,
    "inside attention": lambda: (
        nn.MultiheadAttention(4, 2),
        (torch.ones(3, 1, 4),) * 3,
        "out_proj",
    ),
}


@pytest.mark.parametrize("case", UNUSED)
def test_a_piece_that_never_runs_is_refused(case: str) -> None:
    module, args, path = UNUSED[case]()

    with pytest.raises(UserError, match=f"'{path}' was never run"):
        compare.mirror(module, args, twin={path: (forward, backward)})


# ── a loss that reads the user's model ───────────────────────────────────────────────────────────
def test_a_penalty_on_the_users_own_parameters_is_mirrored_and_leaves_them_alone() -> None:
    module, target = nn.Linear(3, 2), torch.full((5, 2), 0.5)

    def loss(output: Tensor) -> Tensor:
        penalty = sum(p.square().sum() for p in module.parameters())
        return F.binary_cross_entropy(output.sigmoid(), target) + penalty

    report = compare.mirror(module, X, loss=loss)

    assert report.agrees
    assert any(layer.startswith("loss.square") for layer in report.differences["layer"])
    assert all(p.grad is None for p in module.parameters())


def test_a_loss_with_parameters_of_its_own_is_refused() -> None:
    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(()))

        def forward(self, output: Tensor) -> Tensor:
            return output.square().mean() * self.weight

    with pytest.raises(UserError, match="has parameters of its own"):
        compare.mirror(nn.Linear(3, 2), X, loss=Weighted())


# ── models with a state, and plain numbers ───────────────────────────────────────────────────────
class Stateful(nn.Module):
    """Counts, keeps what it saw, and averages into a buffer that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.count, self.last = nn.Linear(3, 3), 0, None
        self.scale = torch.ones(3)  # neither parameter nor buffer
        self.register_buffer("mean", torch.zeros(3), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x += 1
        self.count += 1
        y = self.linear(x) * self.count * self.scale / float(x.max())
        self.mean.mul_(0.9).add_(y.detach().mean(0), alpha=0.1)
        y = y - self.mean if self.last is None else y - self.last
        self.last = y.detach()
        return y


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_model_with_a_state_of_its_own_is_deterministic(dtype: str) -> None:
    module, x = Stateful(), X.clone()

    assert compare.mirror(module, x, dtype=dtype, steps=2).agrees
    assert (module.count, module.last) == (0, None)
    assert torch.equal(x, X)


# ── custom Functions that are right ──────────────────────────────────────────────────────────────
class Upcast(Function):
    """Computes in float32, as kernels for half precision do."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.float().tanh().to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad * (1 - x.float().tanh().square()).to(x.dtype)


class Fills(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.mul(x, x, out=torch.empty(0, dtype=x.dtype))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return 2 * grad * ctx.saved_tensors[0]


class Forgets(Fills):
    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * ctx.saved_tensors[0]


class Marked(Function):
    """Returns a statistic that no gradient flows through."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple:
        total, doubled = x.sum(), x * 2
        ctx.mark_non_differentiable(total)
        return total, doubled

    @staticmethod
    def backward(ctx: Any, _: Any, grad: Tensor) -> Tensor:
        return grad * 2


class Dirty(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        return x.mul_(2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * 2


FUNCTIONS = {
    "in float32": (Upcast.apply, "agree"),
    "into out=": (Fills.apply, "agree"),
    "wrong, into out=": (Forgets.apply, "disagree"),
    "not differentiable": (lambda x: torch.mul(*Marked.apply(x)), "agree"),
    "in place": (lambda x: Dirty.apply(x * 1), "agree"),
}


@pytest.mark.parametrize("case", FUNCTIONS)
def test_a_function_is_judged_by_its_own_derivative(case: str) -> None:
    function, verdict = FUNCTIONS[case]

    assert compare.mirror(Between(function), X).verdict == verdict


def test_an_output_that_no_gradient_flows_through_accuses_nobody() -> None:
    report = compare.mirror(Between(FUNCTIONS["not differentiable"][0]), X)

    assert "wrong elsewhere" not in report.reason


# ── what is said beside the verdict ──────────────────────────────────────────────────────────────
def test_unused_parameters_and_hooks_of_parameters_are_said() -> None:
    module = Between(torch.tanh)
    module.spare = nn.Linear(2, 2)
    module.last.bias.register_hook(lambda grad: grad * 0)

    notes = " ".join(compare.mirror(module, X).notes)

    assert "No gradient reaches spare.weight, spare.bias" in notes
    assert "last.bias bear gradient hooks" in notes


# ── models that were refused ─────────────────────────────────────────────────────────────────────
class Named(nn.Module):
    """An argument and an operation have the names of parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.x, self.mul = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3) / 2)

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.x).tanh() + self.mul * x


def partly() -> Any:
    module = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2))
    optimizer = torch.optim.Adam(module[0].parameters(), lr=0.1)
    return compare.mirror(module, X, optimizer=optimizer, steps=2)


MODELS = {
    "names": lambda: compare.mirror(Named(), X),
    "a bare recurrent module": lambda: compare.mirror(nn.GRU(3, 2), X, dtype="float32"),
    "an optimiser of a part": partly,
    "sparse gradients": lambda: compare.mirror(nn.Embedding(4, 3, sparse=True), torch.tensor([1])),
}


@pytest.mark.parametrize("case", MODELS)
def test_a_right_model_agrees_in_all_of_it(case: str) -> None:
    report = MODELS[case]()

    assert report.agrees, str(report)
    assert report.coverage["nodes"] == report.coverage["parameters"] == 1


def test_lbfgs_is_refused() -> None:
    module = nn.Linear(3, 2)

    with pytest.raises(UserError, match="LBFGS runs the model several times"):
        compare.mirror(module, X, optimizer=torch.optim.LBFGS(module.parameters()))


class Breaks(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 1

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        raise ValueError("no")


def test_torch_is_left_as_it_was_when_a_backward_raises() -> None:
    from torch.autograd.function import BackwardCFunction

    before = (nn.Module.__call__, Function.apply, BackwardCFunction.apply)

    with pytest.raises(UserError, match="ValueError: no"):
        compare.mirror(Between(Breaks.apply), X)

    assert (nn.Module.__call__, Function.apply, BackwardCFunction.apply) == before


# ── what is open, or not used ────────────────────────────────────────────────────────────────────
class SineAndCosine(Function):
    """The gradient of its second output is wrong in sign."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x)
        return x.sin(), x.cos()

    @staticmethod
    def backward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return first * x.cos() + second * x.sin()


def test_a_backward_that_is_wrong_for_an_unused_output_is_told() -> None:
    report = compare.mirror(Between(lambda x: SineAndCosine.apply(x)[0]), X)

    assert "SineAndCosine.backward" in report.reason
    assert "wrong elsewhere" in report.reason


@pytest.mark.parametrize(
    "pick",
    [
        lambda x: x.relu().topk(3)[0],
        lambda x: x.clamp(max=0).topk(3, dim=0, largest=False)[0],
        lambda x: x.relu().sort(dim=0, descending=True).values,
        lambda x: x.relu().sort(stable=False).values,
    ],
    ids=["topk", "smallest", "sort", "unstable"],
)
def test_which_of_equal_elements_is_picked_is_no_disagreement(pick: Any) -> None:
    report = compare.mirror(Between(lambda x: pick(x).repeat(4, 2)[:5, :4]), X)

    assert report.verdict == "agree", str(report)


def test_a_pick_that_is_not_among_equals_is_still_wrong(monkeypatch) -> None:
    from manual.gates.picks import TopKGate

    right = TopKGate.pick
    monkeypatch.setattr(TopKGate, "pick", lambda self, x: right(self, x)[..., ::-1])

    report = compare.mirror(Between(lambda x: x.topk(3)[0].repeat(1, 2)[:, :4]), X)

    assert report.verdict == "disagree"


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(0.3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.complex(self.w * x.sum(), self.w)


def test_a_complex_number_is_an_output_and_no_loss() -> None:
    assert compare.mirror(Complex(), X).verdict == "agree"


GROUPS = {
    "rates": lambda m: torch.optim.AdamW(
        [{"params": m.first.parameters(), "lr": 1e-2}, {"params": m.last.parameters()}], lr=1e-3
    ),
    "tensor": lambda m: torch.optim.Adam(m.parameters(), lr=torch.tensor(1e-3)),
}


@pytest.mark.parametrize("name", GROUPS)
def test_an_optimisers_rates_are_followed_however_they_are_given(name: str) -> None:
    model = Between(torch.tanh)

    report = compare.mirror(model, X, optimizer=GROUPS[name](model), steps=3)

    assert report.verdict == "agree", str(report)
    assert (report.differences["quantity"] == "param:weight").any()


def test_what_torchs_optimiser_refuses_is_told_in_a_sentence() -> None:
    model = Between(torch.tanh)
    optimizer = torch.optim.Adam(model.parameters(), capturable=True)

    with pytest.raises(UserError, match="capturable"):
        compare.mirror(model, X, optimizer=optimizer)


class Averaging(Between):
    """Keeps running statistics of its own, by a function and by hand, and a batch norm's."""

    def __init__(self) -> None:
        super().__init__(None)
        for name in ("running", "spread", "seen", "constant"):
            self.register_buffer(name, torch.ones(4))
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        self.seen.mul_(0.9).add_(0.1 * y.detach().abs().mean(0))
        y = F.batch_norm(y, self.running, self.spread, training=True)
        return self.last(self.norm(y) * self.constant)


def test_buffers_that_no_layer_of_torchs_keeps_are_said_not_to_be_compared() -> None:
    report = compare.mirror(Averaging(), X)

    assert report.verdict == "agree"
    assert "into its buffers seen by functions" in " ".join(report.notes)
    assert (report.differences["quantity"] == "output:running_var").any()  # those of F.batch_norm
    assert not any("into its buffers" in n for n in compare.mirror(Between(torch.tanh), X).notes)


def test_what_torch_derives_for_one_argument_alone_is_asked_for_that_one() -> None:
    """A mistake after zeta: whose first argument torch has no derivative for."""

    def zeta(y: Tensor) -> Tensor:
        z = 1.5 + y.abs()
        return Forgets.apply(torch.special.zeta(z.detach(), z))

    assert compare.mirror(Between(zeta), X).verdict == "disagree"


class Scaled(Function):
    """Forgets the weight in backward, which begins as ones."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x.square() * weight

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        x, _ = ctx.saved_tensors
        return 2 * grad * x, (grad * x.square()).sum(0)


class Weighted(Between):
    def __init__(self) -> None:
        super().__init__(None)
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(Scaled.apply(self.first(x), self.weight))


def test_a_function_that_forgets_a_weight_of_ones_is_wrong_elsewhere() -> None:
    report = compare.mirror(Weighted(), X)

    assert "Scaled.backward" in report.reason
    assert "right on what it got here, and wrong elsewhere" in report.reason


def test_a_function_that_a_later_step_blames_is_not_called_right_before() -> None:
    model = Weighted()
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    report = compare.mirror(model, X, steps=2, optimizer=optimizer)

    assert report.verdict == "disagree"
    assert "custom Function Scaled" in str(report)
    assert "right on what it got here" not in str(report)
