"""The elementary gates of a computational graph: small functions of scalars or arrays."""

from __future__ import annotations

from manual.gates.arithmetic import AddGate, DivideGate, MaxGate, MultiplyGate, SubtractGate
from manual.gates.constants import AddConstantGate, ConstantGate, MultiplyConstantGate, PowerGate
from manual.gates.functions import (
    ExpGate,
    LogGate,
    NegateGate,
    ReciprocalGate,
    SigmoidGate,
    TanhGate,
)
from manual.gates.products import MatMulGate, SquaredNormGate, SumGate

__all__ = [
    "AddConstantGate",
    "AddGate",
    "ConstantGate",
    "DivideGate",
    "ExpGate",
    "LogGate",
    "MatMulGate",
    "MaxGate",
    "MultiplyConstantGate",
    "MultiplyGate",
    "NegateGate",
    "PowerGate",
    "ReciprocalGate",
    "SigmoidGate",
    "SquaredNormGate",
    "SubtractGate",
    "SumGate",
    "TanhGate",
]

GROUP = "gate"  # how the registry lists these layers
