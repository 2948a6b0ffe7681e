"""The points of a sweep: what each sets, and the hash of all that it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from compare.commands.sweep.file import Sweep
from compare.commands.sweep.files import contents_of, files
from compare.commands.sweep.jobs import Job


class Point(NamedTuple):
    """One configuration: its number in the sweep, its key, and what it sets."""

    number: int
    key: str
    values: dict[str, Any]
    contents: dict[str, str]  # hashes of the files that it names


def points(sweep: Sweep, job: Job) -> Iterator[Point]:
    """Yield the points in order, each when it is asked for.

    Its key is the hash of its whole configuration: the job, all that is fixed, its values. Of a
    file that is named its content counts (as it is when this begins), and not its time.
    """
    known = contents_of(files([sweep.base, list(varied(sweep))]))
    fixed = list(files(sweep.base, known))
    for number, values in enumerate(sweep.points()):
        contents = {file: known[file] for file in [*fixed, *files(values, known)]}
        whole = [sweep.job, job.fixed(values), sorted(values.items()), contents]
        yield Point(number, _key(whole), values, contents)


def varied(sweep: Sweep) -> Iterator[Any]:
    """Yield every value that an axis can have; of a range its ends."""
    for values in sweep.grid.values():
        yield from values
    for distribution in sweep.random.keys.values():
        yield from next(iter(distribution.values()))


def _key(whole: Any) -> str:
    text = json.dumps(whole, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:32]
