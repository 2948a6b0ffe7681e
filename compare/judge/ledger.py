"""The long table: rows are kept as arrays per step and become a DataFrame once, at the end."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.judge.judge import (
    AGREE,
    DISAGREE,
    INACCURATE,
    MISSING,
    NON_FINITE,
    VACUOUS,
    VERDICTS,
    Rows,
)
from compare.judge.measure import Measures

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = [
    "step", "layer", "quantity", "shape", "max_abs_diff", "max_rel_diff", "budget_used",
    "worst_index", "manual", "torch", "verdict", "norm",
]  # fmt: skip


FAILED = [MISSING, NON_FINITE, DISAGREE]
GRAVITY = np.array([*FAILED, INACCURATE, VACUOUS, AGREE])  # gravest first


class Table:
    """Collects judged rows and keeps the ledger of what was compared."""

    def __init__(self) -> None:
        self.steps: list[np.ndarray] = []
        self.places: list[np.ndarray] = []
        self.measures: list[np.ndarray] = []
        self.verdicts: list[np.ndarray] = []
        self._catalogue: dict[tuple, int] = {}

    def add(self, step: int, rows: Rows) -> None:
        """Take in one step's rows."""
        catalogue = self._catalogue
        places = [
            catalogue.setdefault((*key, shape), len(catalogue))
            for key, shape in zip(rows.keys, rows.shapes, strict=True)
        ]
        self.places.append(np.array(places, dtype=np.int32))
        self.steps.append(np.full(len(places), step, dtype=np.int32))
        self.measures.append(np.stack(rows.measures))
        self.verdicts.append(rows.verdicts.astype(np.int8))

    def frame(self) -> pd.DataFrame:
        """Return the long table, in execution order."""
        import pandas as pd

        if not self.steps:
            return pd.DataFrame(columns=COLUMNS)
        m = Measures(*np.concatenate(self.measures, axis=1))
        places = np.concatenate(self.places)
        names = list(self._catalogue)
        layers, quantities, shapes = (np.array(c, dtype=object) for c in _columns(names))
        shape_of = [names[p][2] for p in range(len(names))]
        return pd.DataFrame(
            {
                "step": np.concatenate(self.steps),
                "layer": layers[places],
                "quantity": quantities[places],
                "shape": shapes[places],
                "max_abs_diff": m.max_abs,
                "max_rel_diff": m.max_rel,
                "budget_used": m.budget,
                "worst_index": _indices(m.worst, places, shape_of),
                "manual": m.manual,
                "torch": m.torch,
                "verdict": VERDICTS[np.concatenate(self.verdicts)],
                "norm": m.norm,
            }
        )

    def ledger(self) -> pd.DataFrame:
        """Return, per kind of quantity, what was expected and what was compared."""
        import pandas as pd

        kinds = len(VERDICTS)
        counts = np.zeros((len(self._catalogue), kinds), dtype=np.int64)
        for places, verdicts in zip(self.places, self.verdicts, strict=True):
            np.add.at(counts, (places, verdicts), 1)
        names = [VERDICTS[code].replace("-", "_") for code in range(kinds)]
        rows = []
        for (_, quantity, shape), tensors in zip(self._catalogue, counts, strict=True):
            size, present = math.prod(shape), int(tensors.sum() - tensors[MISSING])
            row = {"quantity": quantity.partition(":")[0], "tensors": present}
            row |= {"elements": size * present, "expected_elements": size * int(tensors.sum())}
            rows.append(row | dict(zip(names, tensors.tolist(), strict=True)))
        columns = ["quantity", "tensors", "elements", "expected_elements", *names]
        table = pd.DataFrame(rows, columns=columns)
        return table.groupby("quantity", sort=False, as_index=False).sum()

    def always(self, verdict: int) -> list[tuple[str, str]]:
        """Return the (layer, quantity) that have this verdict, by code, in every row."""
        tensors, code, verdicts = self._tensors()
        others = set(code[verdicts != verdict].tolist())
        return [name for n, name in enumerate(tensors) if n not in others]

    def ever(self, verdict: int) -> list[tuple[str, str]]:
        """Return the (layer, quantity) that have this verdict, by code, in some row."""
        tensors, code, verdicts = self._tensors()
        return [tensors[n] for n in np.unique(code[verdicts == verdict])]

    def _tensors(self) -> tuple[list[tuple[str, str]], np.ndarray, np.ndarray]:
        """Return each (layer, quantity), and of every row which it is, and its verdict."""
        names: dict[tuple[str, str], int] = {}
        of = [names.setdefault(place[:2], len(names)) for place in self._catalogue]
        none = np.zeros(0, dtype=np.int64)
        places = np.concatenate([none, *self.places])
        return (
            list(names),
            np.array(of, dtype=np.int64)[places],
            np.concatenate([none, *self.verdicts]),
        )

    def worst(self) -> list[tuple[str, str, float, float, str]]:
        """Return each tensor's name, and over all steps its budget used, its largest difference and
        its gravest verdict; the numbers are those of the step that used most of the budget.
        """
        tensors, code, verdicts = self._tensors()
        if not tensors:
            return []
        m = Measures(*np.concatenate(self.measures, axis=1))
        failed = np.isin(verdicts, FAILED)
        used = np.where(failed & ~(m.budget > 1), np.inf, m.budget)
        low = (np.nan_to_num(x, nan=-1.0, posinf=np.inf) for x in (m.max_abs, used))
        order = np.lexsort((-np.arange(len(code)), *low, code))
        at = order[np.r_[np.flatnonzero(np.diff(code[order])), len(order) - 1]]
        gravest = np.full(len(tensors), len(GRAVITY))
        np.minimum.at(gravest, code, np.argsort(GRAVITY)[verdicts])
        return [
            (*name, float(m.budget[i]), float(m.max_abs[i]), str(VERDICTS[GRAVITY[grave]]))
            for name, i, grave in zip(tensors, at, gravest, strict=True)
        ]

    def counts(self) -> np.ndarray:
        """Return how many rows have each verdict, by code."""
        codes = [np.bincount(verdicts, minlength=len(VERDICTS)) for verdicts in self.verdicts]
        return np.sum([np.zeros(len(VERDICTS), dtype=np.int64), *codes], axis=0)


def _columns(names: list[tuple]) -> list[list[Any]]:
    layers, quantities, shapes = zip(*names, strict=True)
    return [list(layers), list(quantities), [_text(shape) for shape in shapes]]


def _text(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) if shape else "scalar"


def _indices(worst: np.ndarray, places: np.ndarray, shapes: list[tuple[int, ...]]) -> np.ndarray:
    """Unravel flat positions, tensor by tensor."""
    texts = np.full(len(worst), "", dtype=object)
    for place, shape in enumerate(shapes):
        at = np.flatnonzero((places == place) & np.isfinite(worst))
        if at.size and shape:
            index = np.stack(np.unravel_index(worst[at].astype(np.int64), shape), axis=1)
            texts[at] = [str(tuple(row)) for row in index.tolist()]
        elif at.size:
            texts[at] = "()"
    return texts
