"""`handgrad bench`, `mutate`, `corpus` and `faults`: the commands that only a checkout has."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from compare.commands.status import AGREE, DISAGREE
from compare.errors import UserError
from evidence.corpus.cli import corpus
from evidence.faults.cli import faults
from evidence.mutation.cli import mutate

app = typer.Typer(rich_markup_mode="rich", context_settings={"help_option_names": ["-h", "--help"]})
app.command()(mutate)
app.command()(faults)
app.command()(corpus)


@app.command()
def bench(
    rounds: Annotated[int, typer.Option(min=1, help="Interleaved rounds; medians are shown.")] = 30,
    only: Annotated[
        str | None,
        typer.Option(
            help="Only networks, or with --layers classes, whose name contains this text."
        ),
    ] = None,
    false_alarms: Annotated[
        bool,
        typer.Option(
            "--false-alarms",
            help="Instead count false alarms and missed mistakes on random correct networks.",
        ),
    ] = False,
    networks: Annotated[
        int, typer.Option(min=1, help="How many random networks (with --false-alarms).")
    ] = 1000,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the random networks (with --false-alarms).")
    ] = 0,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Processes (with --false-alarms); one per CPU if not given. Same counts."
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help='Dtypes of the random networks in turn, such as "bfloat16,autocast bfloat16" '
            "(with --false-alarms). \\[default: float64,float32]",
        ),
    ] = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Instead time every class by itself beside torch's.")
    ] = False,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Instead time a sweep: rows, memory, two workers.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print rows as JSON.")] = False,
) -> None:
    """Time the hand-written step, or count what the verdict is worth with --false-alarms."""
    if false_alarms:
        raise typer.Exit(_false_alarms(networks, seed, jobs, dtype, as_json=as_json))
    if sweep:
        from evidence import bench_sweep

        found = bench_sweep.bench()
        print(json.dumps(found, indent=2) if as_json else bench_sweep.table(found))
        return
    from evidence.bench import bench as of_networks
    from evidence.bench import table
    from evidence.bench_layers import bench_layers

    measure = bench_layers if layers else of_networks
    rows = measure(rounds=rounds, only=only, show=not as_json)
    if not rows:
        raise UserError(f"--only '{only}': nothing that is timed has this in its name.")
    print(json.dumps(rows, indent=2) if as_json else table(rows))


def _false_alarms(
    networks: int, seed: int, jobs: int | None, dtype: str | None, *, as_json: bool
) -> int:
    from functools import partial

    from compare.commands.progress import bars
    from evidence.false_alarms.count import count
    from evidence.false_alarms.draw import chosen
    from evidence.false_alarms.table import rows as rows_of
    from evidence.false_alarms.table import table

    dtypes = chosen(dtype)
    with bars(show=not as_json) as advance:
        progress = partial(advance, "random networks")
        counted = count(networks, seed=seed, jobs=jobs, progress=progress, dtypes=dtypes)
    rows = rows_of(counted)
    print(json.dumps(rows, indent=2) if as_json else table(rows))
    return DISAGREE if counted.alarms else AGREE
