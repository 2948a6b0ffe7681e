"""What hand-written gradients look like: `out, cache = forward(*inputs)`, `backward(dout, cache)`.

Arrays of floats are differentiable; indices, flags, numbers and whatever else is passed through.
`out` may be a tuple; then so is `dout`. `grads` is an array, a tuple in the order of the inputs
(all of them, or the differentiable ones), or a dict by name; None claims nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Forward = Callable[..., tuple[Any, Any]]
Backward = Callable[[Any, Any], Any]
Inputs = Mapping[str, Any] | Sequence[Any]


def named(inputs: Inputs) -> dict[str, Any]:
    """Return the inputs by name; a sequence's are called input 0, input 1, …"""
    if isinstance(inputs, Mapping):
        return dict(inputs)
    return {f"input {i}": value for i, value in enumerate(inputs)}


def differentiable(inputs: Mapping[str, Any]) -> list[str]:
    """Return the names of the inputs that are arrays of floats."""
    return [name for name, value in inputs.items() if _is_float_array(value)]


def _is_float_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.floating)


def gradients(grads: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what backward claims: a gradient per differentiable input's name.

    Raises:
        ValueError: their number fits neither all inputs nor the differentiable ones.
    """
    free = differentiable(inputs)
    if isinstance(grads, Mapping):
        by_name = dict(grads)
    else:
        given = list(grads) if isinstance(grads, tuple | list) else [grads]
        names = list(inputs) if len(given) == len(inputs) else free
        if len(given) != len(names):
            raise ValueError(
                f"backward must return one gradient per input ({', '.join(inputs)}), or per "
                f"differentiable input ({', '.join(free) or 'none'}); received {len(given)}. "
                "Return None for an input without a gradient."
            )
        by_name = dict(zip(names, given, strict=True))
    return {name: by_name[name] for name in free if by_name.get(name) is not None}


def upstream(out: Any, draw: Callable[[tuple[int, ...]], Any]) -> Any:
    """Return random upstream gradients of out's structure; None for what is no float."""
    if isinstance(out, tuple | list):
        return tuple(upstream(part, draw) for part in out)
    dtype = np.asarray(out).dtype
    return draw(np.shape(out)) if dtype.kind in "fcO" else None


def contract(dout: Any, out: Any) -> Any:
    """Return Σ dout · out, the scalar whose gradient backward claims to be."""
    if isinstance(out, tuple | list):
        return sum(contract(d, o) for d, o in zip(dout, out, strict=True))
    return 0.0 if dout is None else np.sum(dout * out)


def copied(x: Any) -> Any:
    """Return fresh arrays, in a tuple of them too: people's functions may write into theirs."""
    if isinstance(x, tuple):
        return tuple(copied(part) for part in x)
    return x.copy() if isinstance(x, np.ndarray) else x
