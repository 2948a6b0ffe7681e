"""The mistakes, by kind; importing a module announces its operators."""

from evidence.mutation.operators import algebra, constants, control, names, recipes, shapes
from evidence.mutation.operators.base import OPERATORS, Operator, found_in

__all__ = [
    "OPERATORS",
    "Operator",
    "algebra",
    "constants",
    "control",
    "found_in",
    "names",
    "recipes",
    "shapes",
]
