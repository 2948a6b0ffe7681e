"""Mistakes that a user can make, told in one paragraph."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class UserError(Exception):
    """A user's mistake: its text is one paragraph, shown without a traceback; exit status 2.

    Names from files may hold anything: line breaks become spaces, control characters `?`.
    """

    def __init__(self, text: str) -> None:
        line = " ".join(text.split())
        super().__init__("".join(c if c.isprintable() else "?" for c in line))


@contextmanager
def not_stopped(whose: str) -> Iterator[None]:
    """Take it as a mistake that a user's code stops the program, with any status: 0 is no verdict.

    Raises:
        UserError: it does.
    """
    try:
        yield
    except SystemExit as error:
        raise UserError(
            f"{whose} stops the program (sys.exit, status {error.code}) where it is made or run: "
            "nothing was compared."
        ) from None


def nearest(name: object, valid: Iterable[object], *, what: str = "Valid names") -> str:
    """Return a sentence with the names closest to `name`, and all of them if they are few.

    >>> nearest("Relu", ["ReLU", "Tanh"])
    "Did you mean 'ReLU'? Valid names: ReLU, Tanh."
    """
    names = [str(v) for v in valid]
    by_folded = {n.casefold(): n for n in names}
    folded = str(name).casefold()
    close = [folded] if folded in by_folded else _close(folded, list(by_folded))
    hint = " or ".join(f"'{by_folded[c]}'" for c in close[:3])
    guess = f"Did you mean {hint}? " if hint else ""
    if not names:
        return f"{guess}There are none."
    shown = ", ".join(names[:40]) + (", …" if len(names) > 40 else "")
    return f"{guess}{what}: {shown}."


def _close(name: str, names: list[str]) -> list[str]:
    begins = [n for n in names if len(name) > 1 and n.startswith(name)]
    similar = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return list(dict.fromkeys([*similar, *begins]))
