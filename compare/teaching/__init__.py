"""What the lessons import: show things, judge equalities, print diffs and autograd's graph."""

from __future__ import annotations

from compare.teaching.autograd import grad_fn_chain, grad_fn_table
from compare.teaching.diff import code_diff, code_of
from compare.teaching.figure import COLOURS, drawing_of, figure
from compare.teaching.networks import gradients, torch_gradients
from compare.teaching.same import gauged, same, same_all
from compare.teaching.show import show, table

__all__ = [
    "COLOURS",
    "code_diff",
    "code_of",
    "drawing_of",
    "figure",
    "gauged",
    "grad_fn_chain",
    "grad_fn_table",
    "gradients",
    "same",
    "same_all",
    "show",
    "table",
    "torch_gradients",
]
