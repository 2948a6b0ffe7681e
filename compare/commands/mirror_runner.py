"""The steps of a mirror, and its Report: coverage, and custom Functions that are to blame."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.commands.runner import Runner
from compare.diagnose.divergence import Divergence
from compare.pair.hybrid import torch_on_both_sides
from compare.report.report import Report
from manual.nodes import dotted, ports_of

if TYPE_CHECKING:
    from compare.commands.elsewhere import Found
    from compare.report.elsewhere import Elsewhere
    from torch_ref.captured import Region

SEEN = 0.5  # of the parameters: below this nothing is called agreement
ALL = 0.999

__all__ = ["MirrorRunner"]


class MirrorRunner(Runner):
    """Runs the steps of a model beside its twin."""

    elsewhere: Found | None = None  # of custom Functions, on other inputs than these
    blamed: type | None = None  # the custom Function that the first divergence is of

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
        return self._inside(capture, found)

    def _inside(self, capture: Any, found: Divergence) -> Divergence:
        """Blame a Function that cannot be checked by itself for a gradient within."""
        from compare.commands.check.applied import inside

        for region in capture.regions:
            if found.quantity[:4] == "grad" and found.layer in {c.name for c in region.calls}:
                self.blamed = region.function
                return inside(region, found)
        return found

    def _ask_asides(self, moment: Any) -> None:
        """Check each custom Function on inputs, and for outputs, that the model does not use."""
        from compare.commands.elsewhere import look_elsewhere

        if self.divergence is not None:
            return
        experiment: Any = self.experiment
        self.progress("checking custom Functions", 0, 1)
        self.elsewhere = look_elsewhere(experiment.model, experiment.torch)

    def _blamed(self, region: Region, capture: Any, found: Divergence) -> Divergence | None:
        from compare.commands.check.applied import check_region, told

        report = check_region(region, capture)
        if report is None or report.verdict != "disagree" or report.first_divergence is None:
            return None
        self.blamed = region.function
        return told(region, report.first_divergence, found)

    def _report(self, planned: int, environment: dict) -> Report:
        report = super()._report(planned, environment)
        if self.experiment.twin is None:  # type: ignore[attr-defined]
            return report
        share, parameters = self._shared(report)
        wrong, notes = self._elsewhere()
        agrees, texts = report.verdict == "agree", [found.text for found in wrong]
        reasons = [*texts, report.reason] if agrees else [report.reason, *texts]
        blind = agrees and (share["parameters"] < SEEN or bool(wrong))
        return replace(
            report,
            verdict="incomplete" if blind else report.verdict,
            reason=" ".join(filter(None, (*reasons, _unseen(share)))),
            elsewhere=wrong,
            coverage=share,
            parameters=parameters,
            missing=self._missing(),
            modules=self._modules(),
            functions=self._functions(),
            notes=(*report.notes, *notes, *self._ungraded(report), *self._notes()),
        )

    def _elsewhere(self) -> tuple[tuple[Elsewhere, ...], list[str]]:
        """Return what is wrong elsewhere alone: not of a Function that a later step blames."""
        if self.elsewhere is None:
            return (), []
        wrong = {f: found for f, found in self.elsewhere.wrong.items() if f is not self.blamed}
        told = {f: notes for f, notes in self.elsewhere.notes.items() if f is not self.blamed}
        return tuple(wrong.values()), [note for notes in told.values() for note in notes]

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

    def _functions(self) -> dict[str, tuple[str, ...]]:
        """Return the custom Functions that were seen through, and the nodes of each."""
        side: Any = self.experiment.torch
        found: dict[str, tuple[str, ...]] = {}
        for region in side.capture.regions:
            inner = tuple(call.name for call in region.calls)
            found[region.name] = (*found.get(region.name, ()), *inner)
        return found

    def _ungraded(self, report: Report) -> list[str]:
        """Say what to do where an input that is not meant to get a gradient gets none."""
        frame = report.differences
        lost = frame[(frame["quantity"] == "grad_input") & (frame["verdict"] == "missing")]["layer"]
        side: Any = self.experiment.torch
        none = [n for n in dict.fromkeys(lost) if n in side.inputs and side.inputs[n].grad is None]
        if not none:
            return []
        return [
            f"Torch gives no gradient of {_few(none)}. If none is meant to be (a mask), let the "
            "others alone require one: x.requires_grad_()."
        ]

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
        written = side.written - side.buffers().keys() - side.capture.followed
        theirs = {name for name in written if any(_within(name, at) for at in side.derive.pieces)}
        if theirs:
            notes.append(
                f"A forward and a backward leave no buffers: what torch leaves in "
                f"{_few(sorted(theirs))} was not compared."
            )
        if written := sorted(written - theirs):
            notes.append(
                f"The model writes into its buffers {_few(written)} by functions of its own: what "
                "it leaves there was not compared."
            )
        if hooked := self.experiment.model.hooked():  # type: ignore[attr-defined]
            notes.append(
                f"{_few(hooked)} bear gradient hooks of yours, which did not run: gradients are "
                "compared as they are before them."
            )
        if _of_one_row(self.experiment.model) and (  # type: ignore[attr-defined]
            side.capture.regions or side.derive.pieces or side.derive.graphs
        ):
            notes.append(
                "The inputs have one row: a backward that averages over rows, or takes the first, "
                "seems right on them. Give several."
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


def _of_one_row(model: Any) -> bool:
    found = [t for t in (*model.inputs.values(), *model.others.values()) if t.ndim]
    return bool(found) and all(len(t) == 1 for t in found)


def _within(name: str, path: str) -> bool:
    return not path or name.startswith(f"{path}.")


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
