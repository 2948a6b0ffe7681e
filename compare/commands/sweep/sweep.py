"""A sweep from its file to its report."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from compare.commands.sweep.engine import Died, Where, answers
from compare.commands.sweep.file import Sweep, described, read
from compare.commands.sweep.files import contents_of, files, placed
from compare.commands.sweep.jobs import Job, job_of
from compare.commands.sweep.made import Made, made
from compare.commands.sweep.points import Point, points, varied
from compare.commands.sweep.report import SweepReport
from compare.commands.sweep.rows import DEAD, Found, run_row, tensor_rows
from compare.commands.sweep.store import Store
from compare.commands.sweep.work import Done, do, replay
from compare.errors import UserError

Progress = Callable[[str, int, int], None]  # what, done, of how many
TRIED = 500  # points that are looked at before anything is started


def sweep(
    sweep: str | Path | Mapping[str, Any] | Sweep, *, out: str | Path | None = None,
    jobs: int | None = None, backend: str = "loky", scheduler: str | None = None,
    resume: bool = False, force: bool = False, progress: Progress | None = None,
) -> SweepReport:  # fmt: skip
    """Do the same job for every point of a grid and of random draws, and sum up what was found.

    Args:
        sweep: the path of a sweep file, or its tables: `{"job": "run", "base": {"config":
            "three-rows"}, "grid": {"train.seed": [0, 1]}}`.
        out: the sweep's directory, in which rows are kept as they come; without one they are kept
            in a temporary one, as long as the report lives.
        jobs: worker processes; None for one per CPU, 1 for this process alone.
        backend: joblib's, by name; `dask` runs on the workers of a scheduler.
        scheduler: the address of dask's, such as `tcp://HOST:8786`.
        resume: go on with the sweep in `out`: what has its row is not done again.
        force: replace the sweep in `out`.
        progress: called as `progress(what, done, total)`.

    Returns:
        A `SweepReport`. Ctrl-C ends a sweep early, with a report of what was done.

    Raises:
        UserError: something in the sweep is wrong (nothing was started then), the workers cannot
            be reached, or `out` cannot be written (what was written stays, and `resume` goes on).

    >>> found = sweep({"base": {"config": "three-rows", "train.steps": 1},
    ...                "grid": {"train.seed": [0, 1]}}, jobs=1)
    >>> found.verdict, len(found.runs)
    ('agree', 2)
    """
    where = Where(jobs, backend, scheduler).checked()
    job, wanted = job_of(_placed(sweep))
    _refuse(job, wanted)
    told, by = progress or (lambda *_: None), made(contents_of(_files(job, wanted)))
    where = where.reached()
    if out is not None:
        report = _swept(Store(Path(out), wanted, by, resume=resume, force=force), job, where, told)
        report.write()
        return report
    temporary = tempfile.mkdtemp(prefix="handgrad-sweep-")
    try:
        report = _swept(Store(Path(temporary), wanted, by), job, where, told)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    weakref.finalize(report, shutil.rmtree, temporary, ignore_errors=True)
    return report


def _swept(store: Store, job: Job, where: Where, progress: Progress) -> SweepReport:
    interrupted = False
    try:
        _fill(store, job, where, progress)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        store.close()
    return SweepReport(store, interrupted=interrupted)


def _placed(sweep: str | Path | Mapping[str, Any] | Sweep) -> Sweep:
    """Return the sweep with whole paths: a file's start from its own folder."""
    if isinstance(sweep, Sweep):
        return sweep
    is_file = isinstance(sweep, str | Path)
    found = read(Path(sweep)) if is_file else described(sweep)  # type: ignore[arg-type]
    folder = Path(sweep).parent if is_file else Path()  # type: ignore[arg-type]
    return described(placed(found.model_dump(), folder))


def _files(job: Job, wanted: Sweep) -> list[str]:
    """Return the files that no point names: those of configurations, and what users' files import.

    What was imported before, for something else, does not count.
    """
    from compare.pair.loading import loaded_files

    own = [Path(f).parent for f in files([wanted.base, list(varied(wanted))]) if f.endswith(".py")]
    folders = own or [Path.cwd()]
    imported = loaded_files() if wanted.job in ("check", "mirror") else []
    beside = [f for f in imported if any(Path(f).is_relative_to(folder) for folder in folders)]
    return [*job.reads, *beside]


def _refuse(job: Job, wanted: Sweep) -> None:
    """Look at every value of every axis once, before anything is started."""
    for values in islice(wanted.one_by_one(), TRIED):
        try:
            job.refuse(values)
        except UserError as error:
            told = ", ".join(f"{key} = {value!r}" for key, value in values.items())
            raise UserError(
                f"sweep '{wanted.name}', the point {told or 'itself'}: {error}"
            ) from None


def _fill(store: Store, job: Job, where: Where, progress: Progress) -> None:
    """Do every point that has no row yet."""
    wanted, by = store.sweep, store.made
    done = dict(store.keys())
    _refuse_others(done, job, wanted)
    total = len(wanted) - len(done)
    open_points: dict[int, Point] = {}

    def items() -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
        left = (point for point in points(wanted, job) if point.key not in done)
        for n, point in enumerate(left):
            open_points[n] = point
            yield point.values, point.contents

    found = answers(partial(do, job, by), items(), where, most=max(1, total))
    with closing(found):
        for n, (position, answer) in enumerate(found, 1):
            point = open_points.pop(position)
            what, seconds, versions = _dead(by) if isinstance(answer, Died) else answer
            again = partial(replay, job, point.values)
            run = run_row(point, wanted.axes, what, seconds, versions, again)
            store.add(run, tensor_rows(point, what))
            progress("points", n, total)


def _dead(by: Made) -> Done:
    text = "Its worker process ended without an answer, twice: out of memory, or a crash in C."
    return Done(Found(DEAD, text), 0.0, by.versions)


def _refuse_others(done: Mapping[str, int], job: Job, wanted: Sweep) -> None:
    """Refuse to go on where a row is no point's: the configuration, or a file, has changed."""
    if not done:
        return
    same = sum(done.get(point.key) == point.number for point in points(wanted, job))
    if same < len(done):
        raise UserError(
            "--resume: the configuration or a file that the sweep names has changed since its rows "
            "were written, so they would not be of one kind. --force starts anew."
        )
