"""The command `handgrad`, and `python -m handgrad`."""

from __future__ import annotations

import sys

from handgrad.console import INTERRUPTED, SAID, forgiving_streams, interruptible_imports


def main() -> None:
    """Run the command line, unless a file of the user's own hides a part of it."""
    try:
        interruptible_imports()
        forgiving_streams()
        _run()
    except KeyboardInterrupt:
        sys.stderr.write(SAID)
        sys.exit(INTERRUPTED)


def _run() -> None:
    from handgrad.shadows import COMMANDS, ShadowedError, refuse_shadows

    try:
        refuse_shadows(COMMANDS)
    except ShadowedError as error:
        print(f"handgrad: {error}", file=sys.stderr)
        sys.exit(2)
    from handgrad.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
