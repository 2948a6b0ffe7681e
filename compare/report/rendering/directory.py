"""A saved report: a directory that is written whole or not at all."""

from __future__ import annotations

import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compare.errors import UserError
from compare.report.rendering.replacing import AppearedError, put_right, replacing

if TYPE_CHECKING:
    from compare.report.report import Report

MARKER = "verdict.json"  # a directory that holds it is a report
FILES = {
    MARKER,
    "report.html",
    "summary.md",
    "differences.csv",
    "initial_weights.safetensors",
    "config.toml",
    "plots",
    "tables",
    "replay.npz",
    "replay.py",
    "against.csv",
}
IGNORED = {".DS_Store", "Thumbs.db", "desktop.ini"}  # what file managers leave behind


def check_writable(directory: str | Path) -> None:
    """Refuse a directory that `save` could not write or must not replace; leave no trace.

    What runs that were killed have left beside it is cleaned up, and given back.

    Raises:
        UserError: it is a file, holds something that is not a report's, or cannot be created.
    """
    path = _resolved(directory)
    put_right(path.parent, FILES | IGNORED)
    _check_replaceable(path)
    parent = path.parent
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    try:
        tempfile.TemporaryFile(dir=parent).close()
    except OSError as error:
        raise _unwritable(path, error) from error


def beside(directory: Path) -> Path:
    """Return the directory, or the first of `directory-2`, `directory-3`, … that holds no report.

    What is no report is refused by `save`.
    """
    path, number = directory, 2
    while (path / MARKER).exists():
        path, number = directory.with_name(f"{directory.name}-{number}"), number + 1
    return path


def save(report: Report, directory: str | Path, *, latex: bool = False, force: bool = True) -> Path:
    """Write the report; an older one in its place is replaced only by a complete new one.

    Args:
        report: what to write.
        directory: the report's own directory; its parents are created.
        latex: whether to add the tables as LaTeX.
        force: whether an older one is replaced; else the new one gets a number, also if the other
            appears while this one is written.

    Returns:
        The directory.

    Raises:
        UserError: as for `check_writable`.
    """
    path = _resolved(directory)
    put_right(path.parent, FILES | IGNORED)
    path = path if force else beside(path)
    _check_replaceable(path)
    try:
        with replacing(path, over=force) as fresh:
            _write(report, fresh, latex=latex)
    except AppearedError:
        return save(report, directory, latex=latex, force=force)
    except OSError as error:
        raise _unwritable(path, error) from error
    return path


def _resolved(directory: str | Path) -> Path:
    try:
        return Path(directory).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a NUL in the name
        raise UserError(
            f"The report directory {str(directory)!r} is not a path: {error}."
        ) from error


def _check_replaceable(path: Path) -> None:
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            raise UserError(f"The report directory {path} is a file. Choose another directory.")
        names = {entry.name for entry in path.iterdir()} - IGNORED
    except (FileNotFoundError, NotADirectoryError):
        return  # free, or below a file: then it cannot be created
    except OSError as error:
        raise _unwritable(path, error) from error
    if names and MARKER not in names:
        raise UserError(
            f"The report directory {path} is not empty and is not a report (it has no {MARKER}). "
            "It would be replaced as a whole: choose another directory, or empty it first."
        )
    if foreign := sorted(names - FILES):
        raise UserError(
            f"The report directory {path} also holds {', '.join(foreign[:5])}"
            f"{', …' if len(foreign) > 5 else ''}, which a report does not write and which "
            "replacing it would delete. Move it away, or choose another directory."
        )


def _unwritable(path: Path, error: OSError) -> UserError:
    reason = error.strerror or str(error)
    return UserError(
        f"The report directory {path} cannot be written ({reason}). "
        "Choose another directory, or make room and permissions for it."
    )


def _write(report: Report, directory: Path, *, latex: bool) -> None:
    import safetensors.numpy

    from compare.report.rendering.html import report_html
    from compare.report.rendering.plots import make_plots
    from compare.report.rendering.svg import for_file
    from compare.report.rendering.tables import latex_tables, write_csv
    from compare.report.rendering.text import summary_markdown
    from compare.report.rendering.verdict import config_toml, verdict_json

    plots = make_plots(report)
    _text(directory / "report.html", report_html(report, plots))
    _text(directory / "summary.md", summary_markdown(report))
    _text(directory / "config.toml", config_toml(report, directory))
    for plot in plots:
        if plot.svg:
            _text(directory / "plots" / f"{plot.name}.svg", for_file(plot.svg, plot.title))
    for name, table in latex_tables(report).items() if latex else ():
        _text(directory / "tables" / name, table)
    weights = {k: np.array(v, order="C") for k, v in sorted(report.initial_weights.items())}
    (directory / "initial_weights.safetensors").write_bytes(safetensors.numpy.save(weights))
    write_csv(report, directory / "differences.csv")
    for name, content in report.attachments.items():
        (directory / name).write_bytes(content)
    _text(directory / MARKER, verdict_json(report))


def _text(path: Path, text: str) -> None:
    """Write UTF-8 with \\n on every system; names of files need not be valid Unicode."""
    with suppress(FileExistsError):
        path.parent.mkdir()
    path.write_bytes(text.encode("utf-8", "backslashreplace"))
