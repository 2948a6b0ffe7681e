"""What is written on a gate."""

from __future__ import annotations

from manual import gates
from manual.graph import Layer

SIGNS: dict[type, str] = {
    gates.AddGate: "+",
    gates.SubtractGate: "−",
    gates.MultiplyGate: "×",
    gates.DivideGate: "÷",
    gates.MaxGate: "max",
    gates.NegateGate: "×(−1)",
    gates.ReciprocalGate: "1/x",
    gates.ExpGate: "exp",
    gates.LogGate: "log",
    gates.SigmoidGate: "σ",
    gates.TanhGate: "tanh",
    gates.AbsGate: "|·|",
    gates.SinGate: "sin",
    gates.CosGate: "cos",
    gates.MeanGate: "mean",
    gates.SumGate: "Σ",
    gates.SquaredNormGate: "‖·‖²",
    gates.MatMulGate: "@",
}
POWERS = {2.0: "x²", 3.0: "x³", 0.5: "√x", -1.0: "1/x"}


def symbol(layer: Layer) -> str:
    """Return the sign of a gate."""
    match layer:
        case gates.ConstantGate(value=c):
            return _signed(c)
        case gates.AddConstantGate(constant=c):
            return f"{'+' if c >= 0 else ''}{_signed(c)}"
        case gates.MultiplyConstantGate(constant=c):
            return f"×{_signed(c)}" if c >= 0 else f"×({_signed(c)})"
        case gates.PowerGate(exponent=p):
            return POWERS.get(p, f"x^{_signed(p)}")
    return next(sign for kind, sign in SIGNS.items() if isinstance(layer, kind))


def _signed(c: float) -> str:
    return f"{c:.4g}".replace("-", "−")
