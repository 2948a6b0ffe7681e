"""Files that a sweep names: found from its own folder, known by their content."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from compare.errors import UserError


def files(value: Any, known: Container[str] | None = None) -> Iterator[str]:
    """Yield the files that texts in a value name: those that are there, or are known to be."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from files(item, known)
    elif isinstance(value, str) and (found := _file(value)) and _is_known(found[1], known):
        yield found[1]


def _is_known(file: str, known: Container[str] | None) -> bool:
    return os.path.isfile(file) if known is None else file in known


def placed(value: Any, folder: Path) -> Any:
    """Return a value in which the files of a folder stand with their whole paths."""
    if isinstance(value, Mapping):
        return {key: placed(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [placed(item, folder) for item in value]
    if isinstance(value, str) and (found := _file(value)):
        before, file, after = found
        if (folder / file).is_file():
            return f"{before}{(folder / file).resolve()}{after}"
    return value


def _file(text: str) -> tuple[str, str, str] | None:
    """Split `x=values.npy` and `mine.py:f` around the file."""
    found = re.fullmatch(r"((?:\w+=)?)([^\n:=]+\.\w+)((?::.*)?)", text)
    return (found[1], found[2], found[3]) if found else None


def content_of(file: str) -> str:
    """Return the hash of what a file holds, read anew where it has changed.

    Raises:
        UserError: it cannot be read.
    """
    try:
        status = os.stat(file)
        return _content(file, status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror or error}.") from None


def contents_of(names: Iterable[str]) -> dict[str, str]:
    """Return each file's hash."""
    return {file: content_of(file) for file in names}


def refuse_changed(contents: Mapping[str, str]) -> None:
    """Refuse files that do not hold what they should.

    Raises:
        UserError: one was changed, or is another here.
    """
    for file, content in contents.items():
        if content_of(file) != content:
            raise UserError(
                f"{file} has changed since the sweep began (or is another one on the machine of "
                "this worker), so its rows would not be of one kind. --force starts anew."
            )


@cache
def _content(file: str, _time: int, _size: int) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()
