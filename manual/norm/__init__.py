"""Normalisation: subtract a mean, divide by a standard deviation, then scale and shift."""

from manual.norm.batch_norm import BatchNorm1d, BatchNorm2d, BatchNorm3d, SyncBatchNorm
from manual.norm.group_norm import GroupNorm
from manual.norm.instance_norm import InstanceNorm1d, InstanceNorm2d, InstanceNorm3d
from manual.norm.layer_norm import LayerNorm
from manual.norm.local_response import CrossMapLRN2d, LocalResponseNorm
from manual.norm.parametrized import SpectralNorm, WeightNorm
from manual.norm.rms_norm import RMSNorm

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "CrossMapLRN2d",
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LayerNorm",
    "LocalResponseNorm",
    "RMSNorm",
    "SpectralNorm",
    "SyncBatchNorm",
    "WeightNorm",
]
