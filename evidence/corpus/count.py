"""Every sample judged: agree, or why not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from compare.judge.judge import VERDICTS, judge
from evidence.corpus import optimizers
from evidence.corpus.ledger import excepted
from evidence.corpus.samples import Sample, refusals, samples
from evidence.corpus.sides import Sides, both, refused
from manual import registry

__all__ = ["STATUSES", "Row", "rows"]

STATUSES = (
    "agree", "excepted", "disagree", "raised", "empty", "vacuous", "non-finite", "refused",
    "accepted",
)  # fmt: skip


class Row(NamedTuple):
    """One sample, and what became of it.

    `status` is one of STATUSES: `empty` where there is no number to compare, `vacuous`
    where zeros would have passed everywhere, `non-finite` where
    both sides are it alike, everywhere, `refused` or `accepted` of a call that torch refuses.
    """

    module: str
    corpus: str
    sample: str
    status: str
    reason: str = ""


def rows(module: str) -> Iterator[Row]:
    """Judge every sample of a class; nothing is yielded for one that is not hand-written."""
    if module in registry.OPTIMIZERS:
        for found in optimizers.rows(module):
            yield _ledgered(Row(module, "optim_db", *found))
        return
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
            own, torch = sides.ours[key].dtype, sides.theirs[key].dtype
            return "disagree", f"{key.quantity} is {own}, torch's {torch}"
    if not any(v.size for v in sides.theirs.values()):
        same = all(sides.ours[k].shape == sides.theirs[k].shape for k in keys)
        return ("empty", "") if same else ("disagree", "empty, and of another shape")
    filled = [k for k in keys if sides.theirs[k].size or sides.ours[k].size]
    ours, theirs, tolerances = ({k: side.get(k, 0.0) for k in filled} for side in sides)
    wild = [k for k in filled if not np.isfinite(theirs[k]).all()]
    alike = {k for k in wild if np.array_equal(_kinds(ours[k]), _kinds(theirs[k]))}
    filled = [k for k in filled if k not in alike]
    if not filled:
        return "non-finite", f"{', '.join(k.quantity for k in wild)}, on both sides alike"
    found = judge(filled, ours, theirs, tolerances)
    for key, code, worst in zip(found.keys, found.verdicts, found.measures.budget, strict=True):
        if VERDICTS[code] not in ("agree", "vacuous"):
            return "disagree", f"{key.quantity}: {VERDICTS[code]}, {worst:.3g} of its budget"
    if "agree" not in VERDICTS[found.verdicts]:
        return "vacuous", "zeros would have passed everywhere"
    return "agree", ""


def _kinds(value: np.ndarray) -> np.ndarray:
    """Return 0 for a finite number, and for the others which one it is."""
    return np.where(np.isnan(value), 3, np.where(np.isinf(value), np.sign(value), 0))
