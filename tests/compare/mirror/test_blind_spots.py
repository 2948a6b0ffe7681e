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
