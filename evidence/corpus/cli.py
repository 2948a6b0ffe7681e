"""`handgrad corpus`: torch's own samples against the hand-written classes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from compare.commands.status import AGREE, DISAGREE
from compare.errors import UserError, nearest


def corpus(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]…", help="Classes of torch.nn and torch.optim.", show_default="all"
        ),
    ] = None,
    ops: Annotated[
        bool, typer.Option("--ops", help="Torch's operations, each mirrored: NAMEs are op_db's.")
    ] = False,
    jobs: Annotated[int, typer.Option(help="Processes; -1: one per CPU.")] = -1,
    write: Annotated[
        bool,
        typer.Option(
            "--record", help="Write the counts down that documents quote: all, or --ops NAMEs."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print rows as JSON.")] = False,
) -> None:
    """Run every sample that torch tests a class with on the hand-written one, and judge it.

    Exit status: 0 all agree or are excepted in writing, 1 one does not, 2 unusable arguments.
    """
    from evidence.corpus.record import record
    from evidence.corpus.table import as_dict, table, told

    known_names = known(ops)
    if unknown := [name for name in names or () if name not in known_names]:
        what = "Operations" if ops else "Modules"
        raise UserError(f"corpus: {nearest(unknown[0], known_names, what=what)}")
    wanted = names or known_names
    if write:
        _refuse_early(names or (), ops)
    rows = _counted(wanted, jobs, mirrored if ops else rows_of, show=not as_json)
    if ops:
        raise typer.Exit(_operations(rows, names or (), write=write, as_json=as_json))
    print(json.dumps(as_dict(rows, wanted), indent=2) if as_json else table(rows, wanted))
    if write:
        record(rows, wanted)
    if any(row.status != "excepted" for row in told(rows)):
        raise typer.Exit(DISAGREE)
    raise typer.Exit(AGREE)


def _refuse_early(names: Sequence[str], ops: bool) -> None:
    """Say before the long count what `--record` would refuse after it."""
    if ops:
        from evidence.corpus.ops import refuse_partial

        refuse_partial(names)
    elif names:
        raise UserError("--record: give no names; what is quoted is of all modules.")


def _operations(rows: Sequence[Any], names: Sequence[str], *, write: bool, as_json: bool) -> int:
    """Print what became of operations, and return the exit status."""
    from evidence.corpus.ops import as_dict, record, table, wrong

    print(json.dumps(as_dict(rows), indent=2) if as_json else table(rows))
    if write:
        record(rows, names)
    return DISAGREE if wrong(rows) else AGREE


def known(ops: bool) -> list[str]:
    """Return what torch has samples of: modules and optimisers, or operations.

    Raises:
        UserError: torch's tables cannot be imported.
    """
    try:
        if ops:
            from evidence.corpus.ops import names as operations

            return operations()
        from evidence.corpus.samples import names

        return names()
    except ImportError as error:
        raise UserError(
            f"corpus: torch's own tables need another package ({error}). Install it: pip install "
            "expecttest"
        ) from None


def _counted(names: Sequence[str], jobs: int, count: Any, *, show: bool) -> list[Any]:
    from functools import partial

    from compare.commands.progress import bars
    from compare.commands.sweep.engine import Where, in_order

    with bars(show=show) as advance:
        where = Where(jobs if jobs > 0 else None)
        found = in_order(count, names, where, progress=partial(advance, "names"))
    return [row for rows in found for row in rows]


def rows_of(name: str) -> list[Any]:
    """Judge every sample of a class."""
    from evidence.corpus.count import rows

    return list(rows(name))


def mirrored(name: str) -> list[Any]:
    """Judge every sample of an operation."""
    from evidence.corpus.ops import rows

    return list(rows(name))
