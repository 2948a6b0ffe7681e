"""The context of a gradient of any torch function: what `find_cause` can tell most from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from compare.diagnose.causes import split
from compare.diagnose.causes.cause import BATCH, CLASSES, Context
from compare.diagnose.causes.formulas import alternatives
from compare.diagnose.causes.piece import Piece, attempt


def gradient_context(
    function: Callable[..., Any],
    inputs: Sequence[Any],
    wrt: int,
    upstream: np.ndarray,
    *,
    names: Sequence[str] | None = None,
    sizes: Mapping[str, int] | None = None,
    samples: bool | None = None,
    **more: Any,
) -> Context:
    """Return the context of one gradient of a torch function.

    Args:
        function: takes tensors (and whatever else `inputs` holds), returns one tensor.
        inputs: its arguments as arrays; what is no float array is passed on as it is.
        wrt: which argument's gradient is in question.
        upstream: the gradient of the function's output.
        names: of the arguments; by default x0, x1, …
        sizes: lengths that a factor may come from; by default the output's axes, the first of
            them as the batch.
        samples: whether the argument has one row per sample; by default, whether its first axis
            is as long as the output's.
        more: further fields of `Context`.

    >>> import numpy as np, torch
    >>> x, dy = np.array([[0.3, -1.0, 2.0]]), np.array([[1.0, 2.0, -0.5]])
    >>> y = 1 / (1 + np.exp(-x))
    >>> from compare.diagnose.causes import find_cause
    >>> context = gradient_context(torch.sigmoid, [x], 0, dy)
    >>> find_cause(dy * x * (1 - x), dy * y * (1 - y), 1e-14, context).evidence
    'manual is exactly dy · x (1 − x), where torch\\'s is dy · y (1 − y).'
    """
    names = tuple(names or (f"x{i}" for i in range(len(inputs))))
    piece = Piece(function, tuple(inputs), names, wrt, upstream)
    x = piece.x
    if samples is None:
        samples = bool(upstream.ndim and x.ndim and x.shape[0] == upstream.shape[0])
    known = Context(
        sizes=output_sizes(upstream) if sizes is None else sizes,
        batch_axis=0 if samples else None,
        upstream=upstream,
        slope=piece.slope(),
        terms=attempt(lambda: split.terms(piece)) or {},
        places={names[wrt]: x} | _output(piece),
        others=_arguments(piece),
        samples=None if samples or not upstream.ndim else lambda: piece.parts(0),
        alternatives=lambda: alternatives(piece),
        dtype=str(x.dtype),
    )
    return replace(known, **more)


def output_sizes(y: np.ndarray) -> dict[str, int]:
    """Name the axes of an output (N, …, C) for factors that may come from them."""
    if y.ndim < 2:
        return {BATCH: y.size} if y.ndim else {}
    middle = {f"the length of axis {a}": y.shape[a] for a in range(1, y.ndim - 1)}
    return {BATCH: y.shape[0], CLASSES: y.shape[-1], **middle}


def _output(piece: Piece) -> dict[str, np.ndarray]:
    y = piece.output()
    return {"y": y} if y.shape == piece.x.shape else {}


def _arguments(piece: Piece) -> dict[str, np.ndarray]:
    """Return what has the gradient's shape and may have been returned or added by mistake."""
    pairs = zip(piece.names, piece.inputs, strict=True)
    found = {n: a for n, a in pairs if getattr(a, "shape", None) == piece.x.shape}
    return {n: a for n, a in found.items() if a.dtype.kind == "f"} | _output(piece)
