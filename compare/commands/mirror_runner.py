"""The steps of a mirror, and its Report: coverage, and custom Functions that are to blame."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.commands.runner import Runner
from compare.diagnose.cases.first import source
from compare.diagnose.causes import Cause
from compare.diagnose.divergence import Divergence
from compare.pair.hybrid import torch_on_both_sides
from compare.report.report import Report
from manual.nodes import dotted, ports_of

if TYPE_CHECKING:
    from torch_ref.captured import Region

SEEN = 0.5  # of the parameters: below this nothing is called agreement
ALL = 0.999

__all__ = ["MirrorRunner"]


class MirrorRunner(Runner):
    """Runs the steps of a model beside its twin."""

    elsewhere: tuple[str, ...] = ()  # custom Functions that are wrong, but not on these inputs

    def in_lockstep(self) -> Any:
        from compare.running.mirror.lockstep import MirrorLockstep

        lockstep = MirrorLockstep(self.experiment)  # type: ignore[arg-type]
        seen = 0

        def watch(node: Any, arguments: tuple) -> tuple:
            nonlocal seen
            seen += 1
            total = len(lockstep.experiment.twin.graph.nodes)
            self.progress("following errors", seen % (total + 1), total)
            return arguments

        lockstep.watch = watch
        return lockstep

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

    def _ask_asides(self, moment: Any) -> None:
        """Check each custom Function on inputs, and for outputs, that the model does not use."""
        from compare.commands.check.applied import check_region

        if self.divergence is not None:
            return
        side: Any = self.experiment.torch
        capture = side.capture
        for function, region in {r.function: r for r in capture.regions}.items():
            self.progress(f"checking {function.__name__}", 0, 1)
            report = check_region(region, capture, elsewhere=True)
            if report is not None and report.verdict == "disagree":
                self.elsewhere += (
                    f"{function.__name__}.backward ({_place(function)}) is right on what it got "
                    f"here, and wrong elsewhere: {report.reason}",
                )

    def _blamed(self, region: Region, capture: Any, found: Divergence) -> Divergence | None:
        from compare.commands.check.applied import check_region

        report = check_region(region, capture)
        if report is None or report.verdict != "disagree" or report.first_divergence is None:
            return None
        return _told(region, report.first_divergence, found)

    def _report(self, planned: int, environment: dict) -> Report:
        report = super()._report(planned, environment)
        if self.experiment.twin is None:  # type: ignore[attr-defined]
            return report
        share, parameters = self._shared(report)
        blind = report.verdict == "agree" and share["parameters"] < SEEN
        return replace(
            report,
            verdict="incomplete" if blind else report.verdict,
            reason=" ".join(filter(None, (report.reason, *self._elsewhere(), _unseen(share)))),
            coverage=share,
            parameters=parameters,
            missing=self._missing(),
            modules=self._modules(),
            notes=(*report.notes, *self._notes()),
        )

    def _elsewhere(self) -> list[str]:
        """Return what is wrong elsewhere alone: not of a Function that a later step blames."""
        blamed = self.divergence.layer_type if self.divergence else None
        return [text for text in self.elsewhere if not text.startswith(f"{blamed}.backward ")]

    def _shared(self, report: Report) -> tuple[dict[str, float], dict[str, bool]]:
        """Return the shares that are hand-written and compared with torch, and of what parameters.

        A parameter that is trained counts if its gradient is.
        """
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
        params = self.experiment.torch.params()
        checked = {
            dotted(layer, quantity[5:])
            for layer, quantity in zip(frame["layer"][told], frame["quantity"][told], strict=True)
            if quantity.startswith("grad:")
        }
        found = {name: name in checked for name in params if name not in frozen}
        shares = {
            "nodes": _share(len(graph.nodes) - len(names), len(graph.nodes)),
            "parameters": _share(
                sum(params[name].size for name, known in found.items() if known),
                sum(params[name].size for name in found),
            ),
            "gradients": _share(int((gradient & told).sum()), int(gradient.sum())),
        }
        return shares, found

    def _missing(self) -> tuple[tuple[str, int, str], ...]:
        """Return what torch computes: the operation, how often, and why."""
        twin: Any = self.experiment.twin  # type: ignore[attr-defined]
        network: Any = self.experiment.torch.network
        calls = [network.calls[name] for name in twin.by_torch]
        counted = Counter((call.operation, call.twin.why) for call in calls)
        return tuple((what, n, why) for (what, why), n in counted.most_common())

    def _modules(self) -> dict[str, str]:
        """Return the classes of the model's modules by path."""
        model: Any = self.experiment.torch.network.model  # type: ignore[attr-defined]
        return {name: type(module).__name__ for name, module in model.named_modules()}

    def _notes(self) -> list[str]:
        side: Any = self.experiment.torch
        twin: Any = self.experiment.twin  # type: ignore[attr-defined]
        notes = [
            f"{text}{f' ({n} times)' if n > 1 else ''}." for text, n in side.capture.notes.items()
        ]
        model = side.network.model
        if unused := [
            n for n, p in model.named_parameters() if p.requires_grad and n not in side.kept
        ]:
            notes.append(f"No gradient reaches {_few(unused)}: nothing is said of them.")
        if written := sorted(side.written - side.buffers().keys()):
            notes.append(
                f"The model writes into its buffers {_few(written)} by functions of its own: what "
                "it leaves there was not compared."
            )
        if hooked := self.experiment.model.hooked():  # type: ignore[attr-defined]
            notes.append(
                f"{_few(hooked)} bear gradient hooks of yours, which did not run: gradients are "
                "compared as they are before them."
            )
        ports = {port for node in twin.graph.nodes for port in ports_of(node)}
        if silent := sorted(ports & side.capture.untold & side.capture.real()):
            notes.append(
                f"Torch tells no gradient of {_few(silent)}: inside a custom Function, or in "
                "memory that was written into. Those were not compared, only what they lead to."
            )
        if twin.alone:
            notes.append(
                f"Torch has no value named as {_few(sorted(twin.alone))} of your own graph: "
                "compared is only what they lead to."
            )
        if twin.left:
            notes.append(f"Your own graph has nothing named as torch's {_few(sorted(twin.left))}.")
        if twin.idle:
            n = len(twin.idle)
            notes.append(
                f"{n} call{'s lead' if n > 1 else ' leads'} to no loss and "
                f"{'are' if n > 1 else 'is'} left out: {', '.join(twin.idle[:5])}."
            )
        return notes


def _few(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(names[:5])}{more}"


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 1.0


def _unseen(share: dict[str, float]) -> str:
    """Say how many parameters have a gradient of which nothing is known."""
    if share["parameters"] > ALL:
        return ""
    percent = 100 * (1 - share["parameters"])
    return (
        f"The gradients of {percent:.3g} % of the parameters were not checked: torch computes them "
        "on both sides, or zeros would have passed. Other inputs, or a loss that is not near its "
        "least value, may show them."
    )


def _told(region: Region, own: Divergence, found: Divergence) -> Divergence:
    """Return what a check of a Function found, in the place where the model parts first."""
    name, count = region.function.__name__, len(region.calls)
    those = "one operation was" if count == 1 else f"{count} operations were"
    return replace(
        own,
        step=found.step,
        layer=region.name,
        layer_type=name,
        row=found.row,
        last_agreed=found.last_agreed,
        explanation=(
            f"{name}.backward ({_place(region.function)}) is not the derivative of {name}.forward, "
            f"whose {those} derived by hand. {own.explanation}".replace(
                "the reference", "what is derived from forward"
            )
        ),
        torch_source=source(region.function.forward),  # type: ignore[attr-defined]
        cause=None if own.cause is None else _retold(own.cause, name),
        sides=(f"{name}.backward", "derived from forward"),
    )


def _retold(cause: Cause, name: str) -> Cause:
    """Call a check's two sides what they are in a mirror."""
    said = {"manual": f"what {name}.backward returns", "torch": "the derivative"}
    text = re.sub(r"`[^`]*`|\bmanual\b|\btorch\b", lambda m: said.get(m[0], m[0]), cause.evidence)
    return replace(cause, evidence=text.replace("Grad:", "grad:"))


def _place(function: type) -> str:
    """Return the file and line of a Function's backward."""
    try:
        code = function.backward.__code__  # type: ignore[attr-defined]
        return f"{inspect.getsourcefile(function)}:{code.co_firstlineno}"
    except (AttributeError, TypeError, OSError):
        return "source unknown"
