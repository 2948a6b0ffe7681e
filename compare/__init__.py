"""The harness: run the hand-written network beside its torch twin, compare, judge, report."""

from __future__ import annotations

from typing import Any

__all__ = ["Config", "Report", "UserError", "check", "check_torch", "explain", "load", "run"]

_HOMES = {
    "Config": "compare.description.config",
    "Report": "compare.report.report",
    "UserError": "compare.errors",
    "check": "compare.commands.check.check",
    "check_torch": "compare.commands.check.check",
    "explain": "compare.commands.explain",
    "load": "compare.description.config",
    "run": "compare.commands.run",
}


def __getattr__(name: str) -> Any:
    """Import on first use: torch and pandas are slow to load, `handgrad list` needs neither."""
    if name not in _HOMES:
        raise AttributeError(f"module 'compare' has no attribute '{name}'")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
