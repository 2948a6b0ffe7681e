"""`handgrad check`: the same check from the shell."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from compare.commands.leave import Place, leave, refuse_unwritable
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
            help="The functions to check; or FILE.py:NAME of a layer object, a class, a loss that "
            "returns its gradient too, or a torch.autograd.Function.",
            show_default=False,
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.py:NAME",
            help="A torch function or nn.Module; without one, backward is checked against forward.",
        ),
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
        typer.Option(help="Try other sizes. [default: but for those that an object was made for]"),
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
    out: Annotated[
        Path | None, typer.Option(help="The report's directory.", show_default="reports/NAME")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a report that is there. [default: a number]")
    ] = False,
    no_report: Annotated[
        bool, typer.Option("--no-report", help="Leave no files, print the verdict alone.")
    ] = False,
    replay: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Check again what the report in this directory checked."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print verdict.json.")] = False,
) -> None:
    """Check your own hand-derived gradient, and leave a report."""
    from compare.errors import UserError, nearest
    from compare.pair.loading import in_order, load_names, shape_of, value_of

    if replay is not None:
        raise typer.Exit(again(context, replay))
    if target is None:
        raise UserError("Nothing to check: give FILE.py:FORWARD,BACKWARD, or --replay DIR.")
    refuse_unwritable(None if no_report else out, force=force)
    with redirect_stdout(sys.stderr):  # what the user's code prints is not the result
        functions = load_names(target)
        if len(functions) > 2:
            raise UserError(
                f"'{target}' names {len(functions)} functions: give forward and backward."
            )
        known = load_names(reference)[0] if reference else None
        inputs = dict(map(shape_of, shapes or [])) | dict(map(value_of, values or []))
        inputs = in_order(inputs, functions[0])
        if unknown := [name for name in no_grad or () if name not in inputs]:
            raise UserError(f"--no-grad {unknown[0]} names no input. {nearest(unknown[0], inputs)}")
        with bars(show=sys.stderr.isatty() and not (quiet or as_json), after=1.0) as advance:
            report = _checked(
            functions, known, inputs, budget=budget, progress=advance, dtype=dtype, device=device,
            domain=dict(_domain(text) for text in domains or ()), purity=purity, resize=resize,
            seed=seed, cases=cases, no_grad=no_grad or (), structural_zeros=zeros or (),
        )  # fmt: skip
    report.config["check"] |= recorded(context.meta.get(TYPED, ()))
    place = Place(out, Path("reports") / directory_name(report.name), force, not no_report)
    leave(report, place, quiet=quiet, as_json=as_json)
    raise typer.Exit(AGREE if report.agrees else DISAGREE)


def _checked(
    functions: list[Any], reference: Any, inputs: Any, *, device: str, **how: Any
) -> Report:
    from compare.commands.check.check import check as check_gradient
    from compare.commands.check.check import check_torch, is_torch_function
    from compare.errors import UserError

    first = functions[0]
    if is_torch_function(first):
        for name in ("domain", "purity", "resize"):
            del how[name]
        return check_torch(first, reference, inputs, device=device, **how)
    if device != "cpu":
        raise UserError(
            f"--device {device}: NumPy code runs on the CPU; only a torch.autograd.Function "
            "takes a device."
        )
    backward = functions[1] if len(functions) == 2 else None
    return check_gradient(first, backward, reference, inputs, **how)


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
