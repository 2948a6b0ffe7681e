"""What all losses share: the reduction, and the checks of input and target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from manual.gates.broadcasting import summed_to
from manual.graph import Array, Layer

Shape = tuple[int, ...]


class Loss(Layer):
    """A function of an input and a target whose value is one number, or one per element or sample.

    `forward(input, target)` (some take more inputs) returns it, of the input's dtype and 0-d unless
    the reduction is "none", and a cache. `backward(grad_output, cache)` returns
    `((grad_input, grad_target), {})`; the target's gradient is None where targets are labels.
    `grad_output` is the upstream gradient of the value, normally 1; beyond floats it must be of the
    input's number system, as `1 / 3` in Python's is a rounded float.

    Args:
        reduction: "mean" or "sum" over what the class says it averages; "none" leaves the losses of
            its elements or samples apart.

    Raises:
        ValueError: another reduction; a mean of an empty input, or one that does not fit its
            target.
        TypeError: a target of a dtype that would change the loss's from the input's.
    """

    reductions: ClassVar[tuple[str, ...]] = ("mean", "sum", "none")

    def __init__(self, reduction: str = "mean") -> None:
        if reduction not in self.reductions:
            *names, last = map(repr, self.reductions)
            raise ValueError(
                f"{type(self).__name__}: reduction must be {', '.join(names)} or {last}, received "
                f"{reduction!r}."
            )
        self.reduction = reduction

    def summed(self, losses: Array) -> Array:
        """Add the losses up, unless they are to stay apart."""
        return losses if self.reduction == "none" else losses.sum()

    def reduced(self, value: Any, count: float) -> Any:
        """Divide by `count` if the reduction is the mean: a total, or the gradient of one."""
        return value / count if self.reduction.endswith("mean") else value

    def averaged(self, losses: Array) -> Array:
        """Return the reduction of losses whose mean divides by how many they are."""
        return self.reduced(self.summed(losses), losses.size)

    def of_rows(self, losses: Array) -> Array:
        """Return the reduction of losses (…, 1): one in each row, which is a sample."""
        return self.averaged(np.reshape(losses, losses.shape[:-1]))

    def to_rows(self, grad_output: Any, count: int) -> Any:
        """Return the gradient of what `of_rows` reduced: (…, 1), or (1,)."""
        return np.reshape(self.reduced(grad_output, count), (*np.shape(grad_output), 1))

    def check_alike(self, input: Array, target: Array) -> None:
        """Raise unless target has input's shape, and a dtype that leaves input's as it is."""
        if input.shape != target.shape:
            raise ValueError(_shapes(self, input, target))
        self.check_not_empty(input)
        self.check_dtype(input, target)

    def check_dtype(self, input: Array, target: Array) -> None:
        """Raise unless the target's numbers leave input's dtype as it is."""
        if target.dtype != input.dtype and not _fits(target.dtype, input.dtype):
            raise TypeError(
                f"{type(self).__name__}: the target must hold numbers that leave the input's dtype "
                f"{input.dtype} as it is, received dtype {target.dtype}. Pass "
                f"target.astype({str(input.dtype)!r})."
            )

    def numbers(self, input: Array, target: Array) -> Array:
        """Return the target, whole numbers in the input's dtype; raise if it would promote it."""
        if target.dtype.kind in "biu":
            return target.astype(input.dtype)
        self.check_dtype(input, target)
        return target

    def check_broadcast(self, **inputs: Array) -> Shape:
        """Return the shape that the inputs are stretched to; raise unless they fit, or if empty."""
        for x in inputs.values():
            self.check_not_empty(x)
        shapes = {name: tuple(x.shape) for name, x in inputs.items()}
        try:
            return np.broadcast_shapes(*shapes.values())
        except ValueError:
            received = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise ValueError(
                f"{type(self).__name__}: the inputs must broadcast to one shape, received "
                f"{received}. Reshape them so that they hold the same samples."
            ) from None

    def check_not_empty(self, input: Array) -> None:
        """Raise where a mean would be taken of nothing; a sum of nothing is 0."""
        if not input.size and self.reduction.endswith("mean"):
            raise ValueError(
                f"{type(self).__name__}: the input must hold at least one element, received shape "
                f"{tuple(input.shape)}: a mean divides by how many there are. Skip empty batches, "
                "or use reduction='sum'."
            )

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"


def constants(weights: Sequence[float] | None) -> Any:
    """Return a constructor's weights as an array of exact constants, or None."""
    return None if weights is None else np.array(weights, dtype=np.float64)


def ones(where: Array, like: Array) -> Array:
    """Return 1 where a condition holds, else 0, in an array's dtype."""
    return where.astype(like.dtype)


def zero(target: Array, shape: Shape) -> Array | None:
    """Return the gradient of a target that only decides between cases: 0, or None of labels."""
    return None if target.dtype.kind in "biu" else np.zeros_like(np.reshape(target, shape))


def stretched(grad: Array, slope: Array, shape: Shape, own: Shape) -> Array:
    """Return grad · slope, added up for an input of shape `own` that was stretched to `shape`."""
    return summed_to(grad * np.broadcast_to(slope, shape), own)


def _fits(target: Any, input: Any) -> bool:
    """Whole numbers would wrap (uint8) or promote to float64 (int64), as bool - 1 does."""
    return target.kind not in "biu" and np.result_type(input, target) == input


def _shapes(loss: Loss, input: Array, target: Array) -> str:
    text = (
        f"{type(loss).__name__}: input and target must have one shape, received input "
        f"{tuple(input.shape)} and target {tuple(target.shape)}. "
    )
    if input.size == target.size:
        text += f"Reshape the target: target.reshape{tuple(input.shape)}."
    else:
        text += "Compare the network's last layer with the target's columns."
    try:
        broadcast = np.broadcast_shapes(input.shape, target.shape)
    except ValueError:
        return text
    return f"{text} (Subtracting them as they are would broadcast to {broadcast}.)"
