"""Terms: what a formula is made of, an input by name or a gate on other terms."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from manual import gates
from manual.expression.labels import label
from manual.graph import Layer

Operand = Any  # a Term or a number
REFUSED = "a term of an expression takes terms and numbers as operands, received {0}. {1}"


class Term:
    """An input, or a gate with what feeds it; operators build further terms.

    Numbers are built into the gates: x + 1 is the gate +1, 2 * x the gate ·2, 1 / x the gate 1/x.
    A term that is used twice is one node with two branches.
    """

    __slots__ = ("layer", "name", "operands")
    __array_ufunc__ = None  # an array on the left leaves the operator to the term

    def __init__(
        self, layer: Layer | None, operands: tuple[Term, ...] = (), name: str = ""
    ) -> None:
        self.layer, self.operands, self.name = layer, operands, name

    def __add__(self, other: Operand) -> Term:
        if is_number(other):
            return Term(gates.AddConstantGate(float(other)), (self,))
        return Term(gates.AddGate(), (self, term(other)))

    def __radd__(self, other: Operand) -> Term:
        return self + other

    def __sub__(self, other: Operand) -> Term:
        if is_number(other):
            return self + -other
        return Term(gates.SubtractGate(), (self, term(other)))

    def __rsub__(self, other: Operand) -> Term:
        return -self + other

    def __mul__(self, other: Operand) -> Term:
        if is_number(other):
            return Term(gates.MultiplyConstantGate(float(other)), (self,))
        return Term(gates.MultiplyGate(), (self, term(other)))

    def __rmul__(self, other: Operand) -> Term:
        return self * other

    def __truediv__(self, other: Operand) -> Term:
        if is_number(other):
            return self * (1 / other)
        return Term(gates.DivideGate(), (self, term(other)))

    def __rtruediv__(self, other: Operand) -> Term:
        inverse = Term(gates.ReciprocalGate(), (self,))
        scaled = inverse * other  # refuses an array, which == would not
        return inverse if other == 1 else scaled

    def __pow__(self, other: Operand) -> Term:
        if not is_number(other):
            raise TypeError("The exponent must be a number. Write exp(y * log(x)) for x**y.")
        return Term(gates.PowerGate(float(other)), (self,))

    def __rpow__(self, other: Operand) -> Term:
        if checked(other) <= 0:
            raise TypeError(f"Only a number above 0 can be raised to a term, received {other}.")
        return Term(gates.ExpGate(), (self * math.log(other),))

    def __matmul__(self, other: Operand) -> Term:
        return Term(gates.MatMulGate(), (self, term(other)))

    def __neg__(self) -> Term:
        return Term(gates.NegateGate(), (self,))

    def __pos__(self) -> Term:
        return self

    def __repr__(self) -> str:
        return label(self)


def variables(names: str) -> tuple[Term, ...]:
    """Return one input per name: `x, y, z = variables("x y z")`.

    Raises:
        ValueError: no name, or one that is no Python name.
    """
    found = names.replace(",", " ").split()
    wrong = [name for name in found if not name.isidentifier()]
    if wrong or not found:
        raise ValueError(f"variables: expected names such as 'x y z', received '{names}'.")
    return tuple(Term(None, name=name) for name in found)


def is_number(x: Operand) -> bool:
    """Return whether x is a plain number (a NumPy scalar is one)."""
    return isinstance(x, Real)


def term(x: Operand) -> Term:
    """Return x as a term; a number becomes a gate without inputs.

    Raises:
        TypeError: x is neither.
    """
    if isinstance(x, Term):
        return x
    return Term(gates.ConstantGate(float(checked(x))))


def checked(x: Operand) -> Any:
    """Return the number x.

    Raises:
        TypeError: x is something else, such as an array.
    """
    if not is_number(x):
        advice = "Give an array a name, and its value where the expression is evaluated."
        raise TypeError(REFUSED.format(type(x).__name__, advice))
    return x
