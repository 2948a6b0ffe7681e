"""Every sample judged: agree, or why not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from compare.judge.judge import VERDICTS, judge
from compare.judge.quantities import Key
from evidence.corpus.ledger import excepted
from evidence.corpus.samples import CORPORA, Sample, refusals, samples
from evidence.corpus.sides import Sides, both, refused
from manual import registry

__all__ = ["Row", "count", "rows"]

STATUSES = ("agree", "excepted", "disagree", "raised")


class Row(NamedTuple):
    """One sample: `status` is one of STATUSES, or `refused`/`accepted` of a call torch refuses."""

    module: str
    corpus: str
    sample: str
    status: str
    reason: str = ""


def rows(module: str) -> Iterator[Row]:
    """Judge every sample of a module; nothing is yielded for a class that is not hand-written."""
    cls = registry.find(module)
    if cls is None:
        return
    for sample in samples(module):
        yield _ledgered(Row(module, sample.corpus, sample.name, *_judged(cls, sample)))
    for call in refusals(module):
        status = "refused" if refused(cls, call) else "accepted"
        yield _ledgered(Row(module, "errors", call.name, status))


def _ledgered(row: Row) -> Row:
    why = excepted(row)
    return row if why is None else row._replace(status="excepted", reason=f"{row.reason}: {why}")


def _judged(cls: Any, sample: Sample) -> tuple[str, str]:
    try:
        with np.errstate(all="ignore"):
            sides = both(cls, sample)
            return _verdict(sides)
    except Exception as error:  # whatever a hand-written class raises is the finding
        return "raised", f"{type(error).__name__}: {error}"


def _verdict(sides: Sides) -> tuple[str, str]:
    keys = list(sides.theirs)
    if set(sides.ours) != set(keys):
        only = {*sides.ours} ^ {*keys}
        return "disagree", f"one side has {', '.join(sorted(k.quantity for k in only))}"
    for key in keys:
        if sides.ours[key].dtype != sides.theirs[key].dtype:
            found = sides.ours[key].dtype, sides.theirs[key].dtype
            return "disagree", f"{key.quantity} is {found[0]}, torch's {found[1]}"
    if not any(v.size for v in sides.theirs.values()):
        return "disagree", "nothing to compare: every tensor is empty"
    filled = [k for k in keys if sides.theirs[k].size or sides.ours[k].shape != sides.theirs[k].shape]
    found = judge(filled, *({k: side[k] for k in filled} for side in sides))
    for key, code, worst in zip(found.keys, found.verdicts, found.measures.budget, strict=True):
        if VERDICTS[code] not in ("agree", "vacuous"):
            return "disagree", f"{key.quantity}: {VERDICTS[code]}, {worst:.3g} of its budget"
    return "agree", ""
