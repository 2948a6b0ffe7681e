"""`handgrad sweep`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compare.commands.options import AsJson, Quiet
from compare.commands.status import AGREE, DISAGREE, INTERRUPTED, UNUSABLE

if TYPE_CHECKING:
    from compare.commands.sweep.report import SweepReport

EXAMPLE = "Example: handgrad sweep seeds.toml --jobs 8, and after an interruption --resume"


def sweep(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="SWEEP.toml",
            help="A job (run, check, mirror, corpus), what is fixed, \\[grid] and \\[random].",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="The sweep's directory.", show_default="reports/NAME")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Worker processes. \\[default: one per CPU]")
    ] = None,
    backend: Annotated[str, typer.Option(help="A backend of joblib's: loky, dask, …")] = "loky",
    scheduler: Annotated[
        str | None, typer.Option(metavar="tcp://HOST:PORT", help="Of dask.distributed.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the sweep that is there.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the sweep that is there.")
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Do one job for every point of a grid and of random draws, in parallel; leave a report."""
    from compare.commands.progress import bars
    from compare.commands.sweep.file import read
    from compare.commands.sweep.sweep import sweep as sweep_points
    from compare.errors import UserError

    if resume and force:
        raise UserError("--resume goes on with what is there, --force replaces it: give one.")
    place = out or Path("reports") / read(file).name
    with bars(show=sys.stderr.isatty() and not (quiet or as_json), rate=True) as advance:
        report = sweep_points(
            file, out=place, jobs=jobs, backend=backend, scheduler=scheduler, resume=resume,
            force=force, progress=advance,
        )  # fmt: skip
    if as_json:
        print(json.dumps(report.as_dict(), indent=2))
    elif not quiet:
        print(f"{report}\n\nReport: {place / 'report.html'}")
    raise typer.Exit(status(report))


def status(report: SweepReport) -> int:
    """Return the exit status: 2 where no point could be judged."""
    if report.interrupted:
        return INTERRUPTED
    if not report.judged:
        return UNUSABLE
    return AGREE if report.agrees else DISAGREE
