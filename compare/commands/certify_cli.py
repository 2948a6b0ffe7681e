"""`handgrad certify`: proven digits for every hand-derived gradient, without torch."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compare.commands.checkout import checkout
from compare.commands.options import Quiet
from compare.commands.progress import bars
from compare.commands.status import AGREE, DISAGREE

if TYPE_CHECKING:
    from compare.witness.rows import Certificates


def certify(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]…", help="Classes, such as Linear or Adam.", show_default="all"
        ),
    ] = None,
    bits: Annotated[int, typer.Option(help="Precision of the balls' midpoints.")] = 256,
    digits: Annotated[int, typer.Option(help="Decimal digits that must agree.")] = 50,
    seed: Annotated[int, typer.Option(help="Seed of the points and upstream gradients.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
    markdown: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the table, or replace it between its marks."),
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Write the digits down that reports quote (all names).")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Prove each backward equal to the derivative of its forward, in balls of high precision."""
    from compare.errors import UserError
    from compare.witness.record import record as write_down
    from compare.witness.rows import write_markdown

    if record and names:
        raise UserError("--record writes down the whole table: give no names.")
    if record:
        checkout("handgrad certify --record")
    found = _with_progress(names or [], bits, digits, seed, show=not (quiet or as_json))
    if markdown is not None:
        write_markdown(found, markdown)
    if record:
        write_down(found)
    if as_json:
        print(json.dumps(found.as_dict(), indent=2, ensure_ascii=False))
    elif not quiet:
        _print(found)
    raise typer.Exit(AGREE if found.certified else DISAGREE)


def _with_progress(names: list[str], bits: int, digits: int, seed: int, *, show: bool) -> Any:
    from compare.witness.rows import certificates

    with bars(show=show) as advance:
        return certificates(
            names, bits=bits, digits=digits, seed=seed, progress=partial(advance, "certifying")
        )


def _print(found: Certificates) -> None:
    from rich.console import Console
    from rich.table import Table

    from compare.witness.rows import size

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("item", overflow="fold")
    table.add_column("digits", justify="right")
    table.add_column("radius", justify="right")
    table.add_column("note", overflow="fold", ratio=1)
    for row in found.rows:
        style = None if row.certified else "red"
        table.add_row(
            _plain(row.name), f"{row.digits:.1f}", size(row.radius), _plain(row.note), style=style
        )
    console = Console()
    console.print(table)
    console.print(f"\n{found.summary}", highlight=False)


def _plain(text: str) -> Any:
    from rich.text import Text

    return Text(text)
