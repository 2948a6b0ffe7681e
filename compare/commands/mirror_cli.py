"""`handgrad mirror`."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compare.commands.check_cli import directory_name
from compare.commands.leave import Place, leave, refuse_unwritable
from compare.commands.options import AsJson, Force, NoReport, Out, Quiet
from compare.commands.status import AGREE, DISAGREE, INTERRUPTED
from compare.errors import not_stopped

if TYPE_CHECKING:
    from compare.report.report import Report

EXAMPLE = (
    "Examples: handgrad mirror model.py:net --input 8,3 · handgrad mirror model.py:classifier "
    "--input 8,3 --loss CrossEntropyLoss --target 8:10 · handgrad mirror model.py:GPT "
    "--input 2,16:50 --loss model.py:loss"
)
INPUT = (
    "An input of the model in its order, or NAME=…: a shape of normal numbers (8,3), of whole "
    "numbers below N (2,16:N), or a .npy or .pt file; repeatable."
)


def mirror(
    target: Annotated[
        str,
        typer.Argument(
            metavar="FILE.py:NAME",
            help="A torch.nn.Module, its class, or a function that returns one (or a tuple of one "
            "and its arguments).",
        ),
    ],
    inputs: Annotated[
        list[str] | None, typer.Option("--input", "-i", metavar="SPEC", help=INPUT)
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A loss of torch.nn, with --target, or FILE.py:FUNCTION of the output. "
            "\\[default: the model's own, or a random upstream gradient]",
        ),
    ] = None,
    wanted: Annotated[
        str | None, typer.Option("--target", metavar="SPEC", help="What the loss compares with.")
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(metavar="NAME[:LR]", help="Train with an optimiser of torch.optim: SGD:0.1."),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="How many training steps.")] = 1,
    gauge_every: Annotated[
        int, typer.Option(min=1, metavar="N", help="Derive the tolerances at every N-th step.")
    ] = 1,
    dtype: Annotated[str, typer.Option(help="float64 or float32.")] = "float64",
    seed: Annotated[int, typer.Option(help="Seed of drawn inputs and of dropout.")] = 0,
    evaluate: Annotated[
        bool, typer.Option("--eval", help="Mirror it in evaluation. \\[default: as it comes]")
    ] = False,
    out: Out = None,
    force: Force = False,
    no_report: NoReport = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Mirror a torch model: derive all of it by hand, and compare every value and gradient."""
    from compare.commands.mirror import refuse_settings
    from compare.commands.progress import bars

    refuse_unwritable(None if no_report else out, force=force)
    refuse_settings(dtype, steps, seed, gauge_every)
    with redirect_stdout(sys.stderr), not_stopped(target):  # what it prints is not the result
        asked = Asked(target, inputs or [], loss, wanted, optimizer, seed, evaluate)
        with bars(show=sys.stderr.isatty() and not (quiet or as_json), after=1.0) as advance:
            report = asked.mirrored(
                steps=steps, dtype=dtype, seed=seed, gauge_every=gauge_every, progress=advance
            )
    place = Place(out, Path("reports") / directory_name(report.name), force, not no_report)
    leave(report, place, quiet=quiet, as_json=as_json)
    raise typer.Exit(INTERRUPTED if report.interrupted else AGREE if report.agrees else DISAGREE)


class Asked:
    """What the command line names, made: the model, its inputs, its loss, its optimiser."""

    def __init__(
        self, target: str, inputs: list[str], loss: str | None = None, wanted: str | None = None,
        optimizer: str | None = None, seed: int = 0, evaluate: bool = False,
    ) -> None:  # fmt: skip
        import torch

        from compare.errors import UserError
        from compare.pair.loading import load_names

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.module, self.args, self.kwargs = _model(load_names(target)[0], target)
            found = [_input(text) for text in inputs]
            named = [name for name, _ in found if name]
            if len(set(named)) < len(named):
                raise UserError(f"--input: a name is given twice among {', '.join(named)}.")
            self.args = (*self.args, *(value for name, value in found if not name))
            self.kwargs |= {name: value for name, value in found if name}
            goal = None if wanted is None else _input(wanted, "--target")[1]
        if evaluate:
            self.module.eval()
        self.loss = _loss(loss, goal)
        self.optimizer = _optimizer(optimizer, self.module)

    def mirrored(self, **how: Any) -> Report:
        from compare.commands.mirror import mirror as mirror_module

        return mirror_module(
            self.module, self.args, self.kwargs, loss=self.loss, optimizer=self.optimizer, **how
        )


def _model(found: Any, target: str) -> tuple[Any, tuple, dict[str, Any]]:
    """Return the module that a name stands for, with the arguments that come with it."""
    from torch import nn

    from compare.errors import UserError

    if callable(found) and not isinstance(found, nn.Module):
        try:
            found = found()
        except Exception as error:
            raise UserError(
                f"{target} cannot be called without arguments ({type(error).__name__}: {error}). "
                "Name a module, or a function without arguments that makes one."
            ) from None
    parts = found if isinstance(found, tuple) else (found,)
    if not parts or not isinstance(parts[0], nn.Module):
        raise UserError(
            f"{target} is of type {type(found).__name__}, and mirror takes a torch.nn.Module. For "
            f"a function with a hand-written backward: handgrad check {target}."
        )
    given, named = parts[1] if len(parts) > 1 else (), parts[2] if len(parts) > 2 else {}
    if len(parts) > 3 or not isinstance(named, Mapping):
        raise UserError(
            f"{target}: beside a module come its arguments, (module, args, kwargs) with kwargs as "
            f"a dictionary; received ({', '.join(type(part).__name__ for part in parts)})."
        )
    args = tuple(given) if isinstance(given, tuple | list) else (given,)
    return parts[0], args, dict(named)


def _input(text: str, option: str = "--input") -> tuple[str, Any]:
    """Return name and tensor of `8,3`, `ids=2,16:50` or `x=values.npy`."""
    import numpy as np
    import torch

    from compare.errors import UserError

    name, equals, spec = text.rpartition("=")
    if spec.endswith((".npy", ".pt")):
        try:
            if spec.endswith(".npy"):
                return name, torch.from_numpy(np.load(spec))
            return name, torch.load(spec, weights_only=True)
        except Exception as error:
            raise UserError(
                f"{option} {text}: cannot be read: {type(error).__name__}: {error}"
            ) from None
    found = re.fullmatch(r"(\d+(?:[,x]\d+)*)?(?::([1-9]\d*))?", spec)
    if found is None or (equals and not name.isidentifier()):
        raise UserError(
            f"{option} takes a shape (8,3), whole numbers from 0 to below N (2,16:N) or a file, "
            f"each perhaps with NAME= before it; received '{text}'."
        )
    try:
        shape = tuple(int(n) for n in re.split("[,x]", found[1])) if found[1] else ()
        return name, torch.randn(shape) if found[2] is None else torch.randint(int(found[2]), shape)
    except (RuntimeError, TypeError, ValueError) as error:  # too large
        why = str(error).partition("\n")[0]
        raise UserError(f"{option} {text}: torch makes no such tensor: {why}") from None


def _loss(name: str | None, goal: Any) -> Any:
    """Return the loss as a function of the model's output."""
    import torch

    from compare.errors import UserError, nearest
    from compare.pair.loading import load_names

    if name is None:
        if goal is not None:
            raise UserError("--target is what a loss compares with: name one, --loss MSELoss.")
        return None
    if ":" in name:
        function = load_names(name)[0]
        if not callable(function):
            raise UserError(
                f"--loss {name} is of type {type(function).__name__}, and must be a function of "
                "what the model returns."
            )
        return function if goal is None else _against(goal, lambda output: function(output, goal))
    known = [n for n in dir(torch.nn) if n.endswith("Loss")]
    if name not in known:
        raise UserError(f"--loss {name}: torch.nn has no such loss. {nearest(name, known)}")
    if goal is None:
        raise UserError(f"--loss {name} needs what it compares with: --target SHAPE or FILE.npy.")
    if not isinstance(goal, torch.Tensor):
        raise UserError(f"--target: {name} takes a tensor, received {type(goal).__name__}.")
    try:
        criterion = getattr(torch.nn, name)()
    except TypeError as error:
        raise UserError(
            f"--loss {name} cannot be made by its name alone ({error}). Name a function of the "
            "output and the target: --loss FILE.py:FUNCTION."
        ) from None
    whole = not goal.is_floating_point()
    return _against(
        goal, lambda output: criterion(output, goal if whole else goal.to(output.dtype))
    )


def _against(goal: Any, loss: Any) -> Any:
    """Return a loss that holds its target as well, for messages."""
    loss.target = goal
    return loss


def _optimizer(text: str | None, module: Any) -> Any:
    import torch

    from compare.errors import UserError, nearest

    if text is None:
        return None
    name, _, rate = text.partition(":")
    known = [n for n in dir(torch.optim) if n[:1].isupper()]
    if name not in known:
        raise UserError(f"--optimizer {name}: torch.optim has none. {nearest(name, known)}")
    try:
        given = {"lr": float(rate)} if rate else {}
        return getattr(torch.optim, name)(module.parameters(), **given)
    except (ValueError, TypeError) as error:
        raise UserError(f"--optimizer {text}: {error}") from None
