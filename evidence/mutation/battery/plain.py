"""Calls that no example can stand for: scalars, empty arrays, Python's numbers, special values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import Check, FixedCheck, Lift
from evidence.mutation.battery.layers import Arguments, build

SHARES = np.array([0.0, -0.5, 0.25])  # two of which are none
LOGS = np.array([-1.0, -2.0, 0.5])
ONES = np.ones((2, 1))
LIMITS = {"KLDivLoss": -np.inf, "PoissonNLLLoss": -LOGS[0]}
NONE = ("reduction", "none")
EMPTY_ROWS, EMPTY_COLUMNS, SCALAR = np.zeros((3, 0)), np.zeros((0, 3)), np.array(0.5)

CALLS: dict[str, tuple[str, Arguments, tuple[Any, ...]]] = {
    "a number as variance": ("GaussianNLLLoss", (), (LOGS[None], np.array([[0, 1, 3]]), 2.5)),
    "p < 0 of a zero": ("PairwiseDistance", (("p", -1.0), ("eps", 0.0)), (LOGS, LOGS * [0, 1, 2])),
    "a variance below ε": ("GaussianNLLLoss", (), (LOGS, SHARES, np.array([0.0, 1, 2]))),
    "shares that are none": ("KLDivLoss", (NONE,), (LOGS, SHARES)),
    "counts of nothing": ("PoissonNLLLoss", (("full", True), NONE), (LOGS, np.array([0.0, 1, 3]))),
    "one score": ("MultiLabelMarginLoss", (), (SCALAR, np.array(0))),
    "a pair at no distance": (
        "ContrastiveLoss",
        (NONE,),
        (SHARES * ONES, SHARES * ONES, np.array([0, 1])),
    ),
    "too short for its labels": (
        "CTCLoss",
        (NONE,),
        (LOGS * np.ones((2, 2, 1)), np.array([[1, 1], [1, 2]]), np.array([2, 2]), np.array([2, 2])),
    ),
    "labels without steps": (
        "CTCLoss",
        (NONE,),
        (LOGS * np.ones((3, 2, 1)), np.array([[1], [1]]), np.array([0, 3]), np.array([1, 1])),
    ),
    "too short, with steps to spare": (
        "CTCLoss",
        (NONE,),
        (LOGS * np.ones((3, 2, 1)), np.array([[1, 1], [1, 2]]), np.array([1, 3]), np.array([2, 2])),
    ),
    "infinite numbers beside": (
        "GridSample",
        (),
        (np.full((1, 1, 2, 2), np.inf), np.array([[[[9.0, 0.0], [0.0, -9.0]]]])),
    ),
    "a scalar as a row": ("Flatten", (("start_dim", 0),), (SCALAR,)),
    **{
        f"{name}, {what}": (name, arguments, (x,))
        for name in ("Softmax", "LogSoftmax")
        for what, arguments, x in (
            ("a scalar", (), SCALAR),
            ("a scalar's axis", (("dim", -1),), SCALAR),
            ("empty rows", (("dim", 1),), EMPTY_ROWS),
            ("no rows", (("dim", 0),), EMPTY_COLUMNS),
        )
    },
}


@dataclass(frozen=True)
class PlainCheck(FixedCheck):
    """One of the calls on plain numbers: output, and the gradients of its arrays of reals.

    Where torch's gradient of a first target 0 is nan, the limit stands instead.
    """

    call: str

    @property
    def type(self) -> str:
        return CALLS[self.call][0]

    @property
    def name(self) -> str:
        return f"{self.type}: {self.call}"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        _, arguments, inputs = CALLS[self.call]
        layer = build(self.type, arguments)
        y, cache_ = layer.forward(*inputs)
        grads, _ = layer.backward(self.draw(seed, np.shape(y), "dy"), cache_)
        return _told(y, [g for g, x in zip(grads, inputs, strict=True) if _is_real(x)])

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        from evidence.mutation.battery.torch_side import module, run_module, tensor

        _, arguments, inputs = CALLS[self.call]
        reals = [x for x in inputs if _is_real(x)]
        rest: list[Any] = [
            x if isinstance(x, float) else tensor(x, dtype) for x in inputs[len(reals) :]
        ]
        dy = lambda shape: self.draw(seed, shape, "dy")  # noqa: E731
        twin = module(self.type, dict(arguments), dtype)
        y, grads, _ = run_module(twin, {}, reals, dy, dtype, rest)
        if self.type in LIMITS:
            grads[1][0] = LIMITS[self.type] * dy(y.shape)[0]
        return _told(y, grads)


def _is_real(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def _told(y: Any, grads: list[Any]) -> Values:
    values = {"output": y} | {f"grad_input#{i}": g for i, g in enumerate(grads)}
    return {
        Key("", k): np.nan_to_num(v, nan=7e3, posinf=8e3, neginf=-8e3) for k, v in values.items()
    }


@cache
def plain_checks() -> list[Check]:
    """Return them all."""
    return [PlainCheck(call) for call in CALLS]
