"""Grade a folder: every submission on its own, in a fixed order, whatever the others do."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from compare.commands.suite.processes import context
from compare.commands.suite.submissions import python_files
from compare.errors import UserError
from teach.exercises.definition import Exercise, exercises
from teach.exercises.grade import UNUSABLE, Grade, grade

Progress = Callable[[int, int], None]


def random_seed() -> int:
    """Return a seed that nobody can have known when a submission was written."""
    return secrets.randbelow(2**31)


def submissions(folder: Path) -> list[Path]:
    """Return the Python files below a folder, sorted; hidden folders and caches are left out.

    Raises:
        UserError: there are none.
    """
    found = python_files(folder)
    if not found:
        raise UserError(f"{folder} holds no Python files: there is nothing to grade.")
    return found


def grade_folder(
    folder: Path,
    own: Path | None = None,
    *,
    seed: int,
    jobs: int | None = None,
    progress: Progress | None = None,
    **how: Any,
) -> list[Grade]:
    """Return the grades of all submissions below a folder, sorted by path.

    Args:
        folder: where they are; several exercises and folders per student may be mixed.
        own: a teacher's exercises, in place of the built-in ones.
        seed: of the inputs, the same for all.
        jobs: how many at a time; None for one per CPU.
        progress: called as `progress(done, total)`.
        how: `name`, `timeout` and `memory`, as for `grade`.
    """
    paths = submissions(folder)
    how["root"] = folder.resolve()
    jobs = min(jobs or os.cpu_count() or 1, len(paths))
    found: dict[Path, Grade] = {}
    graded = _in_turn if jobs == 1 else _in_parallel
    for path, result in graded(paths, own, jobs, {**how, "seed": seed}):
        found[path] = replace(result, file=path.relative_to(folder).as_posix())
        if progress is not None:
            progress(len(found), len(paths))
    return [found[path] for path in paths]


@cache
def _known(own: Path | None) -> dict[str, Exercise]:
    return exercises(own)


def _one(path: Path, own: Path | None, how: dict[str, Any]) -> Grade:
    """Grade one file; a mistake of the grader's own is that file's row, and stops nothing."""
    root, how = how["root"], {key: value for key, value in how.items() if key != "root"}
    try:
        if not path.resolve().is_relative_to(root):
            text = f"{path} is a link that leads out of the folder: it is not opened."
            return Grade(str(path), how.get("name") or "", UNUSABLE, message=text, seed=how["seed"])
        return grade(path, _known(own), **how)
    except Exception as error:
        text = f"The grader failed on it: {type(error).__name__}: {error}"
        return Grade(str(path), how.get("name") or "", UNUSABLE, message=text, seed=how["seed"])


def _in_turn(
    paths: Sequence[Path], own: Path | None, _: int, how: dict[str, Any]
) -> Iterator[tuple[Path, Grade]]:
    for path in paths:
        yield path, _one(path, own, how)


def _in_parallel(
    paths: Sequence[Path], own: Path | None, jobs: int, how: dict[str, Any]
) -> Iterator[tuple[Path, Grade]]:
    """Yield as they come; graders run in processes of their own, each with torch loaded once."""
    left = list(paths)
    start = context("teach.exercises.judging", "torch")
    pool = ProcessPoolExecutor(jobs, start, initializer=_alone)
    try:
        futures = {pool.submit(_one, path, own, how): path for path in paths}
        for future in as_completed(futures):
            yield futures[future], future.result()
            left.remove(futures[future])
    except BrokenProcessPool:  # the system has ended a grader
        yield from _in_turn(left, own, 1, how)
    finally:
        pool.shutdown(cancel_futures=True)


def _alone() -> None:
    """Use one thread per grader."""
    import torch

    torch.set_num_threads(1)
