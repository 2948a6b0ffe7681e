"""The command `handgrad`, and `python -m handgrad`."""

from __future__ import annotations

import sys

from handgrad.shadows import COMMANDS, ShadowedError, refuse_shadows


def main() -> None:
    """Run the command line, unless a file of the user's own hides a part of it."""
    try:
        refuse_shadows(COMMANDS)
    except ShadowedError as error:
        print(f"handgrad: {error}", file=sys.stderr)
        sys.exit(2)
    from handgrad.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
