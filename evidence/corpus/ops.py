"""Torch's operations in a mirror: each differentiable one of op_db on torch's own samples of it.

A sample is a module that does nothing but the operation. It is captured, taken apart, run beside
its hand-written twin and judged as any model is.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from compare.errors import UserError
from compare.witness.fingerprint import fingerprint
from evidence.corpus.count import Row
from evidence.corpus.ledger import excepted
from evidence.corpus.record import check_ledger
from evidence.corpus.samples import SEED, flags_kept

__all__ = [
    "COLUMNS", "as_dict", "by_name", "names", "operations", "record", "recorded", "refuse_partial",
    "rows", "strided", "summary", "table", "taken", "wrong",
]  # fmt: skip

COLUMNS = ("by hand", "by torch", "disagree", "excepted", "raised", "silent")
HEAD = ["operation", "samples", "all", *COLUMNS]
MEASURED = (  # what decides about an operation; classes are of the other record
    "manual/gates", "compare/pair/mirror", "evidence/corpus/ops.py",
)  # fmt: skip
FILE = Path(str(files("evidence.corpus"))) / "ops.json"
NOTHING = "A graph needs at least one node"
NO_GRADIENT = (
    "has a gradient",
    "requires a gradient",
    "has no elements",
)  # in what a mirror refuses


class Operation(nn.Module):
    """One call of an operation.

    Args:
        call: the function.
        args, kwargs: with a `Place` where an input of forward goes.
    """

    def __init__(self, call: Any, args: tuple, kwargs: dict[str, Any]) -> None:
        super().__init__()
        self.call, self.args, self.kwargs = call, args, kwargs

    def forward(self, *inputs: Tensor) -> Any:
        def given(x: Any) -> Any:
            return inputs[x.number] if isinstance(x, Place) else x

        args, kwargs = tree_map(given, (self.args, self.kwargs))
        return self.call(*args, **kwargs)


class Place:
    """Stands for an input."""

    def __init__(self, number: int) -> None:
        self.number = number


@cache
def operations() -> dict[str, list[Any]]:
    """Return the differentiable entries of op_db by name."""
    with flags_kept():
        from torch.testing._internal.common_methods_invocations import op_db

    found: dict[str, list[Any]] = {}
    for info in op_db:
        if info.supports_autograd and torch.float64 in info.dtypes:
            found.setdefault(info.name, []).append(info)
    return found


def names() -> list[str]:
    """Return the operations that torch has samples of, in float64 and with a gradient."""
    return sorted(operations())


def rows(name: str, most: int | None = None) -> Iterator[Row]:
    """Judge every sample of an operation, or of each of its variants the first `most`."""
    for info in operations()[name]:
        torch.manual_seed(SEED)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for i, sample in enumerate(info.sample_inputs("cpu", torch.float64, True)):
                if i == most:
                    break
                row = Row(
                    name, "ops", f"{info.variant_test_name} {i}".strip(), *_judged(info, sample)
                )
                yield _ledgered(row)


def _ledgered(row: Row) -> Row:
    why = excepted(row) if row.status in ("disagree", "raised") else None
    return row if why is None else row._replace(status="excepted", reason=f"{row.reason}: {why}")


def _judged(info: Any, sample: Any) -> tuple[str, str]:
    """Return what became of a sample: one of COLUMNS, and why."""
    import compare

    operation, inputs = taken(info, sample)
    try:
        found = operation(*(x.detach().clone() for x in inputs))
    except Exception as error:  # a view of memory that a copy does not share
        return "silent", f"torch refuses: {error}"
    if not any(x.numel() for x in inputs):
        return "silent", "inputs without elements"
    if not strided((inputs, found)):
        return "silent", "sparse"
    try:
        report = compare.mirror(operation, inputs, seed=SEED)
    except UserError as error:
        said = str(error)
        return ("silent", "") if any(part in said for part in NO_GRADIENT) else ("raised", said)
    except Exception as error:
        if NOTHING in str(error):  # a conversion, which one dtype leaves out
            return "silent", "its input itself"
        return "raised", f"{type(error).__name__}: {error}"
    theirs = [layer for layer in report.torch_layers if not layer.startswith("upstream")]
    if report.verdict == "disagree":
        return "disagree", report.reason
    if theirs:
        return "by torch", ", ".join(theirs)
    return ("by hand" if report.verdict == "agree" else "silent"), report.reason


def strided(tree: Any) -> bool:
    """Return whether all tensors lie in memory as arrays do."""
    return all(t.layout == torch.strided for t in tree_leaves(tree) if isinstance(t, Tensor))


def taken(info: Any, sample: Any) -> tuple[Operation, tuple[Tensor, ...]]:
    """Return a sample as a module and its inputs: the tensors that have a gradient."""
    given = ((sample.input, *sample.args), dict(sample.kwargs))
    found: dict[int, Tensor] = {
        id(t): t for t in tree_leaves(given) if isinstance(t, Tensor) and t.requires_grad
    }
    places = {key: Place(i) for i, key in enumerate(found)}

    def placed(x: Any) -> Any:
        return places.get(id(x), x.detach()) if isinstance(x, Tensor) else x

    args, kwargs = tree_map(placed, given)
    return Operation(info.op, args, kwargs), tuple(found.values())


# ── counted ──────────────────────────────────────────────────────────────────────────────────────
def by_name(found: Iterable[Row]) -> pd.DataFrame:
    """Return a line per operation: samples, how many of each kind, and what the operation is."""
    counted: dict[str, Counter[str]] = {}
    for row in found:
        counted.setdefault(row.module, Counter())[row.status] += 1
    lines = [
        {"operation": name, "samples": c.total(), "all": _all(c)} | {k: c[k] for k in COLUMNS}
        for name, c in sorted(counted.items())
    ]
    return pd.DataFrame(lines, columns=HEAD)


def _all(found: Counter[str]) -> str:
    """Return what an operation is as a whole: by hand only where every sample with a number is."""
    for bad in ("raised", "disagree"):
        if found[bad]:
            return bad
    if found["by hand"]:
        return "partly by hand" if found["by torch"] else "by hand"
    return "by torch" if found["by torch"] else "silent"


def summary(found: Iterable[Row]) -> dict[str, int]:
    """Return how many operations are by hand, partly, by torch, and how many samples."""
    return summed(by_name(found))


def summed(lines: pd.DataFrame) -> dict[str, int]:
    """Return the sums over operations' lines."""
    counts = {str(k): int(n) for k, n in lines["all"].value_counts().items()}
    samples = {f"samples {name}": int(lines[name].sum()) for name in COLUMNS}
    return {"operations": len(lines), **counts, "samples": int(lines["samples"].sum()), **samples}


def wrong(found: Iterable[Row]) -> list[Row]:
    """Return the samples that neither agree nor are excepted in writing."""
    return [row for row in found if row.status in ("disagree", "raised")]


def as_dict(found: Sequence[Row]) -> dict[str, Any]:
    """Return what `handgrad corpus --ops --json` prints."""
    return {
        "rows": by_name(found).to_dict(orient="records"),
        "summary": summary(found),
        "wrong": [row._asdict() for row in wrong(found)],
    }


def table(found: Sequence[Row]) -> str:
    """Return the counts, what is wrong, and the sums, as text."""
    lines = by_name(found)
    parts = [lines.to_string(index=False)] if len(lines) else []
    parts += [f"{row.module} {row.sample}: {row.status}. {row.reason}" for row in wrong(found)]
    parts.append(", ".join(f"{key}: {n:,}" for key, n in summary(found).items()))
    return "\n".join(parts)


def record(found: Sequence[Row], names: Sequence[str] = (), file: Path = FILE) -> None:
    """Write the counts of operations down, whole, or of `names` beside the others as they are.

    Of an operation with a sample that is not right nothing is written; all others are.

    Raises:
        UserError: after writing: a sample is not right, or an exception in writing does not occur.
    """
    refuse_partial(names, file)
    bad = sorted({row.module for row in wrong(found)})
    ran = {row.module for row in found}
    kept = [row for row in recorded(file).get("rows", ()) if names and row["operation"] not in ran]
    new = by_name(row for row in found if row.module not in bad).to_dict(orient="records")
    rows = sorted([*kept, *new], key=lambda row: row["operation"])
    about = {"torch": version("torch"), "sources": fingerprint(*MEASURED), "left out": bad}
    told = {**about, "summary": summed(pd.DataFrame(rows, columns=HEAD)), "rows": rows}
    file.write_text(json.dumps(told, indent=1) + "\n")
    if bad:
        raise UserError(
            f"--record: nothing was written of {', '.join(bad)}, which is not right (above); of "
            f"{len(rows)} operations it was. Mend that, then: handgrad corpus --ops --record "
            f"{' '.join(bad)}"
        )
    check_ledger(found, ops=True, of=ran)


def refuse_partial(names: Sequence[str], file: Path = FILE) -> None:
    """Raise UserError if a few operations cannot be written beside what is recorded."""
    found = recorded(file)
    if names and found.get("sources") != fingerprint(*MEASURED):
        raise UserError(
            "--record: what is recorded is of another source, so that a few operations cannot be "
            "put beside it. Give no names, to record all."
        )


def recorded(file: Path = FILE) -> dict[str, Any]:
    """Return what was last written down; nothing without any."""
    return json.loads(file.read_text()) if file.exists() else {}
