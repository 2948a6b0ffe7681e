"""Files that a sweep names: found from its own folder, known by their content."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any


def files(value: Any) -> Iterator[str]:
    """Yield the files that texts in a value name."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from files(item)
    elif isinstance(value, str) and (found := _file(value)) and os.path.isfile(found[1]):
        yield found[1]


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
    """Return the hash of what a file holds, read anew where it has changed."""
    status = os.stat(file)
    return _content(file, status.st_mtime_ns, status.st_size)


@cache
def _content(file: str, _time: int, _size: int) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()
