"""One torch function with what it was called on: every gradient that a mistake might compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from compare.pair.reference import handed

MOST = 64  # samples or columns to look at one by one


@dataclass(frozen=True)
class Piece:
    """A torch function, its arguments, and the argument whose gradient is in question.

    Attributes:
        function: takes tensors, returns one tensor.
        inputs: its arguments as arrays; integers and flags are passed on and not differentiated.
        names: what to call them.
        wrt: position of the argument.
        upstream: the gradient of the output.
    """

    function: Callable[..., Any]
    inputs: tuple[Any, ...]
    names: tuple[str, ...]
    wrt: int
    upstream: np.ndarray

    @property
    def x(self) -> np.ndarray:
        """The argument in question."""
        return self.inputs[self.wrt]

    def output(self) -> np.ndarray:
        """The function's value."""
        import torch

        with torch.no_grad():
            return _array(self.function(*(_tensor(a) for a in self.inputs)))

    def at(self, x: np.ndarray) -> np.ndarray:
        """Return the function's value at another point."""
        return replace(
            self, inputs=(*self.inputs[: self.wrt], x, *self.inputs[self.wrt + 1 :])
        ).output()

    def vjp(self, upstream: Any = None, x: Any = None, wrt: int | None = None) -> np.ndarray:
        """Return the gradient for another upstream gradient, point or argument."""
        import torch

        wrt = self.wrt if wrt is None else wrt
        tensors = [_tensor(a) for a in self.inputs]
        if x is not None:
            tensors[self.wrt] = _tensor(x)
        leaf = tensors[wrt].detach().requires_grad_()
        tensors[wrt] = leaf
        y = self.function(*tensors)
        dy = _tensor(self.upstream if upstream is None else upstream)
        (grad,) = torch.autograd.grad(handed()((dy,), y), leaf, allow_unused=True)
        return np.zeros_like(self.inputs[wrt]) if grad is None else _array(grad)

    def slope(self) -> np.ndarray | None:
        """Return f′(x) if the function works element by element, else None."""
        if self.upstream.shape != self.x.shape:
            return None
        ones = self.vjp(np.ones_like(self.upstream))
        fits = np.allclose(self.upstream * ones, self.vjp(), rtol=1e-6, atol=0)
        return ones if fits else None

    def jvp(self, direction: np.ndarray) -> np.ndarray:
        """Return J times a direction, where the gradient is Jᵀ times one."""
        import torch

        x = _tensor(self.x).detach().requires_grad_()
        tensors = [_tensor(a) for a in self.inputs]
        tensors[self.wrt] = x
        y = self.function(*tensors)
        dummy = torch.zeros_like(y, requires_grad=True)
        (back,) = torch.autograd.grad((y * dummy).sum(), x, create_graph=True)
        return _array(torch.autograd.grad((back * _tensor(direction)).sum(), dummy)[0])

    def differentiable(self) -> Iterator[int]:
        """Yield the positions of the other arguments that have gradients."""
        for i, a in enumerate(self.inputs):
            if i != self.wrt and isinstance(a, np.ndarray) and a.dtype.kind == "f":
                yield i

    def parts(self, axis: int) -> np.ndarray | None:
        """Return the gradient from each index of the output's axis alone, stacked first."""
        if not self.upstream.ndim or not 1 < self.upstream.shape[axis] <= MOST:
            return None
        return np.stack(
            [self.vjp(only(self.upstream, axis, i)) for i in _range(self.upstream, axis)]
        )

    def own_part(self, axis: int) -> np.ndarray | None:
        """Return the gradient with no terms from one index of the axis to another."""
        parts = self.parts(axis) if self.upstream.shape == self.x.shape else None
        if parts is None:
            return None
        picked = [np.take(part, i, axis=axis) for i, part in enumerate(parts)]
        return np.stack(picked, axis=axis)


def only(array: np.ndarray, axis: int, i: int) -> np.ndarray:
    """Return the array with all but one index of an axis set to zero."""
    kept = np.zeros_like(array)
    at: list[Any] = [slice(None)] * array.ndim
    at[axis] = i
    kept[tuple(at)] = array[tuple(at)]
    return kept


def _range(array: np.ndarray, axis: int) -> Sequence[int]:
    return range(array.shape[axis])


def _tensor(a: Any) -> Any:
    import torch

    return torch.tensor(a) if isinstance(a, np.ndarray | np.generic) else a


def _array(t: Any) -> np.ndarray:
    return t.detach().numpy(force=True)


def attempt(make: Callable[[], Any]) -> Any:
    """Return what torch gives, or None where it refuses the changed arguments."""
    try:
        return make()
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError):
        return None
