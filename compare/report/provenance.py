"""By what, of what and when a report was found: what makes it evidence."""

from __future__ import annotations

import hashlib
import inspect
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

HOME = Path(__file__).resolve().parents[2]  # holds the packages


def provenance(
    *, code: Iterable[Any], reference: Iterable[Any], data: Mapping[str, Any]
) -> dict[str, Any]:
    """Return date, command line and hashes; what has no source is left out.

    Args:
        code: functions, classes or objects under test, or the names of our own packages.
        reference: the same of the other side.
        data: arrays by name.
    """
    return {
        "date": _now(),
        "command": command_line(),
        "code": _sources(code),
        "reference": _sources(reference),
        "data": {name: hash_of(value) for name, value in data.items()},
    }


def command_line() -> str:
    """Return the command as it was typed; "" in a notebook or an interactive session."""
    program, *arguments = sys.argv or [""]
    name = Path(program).name
    if not name or name == "-c" or "ipykernel" in program:
        return ""
    if name == "__main__.py":
        name = Path(program).parent.name
    return shlex.join([name, *arguments])


def commit_of(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the commit that the code under test is at, and whether files were changed since.

    None outside a repository, or without git.
    """
    files = [HOME / entry["file"] for entry in found.get("code", ()) if entry["file"]]
    folder = next((file.parent for file in files if file.parent.is_dir()), Path.cwd())
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": bool(changed)}


def hash_of(value: Any) -> str:
    """Return the SHA-256 of an array (with its dtype and shape) or of anything else's text."""
    if isinstance(value, np.ndarray):
        array = np.ascontiguousarray(value)
        head = f"{array.dtype.str}{array.shape}".encode()
        return hashlib.sha256(head + array.tobytes()).hexdigest()
    return hashlib.sha256(repr(value).encode("utf-8", "backslashreplace")).hexdigest()


@cache
def _whole(name: str) -> str:
    """Return the SHA-256 over the sources of one of our packages."""
    digest = hashlib.sha256()
    for path in sorted((HOME / name).rglob("*.py")):
        digest.update(path.relative_to(HOME).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def _now() -> str:
    """Return the time in UTC, or SOURCE_DATE_EPOCH for a report that is to be made again."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    when = datetime.fromtimestamp(int(epoch), UTC) if epoch.isdigit() else datetime.now(UTC)
    return when.isoformat(timespec="seconds")


def _sources(things: Iterable[Any]) -> list[dict[str, str]]:
    found = [source for thing in things if thing is not None for source in [_source(thing)]]
    return [entry for n, entry in enumerate(found) if entry and entry not in found[:n]]


def _source(thing: Any) -> dict[str, str]:
    """Return name, file and hash; of what has no file (a notebook's cell) its own text's hash."""
    if isinstance(thing, str):  # one of our packages
        return {"name": thing, "file": f"{thing}/", "sha256": _whole(thing)}
    plain = inspect.unwrap(getattr(thing, "__func__", thing))
    owner = plain if inspect.isroutine(plain) or inspect.isclass(plain) else type(plain)
    name = getattr(owner, "__qualname__", type(thing).__name__).split("<locals>.")[-1]
    try:
        file = Path(inspect.getsourcefile(owner) or "")
        if file.is_file():
            return {"name": name, "file": str(file), "sha256": _bytes_hash(file.read_bytes())}
        text = inspect.getsource(owner).encode("utf-8", "backslashreplace")
        return {"name": name, "file": "", "sha256": _bytes_hash(text)}
    except (OSError, TypeError, ValueError):
        return {}


def _bytes_hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError, ValueError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
