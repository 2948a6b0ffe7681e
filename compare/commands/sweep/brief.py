"""A run of which a row is all that is wanted: what only a report shows is left out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from compare.commands.runner import Runner
from compare.commands.sweep.rows import Found, found

if TYPE_CHECKING:
    from compare.running.lockstep import Step


class Brief(Runner):
    """Compares and judges as every run does."""

    works = False

    def found(self) -> Found:
        """Run, and return what was found.

        Raises:
            KeyboardInterrupt: it was cut short; half a run is no row.
        """
        planned = self.compare()
        if self.interrupted:
            raise KeyboardInterrupt
        verdict, reason = self.verdict(planned)
        cause = self.divergence.cause if self.divergence else None
        losses = self.findings.losses
        last = losses[-1][1] if losses else math.nan
        return found(verdict, reason, cause, last, self.findings.table.worst())

    def picture(self, step: Step, *, ulps: bool) -> None:
        """Keep nothing."""
