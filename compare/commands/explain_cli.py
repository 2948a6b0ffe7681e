"""`handgrad explain`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from compare.commands.completion import preset_names
from compare.commands.spoken import Lang
from compare.commands.status import AGREE, DISAGREE

EXAMPLES = (
    "Examples: handgrad explain digits --node 2 --quantity grad:weight --index 3,36 · "
    'handgrad explain digits --plant "2.weight.grad*=1.01"'
)


def explain(
    name_or_toml: Annotated[
        str,
        typer.Argument(
            help="A preset (see `handgrad list`) or the path of a .toml file.",
            autocompletion=preset_names,
        ),
    ] = "digits",
    step: Annotated[int, typer.Option(help="Which step, from 0.")] = 0,
    node: Annotated[
        str | None, typer.Option(help="A node's name, loss, or input (default: the worst).")
    ] = None,
    quantity: Annotated[
        str | None,
        typer.Option(
            help="output, grad_output, grad:PARAM, param:PARAM, state:PARAM:NAME, loss, "
            "grad_input (default: the node's worst)."
        ),
    ] = None,
    index: Annotated[
        str | None, typer.Option(metavar="I,J,…", help="The element (default: the worst).")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="float64 or float32.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, batches and masks.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change one setting; repeatable."),
    ] = None,
    plant: Annotated[
        str | None,
        typer.Option(
            metavar="TARGET*=X", help='Plant a mistake on purpose, e.g. "2.weight.grad*=1.01".'
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
    lang: Lang = None,
) -> None:
    """Work one number of a run by hand: its equation, its lines of NumPy, its arithmetic."""
    from compare.commands.explain import as_json as to_json
    from compare.commands.explain import explain as explained
    from compare.description.config import load, parse_set

    overrides: dict[str, Any] = dict(map(parse_set, settings or []))
    given = {"train.dtype": dtype, "train.seed": seed}
    overrides |= {key: value for key, value in given.items() if value is not None}
    found = explained(
        load(name_or_toml, overrides), step=step, node=node, quantity=quantity,
        index=read_index(index), plant=plant,
    )  # fmt: skip
    print(to_json(found) if as_json else found)
    raise typer.Exit(AGREE if found.agrees else DISAGREE)


def read_index(text: str | None) -> tuple[int, ...] | None:
    """Read `3,5`; `()` or nothing between commas is no index at all."""
    from compare.errors import UserError

    if text is None:
        return None
    parts = [part for part in text.strip("()[] ").split(",") if part.strip()]
    try:
        return tuple(int(part) for part in parts)
    except ValueError:
        raise UserError(
            f"--index takes whole numbers with commas between, as in 3,5; received '{text}'."
        ) from None
