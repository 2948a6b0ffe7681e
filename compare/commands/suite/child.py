"""The process of one submission: load its files, check function after function, send rows.

It runs with the rights of whoever started it. Nothing here keeps code from reading files or from
sending a row of its own: for that there are exercises, whose code computes but never judges.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from compare.commands.suite.processes import alone
from compare.commands.suite.row import AGREE, DISAGREE, ERROR, INCOMPLETE, Row
from compare.commands.suite.submissions import Job, Submission
from compare.commands.suite.suite import FORWARD

IMPORTING = "importing"


def serve(
    connection: Any, submission: Submission, jobs: Sequence[Job], seed: int, timeout: float,
    memory: int,
) -> None:  # fmt: skip
    """Send `importing` and a `Row` for each job; None at the end."""
    alone(memory, 2 * len(jobs) * timeout + 60)
    settle(submission, jobs)
    for job in jobs:
        connection.send(IMPORTING)
        began = time.perf_counter()
        try:
            found = _loaded(job)
            connection.send(job.function.name)
            row = _checked(submission, job, found, seed)
        except BaseException as error:  # also SystemExit and the like of the submission's
            row = submission.row(job.function, ERROR, _told(error), job.files[0])
        seconds = time.perf_counter() - began
        cause, reason = _short(row.cause, submission), _short(row.reason, submission)
        connection.send(replace(row, cause=cause, reason=reason, names=job.told, seconds=seconds))
    connection.send(None)


def settle(submission: Submission, jobs: Sequence[Job]) -> None:
    """Make the process a submission's: its folder, its imports."""
    import torch

    torch.set_num_threads(1)
    os.environ["MPLBACKEND"] = "Agg"  # no windows
    sys.dont_write_bytecode = True
    os.chdir(submission.root)
    for path in dict.fromkeys(path for job in jobs for path in job.files):
        above = path.relative_to(submission.root).parents
        sys.path.extend(str(submission.root / folder) for folder in above)


def _loaded(job: Job) -> list[Any]:
    from compare.pair.loading import load_file, member
    from compare.pair.objects import made

    found = [
        member(load_file(path), name, str(path))
        for name, path in zip(job.names, job.files, strict=True)
    ]
    init = job.function.wanted.init
    return [made(found[0], **init)] if init and len(found) == 1 else found


def _checked(submission: Submission, job: Job, found: list[Any], seed: int) -> Row:
    """Check against the references in turn, until forward gives a reference's values."""
    references = job.function.references or (FORWARD,)
    first = None
    for reference in references:
        report = _report(job, found, reference, seed)
        first = first or (report, reference)
        if reference == FORWARD or not _other_values(report):
            first = report, reference
            break
    report, reference = first  # type: ignore[misc]
    row = _row(submission, job, found, report, reference)
    if reference == FORWARD and len(references) > 1 and row.verdict == AGREE:
        known = " and ".join(r.rpartition(":")[2] for r in references[:-1])
        reason = f"Backward fits forward, whose values are those of no reference ({known})."
        return replace(row, verdict=INCOMPLETE, reason=reason)
    return row


def _report(job: Job, found: list[Any], reference: str, seed: int) -> Any:
    from compare.commands.check.check import check, check_torch, is_torch_function
    from compare.pair.loading import load_names

    wanted = job.function.wanted
    known = None if reference == FORWARD else load_names(reference)[0]
    how: dict[str, Any] = {
        "dtype": wanted.dtype, "seed": seed, "no_grad": wanted.no_grad, "rtol": wanted.rtol,
        "structural_zeros": wanted.structural_zeros, "cases": wanted.cases or None,
        "shrink": False, "purity": wanted.purity, "resize": wanted.resize, "domain": wanted.domain,
    }  # fmt: skip
    if is_torch_function(found[0]):
        return check_torch(found[0], known, wanted.inputs, **how)
    return check(found[0], found[1] if len(found) == 2 else None, known, wanted.inputs, **how)


def _other_values(report: Any) -> bool:
    """Return whether forward's values are others than the reference's on ordinary inputs."""
    rows = report.differences
    own = rows[(rows["step"] == 0) & rows["quantity"].str.startswith("output")]
    return bool((~own["verdict"].isin(("agree", "vacuous"))).any())


def _row(submission: Submission, job: Job, found: list[Any], report: Any, reference: str) -> Row:
    rows = report.differences
    bad = rows.loc[~rows["verdict"].isin(("agree", "vacuous")), "quantity"]
    gradients = tuple(dict.fromkeys(str(q).removeprefix("grad:") for q in bad))
    cause = ""
    if report.verdict == DISAGREE and report.first_divergence is not None:
        explanation = report.first_divergence.explanation
        cause = str(report.cause or (explanation if "fails here" not in explanation else ""))
    where = submission.shown(job.files[-1]) + _line(found[-1])
    return Row(
        submission.name, job.function.name, report.verdict, gradients, cause, report.reason, where,
        reference=reference.rpartition(":")[2], notes=report.notes,
    )  # fmt: skip


def _line(thing: Any) -> str:
    code = getattr(getattr(thing, "backward", thing), "__code__", None)
    return f":{code.co_firstlineno}" if code is not None else ""


def _short(text: str, submission: Submission) -> str:
    """Return a text whose paths start from the submission's folder."""
    return text.replace(f"{submission.root}{os.sep}", "")


def _told(error: BaseException) -> str:
    from compare.errors import UserError

    if isinstance(error, UserError):
        return str(error)
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
