"""Options that several commands have, each said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["AsJson", "Force", "NoReport", "Out", "Quiet"]

Out = Annotated[
    Path | None, typer.Option(help="The report's directory.", show_default="reports/NAME")
]
Force = Annotated[
    bool, typer.Option("--force", help="Replace a report that is there. \\[default: a number]")
]
NoReport = Annotated[
    bool, typer.Option("--no-report", help="Leave no files, print the verdict alone.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print verdict.json.")]
