"""What the lessons import: show things, judge equalities, print diffs and autograd's graph."""

from __future__ import annotations

from teach.kit.autograd import grad_fn_chain, grad_fn_table
from teach.kit.diff import code_diff, code_of
from teach.kit.figure import COLOURS, drawing_of, figure, network, neurons
from teach.kit.networks import gradients, torch_gradients
from teach.kit.same import gauged, same, same_all
from teach.kit.show import show, table
from teach.kit.words import _

__all__ = [
    "COLOURS",
    "_",
    "code_diff",
    "code_of",
    "drawing_of",
    "figure",
    "gauged",
    "grad_fn_chain",
    "grad_fn_table",
    "gradients",
    "network",
    "neurons",
    "same",
    "same_all",
    "show",
    "table",
    "torch_gradients",
]
