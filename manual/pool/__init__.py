"""Pooling: one number for each window; unpooling: back to where it was."""

from manual.pool.adaptive_avg_pool import AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d
from manual.pool.adaptive_max_pool import AdaptiveMaxPool1d, AdaptiveMaxPool2d, AdaptiveMaxPool3d
from manual.pool.avg_pool import AvgPool1d, AvgPool2d, AvgPool3d
from manual.pool.fractional_max_pool import FractionalMaxPool2d, FractionalMaxPool3d
from manual.pool.lp_pool import LPPool1d, LPPool2d, LPPool3d
from manual.pool.max_pool import MaxPool1d, MaxPool2d, MaxPool3d
from manual.pool.max_unpool import MaxUnpool1d, MaxUnpool2d, MaxUnpool3d

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "FractionalMaxPool2d",
    "FractionalMaxPool3d",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
]
