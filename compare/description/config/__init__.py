"""The description of one run: a TOML file or a preset, validated into frozen models."""

from __future__ import annotations

from compare.description.config.described import (
    InitConfig,
    LayerConfig,
    LossConfig,
    OptimizerConfig,
    PenaltyConfig,
    ScheduleConfig,
)
from compare.description.config.file import load, parse_set
from compare.description.config.models import Config
from compare.description.config.overrides import dotted
from compare.description.config.settings import (
    CompareConfig,
    DataConfig,
    ParallelConfig,
    TrainConfig,
)

__all__ = [
    "CompareConfig",
    "Config",
    "DataConfig",
    "InitConfig",
    "LayerConfig",
    "LossConfig",
    "OptimizerConfig",
    "ParallelConfig",
    "PenaltyConfig",
    "ScheduleConfig",
    "TrainConfig",
    "dotted",
    "load",
    "parse_set",
]
