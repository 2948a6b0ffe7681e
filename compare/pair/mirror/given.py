"""A piece of a model that somebody derived by hand, in the place of torch's module."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, signature
from typing import Any, NamedTuple

import numpy as np

from compare.errors import UserError, nearest
from compare.gauge import Gauge
from compare.pair.mirror.by_torch import ByTorch
from manual.layer import Array, Arrays, Layer, Output

__all__ = ["GivenPiece", "given"]

PLACES = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


class Pair(NamedTuple):
    """A forward and a backward as functions."""

    forward: Callable
    backward: Callable


def given(twin: Any, paths: Sequence[str]) -> dict[str, Any]:
    """Return the hand-written pieces by module path; an object stands for the whole model.

    Raises:
        UserError: a path is no module, or a piece has no forward and backward.
    """
    if twin is None:
        return {}
    pieces = dict(twin) if isinstance(twin, Mapping) else {"": twin}
    for path, piece in pieces.items():
        if path not in paths:
            raise UserError(
                f"twin: the model has no module '{path}'. {nearest(path, [p for p in paths if p])}"
            )
        pieces[path] = _pair(piece, path)
    return pieces


def _pair(piece: Any, path: str) -> Any:
    if isinstance(piece, tuple | list) and len(piece) == 2 and all(map(callable, piece)):
        return Pair(*piece)
    if callable(getattr(piece, "forward", None)) and callable(getattr(piece, "backward", None)):
        return piece
    raise UserError(
        f"twin['{path}'] must be (forward, backward), or an object with these methods; received "
        f"{type(piece).__name__}. forward(x, …) returns (output, cache) and may take the module's "
        "parameters by name; backward(grad_output, cache) returns the gradients in that order."
    )


class GivenPiece(Layer):
    """Someone's forward and backward with a torch module's parameters.

    It may read the module's buffers by name, and leaves none. Its tolerances are measured on
    torch's module: the piece's own code need not run on anything but NumPy arrays, and no mistake
    in it can reach them.
    """

    def __init__(self, piece: Any, params: Arrays, path: str, read: Arrays | None = None) -> None:
        self.piece, self.path, self.read = piece, path, read or {}
        self.params = params
        self.by_torch: Any = None

    def bind(self, by_torch: ByTorch) -> GivenPiece:
        """Let torch's module tell how far rounding may go."""
        self.by_torch, self.outputs = by_torch, by_torch.outputs
        return self

    def forward(self, *inputs: Array) -> tuple[Output, Any]:  # type: ignore[override]
        if any(isinstance(a, Gauge) for a in (*inputs, *self.params.values())):
            return self.by_torch.with_params(self.params).forward(*inputs)
        values = {_plain(k): p for k, p in self.params.items()}
        wanted = _wanted(self.piece.forward, len(inputs), values)
        known = {_plain(k): b.copy() for k, b in self.read.items()}
        read = _wanted(self.piece.forward, len(inputs), known)
        given = {k: values[k] for k in wanted} | {k: known[k] for k in read}
        found = self.piece.forward(*inputs, **given)
        output, cache = found if isinstance(found, tuple) and len(found) == 2 else (found, None)
        return output, (cache, wanted, len(inputs))

    def backward(self, grad_output: Output, cache: Any) -> tuple[tuple[Array, ...], Arrays]:
        """Ask the piece; gradients come by place, or by name."""
        if any(isinstance(g, Gauge) for g in _several(grad_output)):
            return self.by_torch.with_params(self.params).backward(grad_output, cache)
        own, wanted, count = cache
        takes = len(signature(self.piece.backward).parameters)
        found = self.piece.backward(*((grad_output, own) if takes > 1 else (grad_output,)))
        names = {_plain(k): k for k in self.params}
        if isinstance(found, Mapping):
            grads = {names[k]: np.asarray(g) for k, g in found.items() if k in names}
            rest = {k: g for k, g in found.items() if k not in names}
            if len(rest) != count or not {names[k] for k in wanted} <= grads.keys():
                raise ValueError(
                    f"backward must return the gradients of {count} inputs"
                    f"{', and of ' + ', '.join(wanted) if wanted else ''}; it returned "
                    f"{', '.join(found)}"
                )
            return tuple(rest.values()), grads
        flat = [g for part in _several(found) for g in _entries(part)]
        if flat and isinstance(flat[-1], Mapping):
            *flat, last = flat
            return tuple(flat), {names[_plain(k)]: np.asarray(g) for k, g in last.items()}
        if len(flat) != count + len(wanted):
            raise ValueError(
                f"backward must return {count + len(wanted)} gradients (of {count} inputs"
                f"{', then of ' + ', '.join(wanted) if wanted else ''}); it returned {len(flat)}"
            )
        own_grads = zip(wanted, flat[count:], strict=True)
        return tuple(flat[:count]), {names[k]: np.asarray(g) for k, g in own_grads}

    def __repr__(self) -> str:
        return f"given for {self.path or 'the model'}"


def _plain(name: str) -> str:
    """Return a parameter's name as an argument can be called: `fc.weight` is `fc_weight`."""
    return name.replace(".", "_")


def _wanted(forward: Callable, inputs: int, values: Mapping[str, Any]) -> list[str]:
    """Return the parameters, or the buffers, that a forward takes by name, in its order."""
    taken = list(signature(forward).parameters.values())
    if any(p.kind is Parameter.VAR_KEYWORD for p in taken):
        return list(values)
    return [p.name for p in taken[inputs:] if p.kind in PLACES and p.name in values]


def _several(found: Any) -> tuple:
    return found if isinstance(found, tuple) else (found,)


def _entries(part: Any) -> list:
    return list(part) if isinstance(part, tuple | list) else [part]
