"""Backpropagation gate by gate: an expression's trace, its drawing, and what Jacobians cost."""

from __future__ import annotations

from typing import Any

__all__ = [
    "Trace",
    "jacobian_cost",
    "jacobian_plot",
    "jacobian_sizes",
    "jacobian_svg",
    "to_svg",
    "trace",
]

_HOMES = {
    "Trace": "tracer",
    "jacobian_cost": "jacobian",
    "jacobian_plot": "jacobian",
    "jacobian_sizes": "jacobian",
    "jacobian_svg": "jacobian",
    "to_svg": "drawing",
    "trace": "tracer",
}


def __getattr__(name: str) -> Any:
    """Import on first use: the command line's help needs neither torch nor pandas."""
    if name not in _HOMES:
        raise AttributeError(f"module 'teach.trace' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"teach.trace.{_HOMES[name]}"), name)
