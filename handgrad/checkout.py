"""What only a checkout of the repository has: the folder evidence/."""

from __future__ import annotations

import sys
from typing import Any

from handgrad.shadows import refuse_shadows


def on_path(command: str) -> None:
    """Make evidence/ importable.

    Args:
        command: as the user typed it.

    Raises:
        UserError: there is no checkout.
    """
    from compare.commands.checkout import checkout

    root = str(checkout(command))
    if root not in sys.path:
        sys.path.append(root)  # an editable install knows the shipped packages alone
    refuse_shadows(["evidence"])


def register() -> None:
    """Let a sweep's job be the corpus."""
    from compare.commands.sweep import OTHERS

    OTHERS["corpus"] = _corpus


def _corpus(sweep: Any) -> Any:
    on_path('handgrad sweep with job = "corpus"')
    from evidence.corpus.job import made

    return made(sweep)
