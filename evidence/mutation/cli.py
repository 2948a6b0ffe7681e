"""`handgrad mutate`: the mutation score from the command line."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from compare.commands.progress import bars


def mutate(
    modules: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODULE",
            help="Modules or packages of manual/, such as linear or losses.",
            show_default="all",
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Worker processes.", show_default="one per CPU")
    ] = None,
    dtype: Annotated[
        list[str] | None,
        typer.Option(help="Check in float64 or float32 only; repeatable.", show_default="both"),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="OPERATOR", help="Only this kind of mistake; repeatable."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the data and upstream gradients.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    as_list: Annotated[bool, typer.Option("--list", help="List the mutants; run nothing.")] = False,
    causes: Annotated[
        bool, typer.Option("--causes", help="Count how often the named cause is the planted one.")
    ] = False,
    rules: Annotated[
        bool, typer.Option("--rules", help="Count what common tolerances would have caught.")
    ] = False,
    record: Annotated[
        bool, typer.Option("--record", help="Write down what documents quote of these modules.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the score alone.")] = False,
) -> None:
    """Plant small mistakes in the hand-written source, one at a time: does the harness notice?

    Exit status: 0 all are caught, 1 one survives, 2 unusable arguments.
    """
    from compare.errors import UserError
    from evidence.mutation import run, table
    from evidence.mutation.record import record as write_down
    from evidence.mutation.sources import named

    dtypes = _dtypes(dtype)
    if record and (only or dtype or as_list or causes or rules):
        raise UserError("--record writes down the score of whole modules: give no other limits.")
    if as_list:
        plan = run.planned(modules or (), only or ())
        print(json.dumps([vars(m) for m in plan], indent=2) if as_json else table.listed(plan))
        return
    if causes:
        _named(modules or (), only or (), jobs, seed, as_json=as_json, quiet=quiet)
        return
    if rules:
        _ruled(modules or (), only or (), jobs, seed, as_json=as_json, quiet=quiet)
        return
    with bars(show=not (as_json or quiet)) as advance:
        score = run.mutate(
            modules or (), only=only or (), jobs=jobs, dtypes=dtypes, seed=seed, progress=advance
        )
    if as_json:
        print(json.dumps(score.as_dict(), indent=2))
    else:
        print(table.summary(score) if quiet else table.report(score))
    if record:
        write_down(score, named(modules or ()))
    raise typer.Exit(0 if score.passed else 1)


def _named(
    modules: list[str] | tuple, only: list[str] | tuple, jobs: int | None, seed: int, *,
    as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Print how often the mistakes are named, and how often rightly; there is no pass or fail."""
    from evidence.mutation.naming import count, show

    with bars(show=not (as_json or quiet)) as advance:
        found = count.count(modules, only=only, jobs=jobs, seed=seed, progress=advance)
    if as_json:
        print(json.dumps(found.as_dict(), indent=2))
    else:
        print(show.summary(found) if quiet else show.report(found))


def _ruled(
    modules: list[str] | tuple, only: list[str] | tuple, jobs: int | None, seed: int, *,
    as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Print how many mistakes each rule in common use catches; there is no pass or fail."""
    from evidence.mutation.rivals import rivals, table

    with bars(show=not (as_json or quiet)) as advance:
        found = rivals(modules, only=only, jobs=jobs, seed=seed, progress=advance)
    print(json.dumps(found.rows(), indent=2) if as_json else table(found))


def _dtypes(given: list[str] | None) -> list[str]:
    from compare.errors import UserError, nearest
    from evidence.mutation.run import DTYPES

    for name in given or ():
        if name not in DTYPES:
            raise UserError(f"--dtype '{name}' is unknown. {nearest(name, DTYPES, what='Dtypes')}")
    return [name for name in DTYPES if name in (given or DTYPES)]
