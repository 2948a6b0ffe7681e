"""Losses and penalties that torch.nn lacks, in torch operations."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

__all__ = [
    "CTCLoss",
    "ContrastiveLoss",
    "L1Penalty",
    "L2Penalty",
    "MulticlassHingeLoss",
    "NLLLoss2d",
    "SquaredErrorLoss",
    "TripletMarginWithDistanceLoss",
]

LOG_0 = -1e30


class SquaredErrorLoss(nn.Module):
    """factor · Σ (input - target)²; "mean" divides by the samples of axis 0; "none": no Σ."""

    def __init__(self, factor: float = 1.0, reduction: str = "sum") -> None:
        super().__init__()
        self.factor, self.reduction = factor, reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        kept = "none" if self.reduction == "none" else "sum"
        total = self.factor * nn.functional.mse_loss(input, target, reduction=kept)
        if self.reduction != "mean":
            return total
        return total / (input.shape[0] if input.ndim else 1)


class MulticlassHingeLoss(nn.Module):
    """Σ_j≠y max(0, s_j - s_y + margin), summed or averaged over samples, or one per sample."""

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        super().__init__()
        self.margin, self.reduction = margin, reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        labels = target.unsqueeze(1)
        margins = self.margin - input.gather(1, labels) + input
        rows = torch.relu(margins).scatter(1, labels, 0.0).sum(dim=1)
        if self.reduction == "none":
            return rows
        return rows.sum() if self.reduction == "sum" else rows.mean()


class CTCLoss(nn.CTCLoss):
    """torch.nn's CTCLoss, whose gradient is that of log_softmax's inputs: here the derivative.

    A sum over paths by autograd: logarithms, -1e30 that of 0.
    """

    def forward(
        self, log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any
    ) -> Tensor:
        x = log_probs if log_probs.ndim == 3 else log_probs.unsqueeze(1)
        steps = torch.as_tensor(input_lengths).reshape(-1).tolist()
        counts = torch.as_tensor(target_lengths).reshape(-1).tolist()
        rows = targets if targets.ndim == 2 else targets.split(counts)
        found = torch.stack(
            [self._one(x[:t, n], rows[n][:c]) for n, (t, c) in enumerate(zip(steps, counts))]  # noqa: B905
        )
        if self.reduction == "mean":
            return (found / torch.tensor(counts).clamp(min=1).to(x)).mean()
        if self.reduction == "sum":
            return found.sum()
        return found if log_probs.ndim == 3 else found[0]

    def _one(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of one sample, x (T, C)."""
        states = torch.full((2 * len(labels) + 1,), self.blank, device=x.device)
        states[1::2] = labels
        skip = torch.zeros(len(states), dtype=torch.bool, device=x.device)
        skip[2:] = states[2:] != states[:-2]
        alpha = x.new_full((len(states) + 2,), LOG_0)  # two in front, never reached
        alpha[2] = 0  # before the first step
        for t, y in enumerate(x):
            ways = torch.stack((alpha[2:], alpha[1:-1], torch.where(skip, alpha[:-2], LOG_0)))
            ways = ways if t else ways[:2]
            alpha = torch.cat((x.new_full((2,), LOG_0), y[states] + ways.logsumexp(0)))
        log_p = alpha[-2 if len(labels) and len(x) else -1 :].logsumexp(0)
        if log_p < LOG_0 / 2:
            return log_p * 0 if self.zero_infinity else -1 / (log_p * 0)  # its gradient is nan
        return -log_p


class NLLLoss2d(nn.NLLLoss):
    """torch.nn's NLLLoss2d, without its warning that NLLLoss does as well."""


class ContrastiveLoss(nn.Module):
    """½ (y d² + (1 - y) max(margin - d, 0)²), d the distance of two rows; legacy: d² in the max."""

    def __init__(
        self, margin: float = 1.0, legacy_version: bool = False, reduction: str = "mean"
    ) -> None:
        super().__init__()
        self.margin, self.legacy, self.reduction = margin, legacy_version, reduction

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        difference = input1 - input2
        square = difference.square().sum(dim=-1)
        if self.legacy:
            far = torch.relu(self.margin - square)
        else:
            far = torch.relu(self.margin - torch.linalg.vector_norm(difference, dim=-1)).square()
        rows = torch.where(target != 0, square, far) / 2
        if self.reduction == "none":
            return rows
        return rows.sum() if self.reduction == "sum" else rows.mean()


class TripletMarginWithDistanceLoss(nn.TripletMarginWithDistanceLoss):
    """torch.nn's, with torch's module of the name of a hand-written distance in its place."""

    def __init__(
        self,
        *,
        distance_function: Any = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        if hasattr(distance_function, "backward"):
            distance_function = _stock(distance_function)
        super().__init__(
            distance_function=distance_function, margin=margin, swap=swap, reduction=reduction
        )


def _stock(layer: Any) -> nn.Module:
    """Return torch's module of a layer that is a function of its arguments alone."""
    names = inspect.signature(type(layer)).parameters
    return getattr(nn, type(layer).__name__)(**{name: getattr(layer, name) for name in names})


class L2Penalty(nn.Module):
    """coefficient · Σ w²."""

    def __init__(self, coefficient: float) -> None:
        super().__init__()
        self.coefficient = coefficient

    def forward(self, param: Tensor) -> Tensor:
        return self.coefficient * param.square().sum()


class L1Penalty(nn.Module):
    """coefficient · Σ |w|."""

    def __init__(self, coefficient: float) -> None:
        super().__init__()
        self.coefficient = coefficient

    def forward(self, param: Tensor) -> Tensor:
        return self.coefficient * param.abs().sum()
