"""`handgrad run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from compare.commands.completion import preset_names
from compare.commands.leave import Place, leave, refuse_unwritable
from compare.commands.options import AsJson, Force, NoReport, Out, Quiet
from compare.commands.status import AGREE, DISAGREE, INTERRUPTED

if TYPE_CHECKING:
    from compare.report.report import Report

EXAMPLE = "Example: handgrad run digits --steps 50 --set optimizer.lr=0.05"


def run(
    name_or_toml: Annotated[
        str,
        typer.Argument(
            help="A preset (see `handgrad list`), the path of a .toml file, or FILE.py:NAME of a "
            "torch model (see `handgrad mirror`).",
            autocompletion=preset_names,
        ),
    ] = "digits",
    steps: Annotated[int | None, typer.Option(help="Stop after this many steps.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data.")] = None,
    dtype: Annotated[
        str | None,
        typer.Option(help="float64 or float32; torch's side also in float16 or bfloat16."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, batches and masks.")] = None,
    mode: Annotated[
        str | None,
        typer.Option(help="lockstep: every step judged on its own; free: drift, no verdict."),
    ] = None,
    out: Out = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change one setting; repeatable."),
    ] = None,
    gauge_every: Annotated[
        int | None, typer.Option(help="Derive the tolerances at every K-th step.", metavar="K")
    ] = None,
    tolerance: Annotated[
        str | None,
        typer.Option(metavar="RTOL,ATOL", help="Judge by a fixed tolerance instead of the gauge."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Start from a .safetensors or state_dict (.pt) file.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Where torch runs: cpu, cuda.")] = None,
    threads: Annotated[int | None, typer.Option(help="Torch's threads.")] = None,
    plant: Annotated[
        str | None,
        typer.Option(
            metavar="TARGET*=X", help='Plant a mistake on purpose, e.g. "2.weight.grad*=1.01".'
        ),
    ] = None,
    torch_layers: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help='Layers that torch computes on both sides: "2,3", or "all". The other layers stay '
            "hand-written.",
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OTHER",
            help="Another torch beside this one: the path of a Python interpreter, compile, "
            "compile:BACKEND, threads=N, deterministic, mkldnn=off or env:NAME=VALUE; several hold "
            "together.",
        ),
    ] = None,
    force: Force = False,
    no_report: NoReport = False,
    latex: Annotated[bool, typer.Option("--latex", help="Also write the tables as LaTeX.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train both networks side by side, compare everything, and leave a report."""
    from compare.description.config import load, parse_set
    from compare.errors import UserError

    overrides: dict[str, Any] = dict(map(parse_set, settings or []))
    given = {
        "train.steps": steps, "train.epochs": epochs, "train.dtype": dtype, "train.seed": seed,
        "train.mode": mode, "train.device": device, "train.threads": threads,
        "compare.gauge_every": gauge_every,
        "init.file": str(weights.resolve()) if weights else None,
        "compare.tolerance": _tolerance(tolerance) if tolerance else None,
        "compare.torch_layers": None if torch_layers is None else torch_layers.split(","),
    }  # fmt: skip
    overrides |= {key: value for key, value in given.items() if value is not None}
    if ".py:" in name_or_toml:
        if against:
            raise UserError("--against: a mirrored model runs in this torch alone.")
        _mirrored(name_or_toml, steps, dtype, seed, out, force, no_report, quiet, as_json)
    config = load(name_or_toml, overrides)
    place = Place(out, Path("reports") / config.name, force, not no_report)
    refuse_unwritable(place.out if place.wanted else None, force=force)
    report = _run_with_progress(config, plant, against or None, show=not (quiet or as_json))
    leave(report, place, quiet=quiet, as_json=as_json, latex=latex)
    raise typer.Exit(_status(report))


def _mirrored(
    target: str, steps: int | None, dtype: str | None, seed: int | None, out: Path | None,
    force: bool, no_report: bool, quiet: bool, as_json: bool,
) -> NoReturn:  # fmt: skip
    """Mirror the torch model that was named instead of a preset."""
    from compare.commands.mirror_cli import mirror

    mirror(
        target, steps=steps or 1, dtype=dtype or "float64", seed=seed or 0, out=out, force=force,
        no_report=no_report, quiet=quiet, as_json=as_json,
    )  # fmt: skip
    raise AssertionError("mirror ends the command")


def _status(report: Report) -> int:
    if report.interrupted:
        return INTERRUPTED
    if report.mode == "free" and report.verdict == "incomplete":
        return AGREE
    return AGREE if report.agrees else DISAGREE


def _tolerance(text: str) -> list[float]:
    from compare.errors import UserError

    try:
        rtol, atol = (float(part) for part in text.split(","))
    except ValueError:
        raise UserError(
            f"--tolerance takes two numbers, RTOL,ATOL (for example 1e-5,1e-8); received '{text}'."
        ) from None
    return [rtol, atol]


def _run_with_progress(
    config: Any, plant: str | None, against: list[str] | None, *, show: bool
) -> Report:
    from compare.commands.progress import bars
    from compare.commands.run import run as compare_run

    with bars(show=show) as advance:
        return compare_run(config, plant=plant, against=against, progress=advance)
