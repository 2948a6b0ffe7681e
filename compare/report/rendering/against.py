"""What a report says of a second torch: who moved, in words, tables and one drawing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from compare.explaining import format as fmt
from compare.report.against import ALL, FURTHER, HAND, MOVED, OFF, OTHER, SAME, STATUSES, THIS

if TYPE_CHECKING:
    from compare.report.against import Against, MovedTensor

TOLD = {
    SAME: "both torches have the same bits at every step",
    MOVED: "the torches differ, by less than the tolerance",
    FURTHER: "the torches differ by more than one tolerance, and each is within it of the "
    "hand-written side, or took another piece at a kink",
    OTHER: "the other torch is beyond the tolerance of the hand-written side, this one is not",
    THIS: "this torch is beyond the tolerance of the hand-written side, the other one is not",
    HAND: "both torches are beyond the tolerance of the hand-written side, and agree with each "
    "other",
    ALL: "no two of the three agree",
}

__all__ = ["TOLD", "against_dict", "counted", "furthest", "lines", "named", "reason"]


def named(found: Against) -> tuple[str, str]:
    """Return what this torch and the other one are called."""
    other = f"{fmt.name(found.there['torch'])}; {fmt.name(found.other)}"
    return f"this torch ({found.here['torch']})", f"the other torch ({other})"


def counted(tensors: Sequence[MovedTensor]) -> dict[str, int]:
    """Return how many tensors have each status, gravest first."""
    counts = Counter(tensor.status for tensor in tensors)
    return {status: counts[status] for status in STATUSES if counts[status]}


def furthest(tensors: Sequence[MovedTensor], most: int) -> list[MovedTensor]:
    """Return those that moved, gravest and furthest first."""
    moved = [tensor for tensor in tensors if tensor.status != SAME]
    return sorted(moved, key=lambda t: (STATUSES.index(t.status), -_number(t.between)))[:most]


def reason(found: Against) -> str:
    """Return the verdict's reason, for both torches, in a few sentences."""
    this, that = found.this, found.that
    here, there = named(found)
    if {this.verdict, that.verdict} == {"agree"}:
        same = "" if found.differing else " Nothing that torch tells of differs between them."
        return f"Both torches agree with the hand-written side. {_capital(_how_far(found))}{same}"
    if that.verdict == "disagree" and this.verdict != "disagree":
        blamed = _first(found, OTHER)
        return (
            f"The other torch moved{blamed}: {there} disagrees with the hand-written side, "
            f"{here} {_told(this.verdict)}. {that.reason}"
        )
    if this.verdict == "disagree" and that.verdict != "disagree":
        blamed = _first(found, THIS)
        return (
            f"This torch moved{blamed}: {here} disagrees with the hand-written side, {there} "
            f"{_told(that.verdict)}. {this.reason}"
        )
    if this.verdict == that.verdict == "disagree":
        return f"{_both(found)} {this.reason}"
    told = [f"{_capital(name)}: {report.reason}" for name, report in ((here, this), (there, that))]
    return " ".join(told)


def parts_first(found: Against) -> str:
    """Say where the other torch parts from the hand-written side first; "" if it does not."""
    first = found.that.first_divergence
    if first is None:
        return ""
    step, layer, quantity = first.row
    where = f", element {first.worst_index}" if first.worst_index else ""
    text = f"{fmt.place(step, layer, quantity)}{where}: "
    text += f"hand-written {fmt.exact(first.manual)}, the other torch {fmt.exact(first.torch)}."
    mine = found.this.first_divergence
    if mine is not None and mine.row == first.row:
        return f"{text} So does this torch."
    if first.own_or_inherited == "own":
        text += (
            f" Run by itself over there, on the same numbers, layer {fmt.name(first.layer)} "
            f"({fmt.name(first.layer_type)}) is still off."
        )
    return text


def lines(found: Against) -> list[str]:
    """Return the second torch in a terminal: what differs, who moved, and what moved most."""
    tensors = found.tensors()
    differing = [f"{k} {fmt.name(b)} (here {fmt.name(a)})" for k, (a, b) in _shown(found)]
    told = "; ".join(differing) or "nothing that torch tells of"
    counts = ", ".join(f"{status} {n:,}" for status, n in counted(tensors).items())
    first = [f"Against {fmt.name(found.other)}: {told}", f"Who moved, by tensors: {counts}"]
    first += [f"The other torch parts first: {told}"] if (told := parts_first(found)) else []
    rows = [
        (fmt.name(t.layer), fmt.name(t.quantity), t.status, *map(fmt.budget, t[2:5]))
        for t in furthest(tensors, 5)
    ]
    if not rows:
        return first
    head = ("layer", "quantity", "who", "hand − this", "hand − other", "this − other")
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    table = [
        "  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]
    return [*first, *table]


def against_dict(found: Against | None) -> dict[str, Any] | None:
    """Return what verdict.json says; None of a run with one torch."""
    if found is None:
        return None
    tensors = found.tensors()
    sides = (("this", found.this, found.here), ("other", found.that, found.there))
    return {
        "other": found.other,
        "differing": {name: list(pair) for name, pair in found.differing.items()},
        **{
            side: {
                "verdict": report.verdict,
                "reason": report.reason,
                "steps": report.steps,
                "first": _first_row(report),
                "torch": facts,
            }
            for side, report, facts in sides
        },
        "counts": {status: counted(tensors).get(status, 0) for status in STATUSES},
        "moved": [tensor._asdict() for tensor in furthest(tensors, len(tensors))],
    }


def _first_row(report: Any) -> dict[str, Any] | None:
    first = report.first_divergence
    if first is None:
        return None
    step, layer, quantity = first.row
    return {
        "step": step, "layer": layer, "quantity": quantity, "index": first.worst_index,
        "manual": first.manual, "torch": first.torch,
    }  # fmt: skip


def _how_far(found: Against) -> str:
    """Say how many tensors moved, and how far."""
    tensors = found.tensors()
    same = sum(tensor.status == SAME for tensor in tensors)
    moved = furthest(tensors, len(tensors))
    if not moved:
        return f"all {same:,} tensors are the same in both, bit for bit."
    most = max(moved, key=lambda t: _number(t.between))
    return (
        f"{same:,} of {len(tensors):,} tensors are the same in both, bit for bit; "
        f"{len(moved):,} moved, furthest {fmt.name(most.quantity)} in layer "
        f"{fmt.name(most.layer)}: by {fmt.budget(most.between)} of its tolerance."
    )


def _first(found: Against, status: str) -> str:
    """Name the first tensor that is off, in the order in which a step computes."""
    off = [tensor for tensor in found.tensors() if tensor.status == status]
    if not off:
        return ""
    more = f" and in {len(off) - 1:,} more tensors" if len(off) > 1 else ""
    return f" in {fmt.name(off[0].quantity)} of layer {fmt.name(off[0].layer)}{more}"


def _both(found: Against) -> str:
    counts = counted(found.tensors())
    off = sum(counts.get(status, 0) for status in OFF)
    together = counts.get(HAND, 0)
    if together == off:
        return (
            f"Both torches disagree with the hand-written side, and agree with each other in all "
            f"{off:,} of these tensors: look for the mistake in the hand-written side."
        )
    return (
        f"Both torches disagree with the hand-written side, and agree with each other in "
        f"{together:,} of {off:,} of these tensors."
    )


def _told(verdict: str) -> str:
    return {"agree": "agrees", "disagree": "disagrees"}.get(verdict, "cannot be judged")


def _shown(found: Against) -> list[tuple[str, tuple[str, str]]]:
    """Return what differs, for people: a path only where nothing else tells the two apart."""
    pairs = list(found.differing.items())
    short = [pair for pair in pairs if pair[0] != "interpreter"]
    return short or pairs


def _number(value: float) -> float:
    return value if value == value else float("inf")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
