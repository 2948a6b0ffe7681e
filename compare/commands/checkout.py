"""What only a checkout of the repository can do."""

from __future__ import annotations

from pathlib import Path

from compare.errors import UserError

ROOT = Path(__file__).parents[2]  # beside the packages: the repository, or site-packages


def checkout(command: str, root: Path = ROOT) -> Path:
    """Return the repository's root.

    Args:
        command: as the user typed it.
        root: the folder that holds the packages.

    Raises:
        UserError: the packages were installed from a wheel, which leaves evidence/ out.
    """
    if not (root / "evidence" / "commands.py").is_file():
        raise UserError(
            f"`{command}` needs the folder evidence/, which the installed package leaves out: get "
            "handgrad's repository, run `make run` there once, and then "
            f"`.venv/bin/{command}`."
        )
    return root
