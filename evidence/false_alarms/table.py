"""The count as rows, and as text."""

from __future__ import annotations

from typing import Any

from compare.judge.judge import VERDICTS
from evidence.false_alarms.count import Count, Found, accepted
from evidence.false_alarms.mistakes import MISTAKES

Row = dict[str, Any]


def rows(counted: Count) -> list[Row]:
    """Return one row per dtype and rule; the first rule is the harness, and says more of itself."""
    return [
        _row(counted, dtype, position)
        for dtype in counted.dtypes
        for position in range(len(counted.rules))
    ]


def _row(counted: Count, dtype: str, position: int) -> Row:
    found = [f for f in counted.found if f.dtype == dtype]
    made = [(name, c[position]) for f in found for name, c in f.caught.items()]
    checked = [c[position] for f in found for n, c in f.caught.items() if n not in f.unchecked]
    row: Row = {
        "rule": counted.rules[position],
        "dtype": dtype,
        "networks": len(found),
        "networks_rejected": sum(bool(f.rejected[position]) for f in found),
        "tensors": sum(int(f.verdicts.sum()) for f in found),
        "tensors_rejected": sum(int(f.rejected[position]) for f in found),
        "mistakes": len(made),
        "caught": sum(c for _, c in made),
        "mistakes_checked": len(checked),  # in tensors that the harness does not call vacuous
        "caught_checked": sum(checked),
        "by_mistake": {
            kind: {
                "planted": sum(name == kind for name, _ in made),
                "caught": sum(c for name, c in made if name == kind),
            }
            for kind in MISTAKES
        },
    }
    return {**row, **_harness(counted, found)} if position == 0 else row


def _harness(counted: Count, found: list[Found]) -> Row:
    """Return what only the harness says: its verdicts, its budgets, what it left unchecked."""
    totals = sum((f.verdicts for f in found), start=0 * counted.found[0].verdicts)
    worst = max(found, key=lambda f: f.budget, default=None)
    return {
        "seed": counted.seed,
        "redrawn": sum(f.redrawn for f in found),
        "accepted": sum(map(accepted, found)),
        "verdicts": {str(name): int(n) for name, n in zip(VERDICTS, totals, strict=True)},
        "largest_budget": worst.budget if worst else 0.0,
        "largest_budget_at": f"network {worst.number}, {worst.worst}" if worst else "",
        "missed_in_vacuous": sum(
            not f.caught[name][0] for f in found for name in f.unchecked
        ),
        "inaccurate": [f"network {f.number}, {text}" for f in found for text in f.inaccurate],
        "alarms": [{"network": f.number, **alarm} for f in found for alarm in f.alarms],
    }  # fmt: skip


def table(all_rows: list[Row]) -> str:
    """Return the rows as aligned text: false alarms and catches, the harness's own, each kind."""
    parts = [_summary(all_rows)]
    parts += [_own(row) for row in all_rows if "verdicts" in row]
    return "\n\n".join([*parts, _kinds(all_rows)])


def _summary(all_rows: list[Row]) -> str:
    import pandas as pd

    shown = [
        {
            "dtype": r["dtype"],
            "rule": r["rule"],
            "networks falsely rejected": f"{r['networks_rejected']:,} of {r['networks']:,}",
            "tensors falsely rejected": f"{r['tensors_rejected']:,} of {r['tensors']:,}",
            "mistakes caught": _share(r["caught"], r["mistakes"]),
            "not in vacuous tensors": _share(r["caught_checked"], r["mistakes_checked"]),
        }
        for r in all_rows
    ]
    return pd.DataFrame(shown).to_string(index=False)


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({100 * part / max(whole, 1):.2f} %)"


def _own(row: Row) -> str:
    verdicts = ", ".join(f"{count:,} {name}" for name, count in row["verdicts"].items())
    missed = row["mistakes"] - row["caught"]
    lines = [
        f"{row['dtype']}, {row['rule']}: {verdicts}.",
        f"  Largest share of a tolerance in correct code: {100 * row['largest_budget']:.3g} % "
        f"({row['largest_budget_at']}).",
        f"  {missed:,} mistakes missed, {row['missed_in_vacuous']:,} of them in a tensor reported "
        "as vacuous.",
        f"  {row['redrawn']:,} networks were drawn again, because torch's own values overflow.",
    ]
    lines += [f"  Torch lost digits, not counted: {text}." for text in row["inaccurate"]]
    return "\n".join([*lines, *_false_alarms(row["alarms"])])


def _false_alarms(alarms: list[Row]) -> list[str]:
    """Return a line per network: where it began, and how far off that was."""
    lines = []
    for network in dict.fromkeys(a["network"] for a in alarms):
        first, *more = [a for a in alarms if a["network"] == network]
        lines.append(
            f"  FALSE ALARM: network {network}, step {first['step']}, "
            f"{first['layer']}.{first['quantity']}: {first['verdict']}, "
            f"{100 * first['budget_used']:.3g} % of the tolerance"
            + (f", and {len(more)} tensors more" if more else "")
        )
    return lines


def _kinds(all_rows: list[Row]) -> str:
    """Return how many of each kind were planted, and each rule's share of them."""
    import pandas as pd

    shown = []
    for dtype in dict.fromkeys(r["dtype"] for r in all_rows):
        some = [r for r in all_rows if r["dtype"] == dtype]
        for kind, first in some[0]["by_mistake"].items():
            if planted := first["planted"]:
                shares = {
                    r["rule"]: _percent(r["by_mistake"][kind]["caught"], planted) for r in some
                }
                shown.append({"dtype": dtype, "mistake": kind, "planted": planted, **shares})
    return pd.DataFrame(shown).to_string(index=False)


def _percent(caught: int, planted: int) -> str:
    """Return a share; 100 % only when all were caught."""
    share = 100 * caught / planted
    return "100 %" if caught == planted else f"{min(share, 99.9):.1f} %"
