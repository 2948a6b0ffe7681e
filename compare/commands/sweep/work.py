"""One point's work in a worker, whatever is raised."""

from __future__ import annotations

import os
import shlex
import time
import traceback
import warnings
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

from compare.commands.sweep.files import refuse_changed
from compare.commands.sweep.jobs import Job
from compare.commands.sweep.made import Made, versions
from compare.commands.sweep.rows import ERROR, Found
from compare.errors import UserError


class Done(NamedTuple):
    """What was found, the seconds that it took, and by which versions."""

    found: Found
    seconds: float
    versions: str


def do(job: Job, made: Made, point: tuple[Mapping[str, Any], Mapping[str, str]]) -> Done:
    """Do a point's job in a worker.

    Args:
        job: what is done.
        made: by what and of what the whole sweep is.
        point: its values, and the hashes of the files that these name.

    Raises:
        UserError: this worker's files, or its handgrad, are not the sweep's.
    """
    values, contents = point
    refuse_changed({**made.files, **contents})
    made.refuse_other_code()
    began = time.perf_counter()
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = job.judged(values)
        except UserError as error:
            found = Found(ERROR, str(error))
        except (Exception, SystemExit) as error:
            found = Found(ERROR, _told(error))
    return Done(found, time.perf_counter() - began, versions())


def _told(error: BaseException) -> str:
    """Return an exception on one line, with where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return " ".join(f"{type(error).__name__}: {error}{where}".split())


def replay(job: Job, values: Mapping[str, Any]) -> str:
    """Return the command that does a point once more, ready for a shell."""
    return shlex.join(["handgrad", *job.command(values)])
