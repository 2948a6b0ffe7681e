"""Where torch's gradient is a convention, or not the derivative of its forward, or loses digits.

Each function shows one of them: its docstring says what, its body is the code to run, and it
returns what was found; a wrong claim raises. `python -m evidence.surprises` prints the page
docs/torch-surprises.md.
"""

from __future__ import annotations

import inspect
import textwrap
import warnings
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

__all__ = ["FAMILIES", "page"]

Shown = Callable[[], str]
DOUBLE: Any = {"dtype": torch.float64}
LENGTHS = torch.tensor([4]), torch.tensor([2])


def demand(*claims: Any) -> None:
    """Raise AssertionError unless every claim holds."""
    if not all(claims):
        raise AssertionError("torch does otherwise")


def slope(function: Callable, *at: float) -> list[float]:
    """Return torch's derivative of a function by each of its arguments."""
    leaves = [torch.tensor(value, requires_grad=True, **DOUBLE) for value in at]
    return [g.item() for g in torch.autograd.grad(function(*leaves), leaves)]


# ── conventions at kinks ─────────────────────────────────────────────────────────────────────────
def slopes_at_kinks() -> str:
    """Slope at the kink

    At a kink every slope between those on either side is a subgradient. Torch takes one of the two,
    not always the left one; `clamp` and `hardtanh` are the same function and differ.
    """
    clamp = lambda x: x.clamp(-1, 1)  # noqa: E731
    found = {
        "relu at 0": slope(F.relu, 0.0)[0],
        "abs at 0": slope(torch.abs, 0.0)[0],
        "relu6 at 0 and 6": (slope(F.relu6, 0.0)[0], slope(F.relu6, 6.0)[0]),
        "hardtanh at -1 and 1": (slope(F.hardtanh, -1.0)[0], slope(F.hardtanh, 1.0)[0]),
        "clamp(-1, 1) at -1 and 1": (slope(clamp, -1.0)[0], slope(clamp, 1.0)[0]),
        "elu(alpha=2) at 0": slope(lambda x: F.elu(x, 2.0), 0.0)[0],
        "celu(alpha=2) at 0": slope(lambda x: F.celu(x, 2.0), 0.0)[0],
        "selu at 0": round(slope(F.selu, 0.0)[0], 4),
        "leaky_relu(0.1) at 0": slope(lambda x: F.leaky_relu(x, 0.1), 0.0)[0],
        "hardsigmoid at -3 and 3": (slope(F.hardsigmoid, -3.0)[0], slope(F.hardsigmoid, 3.0)[0]),
        "hardswish at -3 and 3": (slope(F.hardswish, -3.0)[0], slope(F.hardswish, 3.0)[0]),
        "hardshrink at 0.5": slope(F.hardshrink, 0.5)[0],
        "softshrink at 0.5": slope(F.softshrink, 0.5)[0],
        "threshold(0, 7) at 0": slope(lambda x: F.threshold(x, 0.0, 7.0), 0.0)[0],
        "l1_loss at 0": slope(F.l1_loss, 2.0, 2.0)[0],
        "norm at 0": slope(torch.linalg.vector_norm, 0.0)[0],
    }
    demand(found["clamp(-1, 1) at -1 and 1"] == (1.0, 1.0))
    demand(found["hardtanh at -1 and 1"] == (0.0, 0.0))
    return "\n".join(f"{name}: {value}" for name, value in found.items())


def ties() -> str:
    """Who gets the gradient of a tie

    `max(dim)` and max-pooling give all of it to the first of equal elements; `amax`, `max()`
    without an axis, and `maximum` share it out.
    """
    x = torch.tensor([[1.0, 3.0, 3.0, 3.0]], requires_grad=True)
    found = {
        "max(dim)": x.max(dim=1).values,
        "max_pool1d": F.max_pool1d(x[None], 4).ravel(),
        "cummax": x.cummax(dim=1).values[0, -1:],
        "sort": x.sort(dim=1).values[0, -1:],
        "topk": x.topk(1, dim=1).values.ravel(),
        "amax": x.amax(dim=1),
        "max()": x.max()[None],
    }
    grads = {name: torch.autograd.grad(y, x)[0].ravel().tolist() for name, y in found.items()}
    demand(grads["max(dim)"] == [0, 1, 0, 0])
    grads["maximum(3, 3)"] = slope(torch.maximum, 3.0, 3.0)
    demand(grads["maximum(3, 3)"] == [0.5, 0.5])
    return "\n".join(f"{name}: {np.round(g, 3).tolist()}" for name, g in grads.items())


# ── not the derivative of the forward ────────────────────────────────────────────────────────────
def ctc() -> str:
    """CTCLoss returns the gradient of another function

    Its backward assumes that `log_probs` come out of `log_softmax`, and returns the gradient plus
    exp(log_probs). Through a log_softmax the two are one; for other log-probabilities it is not the
    derivative of the forward pass, as differences show.
    """
    torch.manual_seed(0)
    log_probs = torch.randn(4, 1, 3, **DOUBLE).requires_grad_()
    loss = lambda x: F.ctc_loss(x, torch.tensor([[1, 2]]), *LENGTHS, reduction="sum")  # noqa: E731
    (grad,) = torch.autograd.grad(loss(log_probs), log_probs)
    step = torch.zeros_like(log_probs)
    step[1, 0, 2] = 1e-6
    slope = ((loss(log_probs + step) - loss(log_probs - step)) / 2e-6).item()
    excess = grad[1, 0, 2].item() - slope
    demand(abs(excess - log_probs[1, 0, 2].exp().item()) < 1e-6)
    return (
        f"torch {grad[1, 0, 2]:.6f}, differences {slope:.6f}: {excess:.6f} too much\n"
        f"exp(log_probs) there: {log_probs[1, 0, 2].exp():.6f}"
    )


def gaussian_nll() -> str:
    """GaussianNLLLoss passes the gradient of a clamped variance

    A variance below eps is replaced by eps, so the loss does not change with it, and its derivative
    is 0; torch passes the gradient that it has at eps.
    """

    def loss(var):
        return F.gaussian_nll_loss(torch.tensor(1.0), torch.tensor(0.0), var, eps=0.5)

    low = torch.tensor(0.25, requires_grad=True)
    (grad,) = torch.autograd.grad(loss(low), low)
    difference = ((loss(low + 0.01) - loss(low - 0.01)) / 0.02).item()
    demand(difference == 0, grad.item() != 0)
    return f"torch {grad.item():.3f}, differences {difference:.3f}"


def cosine_similarity() -> str:
    """CosineSimilarity differentiates norms that it has replaced

    A norm below eps is replaced by eps out of autograd's sight: the value is that of a constant,
    the gradient still that of a norm.
    """
    a, b = torch.tensor([0.3, 0.4], **DOUBLE), torch.tensor([3.0, 4.0], **DOUBLE)
    at = lambda x: F.cosine_similarity(x, b, dim=0, eps=1.0)  # noqa: E731
    leaf = a.clone().requires_grad_()
    (grad,) = torch.autograd.grad(at(leaf), leaf)
    step = torch.tensor([1e-6, 0.0], **DOUBLE)
    difference = ((at(a + step) - at(a - step)) / 2e-6).item()
    demand(abs(difference - 0.6) < 1e-9, abs(grad[0].item() - 0.3) < 1e-12)
    return f"torch {grad[0].item():.3f}, differences {difference:.3f}"


# ── lost digits ──────────────────────────────────────────────────────────────────────────────────
def hardsigmoid() -> str:
    """hardsigmoid's float64 gradient is good to eight digits

    Its slope is 1/6; the backward pass has the constant in float32.
    """
    found = slope(F.hardsigmoid, 0.5)[0]
    off = abs(found - 1 / 6) * 6
    demand(1e-9 < off < 1e-7)
    return f"torch {found!r}, 1/6 = {1 / 6!r}: {off:.1e} relative"


def celu() -> str:
    """celu's float64 gradient rounds alpha to float32

    Only where float32 does not hold alpha, and the forward pass does not.
    """
    true = np.exp(-2 / 0.3)
    off = abs(slope(lambda x: F.celu(x, 0.3), -2.0)[0] - true) / true
    forward = abs(F.celu(torch.tensor(-2.0, **DOUBLE), 0.3).item() - 0.3 * np.expm1(-2 / 0.3))
    demand(1e-8 < off < 1e-6, forward < 1e-15)
    return f"slope of celu(x, alpha=0.3) at -2: {off:.1e} relative; its value: {forward:.0e}"


def differences_of_equals() -> str:
    """tanhshrink and softsign subtract what is nearly equal

    They have no backward of their own: autograd adds up the gradients of x - tanh(x), near 0, and
    of x / (1 + |x|), far from 0. Both are known without a difference: tanh² and 1 / (1 + |x|)².
    """
    small = slope(F.tanhshrink, 1e-8)[0] / 1e-16 - 1
    x = torch.tensor(1e8, requires_grad=True)  # float32
    (far,) = torch.autograd.grad(F.softsign(x), x)
    demand(abs(small) > 0.05, far.item() == 0)
    return (
        f"tanhshrink at 1e-8, float64: {small:.0%} off\n"
        f"softsign at 1e8, float32: {far.item()}, not 1e-16"
    )


def digamma() -> str:
    """digamma's float64 gradient is good to nine digits

    It is trigamma, which torch computes by a short asymptotic series; fifty digits beside it.
    """
    worst = 0.0
    for x in (0.3, 0.7, 1.5, 2.5, 4.0):
        true = mpmath.polygamma(1, mpmath.mpf(x))
        worst = max(worst, float(abs(slope(torch.digamma, x)[0] - true) / true))
    demand(1e-12 < worst < 1e-8)
    return f"largest relative error of five: {worst:.1e}"


def differentiable_adam() -> str:
    """Adam(differentiable=True) corrects its bias in float32

    The count of steps is a float32 tensor, and 1 - beta**step follows it, also for float64
    parameters.
    """
    ends = []
    for differentiable in (False, True):
        p = torch.tensor([1.0], requires_grad=True, **DOUBLE)
        moved = p.clone() if differentiable else p
        adam = torch.optim.Adam([moved], lr=0.1, differentiable=differentiable, foreach=False)
        for _ in range(5):
            moved.grad = torch.tensor([2.7], **DOUBLE)
            adam.step()
        ends.append(moved.item())
    off = abs(ends[1] - ends[0])
    demand(1e-8 < off < 1e-4)
    return f"after five steps: {ends[0]:.9f} and {ends[1]:.9f}"


# ── conventions that are easily missed ───────────────────────────────────────────────────────────
def masked_attention() -> str:
    """A row without a key is NaN, or zero

    Where every key is masked, softmax divides 0 by 0. MultiheadAttention returns NaN there when it
    also returns weights; scaled_dot_product_attention alone returns zeros.
    """
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(2, 1, **DOUBLE)
    x, mask = torch.randn(2, 1, 2, **DOUBLE), torch.tensor([[False, True], [True, True]])
    with_weights = attention(x, x, x, attn_mask=mask)[0][1].isnan().all().item()
    without = attention(x, x, x, attn_mask=mask, need_weights=False)[0][1].isnan().any().item()
    demand((with_weights, without) == (True, False))
    return f"NaN with need_weights: {with_weights}; without: {without}"


def embedding_max_norm() -> str:
    """Embedding(max_norm=…) rewrites its weight while it looks rows up

    The rows that are looked up are scaled in place, before any gradient.
    """
    table = nn.Embedding(2, 2, max_norm=1.0)
    with torch.no_grad():
        table.weight[:] = torch.tensor([[3.0, 4.0], [3.0, 4.0]])
    table(torch.tensor([0]))
    norms = table.weight.detach().norm(dim=1)
    demand(torch.allclose(norms, torch.tensor([1.0, 5.0])))
    return f"norms of the rows after looking up row 0: {norms.tolist()}"


def causal_scale() -> str:
    """scaled_dot_product_attention(is_causal=True) is NaN for a scale of 0 or less

    It hides scores as -inf before it multiplies by the scale; the same mask, given, is added after.
    """
    torch.manual_seed(0)
    q, k = torch.randn(1, 1, 2, 4, **DOUBLE), torch.randn(1, 1, 3, 4, **DOUBLE)
    mask = torch.ones(2, 3, dtype=torch.bool).tril()
    attend = F.scaled_dot_product_attention
    causal = attend(q, k, k, is_causal=True, scale=-0.5).isnan().all().item()
    masked = attend(q, k, k, attn_mask=mask, scale=-0.5).isnan().any().item()
    demand((causal, masked) == (True, False))
    return f"NaN with is_causal: {causal}; with the mask: {masked}"


def variances() -> str:
    """BatchNorm divides by one variance and keeps another

    It normalises with the biased variance of the batch (divided by n) and stores the unbiased one
    (divided by n - 1).
    """
    norm = nn.BatchNorm1d(1, momentum=1.0, eps=1e-12).double()
    x = torch.tensor([[0.0], [2.0]], **DOUBLE)
    y, kept = norm(x), norm.get_buffer("running_var").item()
    demand(abs(y.abs().max().item() - 1) < 1e-9, kept == 2)
    normalised = y.detach().ravel().numpy().round(6)
    return f"normalised by the variance 1: {normalised}; stored: {kept}"


def norms_far_from_zero() -> str:
    """LayerNorm and GroupNorm of numbers far from zero

    Their backward passes add b x + c, where b x and c cancel, instead of multiplying what is
    centred: in float32 a mean of a million deviations leaves two digits.
    """
    torch.manual_seed(0)
    x = (1e5 + 0.1 * torch.randn(4, 8)).float()
    upstream = torch.randn(4, 8)
    centred = x.double() - x.double().mean(1, keepdim=True)
    norms: dict[str, Callable] = {
        "layer_norm": lambda v: F.layer_norm(v, (8,)),
        "group_norm": lambda v: F.group_norm(v[:, None], 1)[:, 0],
        "layer_norm of the centred": lambda v: F.layer_norm(v, (8,)),
    }
    off = {}
    for name, norm in norms.items():
        grads = []
        for dtype in (torch.float32, torch.float64):
            leaf = (centred if "centred" in name else x).to(dtype).requires_grad_()
            grads.append(torch.autograd.grad(norm(leaf), leaf, upstream.to(dtype))[0])
        single, double = grads
        off[name] = float((single - double).abs().max() / double.abs().max())
    demand(off["layer_norm"] > 0.01, off["group_norm"] > 0.01)
    demand(off["layer_norm of the centred"] < 1e-6)
    return ", ".join(f"{name} off by {100 * share:.2g} %" for name, share in off.items())


def clamped_logarithms() -> str:
    """BCELoss never exceeds 100

    Its logarithms are held at -100, and the gradient's denominator at 1e-12.
    """
    p = torch.tensor([0.0], requires_grad=True, **DOUBLE)
    loss = F.binary_cross_entropy(p, torch.ones(1, **DOUBLE))
    (grad,) = torch.autograd.grad(loss, p)
    demand(loss.item() == 100)
    return f"loss at p = 0, y = 1: {loss.item()}; gradient {grad.item():.0e}"


def cross_map_lrn() -> str:
    """CrossMapLRN2d's gradient is wrong from two channels on

    Differences of its forward pass say otherwise; torch tests it with alpha = 5e-6, where the wrong
    term is too small to be seen.
    """
    torch.manual_seed(0)
    x = torch.randn(1, 2, 1, 2, requires_grad=True, **DOUBLE)
    right = torch.autograd.gradcheck(nn.CrossMapLRN2d(3, alpha=1.0), (x,), raise_exception=False)
    demand(not right)
    return f"gradcheck of CrossMapLRN2d(3, alpha=1.0): {right}"


def nearest() -> str:
    """Upsample(mode="nearest") reads one place and writes its gradient to another

    In one and three dimensions, where the size does not grow by the scale factor, forward and
    backward count with different scales.
    """
    x = torch.arange(3.0, requires_grad=True)
    y = F.interpolate(x[None, None], scale_factor=1.2).ravel()
    written = [torch.autograd.grad(part, x, retain_graph=True)[0].argmax().item() for part in y]
    read = [int(part) for part in y]
    demand(read != written)
    return f"read from {read}, gradient written to {written}"


def cosine_embedding() -> str:
    """CosineEmbeddingLoss adds float32's 1e-12 in float64

    With a vector of zeros the loss is as steep as 1 / sqrt(1e-12); the constant has eight digits.
    """
    ones = torch.ones(1, 2, **DOUBLE)
    zeros = torch.zeros(1, 2, requires_grad=True, **DOUBLE)
    loss = F.cosine_embedding_loss(ones, zeros, torch.ones(1, **DOUBLE))
    (grad,) = torch.autograd.grad(loss, zeros)
    exact = -1 / np.sqrt(2 * 1e-12)
    found = grad[0, 0].item()
    demand(1e-9 < abs(found / exact - 1) < 1e-7)
    return f"torch {found:.5f}, with 1e-12 {exact:.5f}"


def soft_margin() -> str:
    """SoftMarginLoss overflows where its value is an ordinary number

    log(1 + exp(-y x)) is x for large -y x; exp alone overflows first.
    """
    x = torch.tensor([-1000.0], requires_grad=True, **DOUBLE)
    loss = F.soft_margin_loss(x, torch.ones(1, **DOUBLE))
    (grad,) = torch.autograd.grad(loss, x)
    demand(torch.isinf(loss).item(), torch.isnan(grad).item())
    return f"loss {loss.item()}, gradient {grad.item()}; the values are 1000 and -1"


def clipped_lp_pool() -> str:
    """LPPool with ceil_mode scales a window that sticks out up

    It is an average pool's sum: the average over what is there, times the whole window's size.
    """
    y = nn.LPPool1d(1, 2, ceil_mode=True)(torch.ones(1, 1, 3)).ravel().tolist()
    demand(y == [2, 2])
    return f"sums of two ones, and of one: {y}"


def ties_of_margins() -> str:
    """At its border a margin loss has slope 1 or 0

    MarginRankingLoss, HingeEmbeddingLoss and the losses of embeddings clamp and have slope 1 at the
    tie; MultiMarginLoss and MultiLabelMarginLoss compare and have 0.
    """
    ranking = slope(lambda a, b: F.margin_ranking_loss(a, b, torch.ones_like(a)), 0.0, 0.0)[0]
    scores = torch.tensor([[1.0, 0.0]], requires_grad=True, **DOUBLE)
    multi = F.multi_margin_loss(scores, torch.tensor([0]))
    (grad,) = torch.autograd.grad(multi, scores)
    demand(ranking == -1, grad.abs().max().item() == 0)
    return f"margin_ranking_loss {ranking}, multi_margin_loss {grad.ravel().tolist()}"


def bag_frequencies() -> str:
    """EmbeddingBag(scale_grad_by_freq=True) divides by other rows' frequencies

    The i-th of the rows that occur is divided by how often the i-th look-up, in order of rows, has
    its row: below 2 by 2, not 3, and 3 by 3, not 1. Embedding divides each by its own.
    """
    index = torch.tensor([[0, 2, 2, 2, 3, 0]])
    found = {}
    options = {"scale_grad_by_freq": True} | DOUBLE
    for table in (nn.EmbeddingBag(4, 1, mode="sum", **options), nn.Embedding(4, 1, **options)):
        (grad,) = torch.autograd.grad(table(index).sum(), table.weight)
        found[type(table).__name__] = [round(g, 4) for g in grad.flatten().tolist()]
    demand(found["Embedding"] == [1.0, 0.0, 1.0, 1.0])
    demand(found["EmbeddingBag"] != found["Embedding"])
    return "\n".join(f"{name}: {grad}" for name, grad in found.items())


def as_strided_scatter() -> str:
    """as_strided_scatter sends the gradient to the places that were overwritten

    What was written over has no influence on the output, and what was not has all of it.
    """
    x = torch.zeros(3, 3, requires_grad=True)
    y = torch.as_strided_scatter(x, torch.ones(2, 2), (2, 2), (1, 2))
    (grad,) = torch.autograd.grad(y.sum(), x)
    demand(grad.sum().item() == 4, grad[0, 0].item() == 1)
    return f"ones where it was written: {grad.tolist()}"


def normal_tail() -> str:
    """special.ndtr has no lower tail

    It is (1 + erf(x/√2)) / 2, which is 0 in float64 from about -8.3 on; the true value is a number
    like any other. `log_ndtr` is right there.
    """
    found = torch.special.ndtr(torch.tensor(-8.5, **DOUBLE)).item()
    true = mpmath.ncdf(-8.5)
    demand(found == 0, true > 0)
    return f"torch {found}, true {mpmath.nstr(true, 5)}"


def no_difference() -> str:
    """diff with n = 0 leaves out what should be joined to it"""
    x = torch.tensor([1.0, 2.0])
    found = torch.diff(x, n=0, prepend=torch.tensor([0.0]))
    demand(found.tolist() == [1, 2])
    return f"diff([1, 2], n=0, prepend=[0]) = {found.tolist()}"


FAMILIES: dict[str, tuple[Shown, ...]] = {
    "Conventions at kinks and ties": (slopes_at_kinks, ties, ties_of_margins),
    "Not the derivative of the forward pass": (
        ctc,
        cross_map_lrn,
        nearest,
        gaussian_nll,
        cosine_similarity,
        as_strided_scatter,
        bag_frequencies,
    ),
    "Lost digits": (
        hardsigmoid,
        celu,
        cosine_embedding,
        soft_margin,
        differences_of_equals,
        norms_far_from_zero,
        digamma,
        differentiable_adam,
        normal_tail,
    ),
    "Easily missed": (
        masked_attention,
        causal_scale,
        embedding_max_norm,
        variances,
        clamped_logarithms,
        clipped_lp_pool,
        no_difference,
    ),
}
HEAD = """\
# Where torch surprises

Every place that we know where torch's gradient is a convention, is not the derivative of its
forward pass, or loses digits, and what is easily missed. Each is run: the code below is that of
`evidence/surprises.py`, and `python -m evidence.surprises` prints this page (torch {version}).
"""


def page() -> str:
    """Return the page, every claim run."""
    parts = [HEAD.format(version=torch.__version__.partition("+")[0])]
    for family, functions in FAMILIES.items():
        parts.append(f"## {family}\n")
        parts += [_entry(function) for function in functions]
    return "\n".join(parts)


def _entry(function: Shown) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = function()
    title, _, told = inspect.cleandoc(function.__doc__ or "").partition("\n")
    source = inspect.getsource(function)
    body = textwrap.dedent(source.split('"""', 2)[2].lstrip("\n"))
    return f"### {title}\n\n{told.strip()}\n\n```python\n{body}```\n\n```\n{found}\n```\n"


if __name__ == "__main__":
    print(page(), end="")
