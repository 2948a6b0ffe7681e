"""`handgrad check`: the same check from the shell."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from compare.commands.leave import Place, leave, refuse_unwritable
from compare.commands.options import AsJson, Force, NoReport, Out, Quiet
from compare.commands.progress import bars
from compare.commands.replay import TYPED, again, recorded
from compare.commands.status import AGREE, DISAGREE
from compare.pair.budget import SECONDS

if TYPE_CHECKING:
    from compare.report.report import Report


class Recorded(TyperCommand):
    """A command whose arguments a report holds as they were typed, to be run again."""

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        typed = list(args)
        context = super().make_context(info_name, args, parent, **extra)
        context.meta[TYPED] = typed
        return context


def check(
    context: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE.py:FORWARD,BACKWARD",
            help="The functions to check; or FILE.py:NAME of a layer object, a class (with its "
            "arguments: Dense(3, 5)), a loss that returns its gradient too, or a "
            "torch.autograd.Function. Instead of a file, package.module.",
            show_default=False,
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.py:NAME",
            help="A torch function or nn.Module, also torch.nn.functional:silu; without one, "
            "backward is checked against forward.",
        ),
    ] = None,
    every: Annotated[
        Path | None,
        typer.Option(
            "--all",
            metavar="FOLDER",
            help="Check every submission in a folder (each file and each folder in it is one).",
        ),
    ] = None,
    suite: Annotated[
        Path | None,
        typer.Option(
            metavar="SUITE.toml",
            help="What --all checks.",
            show_default="the usual course assignments",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--function", metavar="NAME", help="With --all: only this one; repeatable."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="With --all: submissions at a time; one per CPU.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="With --all: seconds for one function.")
    ] = 20.0,
    init: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="An argument of the class to check; repeatable."),
    ] = None,
    upstream: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VALUE",
            help="The upstream gradient, as JSON or a .npy file; repeated for several outputs.",
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(help="How far an element may be off, as a part of it. \\[default: rounding]"),
    ] = None,
    shapes: Annotated[
        list[str] | None,
        typer.Option("--shape", metavar="NAME=N,N", help="An input to draw; repeatable."),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--value", metavar="NAME=VALUE", help="An input as JSON or a .npy file; repeatable."
        ),
    ] = None,
    no_grad: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A float input without a gradient.")
    ] = None,
    zeros: Annotated[
        list[str] | None,
        typer.Option(
            "--structural-zero",
            metavar="NAME",
            help="An input whose gradient is zero by construction.",
        ),
    ] = None,
    cases: Annotated[
        list[str] | None,
        typer.Option("--case", metavar="NAME", help="Run only cases that begin so; repeatable."),
    ] = None,
    domains: Annotated[
        list[str] | None,
        typer.Option(
            "--domain",
            metavar="NAME=DOMAIN",
            help="What a drawn input must be: probability, positive, simplex, spd; repeatable.",
        ),
    ] = None,
    purity: Annotated[
        str,
        typer.Option(help="What a changed cache and gradients that are added to are: note, fail."),
    ] = "note",
    resize: Annotated[
        bool | None,
        typer.Option(
            help="Try other sizes. \\[default: but for those that an object was made for]"
        ),
    ] = None,
    budget: Annotated[
        float, typer.Option(help="Seconds of computing; slow code is judged more cheaply beyond.")
    ] = SECONDS,
    dtype: Annotated[
        str,
        typer.Option(help="float64 or float32; of a torch.autograd.Function float16, bfloat16."),
    ] = "float64",
    device: Annotated[str, typer.Option(help="Where a torch.autograd.Function runs.")] = "cpu",
    seed: Annotated[int, typer.Option(help="Seed of inputs and upstream gradients.")] = 0,
    out: Out = None,
    force: Force = False,
    no_report: NoReport = False,
    replay: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Check again what the report in this directory checked."),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Check your own hand-derived gradient, and leave a report."""
    from compare.errors import UserError

    if every is not None:
        given = {"FILE.py:NAME": target, "--reference": reference, "--shape": shapes,
                 "--value": values, "--init": init, "--upstream": upstream, "--case": cases,
                 "--tolerance": tolerance}  # fmt: skip
        if wrong := [name for name, value in given.items() if value]:
            raise UserError(
                f"{wrong[0]} has no place beside --all: the suite says what is checked."
            )
        place = Place(out, Path("reports") / directory_name(every.resolve().name), force,
                      not no_report)  # fmt: skip
        raise typer.Exit(
            check_folder(every, suite, only or [], jobs, timeout, seed, place,
                         quiet=quiet, as_json=as_json)
        )  # fmt: skip
    if replay is not None:
        raise typer.Exit(again(context, replay))
    if target is None:
        raise UserError(
            "Nothing to check: give FILE.py:FORWARD,BACKWARD, or --all FOLDER, or --replay DIR."
        )
    refuse_unwritable(None if no_report else out, force=force)
    with (
        redirect_stdout(sys.stderr),  # what the user's code prints is not the result
        bars(show=sys.stderr.isatty() and not (quiet or as_json), after=1.0) as advance,
    ):
        report = as_typed(
            target, reference, init=init, upstream=upstream, tolerance=tolerance, shapes=shapes,
            values=values, no_grad=no_grad, zeros=zeros, cases=cases, domains=domains,
            purity=purity, resize=resize, budget=budget, dtype=dtype, device=device, seed=seed,
            progress=advance,
        )  # fmt: skip
    report.config["check"] |= recorded(context.meta.get(TYPED, ()))
    place = Place(out, Path("reports") / directory_name(report.name), force, not no_report)
    leave(report, place, quiet=quiet, as_json=as_json)
    raise typer.Exit(AGREE if report.agrees else DISAGREE)


def as_typed(
    target: str, reference: str | None = None, *, init: Sequence[str] | None = None,
    upstream: Sequence[str] | None = None, tolerance: float | None = None,
    shapes: Sequence[str] | None = None, values: Sequence[str] | None = None,
    no_grad: Sequence[str] | None = None, zeros: Sequence[str] | None = None,
    domains: Sequence[str] | None = None, **how: Any,
) -> Report:  # fmt: skip
    """Check what the command line's texts name.

    Raises:
        UserError: one of them cannot be used.
    """
    from compare.errors import UserError
    from compare.pair.loading import in_order, load_names, parsed, shape_of, value_of
    from compare.pair.objects import made

    functions = load_names(target)
    if init:
        functions[0] = made(functions[0], **dict(map(value_of, init)))
    if len(functions) > 2:
        raise UserError(f"'{target}' names {len(functions)} functions: give forward and backward.")
    known = load_names(reference)[0] if reference else None
    inputs = dict(map(shape_of, shapes or [])) | dict(map(value_of, values or []))
    inputs = in_order(inputs, functions[0])
    return _checked(
        functions, known, inputs, domain=dict(_domain(text) for text in domains or ()),
        no_grad=no_grad or (), structural_zeros=zeros or (), rtol=tolerance,
        upstream=tuple(map(parsed, upstream)) if upstream else None, **how,
    )  # fmt: skip


def _checked(
    functions: list[Any], reference: Any, inputs: Any, *, device: str, **how: Any
) -> Report:
    from compare.commands.check.check import check as check_gradient
    from compare.commands.check.check import check_torch, is_torch_function
    from compare.errors import UserError

    first = functions[0]
    if is_torch_function(first):
        return check_torch(first, reference, inputs, device=device, **how)
    if device != "cpu":
        raise UserError(
            f"--device {device}: NumPy code runs on the CPU; only a torch.autograd.Function "
            "takes a device."
        )
    backward = functions[1] if len(functions) == 2 else None
    return check_gradient(first, backward, reference, inputs, **how)


def check_folder(
    folder: Path, suite: Path | None, only: list[str], jobs: int | None, timeout: float, seed: int,
    place: Place, *, quiet: bool, as_json: bool,
) -> int:  # fmt: skip
    """Check every submission in a folder; leave a page and a table; return the exit status."""
    from compare.commands.progress import bars
    from compare.commands.suite import page
    from compare.commands.suite.suite import COURSE, chosen, read
    from compare.commands.suite.together import check_all

    began, path = time.monotonic(), suite or COURSE
    functions = chosen(read(path), only)
    with bars(show=not (quiet or as_json) and sys.stderr.isatty()) as advance:
        rows = check_all(folder, functions, seed=seed, jobs=jobs, timeout=timeout,
                         progress=partial(advance, "checking"))  # fmt: skip
    left = []
    if place.wanted:
        footer = f"Suite {path.name}, seed {seed}, {timeout:g} s for one function."
        directory = place.directory if place.force else page.unused(place.directory)
        left = page.save(rows, directory, folder.resolve().name, footer)
    if as_json:
        print(json.dumps([row.__dict__ for row in rows], indent=2, ensure_ascii=False))
    elif not quiet:
        print(page.terminal(rows, shutil.get_terminal_size().columns))
        print(f"Checked in {time.monotonic() - began:.0f} s.")
        for file in left:
            print(f"{'Page' if file.suffix == '.html' else 'Table'}: {file}")
    return AGREE if all(row.verdict == "agree" for row in rows) else DISAGREE


def _domain(text: str) -> tuple[str, str]:
    from compare.errors import UserError

    name, found, domain = text.partition("=")
    if not found:
        raise UserError(f"--domain {text}: write NAME=DOMAIN, for example --domain p=probability.")
    return name.strip(), domain.strip()


def directory_name(name: str) -> str:
    """Return a name that is safe as a directory's."""
    safe = "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip("-.")
    return safe or "check"
