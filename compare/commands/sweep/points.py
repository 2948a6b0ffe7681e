"""The points of a sweep: what each sets, and the hash of all that it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from compare.commands.sweep.file import Sweep
from compare.commands.sweep.files import content_of, files
from compare.commands.sweep.jobs import Job


class Point(NamedTuple):
    """One configuration: its number in the sweep, its key, and what it sets."""

    number: int
    key: str
    values: dict[str, Any]


def points(sweep: Sweep, job: Job) -> Iterator[Point]:
    """Yield the points in order, each when it is asked for."""
    for number, values in enumerate(sweep.points()):
        yield Point(number, key_of(sweep, job, values), values)


def key_of(sweep: Sweep, job: Job, values: dict[str, Any]) -> str:
    """Return the hash of a point's whole configuration: the job, all that is fixed, its values.

    Of a file that is named its content counts, and not its time.
    """
    contents = {file: content_of(file) for file in files([sweep.base, values])}
    whole = [sweep.job, job.fixed(values), sorted(values.items()), contents]
    text = json.dumps(whole, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:32]
