"""docs/catalogue.md: every hand-written class, where its derivation is, and what vouches for it.

`python -m evidence.catalogue` prints the page from what was recorded last: certificates, torch's
samples, mutants.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from compare.witness.fingerprint import fingerprint
from compare.witness.record import certified_digits
from evidence.corpus.ops import MEASURED
from evidence.corpus.ops import recorded as operations
from evidence.corpus.record import recorded as samples
from evidence.mutation.record import valid
from manual import registry

__all__ = ["page"]

HEAD = """\
# The catalogue

Every class that is derived by hand. The derivation is the docstring of `backward` (of an
optimiser's `update`). *Digits*: to how many decimal digits the gradients are certified in balls,
the fewest of all examples (`handgrad certify`). *Samples*: how many of those that torch {torch}
tests its own class with agree (`handgrad corpus`). *Mutants*: small mistakes planted in the class's
methods, all of which a check rejects (`handgrad mutate`). This page is printed by
`python -m evidence.catalogue`.
"""
KINDS = {
    "by hand": "are by hand", "partly by hand": "partly", "by torch": "are left to torch",
    "silent": "show no gradient that counts",
}  # fmt: skip
ROW = "| {} | {} | {} | {} | {} | {} |"


def page() -> str:
    """Return the page."""
    found = samples()
    mutants = {name: entry["classes"] for name, entry in valid().items()}
    parts = [HEAD.format(torch=found.get("torch", "").partition("+")[0])]
    for title, classes in _families().items():
        parts += [f"## {title}\n", ROW.format(
            "class", "what it computes", "source", "digits", "samples", "mutants"
        ), ROW.format("---", "---", "---", "--:", "--:", "--:")]  # fmt: skip
        parts += [_row(cls, found, mutants) for cls in classes]
        parts.append("")
    if summary := found.get("summary"):
        every, written = summary["macro"], summary["macro of the hand-written"]
        parts.append(
            f"{summary['hand-written']} of the {summary['modules']} classes of torch.nn and "
            "torch.optim that have samples; the share that agrees, averaged over all of them: "
            f"{every:.3f}, over the hand-written ones: {written:.3f}.\n"
        )
    return "\n".join([*parts, *_operations(operations())])


def _operations(found: dict[str, Any]) -> list[str]:
    """Return what is said of torch's operations; nothing without a record."""
    if not found:
        return []
    named: dict[str, list[str]] = {}
    for row in found["rows"]:
        named.setdefault(row["all"], []).append(row["operation"])
    sums = found["summary"]
    same = found["sources"] == fingerprint(*MEASURED)
    counts = {kind: len(named.get(kind, ())) for kind in KINDS}
    lines = [
        "## Torch's operations in a mirror\n",
        f"{sums['operations']} differentiable operations have samples in torch "
        f"{found['torch'].partition('+')[0]}; each was mirrored on every one of them, "
        f"{sums['samples']:,} in all (`handgrad corpus --ops --record`). "
        + ", ".join(f"{counts[kind]} {told}" for kind, told in KINDS.items())
        + f". {sums['samples excepted']} samples are excepted in writing."
        + ("\n" if same else " The sources have changed since it was counted.\n"),
    ]
    for kind in [kind for kind in KINDS if kind != "by hand" and counts[kind]]:
        names = ", ".join(f"`{name}`" for name in named[kind])
        lines.append(f"{kind.capitalize()}: {names}.\n")
    return lines


def _families() -> dict[str, list[type]]:
    """Return the classes by the first line of the package or module that they are in."""
    found: dict[str, list[type]] = {}
    tables: dict[str, Any] = {
        **registry.KINDS,
        "optimizer": registry.OPTIMIZERS,
        "schedule": registry.SCHEDULES,
    }
    for cls in (cls for table in tables.values() for cls in table.values()):
        home = ".".join(cls.__module__.split(".")[:2])
        told = inspect.getdoc(importlib.import_module(home)) or home
        found.setdefault(told.partition("\n")[0].rstrip("."), []).append(cls)
    return found


def _row(cls: type, found: dict[str, Any], mutants: dict[str, dict[str, int]]) -> str:
    name = cls.__name__
    file = Path(inspect.getsourcefile(cls) or "").relative_to(Path(__file__).parents[1])
    told = (inspect.getdoc(cls) or "").partition("\n")[0].rstrip(".")
    digits = certified_digits().get(name, "")
    killed = mutants.get(cls.__module__, {}).get(name, "")
    link = f"[{name}](../{file.as_posix()})"
    return ROW.format(link, _cell(told), _cell(_source(cls)), digits, _agreed(name, found), killed)


def _source(cls: type) -> str:
    """Return what the derivation says after `Source:`, on one line."""
    for name in ("backward", "update", "factor"):
        told = inspect.getdoc(getattr(cls, name, None)) or ""
        if found := re.search(r"Source: (.*?)(?:\n\s*\n|\Z)", told, re.DOTALL):
            return " ".join(found[1].split()).rstrip(".")
    return ""


def _agreed(name: str, found: dict[str, Any]) -> str:
    rows: Iterator[dict[str, Any]] = (
        row for row in found.get("rows", ()) if row["module"] == name and row["corpus"] != "errors"
    )
    pairs = [(row["agree"], row["samples"] - row["empty"] - row["vacuous"]) for row in rows]
    agree, of = (sum(column) for column in zip(*pairs, strict=True)) if pairs else (0, 0)
    return f"{agree:,}" if agree == of and of else f"{agree:,} of {of:,}" if of else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(page(), end="")
