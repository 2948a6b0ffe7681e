"""Hand-written NumPy backpropagation beside torch.nn, compared step by step: the public face.

>>> import handgrad
>>> handgrad.run("three-rows", steps=3).verdict
'agree'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compare.commands.check.check import check, check_torch
    from compare.commands.explain import explain
    from compare.commands.mirror import mirror
    from compare.commands.run import run
    from compare.commands.sweep.sweep import sweep
    from compare.description.config import Config, load
    from compare.errors import UserError
    from compare.report.report import Report

__version__ = "0.1.0"
__all__ = [
    "Config", "Report", "UserError", "__version__", "check", "check_torch", "explain", "load",
    "mirror", "run", "sweep",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import on first use: torch and pandas are slow to load, and pytest loads our plugin."""
    if name not in __all__:
        raise AttributeError(f"module 'handgrad' has no attribute '{name}'")
    from handgrad.shadows import refuse_shadows

    refuse_shadows()
    import compare

    if name == "sweep":
        from handgrad.checkout import register

        register()

    value = getattr(compare, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
