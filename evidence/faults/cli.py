"""`handgrad faults`: nonsense, and kills at random moments."""

from __future__ import annotations

import json
from functools import partial
from typing import Annotated

import typer

from compare.commands.progress import bars
from compare.commands.status import AGREE, DISAGREE

KINDS = ("configurations", "files", "lines", "kills")
KILLS = 200


def faults(
    kinds: Annotated[
        list[str] | None,
        typer.Argument(metavar="KIND", help=", ".join(KINDS), show_default="all"),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(min=1, help="Cases of each kind.", show_default="1000, 300, 200, 200"),
    ] = None,
    first: Annotated[int, typer.Option(min=0, help="The first case, to see one again.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the cases.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the faults as JSON.")] = False,
) -> None:
    """Run nonsense, and kill runs: no traceback, no hang, no report lost or half-written.

    Exit status: 0 none, 1 a fault, 2 unusable arguments.
    """
    from compare.errors import UserError, nearest
    from evidence.faults.cases import CASES
    from evidence.faults.hunt import hunt
    from evidence.faults.kills import kills

    for kind in kinds or ():
        if kind not in KINDS:
            raise UserError(f"There is no kind '{kind}'. {nearest(kind, KINDS, what='Kinds')}")
    found, tried = [], {}
    with bars(show=not as_json) as advance:
        for kind in kinds or KINDS:
            number = tried[kind] = count or (KILLS if kind == "kills" else CASES[kind][1])
            progress = partial(advance, kind)
            found += (
                kills(number, seed, progress) if kind == "kills"
                else hunt(kind, number, seed, progress, first)
            )  # fmt: skip
    if as_json:
        print(json.dumps([fault._asdict() for fault in found], indent=2))
    else:
        for fault in found:
            print(f"{fault.kind} {fault.number}: {fault.what}\n    handgrad {fault.command}")
        print(f"{len(found)} faults in {', '.join(f'{n} {kind}' for kind, n in tried.items())}.")
    raise typer.Exit(DISAGREE if found else AGREE)
