"""Losses and penalties by name: torch.nn's own, and what it lacks in torch operations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = [
    "LOSSES",
    "PENALTIES",
    "L1Penalty",
    "L2Penalty",
    "MulticlassHingeLoss",
    "SquaredErrorLoss",
]


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


LOSSES: dict[str, type[nn.Module]] = {
    "MSELoss": nn.MSELoss,
    "SquaredErrorLoss": SquaredErrorLoss,
    "L1Loss": nn.L1Loss,
    "HuberLoss": nn.HuberLoss,
    "BCELoss": nn.BCELoss,
    "BCEWithLogitsLoss": nn.BCEWithLogitsLoss,
    "NLLLoss": nn.NLLLoss,
    "CrossEntropyLoss": nn.CrossEntropyLoss,
    "MultiMarginLoss": nn.MultiMarginLoss,
    "MulticlassHingeLoss": MulticlassHingeLoss,
}

PENALTIES: dict[str, type[nn.Module]] = {"L2Penalty": L2Penalty, "L1Penalty": L1Penalty}
