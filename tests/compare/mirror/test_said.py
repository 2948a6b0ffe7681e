"""What a mirror says of inputs that tell nothing, of hooks, and of autocast."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import compare
from compare.errors import UserError

X = torch.linspace(-2, 2, 12).reshape(4, 3)


def net() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2))


class Uses(nn.Module):
    """Calls a function of its weight and its input."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.weight, self.function = nn.Parameter(torch.arange(9.0).reshape(3, 3)), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.weight, x)


# ── inputs that tell nothing ─────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("loss", [None, lambda output: output.sum()])
def test_an_empty_batch_is_refused(loss: Any) -> None:
    with pytest.raises(UserError, match=r"inputs of Sequential have no elements \(input \(0, 3\)"):
        compare.mirror(net(), X[:0], loss=loss)


def test_an_output_without_elements_is_refused() -> None:
    with pytest.raises(UserError, match="What Uses returns has no elements"):
        compare.mirror(Uses(lambda w, x: (x @ w)[:0]), X)


def test_an_input_that_is_empty_beside_others_is_none_of_our_business() -> None:
    module = Uses(lambda w, x: torch.cat(x) @ w)

    assert compare.mirror(module, ((X, X[:0]),)).agrees


WHOLE = {
    "embedding": lambda w, x: F.embedding(x, w),
    "indices": lambda w, x: w[x],
    "one hot": lambda w, x: F.one_hot(x, 3).to(w.dtype) @ w,
    "gather": lambda w, x: w.gather(1, x[:3]),
    "classes": lambda w, x: F.cross_entropy(w, x[0]),
}


@pytest.mark.parametrize("case", WHOLE)
def test_a_model_that_wants_whole_numbers_is_told_how_to_get_them(case: str) -> None:
    with pytest.raises(UserError, match=r"Whole numbers are wanted there.*such as 3,6:N\."):
        compare.mirror(Uses(WHOLE[case]), X)


def test_a_model_that_wants_real_numbers_is_told_nothing_of_whole_ones() -> None:
    with pytest.raises(UserError) as refused:
        compare.mirror(net(), torch.ones(4, 3, dtype=torch.long))

    assert "Whole numbers" not in str(refused.value)


# ── hooks: docs/mirror.md says that these are taken as they run, and those refused ───────────────
def test_hooks_of_the_forward_pass_are_taken_as_they_run() -> None:
    module = net()
    module[0].register_forward_hook(lambda _, inputs, output: output * 2)
    module[2].register_forward_pre_hook(lambda _, inputs: (inputs[0] * 3,))

    report = compare.mirror(module, X)

    assert report.agrees
    assert (report.differences["layer"].str.contains("mul")).any()


def test_a_hook_that_looks_at_gradients_does_no_harm() -> None:
    module, seen = net(), []
    module[2].register_full_backward_hook(lambda *_: seen.append(1))

    assert compare.mirror(module, X).agrees


def test_a_module_hook_that_changes_gradients_is_refused() -> None:
    module = net()
    module[2].register_full_backward_hook(lambda _, inputs, __: (2 * inputs[0],))  # type: ignore[index]

    with pytest.raises(UserError, match="change gradients by hooks"):
        compare.mirror(module, X)


def test_a_tensor_hook_that_changes_gradients_is_refused() -> None:
    def function(w: Tensor, x: Tensor) -> Tensor:
        y = x @ w
        y.register_hook(lambda grad: 2 * grad)
        return y.tanh()

    with pytest.raises(UserError, match="change gradients by hooks"):
        compare.mirror(Uses(function), X)


# ── autocast ─────────────────────────────────────────────────────────────────────────────────────
class Cast(nn.Module):
    """Runs a part of itself in bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = net()

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = self.inner(x)
        return y.to(x.dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_autocast_inside_converts_nothing_and_is_said(dtype: str) -> None:
    report = compare.mirror(Cast(), X, dtype=dtype)

    assert report.verdict == "agree"
    assert f"autocast to bfloat16, which converted nothing here: all was computed in {dtype}" in (
        " ".join(report.notes)
    )


def test_autocast_around_a_mirror_is_said() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        report = compare.mirror(net(), X, dtype="float32")
        assert torch.is_autocast_enabled("cpu")

    assert report.verdict == "agree"
    assert "autocast to bfloat16" in " ".join(report.notes)


def test_autocast_is_as_it_was_afterwards() -> None:
    compare.mirror(Cast(), X)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert net()(X).dtype == torch.bfloat16
    assert not any("autocast" in note for note in compare.mirror(net(), X).notes)


def test_a_mistake_under_autocast_is_found() -> None:
    def wrong(w: Tensor, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return Doubled.apply(x @ w)

    assert compare.mirror(Uses(wrong), X, dtype="float32").verdict == "disagree"


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.tanh()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return 2 * grad
