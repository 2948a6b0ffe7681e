"""The Functions of `functions.py` with a backward that is wrong in one place."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.compare.mirror import functions as right


class SwishSign(right.Swish):
    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        dx, dbeta = right.Swish.backward(ctx, *grads)
        return -dx, dbeta


class SwishForgetsBeta(right.Swish):
    """A missing factor inside."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        x, beta = ctx.saved_tensors
        s = torch.sigmoid(beta * x)
        slope = s * (1 - s)
        return grads[0] * (s + x * slope), (grads[0] * x * x * slope).sum().reshape(1)


class SwishOneTerm(right.Swish):
    """The product rule's second term is missing."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        x, beta = ctx.saved_tensors
        _, dbeta = right.Swish.backward(ctx, *grads)
        return grads[0] * torch.sigmoid(beta * x), dbeta


class SwishAveragesBeta(right.Swish):
    """A mean where a sum belongs."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        dx, dbeta = right.Swish.backward(ctx, *grads)
        return dx, dbeta / dx.numel()


class SwishDetachesBeta(right.Swish):
    """No gradient for a parameter that has one."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        return right.Swish.backward(ctx, *grads)[0], None


class RmsNormConstantRms(right.RmsNorm):
    """The norm is treated as a constant."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        x, weight, r = ctx.saved_tensors
        return r * grads[0] * weight, (grads[0] * x * r).sum(0)


class RmsNormForgetsEps(right.RmsNorm):
    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        x, weight, _ = ctx.saved_tensors
        r = torch.rsqrt(x.pow(2).mean(-1, keepdim=True))
        g = grads[0] * weight
        dx = r * g - r.pow(3) * x * (g * x).mean(-1, keepdim=True)
        return dx, (grads[0] * x * r).sum(0)


class RmsNormUnweighted(right.RmsNorm):
    """The wrong operand: the gradient before the weight."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        x, _, r = ctx.saved_tensors
        dx = r * grads[0] - r.pow(3) * x * (grads[0] * x).mean(-1, keepdim=True)
        return dx, (grads[0] * x * r).sum(0)


class RmsNormSumsTheRow(right.RmsNorm):
    """A sum where a mean belongs."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        x, weight, r = ctx.saved_tensors
        g = grads[0] * weight
        dx = r * g - r.pow(3) * x * (g * x).sum(-1, keepdim=True)
        return dx, (grads[0] * x * r).sum(0)


class LayerNormForgetsTheMean(right.LayerNorm):
    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        x, weight, _ = ctx.saved_tensors
        std = torch.sqrt(x.var(-1, unbiased=False, keepdim=True) + 1e-3)
        z = (x - x.mean(-1, keepdim=True)) / std
        g = grads[0] * weight
        return (
            (g - z * (g * z).mean(-1, keepdim=True)) / std,
            (grads[0] * z).sum(0),
            grads[0].sum(0),
        )


class LayerNormUnbiased(right.LayerNorm):
    """A wrong constant: n - 1 in the variance."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        x, weight, _ = ctx.saved_tensors
        std = torch.sqrt(x.var(-1, keepdim=True) + 1e-3)
        z = (x - x.mean(-1, keepdim=True)) / std
        g = grads[0] * weight
        dx = (g - g.mean(-1, keepdim=True) - z * (g * z).mean(-1, keepdim=True)) / std
        return dx, (grads[0] * z).sum(0), grads[0].sum(0)


class LinearTransposed(right.Linear):
    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        x, weight = ctx.saved_tensors
        return grads[0].mm(weight.t()), grads[0].t().mm(x), grads[0].sum(0)


class LinearTransposedWeight(right.Linear):
    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        dx, dw, db = right.Linear.backward(ctx, *grads)
        return dx, dw.t(), db


class LinearMeanBias(right.Linear):
    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        x, weight = ctx.saved_tensors
        return grads[0].mm(weight), grads[0].t().mm(x), grads[0].mean(0)


class LinearHalfTheBatch(right.Linear):
    """An index that stops too early."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        x, weight = ctx.saved_tensors
        return grads[0].mm(weight), grads[0][:-1].t().mm(x[:-1]), grads[0].sum(0)


class AttentionUnscaled(right.Attention):
    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        q, k, v, p = ctx.saved_tensors
        dp = grads[0] @ v.T
        ds = p * (dp - (dp * p).sum(-1, keepdim=True))
        return ds @ k, ds.T @ q, p.T @ grads[0]


class AttentionDiagonal(right.Attention):
    """The softmax's Jacobian without its other elements: p (1 - p)."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        q, k, v, p = ctx.saved_tensors
        ds = p * (1 - p) * (grads[0] @ v.T) * q.shape[-1] ** -0.5
        return ds @ k, ds.T @ q, p.T @ grads[0]


class AttentionWrongAxis(right.Attention):
    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        q, k, v, p = ctx.saved_tensors
        dp = grads[0] @ v.T
        ds = p * (dp - (dp * p).sum(0, keepdim=True)) * q.shape[-1] ** -0.5
        return ds @ k, ds.T @ q, p.T @ grads[0]


class AttentionKeysNotTransposed(right.Attention):
    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        q, k, v, p = ctx.saved_tensors
        dp = grads[0] @ v.T
        ds = p * (dp - (dp * p).sum(-1, keepdim=True)) * q.shape[-1] ** -0.5
        return ds @ k, ds @ q, p.T @ grads[0]


class AttentionSwapped(right.Attention):
    """The gradients of queries and keys in the wrong order."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        dq, dk, dv = right.Attention.backward(ctx, *grads)
        return dk, dq, dv


class CrossEntropyAllRows(right.CrossEntropy):
    """Divided by all rows, the ignored ones too."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        log_p, target, keep = ctx.saved_tensors
        d = log_p.exp()
        d[keep, target[keep]] -= 1
        return grads[0] * d * keep[:, None] / len(keep), None


class CrossEntropyIgnoresNothing(right.CrossEntropy):
    """The mask is forgotten: ignored rows get a gradient."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        log_p, target, keep = ctx.saved_tensors
        d = log_p.exp()
        d[keep, target[keep]] -= 1
        return grads[0] * d / keep.sum(), None


class CrossEntropyIgnoresUpstream(right.CrossEntropy):
    """As if the loss were always the end: right until it is scaled."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        return right.CrossEntropy.backward(ctx, torch.ones_like(grads[0]))


class CrossEntropyNextClass(right.CrossEntropy):
    """Off by one."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        log_p, target, keep = ctx.saved_tensors
        d = log_p.exp()
        d[keep, (target[keep] + 1) % d.shape[1]] -= 1
        return grads[0] * d * keep[:, None] / keep.sum(), None


class LookupOverwrites(right.Lookup):
    """A row that is read twice gets the last gradient, not the sum."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        (index,) = ctx.saved_tensors
        table = grads[0].new_zeros(ctx.shape)
        for row, grad in zip(index.tolist(), grads[0], strict=True):
            table[row] = grad
        return table, None


class LookupOffByOne(right.Lookup):
    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        (index,) = ctx.saved_tensors
        return grads[0].new_zeros(ctx.shape).index_add_(0, index - 1, grads[0]), None


class RotaryForwards(right.Rotary):
    """Turned on where it should be turned back."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        cos, sin = ctx.saved_tensors
        a, b = grads[0][:, 0::2], grads[0][:, 1::2]
        return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(1), None


class RotaryHalves(right.Rotary):
    """Halves in the place of neighbours."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        cos, sin = ctx.saved_tensors
        a, b = grads[0].chunk(2, dim=1)
        return torch.cat([a * cos + b * sin, b * cos - a * sin], dim=1), None


class ScanForgets(right.Scan):
    """Nothing is carried back in time."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        _, h = ctx.saved_tensors
        before = torch.cat([torch.zeros_like(h[:1]), h[:-1]])
        return grads[0] * before, grads[0]


class ScanOffByOne(right.Scan):
    """The state after the step where the one before belongs."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        _, h = ctx.saved_tensors
        _, dx = right.Scan.backward(ctx, *grads)
        return dx * h, dx


class LogDetTransposed(right.LogDet):
    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        (matrix,) = ctx.saved_tensors
        return (grads[0] * torch.linalg.inv(matrix),)


class NormalizeConstantNorm(right.Normalize):
    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        return (grads[0] / ctx.saved_tensors[1],)


class ClippedStraight(right.Clipped):
    """Everything passes: the straight-through estimate, not the derivative."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        return (grads[0],)


class ClippedOneSide(right.Clipped):
    """A wrong mask: the lower bound is forgotten."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        (x,) = ctx.saved_tensors
        return (grads[0] * (x <= 0.5),)


class GatedPairOneOutput(right.GatedPair):
    """The second output's gradient is left out of the second input's."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        x, z = ctx.saved_tensors
        s = torch.sigmoid(z)
        return grads[0] * s + grads[1], grads[0] * x * s * (1 - s)


class GatedPairForgetsTwo(right.GatedPair):
    """A wrong constant: the derivative of z² is 2 z."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        x, z = ctx.saved_tensors
        s = torch.sigmoid(z)
        return grads[0] * s + grads[1], grads[0] * x * s * (1 - s) + grads[1] * z


class CumulativeSumForwards(right.CumulativeSum):
    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        return (grads[0].cumsum(1),)


class ScatterMeanSums(right.ScatterMean):
    """The counts are forgotten."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        return grads[0][ctx.saved_tensors[0]], None


class ConvolutionNotFlipped(right.Convolution):
    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        windows, weight = ctx.saved_tensors
        padded = F.pad(grads[0], (1, 1)).unfold(1, 3, 1)
        return padded @ weight, torch.einsum("bi,bik->k", grads[0], windows)


class ConvolutionWrongPadding(right.Convolution):
    """Shifted by one."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        windows, weight = ctx.saved_tensors
        padded = F.pad(grads[0], (2, 0)).unfold(1, 3, 1)
        return padded @ weight.flip(0), torch.einsum("bi,bik->k", grads[0], windows)
