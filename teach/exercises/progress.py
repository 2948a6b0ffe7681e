"""What a learner has tried: a small JSON file in the user's data folder, shown in course order."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from compare.errors import UserError
from compare.words import _, said
from teach.exercises.definition import Exercise
from teach.exercises.grade import RIGHT, Grade

VARIABLE = "HANDGRAD_PROGRESS"  # the file; set to nothing: nothing is remembered


class Tried(BaseModel):
    """One exercise: how often it was graded, the best score, and when that was."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    tries: int = Field(ge=1)
    best: float = Field(ge=0, le=1)
    solved: bool
    day: date


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    version: int = Field(default=1, ge=1, le=1)
    exercises: dict[str, Tried] = {}


def place(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the file, or None if nothing is to be remembered."""
    if VARIABLE in environment:
        return Path(environment[VARIABLE]).expanduser() if environment[VARIABLE] else None
    if sys.platform == "win32":
        home = Path(environment.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        home = Path.home() / "Library" / "Application Support"
    else:
        home = Path(environment.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return home / "handgrad" / "progress.json"


def read(path: Path) -> dict[str, Tried]:
    """Return what was tried, by exercise.

    Raises:
        UserError: the file cannot be read, or is not as it should be.
    """
    if not path.exists():
        return {}
    try:
        return _File.model_validate_json(path.read_bytes()).exercises
    except (OSError, ValidationError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is no record of progress"
        raise UserError(f"{path} cannot be used: {said}.") from error


def remember(result: Grade, path: Path, today: date) -> str:
    """Add a grade; return a sentence if something is to be told about the file, else nothing."""
    told = ""
    try:
        tried = read(path)
    except UserError as error:
        kept = _("It is kept as {path}; counting begins anew.").format(path=set_aside(path))
        tried, told = {}, f"{said(str(error))} {kept}"
    before, solved = tried.get(result.exercise), result.status == RIGHT
    better = before is None or (solved, result.score) > (before.solved, before.best)
    tried[result.exercise] = Tried(
        tries=1 + (before.tries if before else 0),
        best=result.score if before is None else max(before.best, result.score),
        solved=solved or (before is not None and before.solved),
        day=today if before is None or better else before.day,
    )
    write(path, tried)
    return told


def set_aside(path: Path) -> Path:
    """Rename a file that cannot be used to a name that is free; return it."""
    names = (path.with_name(f"{path.name}.unusable{n or ''}") for n in range(1000))
    free = next(name for name in names if not name.exists())
    path.rename(free)
    return free


def write(path: Path, tried: Mapping[str, Tried]) -> None:
    """Write the file whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = _File(exercises=dict(tried)).model_dump_json(indent=2) + "\n"
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(temporary).unlink()
        raise


def shown(tried: Mapping[str, Tried], known: Mapping[str, Exercise], path: Path) -> str:
    """Return the exercises in the order of the lessons, with tries, best score and its day."""
    order = sorted(known.values(), key=lambda e: e.about.lesson or 99)
    width = max(map(len, known))
    lesson, tries, best = _("lesson"), _("tries"), _("best")
    room = max(6, len(lesson))
    lines = [f"{lesson:<{room}}  {_('exercise'):<{width + 2}}  {tries:>5}  {best:>4}  {_('on')}"]
    for found in order:
        one = tried.get(found.name)
        mark = "✓" if one and one.solved else "·" if one else " "
        number = str(found.about.lesson or "")
        more = (
            f"  {one.tries:>{max(5, len(tries))}}  {one.best:>{max(4, len(best))}.0%}  {one.day}"
            if one
            else ""
        )
        lines.append(f"{number:>{room}}  {mark} {found.name:<{width}}{more}".rstrip())
    done = sum(one.solved for name, one in tried.items() if name in known)
    following = next((e.name for e in order if not getattr(tried.get(e.name), "solved", False)), "")
    told = _("{done} of {all} solved. Remembered in {path}.")
    lines += ["", told.format(done=done, all=len(known), path=path)]
    if following:
        lines.append(_("Next: handgrad exercise start {name}").format(name=following))
    return "\n".join(lines)


def as_json(tried: Mapping[str, Tried], known: Mapping[str, Exercise]) -> str:
    """Return every exercise's row; of those not tried the numbers are null."""
    rows: list[dict[str, Any]] = []
    for found in sorted(known.values(), key=lambda e: e.about.lesson or 99):
        one = tried.get(found.name)
        empty = {"tries": 0, "best": None, "solved": False, "day": None}
        row = one.model_dump(mode="json") if one else empty
        rows.append({"exercise": found.name, "lesson": found.about.lesson, **row})
    return json.dumps(rows, indent=2)
