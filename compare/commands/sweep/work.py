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
from typing import Any

from compare.commands.sweep.jobs import Job
from compare.commands.sweep.rows import ERROR, Found
from compare.errors import UserError


def do(job: Job, values: Mapping[str, Any]) -> tuple[Found, float]:
    """Do a point's job in a worker; return what was found, and the seconds that it took."""
    began = time.perf_counter()
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = job.judged(values)
        except UserError as error:
            found = Found(ERROR, str(error))
        except (Exception, SystemExit) as error:
            found = Found(ERROR, _told(error))
    return found, time.perf_counter() - began


def _told(error: BaseException) -> str:
    """Return an exception on one line, with where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return " ".join(f"{type(error).__name__}: {error}{where}".split())


def replay(job: Job, values: Mapping[str, Any]) -> str:
    """Return the command that does a point once more, ready for a shell."""
    return shlex.join(["handgrad", *job.command(values)])
