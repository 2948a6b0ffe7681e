"""`handgrad check --replay DIR`: a report holds the arguments that it came from."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any

from compare.errors import UserError

TYPED = "handgrad.typed"  # where the context keeps the arguments as they were typed
SWITCHES = {  # how to print and to keep, not what to check
    "quiet": "--quiet", "as_json": "--json", "force": "--force", "no_report": "--no-report",
}  # fmt: skip
PATHS = ("--out", "--replay")


def recorded(typed: Any) -> dict[str, Any]:
    """Return what a report needs to be made again: what was typed, less how to print it."""
    kept, left = [], iter(typed)
    for word in left:
        if word in PATHS:
            next(left, None)
        elif word not in ("-q", *SWITCHES.values()) and word.partition("=")[0] not in PATHS:
            kept.append(word)
    return {"arguments": kept, "folder": os.getcwd()} if kept else {}


def again(context: Any, directory: Path) -> int:
    """Run a report's check again, with the options that were given now; return the exit status.

    Raises:
        UserError: the directory holds no report of a `handgrad check`.
    """
    found = _read(directory)
    kept = found["config"]["check"]
    for line in _changed(found.get("provenance") or {}):
        print(line, file=sys.stderr)
    folder = Path(kept["folder"])
    extra = recorded(context.meta.get(TYPED, ())).get("arguments", [])
    how = ["--out", str((context.params["out"] or directory).resolve())]
    how += [flag for name, flag in SWITCHES.items() if context.params[name]]
    with chdir(folder if folder.is_dir() else Path.cwd()):
        arguments = [*kept["arguments"], *extra, *how]
        return int(context.command.main(arguments, "check", standalone_mode=False) or 0)


def _read(directory: Path) -> dict[str, Any]:
    try:
        found = json.loads((directory / "verdict.json").read_text("utf-8"))
        if found["config"]["check"]["arguments"] and found["config"]["check"]["folder"]:
            return found
    except OSError as error:
        raise UserError(f"--replay {directory}: no report is there ({error.strerror}).") from None
    except (ValueError, KeyError, TypeError):
        pass
    raise UserError(
        f"--replay {directory}: this report does not hold the arguments of a `handgrad check`. A "
        "check made in Python is repeated there; a run by `handgrad run DIR/config.toml`."
    )


def _changed(provenance: dict[str, Any]) -> list[str]:
    """Say which files are no longer those of the report."""
    entries = [e for what in ("code", "reference") for e in provenance.get(what) or ()]
    told = []
    for file, digest in {
        e["file"]: e["sha256"] for e in entries if os.path.isabs(e["file"])
    }.items():
        try:
            now = hashlib.sha256(Path(file).read_bytes()).hexdigest()
        except OSError:
            now = ""
        if now != digest:
            told.append(f"{file} has {'changed' if now else 'gone'} since that report.")
    return told
