"""Normalisation: subtract a mean, divide by a standard deviation, then scale and shift."""

from manual.norm import (
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
    local_response,
    parametrized,
    rms_norm,
)
from manual.norm.batch_norm import *
from manual.norm.group_norm import *
from manual.norm.instance_norm import *
from manual.norm.layer_norm import *
from manual.norm.local_response import *
from manual.norm.parametrized import *
from manual.norm.rms_norm import *

__all__ = [
    *batch_norm.__all__, *group_norm.__all__, *instance_norm.__all__, *layer_norm.__all__,
    *local_response.__all__, *parametrized.__all__, *rms_norm.__all__,
]  # fmt: skip
