"""What a division leaves, its whole part, and the sign of another number."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from manual.examples import Example
from manual.gates.pairs import LATER, Several, SeveralCache, equations
from manual.gates.steps import truncated
from manual.layer import Array

__all__ = [
    "CopysignGate",
    "FmodGate",
    "RemainderGate",
    "RoundedDivideGate",
]


class Division(Several):
    """What a division leaves, or its whole part: a whole number k, decided by x / y.

    Args:
        other: y, where it is a number.
    """

    most = 2

    def __init__(self, other: float | None = None) -> None:
        self.other = other

    def forward(self, x: Array, y: Array | None = None) -> tuple[Array, SeveralCache]:  # type: ignore[override]
        z = self.of(x, self.other if y is None else y)
        return z, SeveralCache((x,) if y is None else (x, y), z)

    def shares(self, dz: Array, z: Array, x: Array, y: Any = None) -> tuple:  # type: ignore[override]
        if y is None:
            return self.both(dz, x, self.other)[:1]
        return self.both(dz, x, y)

    @abstractmethod
    def both(self, dz: Array, x: Array, y: Any) -> tuple[Array, Array]:
        """Return both shares."""

    def extra_repr(self) -> str:
        return "" if self.other is None else f"other={self.other}"

    def whole(self, x: Array, y: Array) -> Array:
        """Return k."""
        return np.floor(np.real(x / y))

    def decisions(self, cache: SeveralCache) -> Array:
        x, *y = cache.inputs
        return self.whole(x, *(y or [self.other]))


class RemainderGate(Division):
    """z = x - y ⌊x / y⌋: what a division leaves, with the sign of y."""

    equations = {"grad_x": "dx[i] = dz[i]", "grad_y": "dy[i] = -dz[i] * floor(x[i] / y[i])"}
    examples = (Example({}, ((2, 3), LATER)), Example({}, (LATER, LATER)))

    def of(self, x: Array, y: Array) -> Array:  # type: ignore[override]
        return x - y * self.whole(x, y)

    def both(self, dz: Array, x: Array, y: Array) -> tuple[Array, Array]:
        return dz, -dz * self.whole(x, y)


class FmodGate(RemainderGate):
    """z = x - y [x / y], the whole part towards 0: what a division leaves, with the sign of x."""

    equations = {"grad_x": "dx[i] = dz[i]"}

    def whole(self, x: Array, y: Array) -> Array:
        return truncated(x / y)


class RoundedDivideGate(Division):
    """z = x / y, rounded: ⌊x / y⌋, or towards 0; no gradient.

    Args:
        rounding_mode: "floor" or "trunc".
        other: y, where it is a number.
    """

    equations = {"grad_x": "dx[i] = 0 * dz[i]", "grad_y": "dy[i] = 0 * dz[i]"}
    examples = tuple(
        Example({"rounding_mode": mode}, ((2, 3), LATER)) for mode in ("floor", "trunc")
    )

    def __init__(self, rounding_mode: str, other: float | None = None) -> None:
        super().__init__(other)
        self.rounding_mode = rounding_mode

    def whole(self, x: Array, y: Array) -> Array:
        return super().whole(x, y) if self.rounding_mode == "floor" else truncated(x / y)

    def of(self, x: Array, y: Array) -> Array:  # type: ignore[override]
        return self.whole(x, y)

    def both(self, dz: Array, x: Array, y: Array) -> tuple[Array, Array]:
        nothing = np.zeros_like(dz)
        return nothing, nothing

    def extra_repr(self) -> str:
        return f"rounding_mode={self.rounding_mode!r}"


class CopysignGate(Division):
    """z = |x| with the sign of y; of x = 0 the slope is 0.

    Args:
        other: y, where it is a number.
    """

    equations = equations("abs(x[i]) * sign(y[i])", "sign(x[i]) * sign(y[i])", "0")
    examples = (Example({}, ((2, 3), LATER)), Example({}, ((2, 3), (2, 3))))

    def of(self, x: Array, y: Array) -> Array:  # type: ignore[override]
        return signed(np.abs(x), y)

    def both(self, dz: Array, x: Array, y: Array) -> tuple[Array, Array]:
        return dz * signed(np.sign(x), y), np.zeros_like(dz)

    def whole(self, x: Array, y: Any) -> Array:
        return np.sign(np.real(x)) * signed(np.ones_like(np.real(x)), y)


def signed(x: Array, y: Any) -> Array:
    """Return -x where y is negative, as -0.0 is; else x."""
    y = np.real(y)
    plain = isinstance(y, float) or y.dtype.kind == "f"
    negative = np.signbit(y) if plain else y < 0
    return np.where(negative, -x, x)
