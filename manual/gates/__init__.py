"""The elementary gates of a computational graph: small functions of scalars or arrays."""

from __future__ import annotations

from manual.gates.arithmetic import AddGate, DivideGate, MaxGate, MultiplyGate, SubtractGate
from manual.gates.constants import AddConstantGate, ConstantGate, MultiplyConstantGate, PowerGate
from manual.gates.functions import (
    AbsGate,
    CosGate,
    ExpGate,
    LogGate,
    NegateGate,
    ReciprocalGate,
    SigmoidGate,
    SinGate,
    TanhGate,
)
from manual.gates.products import MatMulGate, SquaredNormGate
from manual.gates.reductions import MeanGate, SumGate

__all__ = [
    "AbsGate",
    "AddConstantGate",
    "AddGate",
    "ConstantGate",
    "CosGate",
    "DivideGate",
    "ExpGate",
    "LogGate",
    "MatMulGate",
    "MaxGate",
    "MeanGate",
    "MultiplyConstantGate",
    "MultiplyGate",
    "NegateGate",
    "PowerGate",
    "ReciprocalGate",
    "SigmoidGate",
    "SinGate",
    "SquaredNormGate",
    "SubtractGate",
    "SumGate",
    "TanhGate",
]

GROUP = "gate"  # how the registry lists these layers
