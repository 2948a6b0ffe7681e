"""Check many submissions: each in a process of its own, whatever the others do."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

from compare.commands.suite.child import IMPORTING, serve
from compare.commands.suite.processes import EndedError, Process, context
from compare.commands.suite.row import Row
from compare.commands.suite.submissions import Job, Submission, submissions
from compare.commands.suite.suite import FORWARD, Function
from compare.errors import UserError

TIMEOUT, MEMORY = 20.0, 4 * 2**30  # seconds for one function; bytes
PRELOADED = ("compare.commands.suite.warm",)
Progress = Callable[[int, int], None]


def check_all(
    folder: Path,
    functions: Sequence[Function],
    *,
    seed: int = 0,
    jobs: int | None = None,
    timeout: float = TIMEOUT,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> list[Row]:
    """Return one row per submission and function, in the order of their names and of the suite.

    Functions that no submission has are left out. Whatever a submission does, there is a row.

    Args:
        folder: each Python file and each folder in it is a submission.
        functions: of a suite.
        seed: of the inputs and upstream gradients, the same for all.
        jobs: submissions at a time; None for one per CPU.
        timeout: seconds for loading a submission's file, and for each function.
        memory: bytes that a submission may use, where the system can limit that.
        progress: called as `progress(done, total)`, in submissions.

    Raises:
        UserError: there is no submission, or a reference of the suite does not work.
    """
    found = submissions(folder.resolve())
    start, stop = context(*PRELOADED), threading.Event()
    rows: dict[str, list[Row]] = {}
    with ThreadPoolExecutor(min(jobs or os.cpu_count() or 1, len(found))) as pool:
        one = Run(functions, start, stop, seed, timeout, memory)
        futures = {pool.submit(one.rows, submission): submission for submission in found}
        try:
            try_out(functions)
            for future in as_completed(futures):
                rows[futures[future].name] = future.result()
                if progress is not None:
                    progress(len(rows), len(found))
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    every = [row for submission in found for row in rows[submission.name]]
    had = {row.function for row in every if row.verdict != "missing"}
    return [row for row in every if row.function in had]


def try_out(functions: Sequence[Function]) -> None:
    """Run every reference once on its own inputs.

    Raises:
        UserError: one cannot be loaded, or fails.
    """
    import numpy as np

    from compare.pair.inputs import specify
    from compare.pair.loading import load_names
    from compare.pair.objects import made
    from compare.pair.reference import TorchReference

    for function in functions:
        given = specify(function.wanted.inputs, function.wanted.no_grad)
        given = given.within(function.wanted.domain)
        for text in function.references:
            if text == FORWARD:
                continue
            try:
                known = load_names(text)[0]
                known = made(known) if isinstance(known, type) else known
                reference = TorchReference(known, given.names, given.differentiable)
                reference.forward(given.draw(np.random.default_rng(0)))
            except Exception as error:
                raise UserError(f"The suite's [{function.name}], {text}: {error}") from error


class Run:
    """Everything that checking one submission needs besides the submission."""

    def __init__(
        self,
        functions: Sequence[Function],
        start: Any,
        stop: threading.Event,
        seed: int,
        timeout: float,
        memory: int,
    ) -> None:
        self.functions, self.start, self.stop = functions, start, stop
        self.seed, self.timeout, self.memory = seed, timeout, memory

    def rows(self, submission: Submission) -> list[Row]:
        """Return a submission's rows, in the order of the suite."""
        todo = list(submission.jobs(self.functions))
        waiting = [job for job in todo if isinstance(job, Job)]
        found: dict[int, Row] = {}
        while waiting and not self.stop.is_set():
            done = self._batch(submission, waiting)
            found |= {id(job): row for job, row in done}
            waiting = [job for job in waiting if id(job) not in found]
        return [found[id(job)] if isinstance(job, Job) else job for job in todo]

    def _batch(self, submission: Submission, jobs: list[Job]) -> list[tuple[Job, Row]]:
        """Run until the end or the first job that ends the process: a row for each so far."""
        done: list[tuple[Job, Row]] = []
        stage = IMPORTING
        given = (submission, jobs, self.seed, self.timeout, self.memory)
        with Process(self.start, serve, given, self.stop) as process:
            try:
                for message in process.messages(self.timeout):
                    if isinstance(message, Row):
                        done.append((jobs[len(done)], message))
                    else:
                        stage = message
            except EndedError as ended:
                return done + _over(submission, jobs[len(done) :], stage, ended)
        return done


def _over(
    submission: Submission, left: list[Job], stage: str, ended: EndedError
) -> list[tuple[Job, Row]]:
    """Return the row of the job that ended the process; of a file's import, of all that need it."""
    if not left:
        return []
    job = left[0]
    if stage != IMPORTING:
        row = submission.row(job.function, ended.why, f"{ended}.", job.files[0])
        return [(job, replace(row, names=job.told))]
    alike = [other for other in left if set(other.files) == set(job.files)]
    told = f"{ended} while its file was being imported."
    return [
        (j, replace(submission.row(j.function, ended.why, told, j.files[0]), names=j.told))
        for j in alike
    ]
