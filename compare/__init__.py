"""The harness: run the hand-written network beside its torch twin, compare, judge, report.

The story, from the ground up; a room knows those before it alone:

    errors: a user's mistake, told in one paragraph.
    words: what learners read on the terminal, in their language.
    gauge: the same code on arrays that carry their rounding errors: tolerances are derived.
    judge: two values and a tolerance: agree or not, what was compared, and the verdict.
    description: what is to be compared: networks, data, weights, settings.
    pair: a function with a hand-written gradient beside its reference.
    running: both sides on the same inputs, step by step or case by case, and alone.
    witness: the slope of the forward pass itself, without torch, to many digits.
    diagnose: where two sides part first, whose mistake it is, and what it looks like.
    explaining: one number of a run by hand: equation, lines of code, arithmetic.
    report: what was found, as data, and as pages, tables and drawings.
    commands: the jobs: run, check, certify, explain, sweep, list.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "Config",
    "Report",
    "UserError",
    "check",
    "check_torch",
    "explain",
    "load",
    "mirror",
    "run",
    "sweep",
]

_HOMES = {
    "Config": "compare.description.config",
    "Report": "compare.report.report",
    "UserError": "compare.errors",
    "check": "compare.commands.check.check",
    "check_torch": "compare.commands.check.check",
    "explain": "compare.commands.explain",
    "load": "compare.description.config",
    "mirror": "compare.commands.mirror",
    "run": "compare.commands.run",
    "sweep": "compare.commands.sweep.sweep",
}


def __getattr__(name: str) -> Any:
    """Import on first use: torch and pandas are slow to load, `handgrad list` needs neither."""
    if name not in _HOMES:
        raise AttributeError(f"module 'compare' has no attribute '{name}'")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
