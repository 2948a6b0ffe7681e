"""A step in which torch computes in float16 or bfloat16, and the hand-written side in float64.

In eight digits errors of a whole network swallow every mistake. So both sides meet again at every
value: each layer, the loss and the update is given what torch had there, whose numbers are exact in
float64, and only its own roundings are allowed for. If every piece is right on torch's numbers,
and is fed from the right places, the chain rule makes the whole right.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np

from compare.description.data.dataset import named
from compare.gauge import (
    FORMATS,
    GaugeMistakeError,
    K,
    sketches,
    strayed,
    widened,
)
from compare.judge.judge import fixed, gauged, unbounded
from compare.judge.quantities import LOSS, Key, Values, real
from compare.pair.manual_side import ManualSide
from compare.pair.sources import unplanted
from compare.running.alone import wide
from compare.running.doubt import in_doubt, pieces
from compare.running.experiment import Experiment
from compare.running.kinks import settled
from compare.running.lockstep import Lockstep, Step
from compare.running.meeting import (
    FOUND,
    SCALE,
    TRACKER,
    AddingInHalf,
    Meeting,
    Met,
    MetOptimizer,
    added_in_half,
)
from compare.running.moment import Start, attempt, gauge_values
from manual.composed import Composed
from manual.graph import Layer, Node
from manual.nodes import ports_of
from manual.scaling import LossScaler
from torch_ref.halves import serial_sums

__all__ = ["FOUND", "SCALE", "TRACKER", "HalfLockstep", "lockstep_of"]


def lockstep_of(experiment: Experiment) -> Lockstep:
    """Return what runs an experiment's steps."""
    return (HalfLockstep if experiment.config.train.half else Lockstep)(experiment)


class HalfLockstep(Lockstep):
    """Runs steps in lockstep whose torch side computes in half precision, and judges them.

    Every step is gauged: there is little between what rounding does and what a mistake does.
    """

    works = of_one_format = False

    def __init__(self, experiment: Experiment) -> None:
        super().__init__(experiment)
        train, device = experiment.config.train, experiment.torch.device
        self.format = FORMATS[train.dtype]._replace(serial=serial_sums(train.dtype, device))
        if self.compare.k != K:  # somebody chose it
            self.format = self.format._replace(k=self.compare.k)
        self.skipped: set[int] = set()
        self.in_half: set[str] = set()  # pieces that autocast ran in the half
        self.kept = FORMATS["float32"] if train.autocast else self.format  # parameters' own

    def step(self, number: int, batch: np.ndarray) -> Step:
        """Run torch's step, then every piece of the hand-written one on what torch had.

        Raises:
            TorchRefusedError: torch cannot do it.
        """
        x, target = self.experiment.rows(batch)
        lr, scaler = self.experiment.lr(number), self._scaler()
        inputs = self._inputs(x)
        start, loss = self._started(x, target, lr, input_grad=bool(inputs))
        theirs = self._torch_values(loss, lr)
        step = self._met(number, start, theirs, inputs, scaler)
        if start.winners and step.rows.disagree:  # near ties inside a layer fall as torch's did
            side = settled(self.experiment.manual, start)
            return self._met(number, start, theirs, inputs, scaler, side)
        return step

    def notes(self) -> tuple[str, ...]:
        """Say what was compared with what, how small a mistake may pass, and what was left out."""
        train, passes = self.experiment.config.train, self.format.k * self.format.unit * 2**0.5
        by = f"under autocast to {train.dtype}" if train.autocast else f"in {train.dtype}"
        told = [
            f"Torch computes {by}, the hand-written side in float64: every layer, the loss and the "
            "update is given what torch had there, so that only its own rounding is allowed for. "
            f"Mistakes below about {100 * passes:.2g} % of an element pass: check the formulas in "
            "float64 as well."
        ]
        if train.autocast:
            pieces = [node.name for node in self.experiment.manual.graph.nodes] + ["loss"]
            short = ", ".join(name for name in pieces if name in self.in_half)
            told.append(
                f"Torch's autocast ran {len(self.in_half)} of {len(pieces)} pieces in "
                f"{train.dtype} ({short or 'none'}), and the rest in float32."
            )
        if self.skipped:
            n, scale = len(self.skipped), self.experiment.torch.scaler.state["scale"]
            told.append(
                f"Gradients overflowed in {n} step{'s' if n != 1 else ''}, which both sides left "
                f"out; the scale of the loss is {scale:g} now."
            )
        return (*told, *super().notes())

    def shortfall(self) -> str:
        """Under autocast that casts nothing, agreement says nothing of the half."""
        train = self.experiment.config.train
        if not train.autocast or self.in_half:
            return ""
        return (
            f"Nothing ran in {train.dtype}: torch's autocast leaves every layer of this network in "
            'float32, where all agrees. Judge it with dtype = "float32".'
        )

    def _met(
        self, number: int, start: Start, theirs: Values, inputs: tuple[str, ...],
        scaler: LossScaler | None, side: ManualSide | None = None,
    ) -> Step:  # fmt: skip
        """Run and judge all pieces."""
        side = self._meeting(side or self.experiment.manual, start, theirs, scaler)
        first = attempt(side, start)
        manual = first.values | side.optimizer.found  # type: ignore[attr-defined]
        failing = first.failure is not None
        gauges = gauge_values(side, start, self.format, failing=failing)  # type: ignore[arg-type]
        tolerances: Any = gauged(gauges, self.format, self.format.k)  # type: ignore[arg-type]
        finite = all(map(_finite, theirs.values()))
        if finite and not failing and (found := strayed(gauges, first.values, tolerances)):
            raise GaugeMistakeError(found)
        if self.compare.tolerance is not None:
            tolerances = fixed(theirs, *self.compare.tolerance)
        keys = self._keys(first.values, theirs, inputs)
        if self.experiment.torch.scaler.found_inf:  # what overflowed has been thrown away
            self.skipped.add(number)
            lost = {k for k, v in theirs.items() if k.quantity[:4] == "grad" and not _finite(v)}
            keys = [k for k in keys if k not in lost]
            manual, theirs = (
                {k: v for k, v in a.items() if k not in lost} for a in (manual, theirs)
            )
        rows = self._rows(keys, manual, theirs, tolerances, start)
        certain, doubted = None, len(self.doubted)
        if self.compare.tolerance is None and not failing:
            for wider in (self._doubtful, self._added_up):
                if rows.disagree:
                    tolerances = wider(side, start, tolerances)
                    if len(self.doubted) > doubted:
                        certain, doubted = rows, len(self.doubted)
                    rows = self._rows(keys, manual, theirs, tolerances, start)
        self.unjudged.update(unbounded(tolerances))
        losses = (float(manual.get(LOSS, np.nan)), float(theirs[LOSS]))
        return Step(number, rows, losses, {}, tolerances, manual, theirs, first.failure, certain)

    def _doubtful(self, side: ManualSide, start: Start, tolerances: Any) -> Any:
        """Return tolerances that allow for either piece where rounding inside a layer decides.

        What a piece is given is torch's own, so that any doubt comes from inside.
        """

        def run(side: ManualSide) -> Values:
            return gauge_values(side, start, self.format)  # type: ignore[arg-type]

        wider, doubts = in_doubt(side, pieces(side), run, tolerances, self.format, self.format.k)
        self.doubted += [doubts] if doubts else []
        return wider

    def _added_up(self, side: ManualSide, start: Start, tolerances: Any) -> Any:
        """Return tolerances that allow for errors of one sign, which a sum adds up."""

        def run(number: int) -> Values:
            return gauge_values(side, start, self.format, sketch=number)  # type: ignore[arg-type]

        for errors in sketches(run):
            tolerances = widened(tolerances, errors, self.format, self.format.k)
        return tolerances

    def _inputs(self, x: Any) -> tuple[str, ...]:
        reals = tuple(name for name, array in named(x).items() if real(array))
        return reals if self.compare.input_gradient else ()

    def _scaler(self) -> LossScaler | None:
        """Return the hand-written scaler in the state of torch's."""
        settings, state = self.experiment.config.train.scaler, self.experiment.torch.scaler.state
        if settings is None:
            return None
        rest = settings.model_dump(exclude={"init_scale"})
        return LossScaler(state["scale"], int(state["growth_tracker"]), **rest)

    def _torch_values(self, loss: float, lr: float) -> Values:
        """Read torch's side in float64, which holds every half and float32."""
        found = {key: wide(value) for key, value in super()._torch_values(loss, lr).items()}
        scaler = self.experiment.torch.scaler
        if scaler.on:
            found[SCALE] = np.asarray(scaler.state["scale"])
            found[TRACKER] = np.asarray(scaler.state["growth_tracker"])
            found[FOUND] = np.asarray(int(scaler.found_inf))
        return found

    def resynchronise(self) -> None:
        """As in every lockstep, in float64."""
        super().resynchronise()
        self.params = {name: wide(array) for name, array in self.params.items()}
        self.buffers = {name: wide(array) for name, array in self.buffers.items()}
        self.states = {n: {k: wide(v) for k, v in s.items()} for n, s in self.states.items()}

    def _meeting(
        self, side: ManualSide, start: Start, theirs: Values, scaler: LossScaler | None
    ) -> ManualSide:
        """Return the side whose every piece is given what torch had there."""
        upstream = None if scaler is None else np.asarray(scaler.upstream())
        layers = {
            node.name: Meeting(self._inside(node.layer), self._of(node, start, theirs))
            for node in side.graph.nodes
        }
        output = theirs[_key(side.graph.output)]
        of_loss = self._sides("loss", (side.graph.output,))._replace(
            inputs=(output,), upstream=upstream
        )
        of_penalty = Met((), upstream, of_loss.format)
        grads = {f"{k.layer}.{k.quantity[5:]}": v for k, v in theirs.items() if _of_parameter(k)}
        return side._replace(
            graph=side.graph.with_layers(layers),
            loss=Meeting(side.loss, of_loss),
            penalties=[(Meeting(layer, of_penalty), names) for layer, names in side.penalties],
            optimizer=MetOptimizer(side, grads, self.kept, scaler),
            clip_norm=None,
            clip_value=None,
        )

    def _of(self, node: Node, start: Start, theirs: Values) -> Met:
        """Return what torch had at a node: its inputs, and the gradients of its outputs."""
        given = {**start.inputs, **start.params}
        inputs = tuple(
            None if v is None else given[v] if v in given else theirs[_key(v)] for v in node.inputs
        )
        keys = [_key(port) for port in ports_of(node)]
        found = [theirs.get(Key(k.layer, f"grad_{k.quantity}")) for k in keys]
        filled = [
            np.zeros_like(theirs[k]) if g is None else g for k, g in zip(keys, found, strict=True)
        ]
        upstream = filled[0] if len(filled) == 1 else tuple(filled)
        met = self._sides(node.name, node.inputs)
        share = added_in_half(unplanted(node.layer), inputs)
        return met._replace(inputs=inputs, upstream=upstream, serial=share)

    def _inside(self, layer: Layer) -> Layer:
        """Return the layer with its pieces counted as torch adds up, if it is made of pieces."""
        if self.experiment.torch.autocast.enabled or not isinstance(layer, Composed):
            return layer
        shares = {node.name: (node.layer, added_in_half(node.layer)) for node in layer.graph.nodes}
        pieces = {name: AddingInHalf(*shared) for name, shared in shares.items() if shared[1]}
        twin = copy(layer)
        twin.graph = layer.graph.with_layers(pieces)
        return twin

    def _sides(self, name: str, sources: Sequence[str | None]) -> Met:
        """Return in what a piece computes, and what is rounded on its borders."""
        torch = self.experiment.torch
        if not torch.autocast.enabled:
            return Met((), None, self.format)
        taps = torch.network.taps
        halves = tuple(v in taps and taps[v].dtype == torch.autocast.dtype for v in sources)
        if torch.module_of(name) not in torch.autocast.in_half:
            return Met((), None, FORMATS["float32"], returned=halves)
        self.in_half.add(name)
        return Met((), None, self.format, rounded=tuple(not h for h in halves), casts=True)


def _finite(value: np.ndarray) -> bool:
    return bool(np.isfinite(value).all())


def _of_parameter(key: Key) -> bool:
    return key.quantity.startswith("grad:")


def _key(value: str) -> Key:
    node, _, port = value.partition(":")
    return Key(node, f"output:{port}" if port else "output")
