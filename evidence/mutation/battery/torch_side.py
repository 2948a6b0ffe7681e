"""Stock torch modules run by themselves, read back as arrays."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from torch_ref.classes import module_class
from torch_ref.side import array_of

DTYPES = {"float32": torch.float32, "float64": torch.float64}
Found = tuple[np.ndarray, list[np.ndarray], dict[str, np.ndarray]]


def module(name: str, arguments: Mapping[str, Any], dtype: np.dtype) -> nn.Module:
    """Build torch's class of this name; lists of weights become tensors."""
    tensors = {
        key: torch.tensor(value, dtype=DTYPES[dtype.name]) if _weights(value) else value
        for key, value in arguments.items()
    }
    return module_class(name)(**tensors).to(DTYPES[dtype.name])


def _weights(value: Any) -> bool:
    return isinstance(value, tuple) and any(isinstance(w, float) for w in value)


def tensor(array: np.ndarray, dtype: np.dtype) -> Tensor:
    floating = np.issubdtype(array.dtype, np.floating)
    return torch.tensor(array, dtype=DTYPES[dtype.name] if floating else None)


def run_module(
    twin: Callable,
    params: Mapping[str, np.ndarray],
    inputs: Sequence[np.ndarray],
    upstream: Callable[[tuple[int, ...]], np.ndarray],
    dtype: np.dtype,
    rest: Sequence[Tensor] = (),
    places: Sequence[int] = (),
) -> Found:
    """Return output, input gradients and parameter gradients under an upstream gradient.

    `rest` are further inputs, which have no gradient; `places` are those of all, if not in order.
    """
    leaves = [tensor(x, dtype).requires_grad_() for x in inputs]
    own = {key: tensor(p, dtype).requires_grad_() for key, p in params.items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Implicit dimension choice")
        given = (*leaves, *rest)
        given = tuple(given[places.index(i)] for i in range(len(given))) if places else given
        y = functional_call(twin, own, given) if own else twin(*given)  # type: ignore[arg-type]
    dy = tensor(upstream(tuple(y.shape)), dtype)
    wanted = [*leaves, *own.values()]
    y = y if y.requires_grad else y + 0 * leaves[0].sum()  # a constant, as a distance of norm 0 is
    grads = torch.autograd.grad(y, wanted, dy, allow_unused=True, materialize_grads=True)
    arrays = [array_of(g).copy() for g in grads]
    return (
        array_of(y).copy(),
        arrays[: len(leaves)],
        dict(zip(own, arrays[len(leaves) :], strict=True)),
    )
