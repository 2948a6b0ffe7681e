"""The mutation score that documents quote: of each module, the counts of its very source.

`python -m evidence.mutation.record` writes what they quote between the marks of README.md and
docs/mutation.md: the sum over the modules whose source is as it was when they were counted.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compare.errors import UserError
from evidence.mutation.sources import modules, source_print

if TYPE_CHECKING:
    from evidence.mutation.score import Score

FILE = Path(str(files("evidence.mutation"))) / "score.json"
PAGES = ("README.md", "docs/mutation.md")
MARKS = re.compile(r"(<!-- (score|table): begin -->).*?(<!-- \2: end -->)", re.DOTALL)
COUNTS = ("mutants", "killed", "equivalent")
Entries = Mapping[str, dict[str, Any]]  # of modules, as `manual.linear`


def record(score: Score, counted: Sequence[str], file: Path = FILE) -> None:
    """Write down the counts of the modules whose mistakes are all caught.

    Args:
        score: of whole modules.
        counted: which ones those are.
        file: what holds them and others.

    Raises:
        UserError: mistakes survived in some; of those nothing is written.
    """
    bad = Counter(o.mutant.module for o in (*score.survivors, *score.contradicted))
    fine = [name for name in counted if name not in bad]
    found = score.counted("module")
    about = {"seed": score.seed, "date": date.today().isoformat(), "numpy": version("numpy"),
             "torch": version("torch")}  # fmt: skip
    new = {
        name: {"source": source_print(name), **{k: found.get(name, Counter())[k] for k in COUNTS}}
        | about
        | {"classes": _classes(score, name)}
        for name in fine
    }
    _write(recorded(file) | new, file)
    if bad:
        told = ", ".join(f"{name} {n}" for name, n in bad.items())
        raise UserError(
            f"--record: nothing was written of the modules with mistakes that survive or that the "
            f"list calls equivalent and a check tells apart ({told}). Catch those first. Written: "
            f"{len(fine)} of {len(counted)} modules."
        )


def _classes(score: Score, module: str) -> dict[str, int]:
    """Count a module's caught mistakes by class."""
    owners = (o.mutant.function.partition(".")[0] for o in score.killed
              if o.mutant.module == module)  # fmt: skip
    return dict(sorted(Counter(name for name in owners if name[:1].isupper()).items()))


def _write(entries: Entries, file: Path) -> None:
    lines = [f"{json.dumps(name)}: {json.dumps(entries[name])}" for name in sorted(entries)]
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


def recorded(file: Path = FILE) -> dict[str, dict[str, Any]]:
    """Return what was written down of each module, of whatever source."""
    return json.loads(file.read_text("utf-8")) if file.exists() else {}


def valid(file: Path = FILE) -> dict[str, dict[str, Any]]:
    """Return what was written down of the modules whose source is the same now."""
    found = recorded(file)
    return {name: found[name] for name in modules()
            if name in found and found[name]["source"] == source_print(name)}  # fmt: skip


def score_line(entries: Entries, every: Sequence[str]) -> str:
    """Return the score in a few words.

    >>> entry = {"mutants": 3, "killed": 2, "equivalent": 1}
    >>> score_line({"manual.linear": entry}, ["manual.linear", "manual.graph"])
    '**2 of 2** in 1 of 2 modules'
    """
    mutants, killed, equivalent = (sum(e[k] for e in entries.values()) for k in COUNTS)
    share = f"{len(entries)} of {len(every)}" if len(entries) < len(every) else f"all {len(every)}"
    return f"**{killed:,} of {mutants - equivalent:,}** in {share} modules"


def section(entries: Entries, every: Sequence[str]) -> str:
    """Return the score with its table by package, and which modules it does not count."""
    mutants, _, equivalent = (sum(e[k] for e in entries.values()) for k in COUNTS)
    days, torch, numpy = (
        " and ".join(sorted({e[k].partition("+")[0] for e in entries.values()}))
        for k in ("date", "torch", "numpy")
    )
    lines = [
        f"{score_line(entries, every)} of `manual/` that hold formulas; {equivalent:,} of "
        f"{mutants:,} mutants are no mistakes (below).",
        f"From `handgrad mutate --seed 0 --record`, {days}, torch {torch}, NumPy {numpy}.",
        "",
        "| module or package of manual/ | modules | mutants | caught | equivalent |",
        "| --- | --: | --: | --: | --: |",
        *_rows(entries, every),
    ]
    missing = [name.partition(".")[2] for name in every if name not in entries]
    if missing:
        told = (
            "Not counted, being new, or changed since they were, or with mistakes that no check "
            f"has caught yet: {', '.join(missing)}."
        )
        lines += ["", *textwrap.wrap(told, 110, break_on_hyphens=False)]
    return "\n".join(lines)


def _rows(entries: Entries, every: Sequence[str]) -> list[str]:
    packages: dict[str, list[str]] = {}
    for name in every:
        packages.setdefault(name.split(".")[1], []).append(name)
    rows = []
    for package, names in packages.items():
        held = [entries[name] for name in names if name in entries]
        share = str(len(held)) if len(held) == len(names) else f"{len(held)} of {len(names)}"
        counts = [f"{sum(e[k] for e in held):,}" for k in COUNTS]
        rows.append(f"| {' | '.join([package, share, *counts])} |")
    return rows


def quoted(page: str) -> str:
    """Return a page with what it quotes between its marks."""
    entries, every = valid(), modules()
    told = {"score": score_line(entries, every), "table": f"\n{section(entries, every)}\n"}
    return MARKS.sub(lambda found: f"{found[1]}{told[found[2]]}{found[3]}", page)


if __name__ == "__main__":
    for path in (FILE.parents[2] / page for page in PAGES):
        path.write_text(quoted(path.read_text("utf-8")), "utf-8")
