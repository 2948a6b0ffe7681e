"""Pooling: one number for each window."""

from manual.pool.adaptive_avg_pool import AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d
from manual.pool.avg_pool import AvgPool1d, AvgPool2d, AvgPool3d
from manual.pool.lp_pool import LPPool1d, LPPool2d, LPPool3d
from manual.pool.max_pool import MaxPool1d, MaxPool2d, MaxPool3d

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
]
