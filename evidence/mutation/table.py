"""The score for people: by module, by operator, what caught the mutants, and who got away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from evidence.mutation.operators import OPERATORS
from evidence.mutation.score import Score
from evidence.mutation.sources import Mutant
from evidence.mutation.worker import Outcome

COLUMNS = ("mutants", "killed", "survived", "equivalent")
VERDICTS = {
    "disagree": "a value or gradient beyond the tolerance that the gauge derives",
    "non-finite": "nan or inf",
    "missing": "a tensor that one side only returns",
    "vacuous": "a tolerance so wide that zeros would pass",
    "dtype": "a result of another dtype",
    "warning": "a floating-point warning, the values being right",
    "timeout": "no answer in time",
    "crash": "the process died",
}


def report(score: Score) -> str:
    """Return the whole result as text."""
    parts = [_modules(score), _operators(score), _causes(score), _survivors(score), summary(score)]
    return "\n\n".join(part for part in parts if part)


def summary(score: Score) -> str:
    """Return the score in one line."""
    mistakes = len(score.outcomes) - len(score.equivalent)
    return (
        f"{len(score.killed)} of {mistakes} mistakes caught, {_percent(score.score)}; "
        f"{len(score.equivalent)} of {len(score.outcomes)} mutants are no mistakes. "
        f"Seed {score.seed}, {score.seconds:.0f} s."
    )


def _percent(share: float) -> str:
    """Round down: 100 % is said of all only."""
    return f"{int(share * 10_000) / 100:g} %"


def _modules(score: Score) -> str:
    operators = score.operators()
    rows = [
        [name, *_counts(count), _told(operators[name])]
        for name, count in score.counted("module").items()
    ]
    return aligned(["module", *COLUMNS, "by operator"], rows)


def _operators(score: Score) -> str:
    counted = score.counted("operator")
    rows = [
        [name, *_counts(counted[name]), operator.summary]
        for name, operator in OPERATORS.items()
        if name in counted
    ]
    return aligned(["operator", *COLUMNS, "the mistake"], rows)


def _causes(score: Score) -> str:
    by = score.killed_by()
    rows = [[name, str(by[name]), what] for name, what in VERDICTS.items() if by[name]]
    raised = Counter({name: n for name, n in by.items() if name not in VERDICTS})
    if raised:
        rows.append(["exception", str(raised.total()), _told(raised)])
    where = {k or "before any check": n for k, n in score.killed_in().most_common()}
    seen = "First noticed in " + ", ".join(f"{k} {n}" for k, n in where.items()) + "."
    return aligned(["killed by", "", "what it is"], rows) + f"\n{seen}" if rows else ""


def _survivors(score: Score) -> str:
    told = [f"SURVIVED {_told_outcome(o)}" for o in score.survivors]
    told += [f"CALLED EQUIVALENT, YET KILLED {_told_outcome(o)}" for o in score.contradicted]
    return "\n\n".join(told)


def _told_outcome(outcome: Outcome) -> str:
    m = outcome.mutant
    lines = [f"{m.path}:{m.line} {m.function or 'module'} ({m.operator})", m.diff]
    if outcome.kill is not None:
        k = outcome.kill
        lines.append(f"by {k.by} in {k.dtype}: {k.check} {k.place}")
    elif not outcome.checks:
        lines.append("No check runs this function.")
    return "\n  ".join("\n".join(lines).split("\n"))


def listed(mutants: Iterable[Mutant]) -> str:
    """Return one line per mutant."""
    return "\n".join(
        f"{m.path}:{m.line} {m.function or 'module'} ({m.operator}): "
        f"{_one_line(m.before)}  ->  {_one_line(m.after)}"
        for m in mutants
    )


def _one_line(text: str) -> str:
    return " ⏎ ".join(text.split("\n"))


def _counts(counter: Counter) -> list[str]:
    return [str(counter[column]) for column in COLUMNS]


def _told(counter: Counter) -> str:
    return ", ".join(f"{name} {n}" for name, n in counter.most_common())


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align columns, numbers to the right; the last column runs on."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = []
    for row in (head, *rows):
        cells = [
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row[:-1], widths, strict=False))
        ]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    return "\n".join(lines)
