"""The gates that move, copy and contract elements, in torch operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class _Moving(nn.Module):
    """A gate that keeps its constructor's arguments."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        vars(self).update(arguments)


class ReshapeGate(_Moving):
    shape: Sequence[int]

    def forward(self, input: Tensor) -> Tensor:
        return input.reshape(self.shape)


class PermuteGate(_Moving):
    dims: Sequence[int]

    def forward(self, input: Tensor) -> Tensor:
        return input.permute(*self.dims)


class ExpandGate(_Moving):
    shape: Sequence[int]

    def forward(self, input: Tensor) -> Tensor:
        return input.expand(self.shape)


class SliceGate(_Moving):
    index: tuple[Any, ...]

    def forward(self, input: Tensor) -> Tensor:
        if self.index[-1] == slice(None, None, -1):  # torch slices forwards alone
            return input[self.index[:-1]].flip(-1)
        return input[self.index]


class SplitGate(_Moving):
    sizes: Sequence[int]
    dim: int = 0

    def forward(self, input: Tensor) -> tuple[Tensor, ...]:
        return input.split(self.sizes, self.dim)


class StackGate(_Moving):
    dim: int = 0

    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.stack(inputs, self.dim)


class MeshGate(_Moving):
    shapes: Sequence[Sequence[int]]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        pairs = zip(inputs, self.shapes, strict=True)
        return torch.broadcast_tensors(*(x.reshape(shape) for x, shape in pairs))


class TakeGate(_Moving):
    positions: Any
    fill = 0.0

    def forward(self, *inputs: Tensor) -> Tensor:
        row = torch.cat([x.reshape(-1) for x in inputs])
        places = torch.as_tensor(self.positions, device=row.device).long()
        return row.take(places.clamp(min=0)).masked_fill(places < 0, self.fill)


class AddAtGate(_Moving):
    positions: Any
    alpha: float = 1

    def forward(self, x: Tensor, values: Tensor) -> Tensor:
        places = torch.as_tensor(self.positions, device=x.device).long()
        added = self.alpha * values.expand(places.shape)
        return x.put(places, added, accumulate=True)


class EinsumGate(_Moving):
    equation: str

    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.einsum(self.equation, *inputs)


class GroupedMatMulGate(_Moving):
    ends: Sequence[int]

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        sizes = [end - start for start, end in zip((0, *self.ends), self.ends, strict=False)]
        *rows, rest = a.split([*sizes, len(a) - sum(sizes)])
        done = [part @ matrix for part, matrix in zip(rows, b, strict=True)]
        return torch.cat([*done, rest.new_zeros(len(rest), b.shape[2])])


class InverseGate(_Moving):
    def forward(self, a: Tensor) -> Tensor:
        return torch.linalg.inv(a)


class SolveGate(_Moving):
    left = True
    vector = False
    triangle: str | None = None
    unit = False

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        if self.triangle:
            upper = self.triangle == "upper"
            return torch.linalg.solve_triangular(
                a, b, upper=upper, left=self.left, unitriangular=self.unit
            )
        if self.vector:
            return torch.linalg.solve(a, b[..., None])[..., 0]
        return torch.linalg.solve(a, b, left=self.left)


class DeterminantGate(_Moving):
    def forward(self, a: Tensor) -> Tensor:
        return torch.linalg.det(a)


class LogDeterminantGate(_Moving):
    signed = True

    def forward(self, a: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return tuple(torch.linalg.slogdet(a)) if self.signed else torch.logdet(a)


class CholeskyGate(_Moving):
    upper = False

    def forward(self, a: Tensor) -> Tensor:
        return torch.linalg.cholesky(a, upper=self.upper)


class MatrixPowerGate(_Moving):
    n: int

    def forward(self, a: Tensor) -> Tensor:
        return torch.linalg.matrix_power(a, self.n)


class CrossGate(_Moving):
    dim = -1

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.linalg.cross(a, b, dim=self.dim)


class AddProductGate(_Moving):
    equation: str
    beta: float = 1
    alpha: float = 1

    def forward(self, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return self.beta * x + self.alpha * torch.einsum(self.equation, a, b)
