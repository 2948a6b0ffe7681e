"""How far rounding alone may take one formula's value, worked from exact numbers.

A tolerance of the whole run may have grown larger than the number itself: then nothing follows
from its being kept. The formula by itself starts from the hand-written side's own numbers. They and
the result of every operation are moved by a rounding at random, some times over; the changes of the
value, as a root mean square, are E.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from compare.explaining.evaluate import Env, Scope
from compare.explaining.pieces import Piece
from compare.running.alone import Moment

RUNS, FLOOR = 8, 4.0  # the sum itself is rounded some times
SHAKE = 2.0**-30  # large beside float64's rounding, and the change is still linear


class Shaken(Env):
    """Works a formula with a rounding at random after each operation."""

    def __init__(self, rng: np.random.Generator, *given: Any) -> None:
        super().__init__(*given)
        self.rng = rng

    def value(self, node: ast.expr, scope: Scope) -> Any:
        exact = super().value(node, scope)
        if not isinstance(node, ast.BinOp | ast.Call):
            return exact
        return exact * (1 + SHAKE * float(self.rng.standard_normal()))


def local_tolerance(
    pieces: list[Piece], total: Callable[[list[Piece], Any], Any], moment: Moment
) -> float:
    """Return K (u E + 4 tiny) of the sum of some pieces.

    Args:
        pieces: the formulas with their numbers.
        total: works their sum, exactly or with roundings from a generator.
        moment: says in which dtype, and what K is.
    """
    rng = np.random.default_rng(0)
    base = total(pieces, None)
    moved = [total([_moved_piece(p, rng) for p in pieces], rng) for _ in range(RUNS)]
    changes = [float((value - base) / SHAKE) for value in moved]
    error = float(np.sqrt(np.mean(np.square(changes)) + np.square(FLOOR * float(base))))
    info = np.finfo(moment.experiment.dtype)
    k = moment.experiment.config.compare.k
    return k * (float(info.eps) / 2 * error + 4 * float(info.tiny))


def _moved_piece(piece: Piece, rng: np.random.Generator) -> Piece:
    arrays = {name: _moved(array, rng) for name, array in piece.bound.arrays.items()}
    return replace(piece, bound=replace(piece.bound, arrays=arrays))


def _moved(array: Any, rng: np.random.Generator) -> np.ndarray:
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        return array
    return array.astype(np.float64) * (1 + SHAKE * rng.standard_normal(array.shape))
