"""What torch gives with one of its arguments replaced: by another tensor, its negative, or zero."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from compare.diagnose.causes.cause import Alternative
from compare.diagnose.causes.piece import Piece, attempt
from compare.diagnose.causes.split import POINT

ADVICE = "Check what is cached under which name, and which of them each factor needs."
MIRRORED = (
    "Look for the sign of an argument, a minimum where a maximum belongs, or a condition the wrong "
    "way round."
)
CHANGES = {"0": 0.0, "−{0}": -1.0, "2 {0}": 2.0, "½ {0}": 0.5, "1 / {0}": None}


def gradients(piece: Piece, y: np.ndarray) -> Iterator[Alternative]:
    """Yield torch's gradient with a replaced argument or upstream gradient."""
    for kind, what, other in _replaced(piece, y):
        advice = {"derivative at the output": POINT, "mirrored": MIRRORED}.get(kind, ADVICE)
        if (value := attempt(other.vjp)) is not None:
            yield Alternative(kind, what, advice, value)
    known = dict(zip(piece.names, piece.inputs, strict=True)) | {"y": y}
    for name, tensor in known.items():
        if _like(tensor, piece.upstream):
            what = f"torch with {name} for the upstream gradient"
            if (value := attempt(partial(piece.vjp, tensor))) is not None:
                yield Alternative("wrong input", what, ADVICE, value)


def outputs(piece: Piece) -> Iterator[Alternative]:
    """Yield torch's output with a replaced argument, and mirrored."""
    y = piece.output()
    for kind, what, other in _replaced(piece, y):
        value = attempt(other.output)
        if value is None:
            continue
        if kind == "mirrored" and len(piece.inputs) == 1:
            yield Alternative(kind, f"−1 × {what}", MIRRORED, -value)
        yield Alternative(kind, what, MIRRORED if kind == "mirrored" else ADVICE, value)


def _replaced(piece: Piece, y: np.ndarray) -> Iterator[tuple[str, str, Piece]]:
    known = dict(zip(piece.names, piece.inputs, strict=True)) | {"dy": piece.upstream}
    for i in [*piece.differentiable(), piece.wrt]:
        name, a = piece.names[i], piece.inputs[i]
        if _like(y, a):
            kind = "derivative at the output"
            yield kind, f"torch with the output y for {name}", _with(piece, i, y)
        for text, c in CHANGES.items():
            with np.errstate(all="ignore"):
                value = 1 / a if c is None else c * a
            if np.isfinite(value).all():
                what = f"torch with {text.format(name)} for {name}"
                kind = "mirrored" if c == -1 and name in ("x", "x0") else "wrong input"
                yield kind, what, _with(piece, i, value)
        for other, tensor in known.items():
            if other != name and _like(tensor, a):
                yield "wrong input", f"torch with {other} for {name}", _with(piece, i, tensor)


def _with(piece: Piece, i: int, value: np.ndarray) -> Piece:
    return replace(piece, inputs=(*piece.inputs[:i], value, *piece.inputs[i + 1 :]))


def _like(tensor: Any, a: Any) -> bool:
    both = isinstance(tensor, np.ndarray) and isinstance(a, np.ndarray)
    return both and tensor.dtype.kind == "f" and tensor.shape == a.shape
