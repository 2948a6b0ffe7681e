"""Custom autograd Functions with a right backward, as people write them to save memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


class Swish(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, beta: Tensor) -> Tensor:
        ctx.save_for_backward(x, beta)
        return x * torch.sigmoid(beta * x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        x, beta = ctx.saved_tensors
        s = torch.sigmoid(beta * x)
        slope = s * (1 - s)
        return grads[0] * (s + beta * x * slope), (grads[0] * x * x * slope).sum().reshape(1)


class RmsNorm(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        r = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-3)
        ctx.save_for_backward(x, weight, r)
        return x * r * weight

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        x, weight, r = ctx.saved_tensors
        g = grads[0] * weight
        dx = r * g - r.pow(3) * x * (g * x).mean(-1, keepdim=True)
        return dx, (grads[0] * x * r).sum(0)


class LayerNorm(Function):
    """In the form that separates the context from the forward."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        mean, var = x.mean(-1, keepdim=True), x.var(-1, unbiased=False, keepdim=True)
        return (x - mean) / torch.sqrt(var + 1e-3) * weight + bias

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        x, weight, _ = ctx.saved_tensors
        std = torch.sqrt(x.var(-1, unbiased=False, keepdim=True) + 1e-3)
        z = (x - x.mean(-1, keepdim=True)) / std
        g = grads[0] * weight
        dx = (g - g.mean(-1, keepdim=True) - z * (g * z).mean(-1, keepdim=True)) / std
        return dx, (grads[0] * z).sum(0), grads[0].sum(0)


class Linear(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x.mm(weight.t()) + bias.unsqueeze(0).expand(len(x), -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        x, weight = ctx.saved_tensors
        return grads[0].mm(weight), grads[0].t().mm(x), grads[0].sum(0)


class Attention(Function):
    """Queries, keys, values (T, D); the probabilities are kept."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        p = torch.softmax(q @ k.T * q.shape[-1] ** -0.5, dim=-1)
        ctx.save_for_backward(q, k, v, p)
        return p @ v

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        q, k, v, p = ctx.saved_tensors
        dp = grads[0] @ v.T
        ds = p * (dp - (dp * p).sum(-1, keepdim=True)) * q.shape[-1] ** -0.5
        return ds @ k, ds.T @ q, p.T @ grads[0]


class CrossEntropy(Function):
    """The mean over the rows whose target is not negative."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> Tensor:
        keep = target >= 0
        log_p = torch.log_softmax(logits, dim=1)
        ctx.save_for_backward(log_p, target, keep)
        picked = log_p[keep, target[keep]]
        return -picked.sum() / keep.sum()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        log_p, target, keep = ctx.saved_tensors
        d = log_p.exp()
        d[keep, target[keep]] -= 1
        return grads[0] * d * keep[:, None] / keep.sum(), None


class Lookup(Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.shape = table.shape
        return table[index]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        (index,) = ctx.saved_tensors
        return grads[0].new_zeros(ctx.shape).index_add_(0, index, grads[0]), None


class Rotary(Function):
    """Pairs of neighbours are turned by the angle of their position."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, angle: Tensor) -> Tensor:
        cos, sin = angle.cos(), angle.sin()
        ctx.save_for_backward(cos, sin)
        a, b = x[:, 0::2], x[:, 1::2]
        return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        cos, sin = ctx.saved_tensors
        a, b = grads[0][:, 0::2], grads[0][:, 1::2]
        return torch.stack([a * cos + b * sin, b * cos - a * sin], dim=-1).flatten(1), None


class Scan(Function):
    """h_t = a_t h_{t-1} + x_t along the first axis."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, x: Tensor) -> Tensor:
        h, states = torch.zeros_like(x[0]), []
        for t in range(len(x)):
            h = a[t] * h + x[t]
            states.append(h)
        found = torch.stack(states)
        ctx.save_for_backward(a, found)
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        a, h = ctx.saved_tensors
        carried, dx = torch.zeros_like(h[0]), torch.empty_like(h)
        for t in reversed(range(len(h))):
            carried = grads[0][t] + carried
            dx[t] = carried
            carried = a[t] * carried
        before = torch.cat([torch.zeros_like(h[:1]), h[:-1]])
        return dx * before, dx


class LogDet(Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        ctx.save_for_backward(matrix)
        return torch.logdet(matrix)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        (matrix,) = ctx.saved_tensors
        return (grads[0] * torch.linalg.inv(matrix).T,)


class Normalize(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        norm = x.norm(dim=-1, keepdim=True)
        ctx.save_for_backward(x / norm, norm)
        return x / norm

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        unit, norm = ctx.saved_tensors
        return ((grads[0] - unit * (grads[0] * unit).sum(-1, keepdim=True)) / norm,)


class Clipped(Function):
    """Between -0.5 and 0.5, like torch.clamp."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(-0.5, 0.5)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        (x,) = ctx.saved_tensors
        return (grads[0] * ((x >= -0.5) & (x <= 0.5)),)


class GatedPair(Function):
    """Two outputs of two inputs, both differentiable: x · sigmoid(z) and x + z²."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, z)
        return x * torch.sigmoid(z), x + z**2

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        x, z = ctx.saved_tensors
        s = torch.sigmoid(z)
        return grads[0] * s + grads[1], grads[0] * x * s * (1 - s) + 2 * grads[1] * z


class CumulativeSum(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.cumsum(x, dim=1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        return (grads[0].flip(1).cumsum(1).flip(1),)


class ScatterMean(Function):
    """Rows averaged by group; the groups are 0, 1 and 2."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Tensor) -> Tensor:
        count = torch.bincount(group, minlength=3).clamp(min=1).to(x.dtype)[:, None]
        ctx.save_for_backward(group, count)
        return x.new_zeros(3, x.shape[1]).index_add(0, group, x) / count

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        group, count = ctx.saved_tensors
        return (grads[0] / count)[group], None


class Convolution(Function):
    """One channel, a filter of three, zeros around: y_i = Σ_k w_k x_{i+k-1}."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        padded = torch.nn.functional.pad(x, (1, 1))
        windows = padded.unfold(1, 3, 1)
        ctx.save_for_backward(windows, weight)
        return windows @ weight

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        windows, weight = ctx.saved_tensors
        padded = torch.nn.functional.pad(grads[0], (1, 1)).unfold(1, 3, 1)
        return padded @ weight.flip(0), torch.einsum("bi,bik->k", grads[0], windows)
