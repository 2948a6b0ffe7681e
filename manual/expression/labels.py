"""Terms in words: the formula that a term stands for, with as few parentheses as are needed."""

from __future__ import annotations

from typing import Any

from manual import gates
from manual.expression.terms import Term

ATOM = 9
# pattern, how tightly it binds, how tightly each operand must
WRITTEN: dict[Any, tuple[str, int, tuple[int, ...]]] = {
    gates.AddGate: ("{} + {}", 1, (1, 2)),
    gates.SubtractGate: ("{} - {}", 1, (1, 2)),
    gates.MultiplyGate: ("{} * {}", 2, (2, 3)),
    gates.DivideGate: ("{} / {}", 2, (2, 3)),
    gates.MatMulGate: ("{} @ {}", 2, (2, 3)),
    gates.ReciprocalGate: ("1 / {}", 2, (3,)),
    gates.NegateGate: ("-{}", 3, (3,)),
    gates.ExpGate: ("exp({})", ATOM, (0,)),
    gates.LogGate: ("log({})", ATOM, (0,)),
    gates.SigmoidGate: ("sigmoid({})", ATOM, (0,)),
    gates.TanhGate: ("tanh({})", ATOM, (0,)),
    gates.SumGate: ("sum({})", ATOM, (0,)),
    gates.SquaredNormGate: ("norm2({})", ATOM, (0,)),
    gates.MaxGate: ("max({}, {})", ATOM, (0, 0)),
}


def label(term: Term, least: int = 0) -> str:
    """Return the formula; in parentheses if it binds less tightly than `least`."""
    text, rank = _written(term)
    return text if rank >= least else f"({text})"


def _written(term: Term) -> Any:
    match term.layer:
        case None:
            return term.name, ATOM
        case gates.ConstantGate(value=c):
            return exact(c), ATOM if c >= 0 else 3
        case gates.AddConstantGate(constant=c):
            return f"{label(term.operands[0], 1)} {'-' if c < 0 else '+'} {exact(abs(c))}", 1
        case gates.MultiplyConstantGate(constant=c):
            return f"{label(term.operands[0], 2)} * {exact(c)}", 2
        case gates.PowerGate(exponent=p):
            return f"{label(term.operands[0], 5)}**{exact(p)}", 4
    pattern, rank, needed = WRITTEN[type(term.layer)]
    return pattern.format(*map(label, term.operands, needed)), rank


def exact(c: float) -> str:
    """Return a number's shortest decimal that reads back as the same number."""
    return repr(c).removesuffix(".0")
