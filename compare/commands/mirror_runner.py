"""The steps of a mirror, and its Report: coverage, and custom Functions that are to blame."""

from __future__ import annotations

import inspect
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.commands.runner import Runner
from compare.diagnose.divergence import Divergence
from compare.pair.hybrid import torch_on_both_sides
from compare.report.report import Report

if TYPE_CHECKING:
    from torch_ref.capture import Region

__all__ = ["MirrorRunner"]


class MirrorRunner(Runner):
    """Runs the steps of a model beside its twin."""

    works = asks = False

    def in_lockstep(self) -> Any:
        from compare.running.mirror.lockstep import MirrorLockstep

        return MirrorLockstep(self.experiment)  # type: ignore[arg-type]

    def first_divergence(self, lockstep: Any, step: Any) -> Divergence | None:
        """Blame a custom Function if one's backward is not the derivative of its forward."""
        found = super().first_divergence(lockstep, step)
        if found is None or step.failure is not None:
            return found
        capture = lockstep.experiment.torch.capture
        for region in reversed(capture.regions):  # the order of backward
            if (blamed := self._blamed(region, capture, found)) is not None:
                return blamed
        return found

    def _blamed(self, region: Region, capture: Any, found: Divergence) -> Divergence | None:
        from compare.commands.check.applied import check_region

        report = check_region(region, capture)
        if report is None or report.verdict != "disagree" or report.first_divergence is None:
            return None
        own, count = report.first_divergence, len(region.calls)
        place = _place(region.function)
        return replace(
            found,
            layer=region.name,
            layer_type=region.function.__name__,
            own_or_inherited="own",
            explanation=(
                f"The backward of the custom Function {region.function.__name__} ({place}) is not "
                f"the derivative of its forward, whose {count} operation{'s' * (count != 1)} were "
                f"derived by hand: {own.explanation}"
            ),
            manual_source=own.manual_source,
            derivation="",
            torch_source=f"torch.autograd.Function {region.function.__name__}, {place}",
            cause=own.cause,
        )

    def _report(self, planned: int, environment: dict) -> Report:
        report = super()._report(planned, environment)
        if self.experiment.twin is None:  # type: ignore[attr-defined]
            return report
        share = self._coverage(report)
        missing = self._missing()
        said = _said(share, missing)
        return replace(
            report,
            coverage=share,
            missing=missing,
            reason=f"{report.reason} {said}".strip(),
            notes=(*report.notes, *self._notes()),
        )

    def _coverage(self, report: Report) -> dict[str, float]:
        """Return the shares that are hand-written and compared with torch."""
        twin: Any = self.experiment.twin  # type: ignore[attr-defined]
        graph, names = twin.graph, set(twin.by_torch)
        both = torch_on_both_sides(graph, list(names))
        frame = report.differences
        gradient = frame["quantity"].str.startswith("grad")
        mine = np.array(
            [row not in both for row in zip(frame["layer"], frame["quantity"], strict=True)],
            dtype=bool,
        )
        told = mine & frame["verdict"].ne("vacuous").to_numpy()
        frozen = self.experiment.manual.frozen
        sizes = {
            name: p.size for name, p in self.experiment.torch.params().items() if name not in frozen
        }
        checked = {
            f"{layer}.{quantity[5:]}" if layer else quantity[5:]
            for layer, quantity in zip(frame["layer"][told], frame["quantity"][told], strict=True)
            if quantity.startswith("grad:")
        }
        return {
            "nodes": _share(len(graph.nodes) - len(names), len(graph.nodes)),
            "parameters": _share(
                sum(n for p, n in sizes.items() if p in checked), sum(sizes.values())
            ),
            "gradients": _share(int((gradient & told).sum()), int(gradient.sum())),
        }

    def _missing(self) -> tuple[tuple[str, int, str], ...]:
        """Return what torch computes: the operation, how often, and why."""
        twin: Any = self.experiment.twin  # type: ignore[attr-defined]
        network: Any = self.experiment.torch.network
        calls = [network.calls[name] for name in twin.by_torch]
        counted = Counter((call.operation, call.twin.why) for call in calls)
        return tuple((what, n, why) for (what, why), n in counted.most_common())

    def _notes(self) -> list[str]:
        side: Any = self.experiment.torch
        twin: Any = self.experiment.twin  # type: ignore[attr-defined]
        notes = [
            f"{text}{f' ({n} times)' if n > 1 else ''}." for text, n in side.capture.notes.items()
        ]
        if twin.idle:
            n = len(twin.idle)
            notes.append(
                f"{n} call{'s lead' if n > 1 else ' leads'} to no loss and "
                f"{'are' if n > 1 else 'is'} left out: {', '.join(twin.idle[:5])}."
            )
        return notes


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 1.0


def _said(share: dict[str, float], missing: tuple) -> str:
    """Say what is not hand-written, if anything is."""
    if not missing:
        return ""
    listed = ", ".join(f"{what} ({n})" if n > 1 else what for what, n, _ in missing[:5])
    more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
    parts = ", ".join(f"{100 * value:.3g} % of the {name}" for name, value in share.items())
    return f"Hand-written: {parts}; torch computes {listed}{more} on both sides."


def _place(function: type) -> str:
    """Return the file and line of a Function's backward."""
    try:
        code = function.backward.__code__  # type: ignore[attr-defined]
        return f"{inspect.getsourcefile(function)}:{code.co_firstlineno}"
    except (AttributeError, TypeError, OSError):
        return "source unknown"
