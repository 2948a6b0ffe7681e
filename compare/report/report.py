"""The result of a run: what was compared, the verdict, and where the two sides first part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from compare.diagnose.causes import Cause
    from compare.diagnose.divergence import Divergence
    from compare.explaining.worked import Worked
    from compare.report.against import Against
    from compare.report.elsewhere import Elsewhere
    from compare.running.sampling import Sample


@dataclass(frozen=True)
class NodeInfo:
    """One node on both sides, for people: names, arguments, and where its formula stands.

    `certified` is how many digits its class's hand-written backward is proven to; None if unknown.
    """

    name: str
    type: str
    inputs: tuple[str, ...]
    manual: str
    torch: str
    derivation: str = ""
    certified: int | None = None


def _no_scores() -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame()


def _no_kills() -> pd.DataFrame:
    from compare.judge.kills import empty

    return empty()


@dataclass(frozen=True, repr=False)
class Report:
    """Everything that one run found.

    Attributes:
        verdict: `agree`, `disagree` or `incomplete`; `reason` says why in one sentence.
        differences: one row per (step, layer, quantity) in execution order; columns `step, layer,
            quantity, shape, max_abs_diff, max_rel_diff, budget_used, worst_index, manual, torch,
            verdict, norm`. `max_rel_diff` is relative to the tensor's largest magnitude on torch's
            side, `norm` is the 2-norm of torch's tensor.
        ledger: per quantity: `quantity, tensors, elements, expected_elements, agree, disagree,
            missing, non_finite, vacuous, inaccurate` (the last six count rows; inaccurate: torch
            itself lost digits there, and its number was passed on).
        losses: `step, manual, torch` in lockstep.
        drift: `step, loss_manual, loss_torch, max_param_diff` of a run that is never
            re-synchronised; empty when it was not asked for.
        scores: `step, rows, loss_manual, loss_torch, accuracy_manual, accuracy_torch` of that run,
            in evaluation, on the rows trained on (`train`) and those `held out`.
        sample: what the hand-written network wrote after that run, if the data are a text.
        pictures: of the network that this run trained by hand, by layer: a row of its output at
            every call (T, N), of layers that say `pictured`.
        kinks: `step, layer, flips`: elements on which the sides took different pieces of a
            piecewise function, each within rounding of the border.
        ulps: `log2_ulps, elements`: histogram of |manual − torch| in units in the last place of
            torch's value (−1: bitwise equal).
        tolerance: how a difference was judged, in words; `overridden` if the user chose it.
        cause: what the first mistake looks like (`kind`, `evidence`, `advice`), or None.
        kills: `layer, quantity, zeros, negated, times_batch, over_batch, transposed,
            sample_dropped, one_percent`: whether each corruption of the tensor would have been
            noticed at the first step; None where it does not apply.
        worked: of each tensor at one step (the first, or that of the first divergence) the worst
            element with its formula, its lines of code, and its arithmetic.
        notes: what a reader should know besides, one sentence each.
        abridged: what of a check was not compared element by element, in phrases.
        attachments: further files that are saved with the report, by name.
        interrupted: whether Ctrl-C ended the run.
        theirs: what the other side is called: `torch`; `numeric` where a check has no reference.
        provenance: `date, command, code, reference, data` and, once saved, `commit`: by what, of
            what and when this was found.
        torch_layers: layers that torch computed on both sides; `torch_with_torch` counts the rows
            of `differences` that are no evidence for a hand-written layer because of them.
        coverage: of a mirror: the shares of its `nodes`, `parameters` and `gradients` that are
            hand-written and compared with torch; `functions` are its custom Functions, and the
            nodes that each consists of; `missing` names what torch computes on both
            sides: the operation, how often, and why. `modules` are the classes by path;
            `parameters` are those trained, and whether the gradient of each is hand-written and
            compared.
        against: what a second torch found in the same steps (`--against`), or None. `verdict` and
            `reason` speak of both torches then; the tables are this torch's.
        elsewhere: of a mirror: the custom Functions that are right on what they got, and wrong on
            other inputs; with one of them nothing is called agreement.
        planted_ran: whether the planted mistake's layer was not one of these.
    """

    name: str
    verdict: str
    reason: str
    mode: str
    steps: int
    planned_steps: int
    differences: pd.DataFrame
    ledger: pd.DataFrame
    losses: pd.DataFrame
    drift: pd.DataFrame
    kinks: pd.DataFrame
    ulps: pd.DataFrame
    first_divergence: Divergence | None
    tolerance: str
    overridden: bool
    planted: str | None
    config: dict[str, Any]
    environment: dict[str, str]
    nodes: tuple[NodeInfo, ...]
    initial_weights: dict[str, np.ndarray] = field(repr=False)
    cause: Cause | None = None
    kills: pd.DataFrame = field(default_factory=_no_kills, repr=False)
    worked: tuple[Worked, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()
    attachments: dict[str, bytes] = field(default_factory=dict, repr=False)
    interrupted: bool = False
    torch_layers: tuple[str, ...] = ()
    torch_with_torch: int = 0
    planted_ran: bool = True
    scores: pd.DataFrame = field(default_factory=_no_scores, repr=False)
    sample: Sample | None = None
    pictures: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    theirs: str = "torch"
    coverage: dict[str, float] = field(default_factory=dict)
    missing: tuple[tuple[str, int, str], ...] = ()
    modules: dict[str, str] = field(default_factory=dict, repr=False)
    parameters: dict[str, bool] = field(default_factory=dict, repr=False)
    provenance: dict[str, Any] = field(default_factory=dict, repr=False)
    against: Against | None = None
    abridged: tuple[str, ...] = ()
    elsewhere: tuple[Elsewhere, ...] = ()
    functions: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    @property
    def agrees(self) -> bool:
        return self.verdict == "agree"

    def worst(self, rows: int = 10) -> pd.DataFrame:
        """Return the rows that used most of their budget, disagreements first."""
        order = self.differences.assign(bad=~self.differences["verdict"].isin(["agree", "vacuous"]))
        order = order.sort_values(["bad", "budget_used"], ascending=False, kind="stable")
        return order.drop(columns="bad").head(rows)

    def assert_agrees(self) -> None:
        """Raise an AssertionError that prints the verdict and the worst rows unless all agrees."""
        __tracebackhide__ = True
        if not self.agrees:
            from compare.report.rendering.terminal import failure_text

            raise AssertionError(failure_text(self))

    def save(self, directory: str | Path, *, latex: bool = False, force: bool = False) -> Path:
        """Write the report as a directory, whole or not at all; return its path.

        A report that is there stays, and the new one gets a number (`mine-2`), unless `force`.
        """
        from compare.report.rendering import save

        return save(self, directory, latex=latex, force=force)

    def __str__(self) -> str:
        from compare.report.rendering.terminal import terminal_text

        return terminal_text(self)

    def __repr__(self) -> str:
        count = f"{self.steps:,} {'cases' if self.mode == 'check' else 'steps'}"
        return f"<Report {self.name}: {self.verdict}, {len(self.differences):,} tensors, {count}>"

    def _repr_html_(self) -> str:
        from compare.report.rendering.html import notebook_html

        return notebook_html(self)


def with_notes(report: Report, undetermined: Sequence[str]) -> Report:
    """Return the report with a note on a GPU's operations that have no deterministic kernel."""
    if not undetermined:
        return report
    note = (
        f"Torch has no deterministic kernel of {', '.join(undetermined)} on this GPU: another run "
        "may round otherwise there."
    )
    return replace(report, notes=(*report.notes, note))
