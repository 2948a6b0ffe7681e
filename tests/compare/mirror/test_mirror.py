"""What a mirror promises beside its verdict: nothing of the user's changes, refusals are clear."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import compare
from compare.errors import UserError
from tests.compare.mirror.models import made

X, Y = torch.linspace(-2, 2, 15).reshape(5, 3), torch.tensor([0, 1, 0, 1, 1])


def net() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Dropout(0.3), nn.Linear(4, 2)
        )


def loss(output: Tensor) -> Tensor:
    return F.cross_entropy(output, Y)


# ── what is the user's ───────────────────────────────────────────────────────────────────────────
def test_module_inputs_and_generator_are_left_as_they_were() -> None:
    module, x = net(), X.clone().requires_grad_()
    before, mode = copy.deepcopy(module.state_dict()), module.training
    state = torch.get_rng_state()

    compare.mirror(module, x, loss=loss, optimizer=torch.optim.SGD(module.parameters(), 0.1))

    after = module.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert (module.training, x.grad) == (mode, None)
    assert all(p.grad is None and p.dtype == torch.float32 for p in module.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_default_dtype() == torch.float32
    assert "call" not in nn.Module.__call__.__qualname__.split(".")[-1:]


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "NAdam"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_training_steps_run_in_lockstep_with_the_optimiser(name: str, dtype: str) -> None:
    module = net()
    optimizer = getattr(torch.optim, name)(module.parameters(), lr=0.01)

    report = compare.mirror(module, X, loss=loss, optimizer=optimizer, steps=3, dtype=dtype)

    quantities = set(report.differences["quantity"])
    assert report.agrees, str(report)
    assert report.steps == 3
    assert "param:weight" in quantities
    assert any(q.startswith("state:") for q in quantities) == (name != "SGD")


def test_two_runs_give_the_same_report() -> None:
    a, b = (compare.mirror(net(), X, loss=loss).differences for _ in range(2))

    assert a.equals(b)


def test_run_with_a_module_is_a_mirror() -> None:
    assert compare.run(net(), args=(X,), loss=loss).coverage["nodes"] == 1


def test_a_learning_rate_that_the_twin_has_not_is_found(monkeypatch) -> None:
    from manual.optimizers import SGD

    monkeypatch.setattr(SGD, "update", lambda self, p, g, s, lr: (p - 1.01 * lr * g, s))
    module = net()
    report = compare.mirror(
        module, X, loss=loss, optimizer=torch.optim.SGD(module.parameters(), lr=0.1)
    )

    assert report.verdict == "disagree"
    assert report.first_divergence.quantity.startswith("param:")


# ── what is claimed ──────────────────────────────────────────────────────────────────────────────
def test_what_torch_computes_is_said_and_counted() -> None:
    class Spectrum(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return torch.linalg.svdvals(super().forward(x)).sum()

    report = compare.mirror(Spectrum(3, 4), X)

    assert report.coverage["nodes"] < 1
    assert [what for what, _, _ in report.missing] == ["linalg.svdvals"]
    assert "linalg.svdvals" in str(report)


@pytest.mark.parametrize("factor", [1.0, 1.001])
def test_the_errors_of_what_torch_computes_are_known_in_float32_too(
    monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    from manual.linear import Linear

    class Bessel(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return self[1](torch.special.i0(self[0](x)))

    right = Linear.grad_params
    monkeypatch.setattr(
        Linear, "grad_params",
        lambda self, dy, cache: {k: factor * g for k, g in right(self, dy, cache).items()},
    )  # fmt: skip
    report = compare.mirror(Bessel(nn.Linear(3, 4), nn.Linear(4, 2)), X, dtype="float32")

    assert [what for what, _, _ in report.missing] == ["special.i0"]
    assert report.verdict == ("agree" if factor == 1 else "disagree")


def test_gradients_that_zeros_would_pass_for_are_no_agreement() -> None:
    report = compare.mirror(nn.Linear(3, 2), X, loss=lambda y: (0 * y).sum())

    assert report.verdict == "incomplete"
    assert report.coverage["parameters"] == 0


def test_a_wrong_gate_is_found_and_named(monkeypatch) -> None:
    from manual.activations.sigmoidal import Tanh

    right = Tanh.backward
    monkeypatch.setattr(
        Tanh, "backward", lambda self, dy, cache: ((right(self, dy, cache)[0][0] * 1.001,), {})
    )

    report = compare.mirror(net(), X, loss=loss)

    assert report.verdict == "disagree"
    assert report.first_divergence.layer in ("2", "1")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_model_that_asks_for_no_other_numbers_is_not_said_to(dtype: str) -> None:
    assert compare.mirror(net(), X, dtype=dtype).notes == ()


def test_an_integer_conversion_to_float32_stays_in_the_runs_dtype() -> None:
    class Upcast(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).float().softmax(-1, dtype=torch.float32).type_as(x)

    report = compare.mirror(Upcast(3, 4), X)

    assert report.agrees
    assert any("asks for torch.float32" in note for note in report.notes)


# ── one's own pieces ─────────────────────────────────────────────────────────────────────────────
class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.fc(x)) + x


def forward(x: Any, fc_weight: Any, fc_bias: Any) -> Any:
    z = x @ fc_weight.T + fc_bias
    return np.maximum(z, 0) + x, (x, z, fc_weight)


def backward(dy: Any, cache: Any) -> Any:
    x, z, w = cache
    dz = dy * (z > 0)
    return dz @ w + dy, dz.T @ x, dz.sum(0)


WRONG = {
    "no branch": lambda dy, c: (backward(dy, c)[0] - dy, *backward(dy, c)[1:]),
    "a mean": lambda dy, c: (*backward(dy, c)[:2], backward(dy, c)[2] / len(dy)),
    "transposed": lambda dy, c: (
        backward(dy, c)[0], backward(dy, c)[1].T.copy(), backward(dy, c)[2],
    ),
    "no mask": lambda dy, c: (dy @ c[2] + dy, dy.T @ c[0], dy.sum(0)),
    "a sign": lambda dy, c: (*backward(dy, c)[:2], -backward(dy, c)[2]),
    "a percent": lambda dy, c: (1.01 * backward(dy, c)[0], *backward(dy, c)[1:]),
}  # fmt: skip


def ported(pair: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        module = nn.Sequential(nn.Linear(3, 4), Block(), nn.Linear(4, 2))
    return compare.mirror(module, X, loss=loss, twin={"1": pair})


def test_ones_own_right_piece_agrees() -> None:
    assert ported((forward, backward)).agrees


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_in_ones_own_piece_is_found_in_its_place(mistake: str) -> None:
    report = ported((forward, WRONG[mistake]))

    assert report.verdict == "disagree"
    assert report.first_divergence.layer == "1"
    assert report.first_divergence.own_or_inherited == "own"


def test_a_mistake_in_ones_own_forward_is_found_in_its_place() -> None:
    report = ported((lambda x, fc_weight, fc_bias: forward(x, fc_weight.T, fc_bias), backward))

    assert report.verdict == "disagree"
    assert (report.first_divergence.layer, report.first_divergence.quantity) == ("1", "output")


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────
class Lottery(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * random.random()


class LastBits(nn.Linear):
    """Rounds otherwise at every call, as LAPACK does by where in memory a matrix lies."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (1 + random.choice((-1, 1)) * 2.0**-52)


def test_a_model_that_differs_in_its_last_bits_alone_is_deterministic() -> None:
    assert compare.mirror(LastBits(3, 2), X).verdict == "agree"


class Launderer(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        y.data.mul_(2)
        return y


def half() -> Any:
    return compare.mirror(net().half(), X)


def scripted() -> Any:
    with pytest.warns(DeprecationWarning, match="deprecated"):
        return torch.jit.script(net())


REFUSED = {
    "no module": (lambda: compare.mirror(lambda x: x, X), "takes a torch.nn.Module"),
    "a wrong shape": (lambda: compare.mirror(net(), X[:, :2]), "cannot be run on inputs of shape"),
    "a loss that fails": (
        lambda: compare.mirror(net(), X, loss=lambda y: nn.functional.mse_loss(y, X[:2])),
        r"loss cannot be computed of the output of Sequential, a tensor of shape \(5, ",
    ),
    "no input": (lambda: compare.mirror(net()), "cannot be called with these inputs"),
    "no such input": (
        lambda: compare.mirror(net(), kwargs={"x": X}), r"by name: x\).*It takes \(input\)\.",
    ),
    "half precision": (half, "float16"),
    "lazy": (lambda: compare.mirror(nn.LazyLinear(2), X), "lazy parameters"),
    "TorchScript": (lambda: compare.mirror(scripted(), X), "module is TorchScript"),
    "TorchScript inside": (
        lambda: compare.mirror(nn.Sequential(nn.Tanh(), scripted()), X),
        r"Sequential\.1 is TorchScript",
    ),
    "not deterministic": (lambda: compare.mirror(Lottery(3, 2), X), "is not deterministic"),
    "changed out of sight": (
        lambda: compare.mirror(Launderer(3, 2), X), "was not captured faithfully",
    ),
    "a loss of many numbers": (
        lambda: compare.mirror(net(), X, loss=lambda y: y), "must return one number",
    ),
    "no gradient": (
        lambda: compare.mirror(nn.Embedding(3, 2).requires_grad_(False), torch.tensor([1])),
        "No output of Embedding has a gradient",
    ),
    "another's optimiser": (
        lambda: compare.mirror(
            net(), X, loss=loss, optimizer=torch.optim.SGD(net().parameters(), 0.1)
        ),
        "holds none of the model's parameters",
    ),
    "an unknown dtype": (lambda: compare.mirror(net(), X, dtype="float46"), "'float64'"),
    "no steps": (lambda: compare.mirror(net(), X, steps=0), "steps must be"),
    "an unknown path": (lambda: compare.mirror(net(), X, twin={"9": (0, 0)}), "no module '9'"),
    "a check of a module": (
        lambda: compare.check(net(), inputs={"x": (5, 3)}), r"handgrad\.mirror\(module"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_mirrored_is_refused_in_a_sentence(case: str) -> None:
    run, said = REFUSED[case]

    with pytest.raises(UserError, match=said):
        run()


def test_recorded_draws_are_no_lack_of_determinism() -> None:
    example = made("vae")

    assert compare.mirror(example.module, example.args, loss=example.loss).agrees
