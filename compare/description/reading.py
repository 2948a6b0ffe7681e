"""A user's files: regular ones of a size that can be read, and TOML that can be parsed.

Pipes and devices are never opened: reading one may never end.
"""

from __future__ import annotations

import errno
import re
import stat
import tomllib
from pathlib import Path
from typing import Any

from compare.errors import UserError

LARGEST = 2**30  # bytes of a file that is read
MOST = LARGEST // 8  # numbers that are read from one, each 8 bytes in memory
LARGEST_TEXT = 2**20  # bytes of a TOML file
LONG_KEY = re.compile(r"(?<![\w\"'-])(?:[\w\"'-]++\s*+\.\s*+){64}")  # tomllib would take hours


def refuse_large(path: Path, what: str, largest: int = LARGEST) -> None:
    """Refuse what is no regular file, or larger than that.

    Raises:
        UserError: it is not there, a pipe, a device or a folder, or too large.
    """
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        raise UserError(f"{what} cannot be read: {one_line(error)}.") from None
    if not stat.S_ISREG(found.st_mode):
        raise UserError(f"{what} is no regular file (a folder, a pipe or a device).")
    if found.st_size > largest:
        raise UserError(
            f"{what} has {found.st_size:,} bytes; at most {largest:,} are read. A comparison needs "
            "few rows: save a part of them."
        )


def write(path: Path, text: str) -> None:
    """Write a text, in the place of a regular file or of none.

    Raises:
        OSError: it cannot be written, or a pipe or a device is there, which might never take it.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    path.write_text(text, encoding="utf-8")


def read_toml(path: Path) -> dict[str, Any]:
    """Return a TOML file's tables.

    Raises:
        UserError: it cannot be read, or is no TOML.
    """
    refuse_large(path, f"{path}", LARGEST_TEXT)
    try:
        return toml(path.read_text(encoding="utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not valid TOML: {error}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from None


def toml(text: str) -> dict[str, Any]:
    """Return what TOML says; what nests too deeply for a parser is no TOML either.

    Raises:
        TOMLDecodeError: it cannot be parsed.
    """
    if LONG_KEY.search(text):
        raise tomllib.TOMLDecodeError("a key has more than 64 parts")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise tomllib.TOMLDecodeError("it nests too deeply") from None


def one_line(error: Any) -> str:
    """Return what an exception says, on one line and without a full stop."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
