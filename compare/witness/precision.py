"""The precision that balls are computed in, and the package that computes them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from compare.errors import UserError

OLDEST = (0, 9)  # python-flint; power series in 0.8 cannot be divided
BITS, DIGITS = 256, 50
MOST_BITS = 1000  # a radius of 2^-1000 is still a float64


def available() -> bool:
    """Return whether balls can be computed here."""
    try:
        _flint_context()
    except UserError:
        return False
    return True


@contextmanager
def working(bits: int = BITS, digits: float = DIGITS) -> Iterator[None]:
    """Compute balls of `bits` bits inside.

    Raises:
        UserError: python-flint is not installed, or the bits cannot hold the digits.
    """
    ctx = _flint_context()
    if not 64 <= bits <= MOST_BITS:
        raise UserError(f"bits must be from 64 to {MOST_BITS}, received {bits}.")
    if not 0 < digits < bits * math.log10(2):
        needed = math.ceil((digits + 10) / math.log10(2))
        raise UserError(
            f"{digits} digits do not fit into {bits} bits, which hold "
            f"{math.floor(bits * math.log10(2))}. Ask for {needed} bits, or fewer digits."
        )
    with ctx.workprec(bits):
        yield


def _flint_context() -> Any:
    install = "pip install 'handgrad[certify]'"
    try:
        import flint
    except ImportError:
        raise UserError(
            f"Certificates need python-flint, which is not installed. Install it: {install}."
        ) from None
    if tuple(int(n) for n in flint.__version__.split(".")[:2]) < OLDEST:
        raise UserError(
            f"Certificates need python-flint {'.'.join(map(str, OLDEST))} or newer (division of "
            f"power series), and {flint.__version__} is installed. Update it: {install}."
        )
    return flint.ctx
