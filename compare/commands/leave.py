"""What `run` and `check` leave: a report in a directory, its text or JSON, never a lost verdict."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from compare.errors import UserError

if TYPE_CHECKING:
    from compare.report.report import Report


class Place(NamedTuple):
    """Where a report goes: `out` if the user named a directory, else `default`."""

    out: Path | None
    default: Path
    force: bool = False  # replace a report that is there; else the new one gets a number
    wanted: bool = True

    @property
    def directory(self) -> Path:
        return self.out or self.default


def refuse_unwritable(out: Path | None, *, force: bool) -> None:
    """Refuse a directory that was named and cannot be written, before any work is done.

    Raises:
        UserError: as for `check_writable`.
    """
    from compare.report.rendering import beside, check_writable

    if out is not None:
        check_writable(out if force else beside(out))


def leave(report: Report, place: Place, *, quiet: bool, as_json: bool, latex: bool = False) -> None:
    """Save the report and print it; where it cannot be saved, say so beside the verdict."""
    path, problem = None, ""
    if place.wanted:
        try:
            path = report.save(_directory(report, place), latex=latex, force=place.force)
        except UserError as error:
            problem = str(error)
    if as_json:
        from compare.report.rendering.verdict import verdict_dict

        print(json.dumps(verdict_dict(report), indent=2))
    elif not quiet:
        from compare.report.rendering.terminal import show

        show(report)
        for line in _where(report, place, path):
            print(line)
    if problem:
        print(f"handgrad: the verdict stands, but without a report: {problem}", file=sys.stderr)


def _directory(report: Report, place: Place) -> Path:
    """Return where to save: only a completed run replaces a report."""
    path = place.directory
    if report.interrupted and place.force and path.exists():
        return path.with_name(f"{path.name}-interrupted")
    return path


def _where(report: Report, place: Place, path: Path | None) -> list[str]:
    if path is None:
        return []
    stays = path.name != place.directory.name and not report.interrupted
    said = f" ({_shown(place.directory)} stays; --force replaces it)" if stays else ""
    lines = [f"\nReport: {_shown(path / 'report.html')}{said}"]
    if "replay.py" in report.attachments:
        lines.append(f"Replay: python {_shown(path / 'replay.py')}")
    return lines


def _shown(path: Path) -> str:
    """Return a path as short as it can be typed from here."""
    near = os.path.relpath(path)
    return str(path) if near.startswith("..") else near
