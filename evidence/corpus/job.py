"""The corpus as the job of a sweep: a point is a class of torch's, or an operation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from compare.commands.sweep.file import Sweep
from compare.commands.sweep.rows import AGREE, DISAGREE, INCOMPLETE, Found, Tensor
from compare.errors import UserError, nearest
from evidence.corpus.cli import known, mirrored, rows_of
from evidence.corpus.table import told

KEYS = ("name", "ops")


def made(sweep: Sweep) -> tuple[Corpus, Sweep]:
    """Return the job, and the sweep with every name where none is given.

    Raises:
        UserError: a key or a name is not known.
    """
    for key in [*sweep.base, *sweep.axes]:
        if key not in KEYS:
            hint = nearest(key, KEYS, what="Keys")
            raise UserError(f"'{key}': the corpus has no such key. {hint}")
    if not isinstance(sweep.base.get("ops", False), bool) or "ops" in sweep.axes:
        raise UserError("ops = true or false stands in [base]: of operations, or of classes.")
    job = Corpus(sweep)
    if "name" not in [*sweep.base, *sweep.axes]:
        sweep = sweep.model_copy(update={"grid": {"name": job.known, **sweep.grid}})
    return job, sweep


class Corpus:
    """Every sample that torch tests a class, or an operation, with."""

    reads: Sequence[str] = ()

    def __init__(self, sweep: Sweep) -> None:
        self.ops, self.name = bool(sweep.base.get("ops", False)), sweep.base.get("name")
        self.known = known(self.ops)

    def fixed(self, values: Mapping[str, Any]) -> Any:
        return self.name, self.ops

    def refuse(self, values: Mapping[str, Any]) -> None:
        if (name := values.get("name", self.name)) not in self.known:
            what = "Operations" if self.ops else "Modules"
            raise UserError(f"corpus: {nearest(name, self.known, what=what)}")

    def judged(self, values: Mapping[str, Any]) -> Found:
        name = values.get("name", self.name)
        rows = (mirrored if self.ops else rows_of)(name)
        if self.ops:
            from evidence.corpus.ops import wrong

            bad = wrong(rows)
        else:
            bad = [row for row in told(rows) if row.status != "excepted"]
        tensors = [
            Tensor(str(name), str(row.sample), math.inf if row in bad else math.nan, math.nan,
                   str(row.status))
            for row in rows
        ]  # fmt: skip
        counted = f"{len(rows)} samples, {len(bad)} of them do not agree"
        if not bad and all(row.status != "agree" for row in rows):
            return Found(INCOMPLETE, f"Nothing of {name} is hand-written and could be judged.",
                         tensors=tensors)  # fmt: skip
        return Found(DISAGREE if bad else AGREE, f"{counted}.", tensors=tensors)

    def command(self, values: Mapping[str, Any]) -> list[str]:
        words = ["corpus", str(values.get("name", self.name))]
        return [*words, "--ops"] if self.ops else words
