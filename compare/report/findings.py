"""What a comparison finds, step by step or case by case, until it is a Report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.judge.ledger import Table
from compare.judge.measure import ulps
from compare.judge.verdict import Verdict
from compare.report.report import Report

if TYPE_CHECKING:
    from compare.diagnose.divergence import Divergence
    from compare.running.drift import Drift

LOSSES = ["step", "manual", "torch"]
KINKS = ["step", "layer", "flips"]


@dataclass
class Findings:
    """What every comparison keeps.

    Attributes:
        table: judged rows, by the number of the step or case.
        losses: (step, manual, torch).
        kinks: (step, layer, flips): elements on which the sides took different pieces.
        ulps: how many elements are how far apart, by powers of two.
    """

    table: Table = field(default_factory=Table)
    losses: list[tuple[int, float, float]] = field(default_factory=list)
    kinks: list[tuple[int, str, int]] = field(default_factory=list)
    ulps: np.ndarray = field(default_factory=lambda: ulps([], []))

    def count_ulps(self, manual: Mapping[Any, Any], torch: Mapping[Any, Any]) -> None:
        """Count how far apart elements of the same name and shape are."""
        shared = [k for k in manual if k in torch and np.shape(manual[k]) == np.shape(torch[k])]
        self.ulps += ulps([manual[k] for k in shared], [torch[k] for k in shared])

    def report(
        self, found: Verdict, first: Divergence | None, drift: Drift | None = None, **facts: Any
    ) -> Report:
        """Return the Report.

        Args:
            found: the verdict.
            first: where the two sides part first.
            drift: a free run, if there was one.
            facts: all else that `Report` holds.
        """
        import pandas as pd

        from compare.running.drift import no_drift

        bins, drift = np.flatnonzero(self.ulps), drift or no_drift()
        return Report(
            verdict=found.verdict,
            reason=found.reason,
            differences=self.table.frame(),
            ledger=self.table.ledger(),
            losses=pd.DataFrame(self.losses, columns=LOSSES),
            kinks=pd.DataFrame(self.kinks, columns=KINKS),
            ulps=pd.DataFrame({"log2_ulps": bins - 1, "elements": self.ulps[bins]}),
            first_divergence=first,
            cause=first.cause if first else None,
            drift=drift.steps,
            scores=drift.scores,
            pictures=drift.pictures,
            sample=drift.sample,
            **facts,
        )
