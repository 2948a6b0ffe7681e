"""What is rare ends in a right verdict or in a sentence: complex numbers, generators, vmap."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import Function

import compare
from compare.errors import UserError

X = (torch.arange(12.0) * 1.7).sin().reshape(4, 3)


class Uses(nn.Module):
    """Linear, then a function of what comes out of it, also as complex numbers."""

    def __init__(self, use: Callable) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.linear = nn.Linear(3, 4)
        self.use = use

    def forward(self, x: Tensor) -> Tensor:
        return self.use(self.linear(x))


def of_complex(use: Callable) -> Uses:
    def real(h: Tensor) -> Tensor:
        found = use(torch.view_as_complex(h.reshape(4, 2, 2)))
        return torch.view_as_real(found) if found.is_complex() else found

    return Uses(real)


# ── complex numbers ──────────────────────────────────────────────────────────────────────────────
def put(z: Tensor) -> Tensor:
    z = z.clone()
    z[0] = 1.0
    return z


COMPLEX = {
    "a number is added": lambda z: z + 1,
    "a number is taken away": lambda z: (z - 2).abs(),
    "a number is put in": put,
    "in complex64": lambda z: z.to(torch.complex64) * z,
    "cfloat": lambda z: z.cfloat() * z.conj(),
    "of real ones": lambda z: z.real.to(torch.cfloat) * z,
    "of real ones, by type": lambda z: z.imag.type(torch.complex64) * 2,
    "times i": lambda z: z.real * 1j,
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", COMPLEX)
def test_complex_numbers_agree(case: str, dtype: str) -> None:
    report = compare.mirror(of_complex(COMPLEX[case]), X, dtype=dtype)

    assert report.verdict == "agree", str(report)


def test_a_write_into_the_real_parts_is_refused_in_a_sentence() -> None:
    def doubled(z: Tensor) -> Tensor:
        z = z.clone()
        z.real.mul_(2.0)
        return z

    with pytest.raises(UserError, match="cannot be mirrored: it runs, and what was captured"):
        compare.mirror(of_complex(doubled), X)


def test_complex_parameters_are_refused() -> None:
    model = nn.Linear(3, 2, dtype=torch.cfloat)

    with pytest.raises(UserError, match=r"complex parameters \(weight, bias\).*view_as_complex"):
        compare.mirror(model, X.to(torch.cfloat))


# ── what is drawn with a generator of its own ────────────────────────────────────────────────────
@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize(
    "draw",
    [
        lambda h, g: h * torch.bernoulli(h.sigmoid(), generator=g),
        lambda h, g: h + h.clone().normal_(generator=g),
        lambda h, g: h * torch.rand(h.shape, generator=g),
    ],
)
def test_a_models_own_generator_draws_the_same_again(draw: Callable, steps: int) -> None:
    class Draws(nn.Linear):
        def __init__(self) -> None:
            super().__init__(3, 4)
            self.generator = torch.Generator().manual_seed(1)

        def forward(self, x: Tensor) -> Tensor:
            return draw(super().forward(x), self.generator)

    report = compare.mirror(Draws(), X, steps=steps)

    assert report.verdict == "agree", str(report)


def test_a_function_with_a_call_that_has_no_derivative_is_left_to_torch() -> None:
    model = Uses(lambda h: torch.distributions.Beta(h.exp(), h.exp() + 1).rsample())

    report = compare.mirror(model, X)

    assert report.verdict == "agree", str(report)
    assert [what for what, _, _ in report.missing] == ["_Dirichlet"]
    assert "_Dirichlet cannot be seen through (it" in str(report.notes)


# ── a Function that writes into what it is given ─────────────────────────────────────────────────
def dirty(factor: float) -> Callable:
    class Dirty(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.mark_dirty(x)
            return x.mul_(2)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            return factor * grad

    return Dirty.apply


def test_a_function_that_writes_into_its_input_is_seen_through() -> None:
    right = compare.mirror(Uses(lambda h: dirty(2)(h).sin()), X)
    wrong = compare.mirror(Uses(lambda h: dirty(3)(h).sin()), X)

    assert right.verdict == "agree"
    assert right.coverage["nodes"] == 1
    assert wrong.verdict == "disagree"
    assert wrong.first_divergence.layer_type == "Dirty"


# ── another model's weights ──────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_another_models_weight_keeps_its_gradient_and_is_said(dtype: str) -> None:
    other = nn.Linear(4, 2)
    other.weight.grad = torch.ones(2, 4)

    for model, loss in (
        (Uses(lambda h: h @ other.weight.T), None),
        (Uses(torch.tanh), lambda output: other(output).square().mean()),
    ):
        report = compare.mirror(model, X, loss=loss, dtype=dtype)

        assert report.verdict == "agree", str(report)
        assert "is no parameter of the model: it was not compared" in str(report.notes)
    assert torch.equal(other.weight.grad, torch.ones(2, 4))
    assert other.bias.grad is None


# ── inputs without elements ──────────────────────────────────────────────────────────────────────
def test_an_empty_past_is_an_input_if_something_comes_of_it() -> None:
    class Remembers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(5, 3)

        def forward(self, past: Tensor, token: int) -> Tensor:
            return torch.cat([past, self.words.weight[token][None]]).tanh()

    assert compare.mirror(Remembers(), (torch.zeros(0, 3), 2)).verdict == "agree"


class Starts(nn.Module):
    """Begins with a row of its own behind what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.begin, self.linear = nn.Parameter(torch.ones(1, 3)), nn.Linear(3, 2)

    def forward(self, past: Tensor) -> Tensor:
        return self.linear(torch.cat([past, self.begin]))


@pytest.mark.parametrize("loss", [None, torch.sum, lambda output: {"loss": output.sum()}["loss"]])
def test_an_empty_past_alone_is_an_input_of_whatever_loss_it_is(loss: Callable | None) -> None:
    report = compare.mirror(Starts(), torch.zeros(0, 3), loss=loss)

    assert report.verdict == "agree", str(report)
    assert "begin" in report.parameters


def test_an_empty_past_beside_a_token_is_a_cache_of_no_positions() -> None:
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.key = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor, past: tuple[Tensor, Tensor]) -> Tensor:
            keys, values = torch.cat([past[0], self.key(x)], 1), torch.cat([past[1], x], 1)
            return (self.query(x) @ keys.mT).softmax(-1) @ values

    empty, x = torch.zeros(2, 0, 4), torch.arange(24.0).sin().reshape(2, 3, 4)

    assert compare.mirror(Attends(), (x, (empty, empty))).verdict == "agree"


# ── derivatives inside ───────────────────────────────────────────────────────────────────────────
def twice(h: Tensor) -> Tensor:
    (slope,) = torch.autograd.grad(h.tanh().sum(), h, create_graph=True)
    return slope * h


INSIDE = {
    "vmap": (lambda h: torch.func.vmap(torch.tanh)(h), "torch.func"),
    "grad": (torch.func.grad(lambda h: h.tanh().sum()), "does not look into torch.func"),
    "a gradient's gradient": (twice, "differentiate inside.*Mirror the module without that part"),
}


@pytest.mark.parametrize("case", INSIDE)
def test_derivatives_inside_are_refused_in_a_sentence(case: str) -> None:
    use, said = INSIDE[case]

    with pytest.raises(UserError, match=said):
        compare.mirror(Uses(use), X)


def by_constant(h: Tensor) -> Tensor:
    (slope,) = torch.autograd.grad(h.tanh().sum(), h, retain_graph=True)
    return slope * h


def test_a_derivative_that_is_a_constant_to_torch_is_one_here() -> None:
    report = compare.mirror(Uses(by_constant), X, steps=2)

    assert report.verdict == "agree", str(report)


def solver(factor: float) -> Callable:
    class Solver(Function):
        """Differentiates inside, so that torch cannot differentiate its forward."""

        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            with torch.enable_grad():
                own = x.detach().requires_grad_()
                total = own.tanh().sum()
                (ctx.slope,) = torch.autograd.grad(total, own)
            return total.detach()

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            return factor * grad * ctx.slope

    return Solver.apply


def test_a_function_that_differentiates_inside_is_seen_through_and_named() -> None:
    right = compare.mirror(Uses(lambda h: solver(1)(h) * h), X)
    wrong = compare.mirror(Uses(lambda h: solver(2)(h) * h), X)

    assert right.verdict == "agree"
    assert wrong.verdict == "disagree"
    assert wrong.first_divergence is not None
    assert wrong.first_divergence.layer_type == "Solver"
    assert "Solver.backward (" in str(wrong)


def test_a_sparse_layout_is_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match=r"sparse.*\.to_dense\(\)"):
        compare.mirror(Uses(lambda h: torch.sparse.mm(torch.eye(4).to_sparse(), h)), X)


# ── what a model's own numbers cannot show ───────────────────────────────────────────────────────
def scaled(right: bool) -> Callable:
    class Scaled(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, k: int) -> Tensor:
            ctx.k = k
            return x * k

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
            return grad * (ctx.k if right else 1), None

    return lambda h: Scaled.apply(h, 1)


def summed(right: bool) -> Callable:
    class Summed(Function):
        """Along an axis that is a whole number, too."""

        @staticmethod
        def forward(ctx: Any, x: Tensor, axis: int) -> Tensor:
            ctx.shape, ctx.axis = x.shape, axis
            return x.sum(axis)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
            axis = ctx.axis if right else 1
            return grad.unsqueeze(axis).expand(ctx.shape), None

    return lambda h: Summed.apply(torch.stack([h, h.sin(), h.cos(), h.tanh()], 1), 1)


def chosen(right: bool) -> Callable:
    class Chosen(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, rows: Tensor) -> Tensor:
            ctx.save_for_backward(rows)
            return x[rows]

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
            (rows,) = ctx.saved_tensors
            zeros = torch.zeros_like(grad)
            return zeros.index_put((rows,), grad, accumulate=right), None

    return lambda h: Chosen.apply(h, torch.tensor([2, 0, 3, 1]))


DOUBTS = {
    "a count": (scaled, "right with the argument 1 .* and wrong with 2"),
    "an axis": (summed, "right with the argument 1 .* and wrong with 2"),
    "an index": (chosen, "wrong where one is there twice"),
}


@pytest.mark.parametrize("case", DOUBTS)
def test_a_backward_that_fits_this_call_alone_is_a_note(case: str) -> None:
    made, said = DOUBTS[case]
    right, wrong = (compare.mirror(Uses(made(which)), X) for which in (True, False))

    assert right.verdict == wrong.verdict == "agree"
    assert re.search(said, " ".join(wrong.notes))
    assert not re.search("seems right|is right", " ".join(right.notes))


class Bends(nn.Module):
    """A weight without numbers close to zero, rectified."""

    def __init__(self, border: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[0.7, -1.1, 0.4, -0.3], [-0.6, 1.9, -0.2, 0.25]]))
        self.border = border

    def forward(self) -> Tensor:
        class Rectified(Function):
            """Made anew each time that the model runs."""

            @staticmethod
            def forward(ctx: Any, x: Tensor, border: float) -> Tensor:
                ctx.border = border
                ctx.save_for_backward(x)
                return x.clamp(min=0)

            @staticmethod
            def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
                return grad * (ctx.saved_tensors[0] > ctx.border), None

        return Rectified.apply(self.weight, self.border)


@pytest.mark.parametrize("border", [0.0, 0.05, -0.05])
def test_a_border_close_to_zero_is_visited(border: float) -> None:
    report = compare.mirror(Bends(border))

    assert report.verdict == ("incomplete" if border else "agree"), str(report)


def test_one_row_cannot_show_an_average_and_is_said() -> None:
    pieces = {"linear": (lambda x, weight, bias: (x @ weight.T + bias, (x, weight)),
                         lambda d, kept: (d @ kept[1], d.T @ kept[0], d.mean(0)))}  # fmt: skip
    one, several, none = (
        compare.mirror(Uses(torch.tanh), x, twin=twin)
        for x, twin in ((X[:1], pieces), (X, pieces), (X[:1], None))
    )

    assert one.verdict == "agree"
    assert "The inputs have one row" in " ".join(one.notes)
    assert several.verdict == "disagree"
    assert "one row" not in " ".join((*several.notes, *none.notes))
