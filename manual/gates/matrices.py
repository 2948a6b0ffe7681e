"""Gates of linear algebra: inverse, solution, determinant, Cholesky factor, power, cross."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from manual.examples import Example
from manual.gates.broadcasting import summed_to
from manual.layer import Array, Arrays, Layer

__all__ = [
    "CholeskyGate",
    "CrossGate",
    "DeterminantGate",
    "InverseGate",
    "LogDeterminantGate",
    "MatrixPowerGate",
    "SolveGate",
]

SQUARE = np.array([[2.0, 0.5, -1.0], [0.25, -1.5, 0.5], [1.0, 0.75, 1.25]])
TWO = np.stack([SQUARE[:2, :2], SQUARE[1:, 1:]])
DEFINITE = np.array([[2.0, 0.5, -0.25], [0.5, 1.5, 0.75], [-0.25, 0.75, 1.75]])


class InverseCache(NamedTuple):
    inverse: Array


class InverseGate(Layer):
    """The inverse of every matrix, by elimination.

    Raises:
        ValueError: a matrix has none.
    """

    examples = (Example({}, (SQUARE,)), Example({}, (TWO,)))

    def forward(self, a: Array) -> tuple[Array, InverseCache]:  # type: ignore[override]
        y = solved(a, identity(a))[0]
        return y, InverseCache(y)

    def backward(self, grad_output: Array, cache: InverseCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through Y = A⁻¹.

        Y A = 1, so dY A + Y dA = 0 along any direction, and
            dY = -Y dA Y   ->   ∂L/∂A = -Yᵀ (∂L/∂Y) Yᵀ
        Torch: torch.linalg.inv.
        Source: Petersen, Pedersen, The Matrix Cookbook, derivatives of an inverse.
        """
        turned = cache.inverse.swapaxes(-1, -2)
        return (-(turned @ grad_output @ turned),), {}


class SolveCache(NamedTuple):
    a: Array
    x: Array
    shape: tuple[int, ...]  # of the right side


class SolveGate(Layer):
    """The solution X of A X = B, or of X A = B, by elimination.

    Args:
        left: whether A stands on the left.
        vector: whether the right side is a vector, or a batch of such, and not of matrices.
        triangle: `upper` or `lower`: which part of A alone is read.
        unit: whether A's diagonal is not read and counts as 1.

    Raises:
        ValueError: a matrix has no inverse.
    """

    examples = (
        Example({}, (SQUARE, (3, 2))),
        Example({"vector": True}, (TWO, (2,))),
        Example({"left": False, "triangle": "lower"}, (TWO[0], (3, 2))),
        Example({"triangle": "upper", "unit": True}, (SQUARE, (3, 2))),
    )

    def __init__(
        self,
        left: bool = True,
        vector: bool = False,
        triangle: str | None = None,
        unit: bool = False,
    ) -> None:
        self.left, self.vector, self.triangle, self.unit = left, vector, triangle, unit

    def forward(self, a: Array, b: Array) -> tuple[Array, SolveCache]:  # type: ignore[override]
        a = self._part(a)
        if self.unit:
            a = a + identity(a)
        x = self._solved(a, np.expand_dims(b, -1) if self.vector else b)
        cache = SolveCache(a, x, tuple(b.shape))
        return (x[..., 0] if self.vector else x), cache

    def _part(self, a: Array) -> Array:
        """Return A with 0 where it is not read."""
        if self.triangle is None:
            return a
        away = int(self.unit)
        return np.tril(a, -away) if self.triangle == "lower" else np.triu(a, away)

    def _solved(self, a: Array, b: Array) -> Array:
        if self.left:
            return solved(a, b, exchange=self.triangle is None)[0]
        a, b = a.swapaxes(-1, -2), b.swapaxes(-1, -2)
        return solved(a, b, exchange=self.triangle is None)[0].swapaxes(-1, -2)

    def backward(self, grad_output: Array, cache: SolveCache) -> tuple[tuple[Array, Array], Arrays]:
        r"""Chain rule through A X = B.

        dA X + A dX = dB along any direction, so dX = A⁻¹ (dB - dA X), and
            ∂L/∂B = A⁻ᵀ ∂L/∂X: the transposed system,   ∂L/∂A = -(∂L/∂B) Xᵀ
        With X A = B it is ∂L/∂B = ∂L/∂X A⁻ᵀ and ∂L/∂A = -Xᵀ ∂L/∂B. Where A is not read its
        gradient is 0; what broadcast is summed.
        Torch: torch.linalg.solve.
        Source: Giles, Collected Matrix Derivative Results (2008), section 2.3.1.
        """
        dx = np.expand_dims(grad_output, -1) if self.vector else grad_output
        db = self._solved(cache.a.swapaxes(-1, -2), dx)
        turned = cache.x.swapaxes(-1, -2)
        da = -(db @ turned) if self.left else -(turned @ db)
        db = db[..., 0] if self.vector else db
        return (self._part(summed_to(da, cache.a.shape)), summed_to(db, cache.shape)), {}

    def extra_repr(self) -> str:
        return f"left={self.left}, vector={self.vector}, triangle={self.triangle}"


class DeterminantCache(NamedTuple):
    y: Array
    inverse: Array


class DeterminantGate(Layer):
    """The determinant of every matrix: the product of the pivots of elimination.

    Raises:
        ValueError: it is 0; then the gradient needs minors, which nobody forms here.
    """

    examples = (Example({}, (SQUARE,)), Example({}, (TWO,)))

    def forward(self, a: Array) -> tuple[Array, DeterminantCache]:  # type: ignore[override]
        inverse, pivots, signs = solved(a, identity(a))
        y = np.prod(pivots, axis=-1) * signs
        return y, DeterminantCache(y, inverse)

    def backward(self, grad_output: Array, cache: DeterminantCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = det A.

        ∂y/∂a_ij is the minor of a_ij with its sign, which by Cramer's rule is det A (A⁻¹)_ji:
            ∂L/∂A = dy det A A⁻ᵀ
        Torch: torch.linalg.det.
        Source: Jacobi's formula.
        """
        scale = np.expand_dims(grad_output * cache.y, (-1, -2))
        return (scale * cache.inverse.swapaxes(-1, -2),), {}


class LogDeterminantGate(Layer):
    """The sign of every matrix's determinant, and the logarithm of its size.

    Args:
        signed: whether the sign is an output; without it a negative determinant gives nan.

    Raises:
        ValueError: a determinant is 0.
    """

    examples = (Example({}, (SQUARE,)), Example({"signed": False}, (DEFINITE,)))

    def __init__(self, signed: bool = True) -> None:
        self.signed = signed
        if signed:
            self.outputs = ("sign", "logabsdet")

    def forward(self, a: Array) -> tuple[Any, InverseCache]:  # type: ignore[override]
        inverse, pivots, signs = solved(a, identity(a))
        sign = np.sign(pivots).prod(axis=-1) * signs
        y = np.log(np.abs(pivots)).sum(axis=-1)
        if self.signed:
            return (sign, y), InverseCache(inverse)
        known = sign > 0
        moves = np.where(np.expand_dims(known, (-1, -2)), inverse, 0)
        return np.where(known, y, np.nan), InverseCache(moves)

    def backward(self, grad_output: Any, cache: InverseCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through y = log |det A|; the sign is constant almost everywhere.

        ∂ log |det A| / ∂A = A⁻ᵀ   ->   ∂L/∂A = dy A⁻ᵀ, and 0 where y is nan, as in torch
        Torch: torch.linalg.slogdet, torch.logdet.
        Source: Jacobi's formula, divided by the determinant.
        """
        dy = grad_output[1] if self.signed else grad_output
        if dy is None:
            return (np.zeros_like(cache.inverse),), {}
        return (np.expand_dims(dy, (-1, -2)) * cache.inverse.swapaxes(-1, -2),), {}

    def extra_repr(self) -> str:
        return f"signed={self.signed}"


class CholeskyCache(NamedTuple):
    low: Array


class CholeskyGate(Layer):
    """The lower triangle L with L Lᵀ = A, of every symmetric and positive definite matrix.

    Args:
        upper: whether Lᵀ is wanted.

    What counts is (A + Aᵀ) / 2, which is A.
    """

    examples = (
        Example({}, (DEFINITE,)),
        Example({"upper": True}, (np.stack([DEFINITE[:2, :2]] * 2),)),
    )

    def __init__(self, upper: bool = False) -> None:
        self.upper = upper

    def forward(self, a: Array) -> tuple[Array, CholeskyCache]:  # type: ignore[override]
        own = 0.5 * (a + a.swapaxes(-1, -2))
        y = np.zeros_like(own)
        for j in range(a.shape[-1]):
            row = y[..., j, :j]
            y[..., j, j] = np.sqrt(own[..., j, j] - (row * row).sum(axis=-1))
            below = own[..., j + 1 :, j] - (y[..., j + 1 :, :j] @ row[..., None])[..., 0]
            y[..., j + 1 :, j] = below / y[..., j, j, None]
        return (y.swapaxes(-1, -2) if self.upper else y), CholeskyCache(y)

    def backward(self, grad_output: Array, cache: CholeskyCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through L Lᵀ = A.

        dA = dL Lᵀ + L dLᵀ along any symmetric direction, so dL = L Φ(L⁻¹ dA L⁻ᵀ), Φ the lower
        triangle with half of the diagonal: the two terms share it. Turned round,
            S = L⁻ᵀ Φ(Lᵀ ∂L) L⁻¹,   ∂A = (S + Sᵀ) / 2
        Both triangles share the gradient, as A stays symmetric.
        Torch: torch.linalg.cholesky, which reads one triangle.
        Source: Murray, Differentiation of the Cholesky decomposition (2016), equation 9 on.
        """
        low = cache.low
        dy = grad_output.swapaxes(-1, -2) if self.upper else grad_output
        inverse = solved(low, identity(low))[0]
        twice = np.tril(2 - identity(low))  # twice Φ's factors
        s = inverse.swapaxes(-1, -2) @ (low.swapaxes(-1, -2) @ dy * twice) @ inverse
        return (0.25 * (s + s.swapaxes(-1, -2)),), {}

    def extra_repr(self) -> str:
        return f"upper={self.upper}"


class PowerCache(NamedTuple):
    powers: list[Array]  # 1, A, A², … as far as they are needed


class MatrixPowerGate(Layer):
    """A whole power of every matrix.

    Args:
        n: the exponent, 0 or more.
    """

    examples = (Example({"n": 3}, ((3, 3),)), Example({"n": 0}, ((2, 2, 2),)))

    def __init__(self, n: int) -> None:
        self.n = n

    def forward(self, a: Array) -> tuple[Array, PowerCache]:  # type: ignore[override]
        powers = [identity(a) * np.ones_like(a)]
        for _ in range(self.n):
            powers.append(powers[-1] @ a if len(powers) > 1 else a)
        return powers[-1], PowerCache(powers)

    def backward(self, grad_output: Array, cache: PowerCache) -> tuple[tuple[Array], Arrays]:
        r"""Chain rule through Y = A A … A, n times.

        Each of the n factors is the same A, and gets the gradient of a product's factor:
            ∂A = Σ_k (A^k)ᵀ ∂Y (A^(n-1-k))ᵀ,   k = 0 … n - 1
        Torch: torch.linalg.matrix_power.
        Source: the product rule.
        """
        turned = [p.swapaxes(-1, -2) for p in cache.powers]
        da = np.zeros_like(cache.powers[0])
        for k in range(self.n):
            da = da + turned[k] @ grad_output @ turned[self.n - 1 - k]
        return (da,), {}

    def extra_repr(self) -> str:
        return f"{self.n}"


class PairCache(NamedTuple):
    a: Array
    b: Array


class CrossGate(Layer):
    """The cross product of vectors of three elements, along one axis; others broadcast.

    Args:
        dim: the axis; of inputs with as many axes, or counted from the last.
    """

    examples = (
        Example({}, ((2, 3), (1, 3)), exact=True),
        Example({"dim": 0}, ((3, 2), (3, 1)), exact=True),
    )

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, a: Array, b: Array) -> tuple[Array, PairCache]:  # type: ignore[override]
        return self._cross(a, b), PairCache(a, b)

    def _cross(self, a: Array, b: Array) -> Array:
        (a1, a2), (b1, b2) = ([np.roll(x, -k, axis=self.dim) for k in (1, 2)] for x in (a, b))
        return a1 * b2 - a2 * b1

    def backward(self, grad_output: Array, cache: PairCache) -> tuple[tuple[Array, Array], Arrays]:
        r"""Chain rule through y = a × b, y_k = a_(k+1) b_(k+2) - a_(k+2) b_(k+1), indices mod 3.

        The triple product dy · (a × b) stays as it is when all three are shifted round:
            da = b × dy,   db = dy × a     (summed to the input's shape)
        Torch: torch.linalg.cross.
        Source: the triple product.
        """
        a, b = cache
        da, db = self._cross(b, grad_output), self._cross(grad_output, a)
        return (summed_to(da, a.shape), summed_to(db, b.shape)), {}

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


def identity(a: Array) -> np.ndarray:
    """Return 1, 0 … as whole numbers, in the shape of a square matrix."""
    return np.eye(a.shape[-1], dtype=np.int8)  # float32 stays what it is


def solved(a: Array, b: Array, *, exchange: bool = True) -> tuple[Array, Array, np.ndarray]:
    """Return A⁻¹ B, the pivots, and the sign of the exchange of rows.

    Gauss and Jordan's elimination with the largest pivot of each column, every matrix at once;
    without `exchange` with the diagonal's, as a triangle allows.
    """
    n, leading = a.shape[-1], np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    whole = np.zeros_like(a, shape=(*leading, n, n + b.shape[-1]))
    whole[..., :n], whole[..., n:] = a, b
    pivots = np.zeros_like(a, shape=(*leading, n))
    signs = np.ones(leading, dtype=np.int8)
    rows = np.arange(n)
    for k in range(n):
        if exchange:
            best = np.argmax(np.abs(whole[..., k:, k]), axis=-1) + k
            order = np.where(rows == k, best[..., None], np.where(rows == best[..., None], k, rows))
            signs = np.where(best == k, signs, -signs)
            whole = np.take_along_axis(whole, order[..., None], axis=-2)
        pivot = whole[..., k, k]
        if np.any(pivot == 0):
            raise ValueError("A matrix has no inverse: its columns are not independent.")
        pivots[..., k] = pivot
        row = whole[..., k, :] / pivot[..., None]
        factor = (rows != k) * whole[..., :, k]
        whole = whole - factor[..., None] * row[..., None, :]
        whole[..., k, :] = row
    return whole[..., n:], pivots, signs
