"""`handgrad trace`: an expression's gradient, gate by gate, beside torch's."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Annotated, Any

import typer

from compare.commands.options import Quiet
from compare.commands.spoken import Lang, Spoken
from compare.words import _

EXAMPLE = 'Example: handgrad trace "(x + y) * z" x=-2 y=5 z=-4 --svg graph.svg'

OPTION = re.compile(r"--[a-z][a-z-]*(=.*)?", re.DOTALL)


class TraceCommand(Spoken):
    """Takes an expression that begins with a minus for what it is, not for an option."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        taking = {o for p in self.params for o in p.opts if _takes_value(p)}
        known = {o for p in self.params for o in p.opts} | set(ctx.help_option_names)
        return super().parse_args(ctx, protected(args, known, taking))


def _takes_value(parameter: Any) -> bool:
    return parameter.param_type_name == "option" and not parameter.is_flag


def protected(arguments: Sequence[str], known: Set[str], taking: Set[str]) -> list[str]:
    """Put a space before the expression if it begins with a minus; the parser drops it.

    Args:
        arguments: of the command.
        known: its options, `taking` those that are followed by a value.
    """
    i = 0
    while i < len(arguments) and (arguments[i] in known or OPTION.fullmatch(arguments[i])):
        i += 2 if arguments[i] in taking else 1
    rest = list(arguments[i:])
    if rest and rest[0].startswith("-") and rest[0] != "--":
        rest[0] = f" {rest[0]}"
    return [*arguments[:i], *rest]


def trace(
    formula: Annotated[
        str,
        typer.Argument(
            metavar="EXPRESSION",
            help="Names, numbers, + - * / @ **, max, exp, log, sigmoid, tanh, sum, norm2, sqrt. "
            "In quotes.",
        ),
    ],
    values: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME=VALUE", help="Such as x=2 or W=[[0.1,0.5],[-0.3,0.8]]."),
    ] = None,
    upstream: Annotated[
        str | None,
        typer.Option(
            metavar="VALUE",
            help="The gradient that arrives at the result.",
            show_default="1, random for an array",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of a random upstream gradient.")] = 0,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also draw the graph into a file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
    quiet: Quiet = False,
    lang: Lang = None,
) -> None:
    """Go through a computational graph gate by gate: local × upstream gradient, beside torch's."""
    from teach.trace.arguments import parse_value, parse_values
    from teach.trace.show import as_dict, write
    from teach.trace.tracer import trace as traced

    given = None if upstream is None else parse_value("--upstream", upstream)
    found = traced(formula, parse_values(values or []), upstream=given, seed=seed)
    if svg is not None:
        _save(svg, found.svg())
    if as_json:
        print(json.dumps(as_dict(found), indent=2, ensure_ascii=False))
    elif not quiet:
        write(found)
        if svg is not None:
            print(_("Drawing: {svg}").format(svg=svg))
    raise typer.Exit(0 if found.agrees else 1)


def _save(path: Path, text: str) -> None:
    from compare.description.reading import write as write_file
    from compare.errors import UserError

    try:
        write_file(path, text)
    except OSError as error:
        raise UserError(f"The drawing cannot be written to {path}: {error.strerror}.") from None
