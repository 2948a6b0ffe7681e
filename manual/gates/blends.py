"""Gates of three inputs: x and y blended, x and a multiple of a product or a quotient."""

from __future__ import annotations

from manual.examples import Example
from manual.gates.pairs import FIRST, LATER, Several, SeveralCache
from manual.layer import Array

__all__ = [
    "AddcdivGate",
    "AddcmulGate",
    "LerpGate",
]


class LerpGate(Several):
    """z = x + w (y - x).

    Args:
        weight: w; None where it is the third input.
    """

    equations = {
        "output": "z[i] = x[i] + w[i] * (y[i] - x[i])",
        "grad_x": "dx[i] = dz[i] * (1 - w[i])",
        "grad_y": "dy[i] = dz[i] * w[i]",
        "grad_w": "dw[i] = dz[i] * (y[i] - x[i])",
        "output/weight": "z[i] = x[i] + weight * (y[i] - x[i])",
        "grad_x/weight": "dx[i] = dz[i] * (1 - weight)",
        "grad_y/weight": "dy[i] = dz[i] * weight",
    }
    examples = (
        Example({}, ((2, 3), (2, 3), (2, 3))),
        Example({"weight": 0.25}, ((2, 3), (2, 3))),
        Example({}, ((2, 3), (3,), ())),
    )

    most = 3

    def __init__(self, weight: float | None = None) -> None:
        self.weight = weight

    def forward(self, x: Array, y: Array, w: Array | None = None) -> tuple[Array, SeveralCache]:  # type: ignore[override]
        inputs = (x, y) if w is None else (x, y, w)
        z = self.of(*inputs)
        return z, SeveralCache(inputs, z)

    def of(self, x: Array, y: Array, w: Array | None = None) -> Array:  # type: ignore[override]
        return x + (self.weight if w is None else w) * (y - x)

    def shares(self, dz: Array, z: Array, x: Array, y: Array, w: Array | None = None) -> tuple:  # type: ignore[override]
        if w is None:
            return dz * (1 - self.weight), dz * self.weight  # type: ignore[operator]
        return dz * (1 - w), dz * w, dz * (y - x)

    def extra_repr(self) -> str:
        return f"weight={self.weight}"


class Added(Several):
    """A number plus a constant times a function of two others.

    Args:
        value: c.
    """

    def __init__(self, value: float = 1.0) -> None:
        self.value = value

    def forward(self, x: Array, a: Array, b: Array) -> tuple[Array, SeveralCache]:  # type: ignore[override]
        z = self.of(x, a, b)
        return z, SeveralCache((x, a, b), z)

    def extra_repr(self) -> str:
        return f"value={self.value}"


class AddcmulGate(Added):
    """z = x + c a b."""

    symbols = {"dz": "grad_output", "c": "value"}
    equations = {
        "output": "z[i] = x[i] + c * a[i] * b[i]",
        "grad_x": "dx[i] = dz[i]",
        "grad_a": "da[i] = dz[i] * c * b[i]",
        "grad_b": "db[i] = dz[i] * c * a[i]",
    }
    examples = (Example({"value": 0.5}, ((2, 3),) * 3), Example({}, ((2, 3), (3,), (2, 1))))

    def of(self, x: Array, a: Array, b: Array) -> Array:  # type: ignore[override]
        return x + self.value * (a * b)

    def shares(self, dz: Array, z: Array, x: Array, a: Array, b: Array) -> tuple:  # type: ignore[override]
        return dz, dz * (self.value * b), dz * (self.value * a)


class AddcdivGate(Added):
    """z = x + c a / b."""

    symbols = {"dz": "grad_output", "c": "value"}
    equations = {
        "output": "z[i] = x[i] + c * a[i] / b[i]",
        "grad_x": "dx[i] = dz[i]",
        "grad_a": "da[i] = dz[i] * c / b[i]",
        "grad_b": "db[i] = -dz[i] * c * a[i] / b[i]**2",
    }
    examples = (
        Example({"value": 0.5}, ((2, 3), (2, 3), FIRST)),
        Example({}, ((2, 3), (2, 1), LATER)),
    )

    def of(self, x: Array, a: Array, b: Array) -> Array:  # type: ignore[override]
        return x + self.value * (a / b)

    def shares(self, dz: Array, z: Array, x: Array, a: Array, b: Array) -> tuple:  # type: ignore[override]
        da = dz * (self.value / b)
        return dz, da, -da * (a / b)
