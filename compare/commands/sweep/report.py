"""What all points of a sweep found, as data."""

from __future__ import annotations

import json
import shutil
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.commands.sweep.rows import (
    AGREE,
    DEAD,
    DISAGREE,
    ERROR,
    FAILURES,
    INCOMPLETE,
    MOST,
    VERDICTS,
)
from compare.commands.sweep.store import FILE, PARTS, Store, _write
from compare.errors import UserError
from compare.explaining import format as fmt

if TYPE_CHECKING:
    import pandas as pd


class SweepReport:
    """What a sweep found: `verdict` is agree, disagree or incomplete; `reason` says why.

    Attributes:
        runs: a DataFrame with a row per point, in the points' order: `key`, `point`, a column for
            each axis, `verdict` (agree, disagree, incomplete; error, died), `cause`, the worst
            tensor's `layer`, `quantity` and `budget_used`, `last_loss` (of the hand-written side),
            `seconds`, `reason`, `replay` (the command, of what does not agree), `versions`.
        tensors: a row per tensor of every point: `key, point, layer, quantity, budget_used,
            max_abs_diff, verdict`. Larger than memory? `store.dataset("tensors")` is pyarrow's.
        counts: points by verdict.
        planned: how many points the sweep has.
    """

    def __init__(self, store: Store, *, interrupted: bool = False) -> None:
        self.store, self.interrupted = store, interrupted
        self.name, self.axes, self.planned = store.sweep.name, store.sweep.axes, len(store.sweep)

    @cached_property
    def runs(self) -> pd.DataFrame:
        return self._frame("runs").sort_values("point", kind="stable", ignore_index=True)

    @cached_property
    def tensors(self) -> pd.DataFrame:
        return self._frame("tensors").sort_values("point", kind="stable", ignore_index=True)

    def _frame(self, kind: str) -> pd.DataFrame:
        return self.store.table(kind).to_pandas()  # type: ignore[no-any-return]

    @cached_property
    def counts(self) -> dict[str, int]:
        found = self.runs["verdict"].value_counts()
        return {v: int(found[v]) for v in VERDICTS if found.get(v, 0)}

    @property
    def judged(self) -> int:
        """Points that have a verdict of their job's own."""
        return sum(self.counts.get(v, 0) for v in (AGREE, DISAGREE, INCOMPLETE))

    @property
    def verdict(self) -> str:
        if self.counts.get(DISAGREE):
            return DISAGREE
        whole = np.array_equal(self.runs["point"], np.arange(self.planned))
        return AGREE if whole and self.counts == {AGREE: self.planned} else INCOMPLETE

    @property
    def agrees(self) -> bool:
        return self.verdict == AGREE

    @property
    def reason(self) -> str:
        told = ", ".join(f"{n:,} {verdict}" for verdict, n in self.counts.items()) or "none done"
        left = self.planned - len(self.runs)
        early = f"; {left:,} of {self.planned:,} points were not done" if left else ""
        return f"{fmt.plural(len(self.runs), 'point')}: {told}{early}."

    @cached_property
    def failures(self) -> pd.DataFrame:
        """What does not agree, worst first: what disagrees, then what was not judged."""
        bad = self.runs[self.runs["verdict"] != AGREE]
        order = {name: n for n, name in enumerate((DISAGREE, DEAD, ERROR, INCOMPLETE))}
        rank = bad["verdict"].astype(str).map(order)
        return (
            bad.assign(_rank=rank, _used=-bad["budget_used"].fillna(-1.0))
            .sort_values(["_rank", "_used", "point"], kind="stable")
            .drop(columns=["_rank", "_used"])
        )

    def worst(self, rows: int = 10) -> pd.DataFrame:
        """Return the points whose worst tensor used most of its budget."""
        return self.runs.sort_values("budget_used", ascending=False, kind="stable").head(rows)

    def by_axis(self, axis: str) -> pd.DataFrame:
        """Return how many points have each verdict, for each value of an axis (`value`, `points`,
        a column per verdict, `budget_used`: the largest); many numbers stand in bins.
        """
        import pandas as pd

        groups = self.runs.groupby(self.binned(axis), observed=True, sort=True)
        found = pd.crosstab(self.binned(axis), self.runs["verdict"].astype(str))
        table = found.reindex(columns=list(VERDICTS), fill_value=0)
        table.insert(0, "points", groups.size())
        table["budget_used"] = groups["budget_used"].max()
        return table.rename_axis("value").reset_index()

    def binned(self, axis: str, most: int = MOST) -> pd.Series:
        """Return an axis's values, as bins where there are many numbers, as texts cut short."""
        import pandas as pd

        values = self.runs[axis]
        if values.nunique() <= most:
            return values.rename("value")
        if pd.api.types.is_numeric_dtype(values.dtype):
            bins = min(8, most)
            if values.min() > 0 and values.max() > 100 * values.min():
                edges = np.geomspace(values.min(), values.max(), bins + 1)
            else:
                edges = np.linspace(values.min(), values.max(), bins + 1)
            edges[0], edges[-1] = values.min(), values.max()  # logarithms round
            labels = _whole_numbers(edges) if values.dtype.kind == "i" else _from_to(edges)
            cut = pd.cut(values, list(edges), include_lowest=True, labels=labels)
            return cut.rename("value")
        often = values.value_counts().index[: most - 1]
        return values.astype(object).where(values.isin(often), "others").rename("value")

    def layers(self, rows: int = 20) -> pd.DataFrame:
        """Return layers and quantities over all points, worst first: `layer, quantity, tensors,
        failed, budget_used`.
        """
        found = self._by_layer
        return found.sort_values(["failed", "budget_used"], ascending=False).head(rows)

    @cached_property
    def _by_layer(self) -> pd.DataFrame:
        """Sum the tensors up part by part: they may be many."""
        import pandas as pd

        sums: list[pd.DataFrame] = []
        columns = ["layer", "quantity", "budget_used", "verdict"]
        for batch in self.store.batches("tensors", columns):
            frame = batch.to_pandas()
            fine = frame["verdict"].isin(("agree", "vacuous", "excepted"))
            frame["failed"] = (frame["budget_used"] > 1) & ~fine
            frame["tensors"] = 1
            sums.append(_summed(frame))
            if len(sums) > 50:
                sums = [_summed(pd.concat(sums))]
        empty = pd.DataFrame(columns=["layer", "quantity", "tensors", "failed", "budget_used"])
        return _summed(pd.concat(sums)) if sums else empty

    def as_dict(self) -> dict[str, Any]:
        """Return what verdict.json holds: the counts, the worst, and how to see them again."""
        from compare.report.rendering.verdict import plain

        runs = self.runs
        listed = ["key", "point", *self.axes, "verdict", "cause", "layer", "quantity",
                  "budget_used", "reason", "replay"]  # fmt: skip
        causes = runs.loc[runs["cause"] != "", "cause"].value_counts()
        return plain(
            {
                "name": self.name, "job": self.store.sweep.job, "verdict": self.verdict,
                "reason": self.reason, "planned_points": self.planned, "points": len(runs),
                "counts": self.counts, "interrupted": self.interrupted,
                "tensors": sum(len(batch) for batch in self.store.batches("tensors", ["point"])),
                "axes": {axis: _records(self.by_axis(axis).astype({"value": str}))
                         for axis in self.axes},
                "causes": {str(k): int(n) for k, n in causes.items() if n},
                "worst": _records(self.worst()[["point", *self.axes, "layer", "quantity",
                                                "budget_used", "verdict"]]),
                "failures": _records(self.failures[listed].head(FAILURES)),
                "failures_listed": min(FAILURES, len(self.failures)),
                "seconds": float(runs["seconds"].sum()),
                "versions": sorted(map(str, runs["versions"].unique())),
            }
        )  # fmt: skip

    def write(self) -> Path:
        """Write verdict.json and report.html beside the parts.

        Raises:
            UserError: they cannot be written.
        """
        from compare.commands.sweep.page import html

        found = self.as_dict()
        told = json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        with self.store._told():
            _write(self.store.directory / "verdict.json", told.encode("utf-8", "backslashreplace"))
            page = self.store.directory / "report.html"
            _write(page, html(self, found).encode("utf-8", "backslashreplace"))
        return page

    def save(self, directory: str | Path) -> Path:
        """Write the whole sweep into a directory that is not there yet; return its page.

        Raises:
            UserError: it is there, or cannot be written.
        """
        place = Path(directory)
        if place.exists():
            raise UserError(f"{place} is there already: choose another directory.")
        try:
            place.mkdir(parents=True)
            shutil.copytree(self.store.parts, place / PARTS)
            shutil.copy(self.store.directory / FILE, place / FILE)
        except OSError as error:
            raise UserError(f"{place} cannot be written: {error.strerror or error}.") from None
        self.write()
        for name in ("verdict.json", "report.html"):
            shutil.copy(self.store.directory / name, place / name)
        return place / "report.html"

    def assert_agrees(self) -> None:
        """Raise an AssertionError that prints the failures unless all points agree."""
        __tracebackhide__ = True
        if not self.agrees:
            raise AssertionError(str(self))

    def __str__(self) -> str:
        from compare.commands.sweep.page import terminal

        return terminal(self)

    def __repr__(self) -> str:
        return f"<SweepReport {self.name}: {self.verdict}, {self.reason}>"


def _whole_numbers(edges: np.ndarray) -> list[str]:
    """Return which whole numbers each bin holds: those above its lower edge, up to its upper."""
    first = [int(np.floor(edge)) + 1 for edge in edges[:-1]]
    last = [int(np.floor(edge)) for edge in edges[1:]]
    first[0] -= 1
    return [f"{a} – {b}" if a < b else f"{a}" for a, b in zip(first, last, strict=True)]


def _from_to(edges: np.ndarray) -> list[str]:
    """Return each bin's edges, in as many digits as tell them apart."""
    for digits in range(3, 18):
        told = [f"{edge:.{digits}g}" for edge in edges]
        if len({*told}) == len(told):
            break
    return [f"{a} – {b}" for a, b in pairwise(told)]


def _summed(frame: pd.DataFrame) -> pd.DataFrame:
    how = {"tensors": "sum", "failed": "sum", "budget_used": "max"}
    frame = frame.assign(layer=frame["layer"].astype(str), quantity=frame["quantity"].astype(str))
    return frame.groupby(["layer", "quantity"], as_index=False, sort=False).agg(how)


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return frame.astype(object).to_dict("records")  # type: ignore[return-value]
