"""The command line, put together: each command stands in the room that does its work.

Exit status: 0 all agree, 1 a disagreement or an incomplete verdict, 2 unusable input or arguments,
130 interrupted. Heavy imports happen inside the commands, so that `--help` and `list` are quick.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from compare.commands import mirror_cli, run_cli
from compare.commands.certify_cli import certify
from compare.commands.check_cli import Recorded, check
from compare.commands.explain_cli import EXAMPLES, explain
from compare.commands.list_cli import list_names
from compare.commands.spoken import Spoken
from compare.commands.status import INTERRUPTED, UNUSABLE
from compare.commands.sweep import cli as sweep_cli
from compare.errors import UserError
from compare.words import _, said
from handgrad import __version__
from handgrad.checkout import on_path, register
from handgrad.pipe import unbroken
from handgrad.shadows import ShadowedError
from teach.exercises.cli import exercise
from teach.trace import cli as trace_cli

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Run a hand-written NumPy network beside its torch.nn twin and compare every gradient.",
    epilog="Exit status: 0 all agree · 1 a disagreement · 2 unusable input · 130 interrupted.",
)


class InCheckout(TyperCommand):
    """A command of evidence/, which is not installed: imported when it is called, not before."""

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        command = evidence_commands(self.name or "").commands[self.name]
        return command.make_context(info_name, args, parent, **extra)


def evidence_commands(name: str) -> Any:
    """Return the commands of evidence/.

    Raises:
        UserError: there is no checkout.
    """
    on_path(f"handgrad {name}")
    from evidence.commands import app as commands

    return typer.main.get_command(commands)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"handgrad {__version__}")
        raise typer.Exit


@app.callback()
def handgrad(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Without this function there were no option beside the commands."""


def _nothing() -> None: ...


BENCH = "Time the hand-written step, or count what the verdict is worth with --false-alarms."
MUTATE = "Plant small mistakes in the hand-written source, one at a time: does the harness notice?"

CORPUS = "Run every sample that torch tests its own modules with on the hand-written classes."
FAULTS = "Run nonsense, and kill runs at random moments: no traceback, no hang, no report lost."

app.command(epilog=run_cli.EXAMPLE)(run_cli.run)
app.command("list")(list_names)
app.command("bench", cls=InCheckout, help=BENCH)(_nothing)
app.command(cls=Recorded)(check)
app.command(epilog=mirror_cli.EXAMPLE)(mirror_cli.mirror)
register()
app.command("sweep", epilog=sweep_cli.EXAMPLE)(sweep_cli.sweep)
app.command()(certify)
app.command("mutate", cls=InCheckout, help=MUTATE)(_nothing)
app.command("corpus", cls=InCheckout, help=CORPUS)(_nothing)
app.command("faults", cls=InCheckout, help=FAULTS)(_nothing)
app.command(cls=Spoken, epilog=EXAMPLES)(explain)
app.add_typer(exercise, name="exercise")
app.command(cls=trace_cli.TraceCommand, epilog=trace_cli.EXAMPLE)(trace_cli.trace)


def main() -> None:
    """Run the command line; a user's mistake ends with one paragraph and status 2."""
    try:
        with unbroken(sys.stdout):
            app()
    except (UserError, ShadowedError) as error:
        print(f"handgrad: {said(str(error))}", file=sys.stderr)
        sys.exit(UNUSABLE)
    except BrokenPipeError:
        raise
    except OSError as error:  # a name that no file can have, a full disk
        where = f"{error.filename}: " if error.filename else ""
        print(f"handgrad: {where}{error.strerror or error}.", file=sys.stderr)
        sys.exit(UNUSABLE)
    except MemoryError as error:
        told = f" ({error})" if str(error) else ""
        print(f"handgrad: out of memory{told}. Ask for less: smaller layers, batches or data, "
              "fewer steps.", file=sys.stderr)  # fmt: skip
        sys.exit(UNUSABLE)
    except KeyboardInterrupt:
        print("handgrad: " + _("interrupted before anything was compared."), file=sys.stderr)
        sys.exit(INTERRUPTED)
