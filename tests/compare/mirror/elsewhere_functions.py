"""Custom Functions that are right where they are used: some of them everywhere, some nowhere else.

Each entry is what a model calls between two linear layers: a function of the values, which lie
between -1 and 1, and of a parameter of ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

Use = Callable[[Tensor, Tensor], Tensor]


def function(
    forward: Callable[..., Any], backward: Callable[..., Any], name: str, inputs: int = 1
) -> type[Function]:
    """Return a Function of plain code: `backward(grad, *arguments)` is of the first inputs."""

    def run(ctx: Any, *args: Any) -> Any:
        ctx.args = args
        return forward(*args)

    def back(ctx: Any, *grads: Tensor) -> Any:
        found = backward(*grads, *ctx.args)
        found = found if isinstance(found, tuple) else (found,)
        return *found, *(None for _ in ctx.args[len(found) :])

    return type(name, (Function,), {"forward": staticmethod(run), "backward": staticmethod(back)})


# ── right everywhere, or where they may be used ──────────────────────────────────────────────────
def into_buffer(x: Tensor) -> Tensor:
    """Compute in a float32 buffer."""
    return torch.empty(x.shape, dtype=torch.float32).copy_(x).sin_().to(x.dtype)


class DrawsMask(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.keep = (torch.rand(x.shape) < 0.9).to(x.dtype)
        return x * ctx.keep / 0.9

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return grad * ctx.keep / 0.9


class MarkedApart(Function):
    """Returns a statistic that no gradient flows through; the context is set up apart."""

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        return x.square().sum(), x * 2

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.mark_non_differentiable(output[0])

    @staticmethod
    def backward(ctx: Any, _: Any, grad: Tensor) -> Any:
        return grad * 2


def refusing(x: Tensor) -> Tensor:
    if x.abs().max() > 1:
        raise ValueError("these are no correlations")
    return x.square()


def distribution(x: Tensor) -> Tensor:
    return x.softmax(-1)


HalfTanh = function(
    lambda x: x.half().tanh().to(x.dtype),
    lambda g, x: g * (1 - x.half().tanh().square()).to(x.dtype), "HalfTanh",
)  # fmt: skip
Buffered = function(into_buffer, lambda g, x: g * x.float().cos().to(x.dtype), "Buffered")
Sorts = function(
    lambda x, order: x.sort(-1).values,
    lambda g, x, order: torch.zeros_like(g).scatter(-1, order, g), "Sorts",
)  # fmt: skip
LogSum = function(
    lambda x, p: x.logsumexp(-1, keepdim=True).expand_as(x), lambda g, x, p: g.sum(-1, True) * p,
    "LogSum",
)  # fmt: skip
Entropy = function(lambda p: p * p.log(), lambda g, p: g * (1 + p.log()), "Entropy")
Simplex = function(  # the last probability follows from the others' sum
    lambda p: p.log() / p.sum(-1, keepdim=True),
    lambda g, p: g / p - (g * p.log()).sum(-1, keepdim=True), "Simplex",
)  # fmt: skip
Root = function(lambda x: x.sqrt(), lambda g, x: g / (2 * x.sqrt()), "Root")
Angle = function(lambda x: x.arccos(), lambda g, x: -g / (1 - x * x).sqrt(), "Angle")
Masked = function(
    lambda x, m: x.masked_fill(m == 0, 0.0), lambda g, x, m: g * m, "Masked",
)  # fmt: skip
Softplus = function(  # which loses digits far below zero
    lambda x: torch.nn.functional.softplus(x),
    lambda g, x: g * (1 - torch.exp(-torch.nn.functional.softplus(x))), "Softplus",
)  # fmt: skip
Power = function(
    lambda x, s: (x * s).tanh(), lambda g, x, s: g * s * (1 - (x * s).tanh() ** 2), "Power"
)
FlatGrad = function(lambda x: x * 3, lambda g, x: (g.view(-1) * 3).view(g.shape), "FlatGrad")
Refusing = function(refusing, lambda g, x: 2 * g * x, "Refusing")
Frozen = function(lambda x, w: x * w.square(), lambda g, x, w: g * w.square(), "Frozen")
Clamp = function(
    lambda x: x.clamp(-1.5, 1.5), lambda g, x: g * (x.abs() <= 1.5), "Clamp"
)  # fmt: skip
Relu = function(lambda x: x.relu(), lambda g, x: g * (x > 0), "Relu")
Inverse = function(  # of its argument's scale: 0.75 is as good as 1.0
    lambda x, keep: x / keep, lambda g, x, keep: g / keep, "Inverse"
)  # fmt: skip
Angular = function(  # of rows with norm 1, which they are here
    lambda u: u / u.norm(dim=-1, keepdim=True),
    lambda g, u: g - u * (g * u).sum(-1, keepdim=True), "Angular",
)  # fmt: skip

Quadratic = function(  # of a symmetric matrix
    lambda x, s: (x @ s * x).sum(-1, keepdim=True).expand_as(x),
    lambda g, x, s: 2 * g.sum(-1, keepdim=True) * (x @ s), "Quadratic",
)  # fmt: skip
Squares = function(  # of a symmetric matrix
    lambda s: s @ s, lambda g, s: g @ s + s @ g, "Squares"
)  # fmt: skip
Sorted = function(lambda x: x.sort(-1).values, lambda g, x: g, "Sorted")  # of sorted numbers
Turn = function(  # of a sine and a cosine
    torch.atan2, lambda g, s, c: (g * c, -g * s), "Turn"
)  # fmt: skip
Interval = function(  # between two bounds, the lower one first
    lambda low, high: (high - low).abs().sqrt(),
    lambda g, low, high: (-g / (2 * (high - low).sqrt()), g / (2 * (high - low).sqrt())),
    "Interval",
)  # fmt: skip


class OwnAverage(Function):
    """Writes into a buffer, as a batch norm does."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, average: Tensor) -> Tensor:
        average.mul_(0.9).add_(0.1 * x.mean(0))
        return x - x.mean(0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return grad - grad.mean(0), None


class DrawsAlike(Function):
    """Draws in the order in which x lies in memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.noise = torch.rand_like(x)
        return x * ctx.noise

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return grad * ctx.noise


class AsksFirst(Function):
    """Looks at what needs a gradient, one for each argument."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        (ctx.needed,) = ctx.needs_input_grad
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return torch.where(x < -1, -2 * grad * x, 2 * grad * x)


class Statistics(Function):
    """Returns what it goes on with as well."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, root := x.sin())
        return root, root.square()

    @staticmethod
    def backward(ctx: Any, grad: Tensor, other: Tensor) -> Tensor:
        x, root = ctx.saved_tensors
        return (grad + 2 * root * other) * x.cos()


CrossEntropy = function(  # with labels that add up to 1
    lambda z, t: -(t * z.log_softmax(-1)).sum(-1, keepdim=True).expand_as(z),
    lambda g, z, t: g.sum(-1, keepdim=True) * (z.softmax(-1) - t), "CrossEntropy",
)  # fmt: skip

RIGHT: dict[str, Use] = {
    "half precision": lambda x, w: HalfTanh.apply(x),
    "a buffer in float32": lambda x, w: Buffered.apply(x),
    "draws": lambda x, w: DrawsMask.apply(x),
    "marked, set up apart": lambda x, w: torch.mul(*MarkedApart.apply(x)),
    "an order that is given": lambda x, w: Sorts.apply(x, x.argsort(-1)),
    "a softmax that is given": lambda x, w: LogSum.apply(x, x.softmax(-1)),
    "a softmax that is given, cut off": lambda x, w: LogSum.apply(x, x.detach().softmax(-1)),
    "probabilities": lambda x, w: Entropy.apply(distribution(x)),
    "sums to one": lambda x, w: Simplex.apply(distribution(x)),
    "norm one": lambda x, w: Angular.apply(x / x.norm(dim=-1, keepdim=True)),
    "a symmetric matrix": lambda x, w: Quadratic.apply(x, (x.T @ x).detach()),
    "a symmetric matrix alone": lambda x, w: x @ Squares.apply(x.T @ x),
    "sorted": lambda x, w: Sorted.apply(x.exp().cumsum(-1)),
    "a sine and a cosine": lambda x, w: Turn.apply(x.sin(), x.cos()),
    "an interval": lambda x, w: Interval.apply(x - x.exp(), x + 1),
    "positive": lambda x, w: Root.apply(x.square() + 1),
    "positive here": lambda x, w: Root.apply(x + 2),
    "between -1 and 1": lambda x, w: Angle.apply(x),
    "a mask": lambda x, w: Masked.apply(x, torch.ones_like(x)),
    "loses digits": lambda x, w: Softplus.apply(x * 4),
    "a scale": lambda x, w: Power.apply(x, 1.0),
    "a share": lambda x, w: Inverse.apply(x, 1.0),
    "needs contiguous memory": lambda x, w: FlatGrad.apply(x),
    "refuses": lambda x, w: Refusing.apply(x),
    "no gradient of what is frozen": lambda x, w: Frozen.apply(x, w.detach()),
    "two pieces": lambda x, w: Clamp.apply(x),
    "at zero": lambda x, w: Relu.apply(x),
    "draws in memory's order": lambda x, w: DrawsAlike.apply(x),
    "goes on with an output": lambda x, w: torch.add(*Statistics.apply(x)),
    "goes on with an output that is not used": lambda x, w: Statistics.apply(x)[1],
}

# ── right here alone ─────────────────────────────────────────────────────────────────────────────
Scaled = function(
    lambda x, w: x.square() * w, lambda g, x, w: (2 * g * x, (g * x.square()).sum(0)), "Scaled"
)  # fmt: skip
Shifted = function(
    lambda x, w: (x + w - 1).square(),
    lambda g, x, w: (2 * g * x, (2 * g * x).sum(0)), "Shifted",
)  # fmt: skip
Flipped = function(
    lambda x: x.square(), lambda g, x: torch.where(x < -1, -2 * g * x, 2 * g * x), "Flipped"
)  # fmt: skip
Branch = function(
    lambda x: torch.where(x > 1.2, x**3, x), lambda g, x: torch.where(x > 1.2, 2 * g * x, g),
    "Branch",
)  # fmt: skip
Temperature = function(
    lambda x, t: (x / t).tanh(), lambda g, x, t: g * (1 - (x / t).tanh() ** 2), "Temperature"
)  # fmt: skip
ClipStraight = function(lambda x: x.clamp(-1.1, 1.1), lambda g, x: g, "ClipStraight")
SecondOutput = function(
    lambda x: (x.sin(), x.cos()), lambda g, h, x: g * x.cos() + h * x.sin(), "SecondOutput"
)  # fmt: skip
Tied = function(
    lambda x: x.sort(-1).values, lambda g, x: (g[..., None] * (x.sort(-1).values[..., None]
    == x[..., None, :])).sum(-2), "Tied",
)  # fmt: skip
SwishOne = function(
    lambda x, w: x * torch.sigmoid(w * x),
    lambda g, x, w: (
        g * (torch.sigmoid(w * x) * (1 + x * (1 - torch.sigmoid(w * x)))),
        (g * x * x * torch.sigmoid(w * x) * (1 - torch.sigmoid(w * x))).sum(0),
    ), "SwishOne",
)  # fmt: skip
Positive = function(lambda x: (x + 2).abs(), lambda g, x: g, "Positive")
Squared = function(
    lambda x, w: x * w**2, lambda g, x, w: (g * w**2, (2 * g * x).sum(0)), "Squared"
)  # fmt: skip
Saturates = function(  # the derivative of tanh close to 0, taken for more than that
    lambda x: torch.where(x.abs() < 1.05, x - x**3 / 3, x.sign() * 2 / 3),
    lambda g, x: g * (1 - x**2), "Saturates",
)  # fmt: skip
Transposed = function(
    lambda x, w: x @ torch.diag(w) @ torch.ones(4, 4, dtype=x.dtype).triu(),
    lambda g, x, w: (
        g @ torch.ones(4, 4, dtype=g.dtype).tril(),
        (x * (g @ torch.ones(4, 4, dtype=g.dtype).tril())).sum(0),
    ), "Transposed",
)  # fmt: skip

WRONG: dict[str, tuple[Use, str]] = {
    "forgets a weight of ones": (lambda x, w: Scaled.apply(x, w), "Scaled"),
    "forgets a shift of zero": (lambda x, w: Shifted.apply(x, w), "Shifted"),
    "a sign below -1": (lambda x, w: Flipped.apply(x), "Flipped"),
    "a sign, and asks for what is needed": (lambda x, w: AsksFirst.apply(x), "AsksFirst"),
    "a branch that is never taken": (lambda x, w: Branch.apply(x), "Branch"),
    "forgets a temperature of 1": (lambda x, w: Temperature.apply(x, 1.0), "Temperature"),
    "straight through a clamp": (lambda x, w: ClipStraight.apply(x), "ClipStraight"),
    "an output that is not used": (lambda x, w: SecondOutput.apply(x)[0], "SecondOutput"),
    "a factor of 1 inside": (lambda x, w: SwishOne.apply(x, w), "SwishOne"),
    "only for positive numbers": (lambda x, w: Positive.apply(x), "Positive"),
    "a square of one": (lambda x, w: Squared.apply(x, w), "Squared"),
    "beyond a bound": (lambda x, w: Saturates.apply(x), "Saturates"),
    "a diagonal of ones": (lambda x, w: Transposed.apply(x, w), "Transposed"),
    "equal numbers": (lambda x, w: Tied.apply(x), "Tied"),
}
