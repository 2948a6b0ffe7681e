"""The counts of named causes for people."""

from __future__ import annotations

from collections import Counter

from evidence.mutation.naming.count import APART, RIGHT, SILENT, WRONG, Count, Naming
from evidence.mutation.table import aligned

HEAD = ["", "mutants", "right", "wrong", "silent", "named", "right of named", "apart"]
SHOWN = 5  # wrong names shown in full


def report(count: Count) -> str:
    """Return the tables: by operator, by module, by kind of cause; then the totals."""
    parts = [
        _table(count, "operator"), _table(count, "module"), _kinds(count), _wrong(count),
        _apart(count), summary(count),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part)


def summary(count: Count) -> str:
    """Return the result in one line."""
    right = count.totals[RIGHT]
    return (
        f"Of {count.counted} mistakes that run and disagree, {count.named} are named "
        f"({_share(count.named, count.counted)}), {right} of them rightly "
        f"({_share(right, count.named)}); {count.totals[SILENT]} are not named. The same names "
        f"dealt out at random would be right for {100 * count.by_chance:.0f} %. "
        f"Seed {count.seed}, {count.seconds:.0f} s."
    )


def _table(count: Count, what: str) -> str:
    rows = [_row(name.removeprefix("manual."), c) for name, c in count.by(what).items()]
    return aligned([what, *HEAD[1:]], [*rows, _row("all", count.totals)])


def _row(name: str, counter: Counter[str]) -> list[str]:
    named = counter[RIGHT] + counter[WRONG]
    total = named + counter[SILENT]
    shares = [_share(named, total), _share(counter[RIGHT], named)]
    numbers = [total, *(counter[r] for r in (RIGHT, WRONG, SILENT))]
    return [name, *map(str, numbers), *shares, str(sum(counter[a] for a in APART))]


def _kinds(count: Count) -> str:
    rows = [
        [kind, str(c[RIGHT] + c[WRONG]), str(c[RIGHT]), str(c[WRONG])]
        for kind, c in count.by("kind").items()
        if kind
    ]
    return aligned(["named cause", "named", "right", "wrong"], rows) if rows else ""


def _wrong(count: Count) -> str:
    wrong = [n for n in count.namings if n.result == WRONG]
    if not wrong:
        return ""
    also = sum(n.also_right for n in wrong)
    lines = [f"Wrong names: {len(wrong)}; in {also} of them a right one is said to fit as well."]
    lines += [_told(n) for n in wrong[:SHOWN]]
    if len(wrong) > SHOWN:
        lines.append("  All of them: --json.")
    return "\n".join(lines)


def _told(naming: Naming) -> str:
    m, cause = naming.mutant, naming.cause
    assert cause is not None
    change = "\n    ".join(m.diff.split("\n"))
    return f"  {m.path}:{m.line} {m.function} ({m.operator})\n    {change}\n    {cause.kind}: " \
           f"{cause.evidence}"  # fmt: skip


def _apart(count: Count) -> str:
    lines = [f"  {count.totals[name]:6}  {name}: {what}" for name, what in APART.items()]
    return "\n".join(["Counted apart, not named and not counted as silent:", *lines])


def _share(part: int, whole: int) -> str:
    """Round down: 100 % is said of all only."""
    return f"{int(1000 * part / whole) / 10:g} %" if whole else "–"
