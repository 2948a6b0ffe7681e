"""Commands that speak the reader's language: that of `--lang`, or of the environment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand, TyperGroup

from compare.words import _, speak

Lang = Annotated[
    Literal["en", "vi"] | None,
    typer.Option(
        "--lang",
        help="Language of what is printed; that of LANGUAGE or LANG if not given.",
        show_default=False,
    ),
]


class Spoken(TyperCommand):
    """A command that takes `lang: Lang`; its help is translated as well."""

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        listen(args, parent)
        return super().make_context(info_name, args, parent, **extra)

    def get_help_option(self, ctx: Any) -> Any:
        return _translated(super().get_help_option(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        TyperCommand.format_help(translated(self), ctx, formatter)


class SpokenGroup(TyperGroup):
    """A group of them."""

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        listen(args, parent)
        return super().make_context(info_name, args, parent, **extra)

    def get_help_option(self, ctx: Any) -> Any:
        return _translated(super().get_help_option(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        spoken = translated(self)
        spoken.commands = {name: translated(c) for name, c in self.commands.items()}
        TyperGroup.format_help(spoken, ctx, formatter)


def listen(arguments: Sequence[str], parent: Any) -> None:
    """Speak the language of `--lang` from here on, before anything is parsed; else the user's."""
    asked = [*_asked(arguments)]
    if asked or not isinstance(getattr(parent, "command", None), SpokenGroup):
        speak(asked[0] if asked else "")


def _asked(arguments: Sequence[str]) -> Iterable[str]:
    for n, one in enumerate(arguments):
        if one.startswith("--lang="):
            yield one.removeprefix("--lang=")
        elif one == "--lang":
            yield from arguments[n + 1 : n + 2]


def translated(command: Any) -> Any:
    """Return a copy with its help in the reader's language."""
    spoken = copy(command)
    spoken.help, spoken.epilog = _(command.help or ""), _(command.epilog or "")
    spoken.params = [_translated(parameter) for parameter in command.params]
    return spoken


def _translated(parameter: Any) -> Any:
    spoken = copy(parameter)
    if spoken is not None:
        spoken.help = _(spoken.help or "")
        if isinstance(spoken.show_default, str):
            spoken.show_default = _(spoken.show_default)
    return spoken


def what_typer_says() -> None:
    """Name typer's own words, for translators: it asks gettext for them itself."""
    _("Show this message and exit.")
    _("Arguments")
    _("Options")
    _("Commands")
    _("Error")
    _("[default: {}]")
    _("[required]")
    _("Try [blue]'{command_path} {help_option}'[/] for help.")
    _("Missing command.")
    _("No such command {name!r}.")
