"""Terms in words: the formula that a term stands for, with as few parentheses as are needed."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from manual import gates

if TYPE_CHECKING:
    from manual.expression.terms import Term

# pattern, how tightly it binds, how tightly each operand must
WRITTEN = {
    gates.AddGate: ("{} + {}", 1, (1, 2)),
    gates.SubtractGate: ("{} - {}", 1, (1, 2)),
    gates.MultiplyGate: ("{} * {}", 2, (2, 3)),
    gates.DivideGate: ("{} / {}", 2, (2, 3)),
    gates.MatMulGate: ("{} @ {}", 2, (2, 3)),
    gates.ReciprocalGate: ("1 / {}", 2, (3,)),
    gates.NegateGate: ("-{}", 3, (3,)),
    gates.ExpGate: ("exp({})", 9, (0,)),
    gates.LogGate: ("log({})", 9, (0,)),
    gates.SigmoidGate: ("sigmoid({})", 9, (0,)),
    gates.TanhGate: ("tanh({})", 9, (0,)),
    gates.AbsGate: ("abs({})", 9, (0,)),
    gates.SinGate: ("sin({})", 9, (0,)),
    gates.CosGate: ("cos({})", 9, (0,)),
    gates.MeanGate: ("mean({})", 9, (0,)),
    gates.SumGate: ("sum({})", 9, (0,)),
    gates.SquaredNormGate: ("norm2({})", 9, (0,)),
    gates.MaxGate: ("max({}, {})", 9, (0, 0)),
}


@lru_cache(maxsize=4096)  # a term that is shared often would be written out as often
def label(term: Term, least: int = 0) -> str:
    """Return the formula; in parentheses if it binds less tightly than `least`, … if too long."""
    rank: int
    needed: tuple[int, ...]
    match term.layer:
        case None:
            return term.name
        case gates.ConstantGate(value=c):
            pattern, rank, needed = exact(c), 9 if c >= 0 else 3, ()
        case gates.AddConstantGate(constant=c):
            pattern, rank, needed = f"{{}} {'-' if c < 0 else '+'} {exact(abs(c))}", 1, (1,)
        case gates.MultiplyConstantGate(constant=c):
            pattern, rank, needed = f"{{}} * {exact(c)}", 2, (2,)
        case gates.PowerGate(exponent=p):
            pattern, rank, needed = f"{{}}**{exact(p)}", 4, (5,)
        case layer:
            pattern, rank, needed = WRITTEN[type(layer)]  # type: ignore[index]
    text = pattern.format(*map(label, term.operands, needed))
    if len(text) > 1000:
        return "…"
    return text if rank >= least else f"({text})"


def exact(c: float) -> str:
    """Return a number's shortest decimal that reads back as the same number."""
    return repr(c).removesuffix(".0")
