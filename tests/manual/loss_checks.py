"""How a hand-written loss is checked against torch's: within rounding, or bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from hypothesis import strategies as st

from compare.gauge import Gauge, gauge, gauging
from manual import losses
from manual.losses import Loss
from tests.helpers import DTYPES, SEEDS, shapes
from torch_ref.classes import module_class

NUMBERS = (  # a target of the input's shape; of another one it is refused
    "BCELoss", "BCEWithLogitsLoss", "HuberLoss", "L1Loss", "MSELoss", "SmoothL1Loss",
    "SquaredErrorLoss",
)  # fmt: skip
CLASSES = ("NLLLoss", "CrossEntropyLoss", "MultiMarginLoss", "MulticlassHingeLoss")
ALIKE = (*CLASSES, *NUMBERS)  # the others: tests/manual/losses
BINARY = ("BCELoss", "BCEWithLogitsLoss")
SETTINGS = {
    "SquaredErrorLoss": "factor", "HuberLoss": "delta", "SmoothL1Loss": "beta",
    "MultiMarginLoss": "margin", "MulticlassHingeLoss": "margin",
}  # fmt: skip
SIDES = st.integers(1, 6)


class Case(NamedTuple):
    """One loss with its arguments, and what to run it on."""

    name: str
    args: dict[str, Any]
    input: np.ndarray
    target: np.ndarray

    def manual(self) -> Loss:
        return getattr(losses, self.name)(**self.args)

    def torch(self) -> torch.nn.Module:
        dtype = torch.tensor(self.input).dtype
        lists = {k: torch.tensor(v, dtype=dtype) for k, v in self.args.items() if type(v) is list}
        return module_class(self.name)(**{**self.args, **lists})


def case(name: str, input: Any, target: Any, dtype: Any = np.float64, **args: Any) -> Case:
    """Return a case whose input, and target unless it holds labels, have this dtype."""
    target = np.array(target, dtype=np.int64 if name in CLASSES else dtype)
    return Case(name, args, np.array(input, dtype=dtype), target)


@st.composite
def cases(draw: Callable, *names: str) -> Case:
    """Draw a loss, all its options, its dtype, and an input and target; labels are not ignored."""
    name, dtype = draw(st.sampled_from(names or ALIKE)), draw(DTYPES)
    rng = np.random.default_rng(draw(SEEDS))
    shape = (draw(SIDES), draw(SIDES)) if name in CLASSES else draw(shapes(min_dims=0))
    x = exact(rng.normal(size=shape) * 10.0 ** draw(st.integers(-3, 2)))
    args: dict[str, Any] = {"reduction": draw(st.sampled_from(["mean", "sum", "none"]))}
    if key := SETTINGS.get(name):
        args[key] = draw(st.sampled_from([0.5, 1.0, 1.75]))
    if name == "MultiMarginLoss":
        args["p"] = draw(st.sampled_from([1, 2]))
    if name == "CrossEntropyLoss":
        args["label_smoothing"] = draw(st.sampled_from([0.0, 0.125, 0.3, 1.0]))
    for key in weights_of(name):
        if draw(st.booleans()) and len(shape):
            args[key] = exact(rng.uniform(0.1, 3.0, shape[-1])).tolist()
    if name in CLASSES:
        y = rng.integers(0, shape[1], shape[0])
        if name in ("NLLLoss", "CrossEntropyLoss") and draw(st.booleans()):
            args["ignore_index"] = draw(st.sampled_from([-100, 0, shape[1]]))
            y[rng.random(len(y)) < 0.3] = args["ignore_index"]
            y[0] = 1 % shape[1]
            if args["ignore_index"] == y[0]:
                args["reduction"] = "sum"
        return case(name, x, y, dtype, **args)
    if name == "BCELoss":
        x = exact(1 / (1 + np.exp(-x.clip(-80, 80))))
    y = exact(rng.random(shape)) if name in BINARY else exact(rng.normal(size=shape))
    return case(name, x, np.round(y) if draw(st.booleans()) else y, dtype, **args)


def weights_of(name: str) -> list[str]:
    """Return which arguments of a loss are arrays of weights."""
    return [key for key in ("weight", "pos_weight") if key in vars(getattr(losses, name)())]


def exact(x: Any) -> np.ndarray:
    """Round to float32, so that both dtypes hold the same numbers."""
    return np.asarray(x, dtype=np.float32).astype(np.float64)


def manual_run(loss: Loss, x: Any, y: np.ndarray, upstream: Any) -> tuple[Any, Any]:
    """Return a hand-written loss's value and its input's gradient."""
    return manual_all(loss, x, y, upstream)[:2]


def manual_all(loss: Loss, x: Any, y: np.ndarray, upstream: Any) -> tuple:
    """Return a hand-written loss's value and its gradients: the input's, and a real target's."""
    value, cache = loss.forward(x, y)
    several = np.shape(value) != () and loss.reduction == "none"
    dl = np.full(np.shape(value), upstream, x.dtype) if several else upstream
    (grad, of_target), params = loss.backward(dl, cache)
    assert params == {}
    assert (of_target is None) == (y.dtype.kind in "iu")
    return (value, grad) if of_target is None else (value, grad, of_target)


def torch_run(c: Case, upstream: Any) -> tuple[np.ndarray, ...]:
    """Return torch's value and its gradients, by autograd: the input's, and a real target's."""
    x, y = torch.tensor(c.input, requires_grad=True), torch.tensor(c.target)
    leaves = [x, y.requires_grad_()] if y.is_floating_point() else [x]
    value = c.torch()(x, y)
    grads = torch.autograd.grad(value, leaves, torch.full_like(value, upstream))
    return value.detach().numpy(), *(grad.numpy() for grad in grads)


def check_loss(c: Case, loss: Loss | None = None, upstream: float = 0.8125) -> None:
    """Demand torch's value and gradient within the gauge's budget, in shape and dtype too."""
    loss, dtype = loss or c.manual(), c.input.dtype
    mine = manual_all(loss, c.input, c.target, dtype.type(upstream))
    with gauging(dtype):
        budgets = manual_all(loss, gauge(c.input), c.target, upstream)
    names = ("loss", "grad", "target's grad")[: len(mine)]
    for what, m, t, g in zip(names, mine, torch_run(c, upstream), budgets, strict=True):
        assert m.shape == t.shape, f"{what}: shape {m.shape}, not {t.shape}"
        assert m.dtype == t.dtype, f"{what}: dtype {m.dtype}, not {t.dtype}"
        budget = (g if isinstance(g, Gauge) else gauge(g)).tolerance(dtype)
        with np.errstate(invalid="ignore"):  # inf - inf
            close = (m == t) | (np.abs(m - t) <= budget)
        assert np.all(close), f"{what}: {m}, torch {t}, budget {budget}"


def check_bitwise(c: Case, upstream: float = 0.5) -> None:
    """Demand torch's value and gradient bit for bit."""
    mine = manual_all(c.manual(), c.input, c.target, upstream)
    names = ("loss", "grad", "target's grad")[: len(mine)]
    for what, m, t in zip(names, mine, torch_run(c, upstream), strict=True):
        assert np.array_equal(m, t), f"{what}: {m}, torch {t}"


class Wrong(Loss):
    """A loss with a planted mistake: `value(v, x, y)`, `grad(g, x, y)` replace the right ones."""

    def __init__(
        self,
        loss: Loss,
        value: Callable = lambda v, x, y: v,
        grad: Callable = lambda g, x, y: g,
    ) -> None:
        self.loss, self.value, self.grad = loss, value, grad
        self.reduction = loss.reduction

    def forward(self, input: Any, target: Any) -> tuple[Any, Any]:  # type: ignore[override]
        value, cache = self.loss.forward(input, target)
        return like(value, self.value(value, input, target)), (cache, input, target)

    def backward(self, grad_output: Any, cache: Any) -> tuple[tuple, dict]:
        (grad, of_target), params = self.loss.backward(grad_output, cache[0])
        return (like(grad, self.grad(grad, *cache[1:])), of_target), params


def like(right: Any, wrong: Any) -> Any:
    """Return the wrong number in the right one's dtype: a mistake must not show by its dtype."""
    return wrong.astype(right.dtype) if isinstance(wrong, np.ndarray | np.generic) else wrong
