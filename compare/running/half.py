"""A step in which torch computes in float16 or bfloat16, and the hand-written side in float64.

In eight digits errors of a whole network swallow every mistake. So both sides meet again at every
value: each layer, the loss and the update is given what torch had there, whose numbers are exact in
float64, and only its own roundings are allowed for. If every piece is right on torch's numbers,
and is fed from the right places, the chain rule makes the whole right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import numpy as np

from compare.description.data.dataset import named
from compare.gauge import (
    FORMATS,
    Format,
    Gauge,
    GaugeMistakeError,
    K,
    adding_in_half,
    gauge,
    rounding_as,
    setting,
    sketches,
    strayed,
    widened,
)
from compare.gauge.smooth import rounded as rounding
from compare.judge.judge import fixed, gauged, unbounded
from compare.judge.quantities import LOSS, Key, Values, real
from compare.pair.inputs import rounded
from compare.pair.manual_side import ManualSide
from compare.pair.sources import unplanted
from compare.pair.wrapped import Wrapped
from compare.running.alone import wide
from compare.running.doubt import in_doubt, pieces
from compare.running.experiment import Experiment
from compare.running.kinks import settled
from compare.running.lockstep import Lockstep, Step
from compare.running.moment import Start, attempt, gauge_values
from manual.embedding import Embedding, EmbeddingBag
from manual.graph import Array, Arrays, Layer, Node
from manual.memory import MemoryAdd, MemoryErase
from manual.nodes import ports_of
from manual.norm import LayerNorm
from manual.optimizers import Optimizer
from manual.recurrent.stack import Recurrent
from manual.scaling import LossScaler
from torch_ref.halves import serial_sums

SCALE, TRACKER, FOUND = (Key("scaler", q) for q in ("scale", "growth_tracker", "found_inf"))


class Met(NamedTuple):
    """What torch had at one piece.

    Args:
        inputs: forward's arguments; None is taken as it comes (integers, what is left out).
        upstream: the gradient of its outputs, built as they are; None: the one that comes.
        format: what its roundings are.
        serial: the share of a sum's terms that torch adds in the half itself.
        rounded: which inputs are rounded to the half before use.
        casts: whether the parameters are.
        returned: which gradients of inputs are rounded to the half after all.
    """

    inputs: tuple[Any, ...]
    upstream: Any
    format: Format
    serial: float = 0.0
    rounded: tuple[bool, ...] = ()
    casts: bool = False
    returned: tuple[bool, ...] = ()


class Meeting(Wrapped):
    """A layer that is given what torch had, in place of what arrives."""

    def __init__(self, layer: Layer, met: Met) -> None:
        super().__init__(layer)
        self.met = met

    def forward(self, *inputs: Array, **noise: Any) -> tuple[Any, Any]:
        given = [
            ours if theirs is None else _as(ours, theirs)
            for ours, theirs in zip(inputs, self.met.inputs, strict=False)
        ]
        given += inputs[len(given) :]  # the loss's target
        with self._counted():
            for i, cast in enumerate(self.met.rounded):
                given[i] = _cast(given[i]) if cast else given[i]
            output, cache = self.layer.forward(*given, **noise)
            return _each(self._stored, output), cache

    def backward(self, grad_output: Array, cache: Any) -> tuple[tuple[Array, ...], Arrays]:
        with self._counted():
            grads, own = self.layer.backward(self._upstream(grad_output), cache)
        returned = self.met.returned
        found = [_cast(g) if i < len(returned) and returned[i] else g for i, g in enumerate(grads)]
        return tuple(found), own

    def grad_params(self, grad_output: Array, cache: Any) -> Arrays:
        with self._counted():
            return self.layer.grad_params(self._upstream(grad_output), cache)

    def _stored(self, y: Any) -> Any:
        """Allow for what is written as it stands, and is no number of the format: a constant."""
        if not isinstance(y, Gauge):
            return y
        lost = (y.v - rounded(y.v, self.met.format.name)) / setting().roundoff
        return Gauge(y.v, np.maximum(y.e2, np.square(lost)))

    def _upstream(self, ours: Any) -> Any:
        theirs = self.met.upstream
        if theirs is None:
            return ours
        if isinstance(theirs, tuple):
            return tuple(_as(a, b) for a, b in zip(ours, theirs, strict=True))
        return _as(ours, theirs)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with rounding_as(self.met.format):
            if self.met.serial and self.met.format.half:
                with adding_in_half(self.met.serial):
                    yield
            else:
                yield

    def with_params(self, params: Arrays) -> Self:
        cast = {k: _cast(p) for k, p in params.items()} if self.met.casts else params
        return super().with_params(cast)


def _each(function: Callable, arrays: Any) -> Any:
    return tuple(map(function, arrays)) if isinstance(arrays, tuple) else function(arrays)


def _as(ours: Any, theirs: Any) -> Any:
    """Return torch's numbers in the number system of ours."""
    return gauge(theirs) if isinstance(ours, Gauge) and not isinstance(theirs, Gauge) else theirs


def _cast(x: Any) -> Any:
    """Add the error of rounding to the half, where the numbers carry errors."""
    return rounding(x.v, x.e2) if isinstance(x, Gauge) else x


class Told(np.ndarray):
    """Numbers in float64 for code that asks what they were computed in (`manual.rounding`)."""

    __epsilon__: float


TOLD: dict[str, type[Told]] = {
    name: type(name, (Told,), {"__epsilon__": 2 * format.unit}) for name, format in FORMATS.items()
}


class MetOptimizer(Optimizer):
    """The update from torch's gradients: unscaled, clipped, and taken or left out.

    Args:
        side: whose rule and clipping are used.
        grads: torch's, as backward left them.
        format: what its roundings are.
        scaler: of the loss; None if that is not scaled.
    """

    def __init__(
        self, side: ManualSide, grads: Arrays, format: Format, scaler: LossScaler | None
    ) -> None:
        self.side, self.grads, self.format, self.scaler = side, grads, format, scaler
        self.lr = side.optimizer.lr
        self.found: Values = {}  # the scaler after it

    def rule_for(self, name: str) -> Optimizer:
        return self.side.optimizer.rule_for(name)

    def update(self, param: Array, grad: Array, state: dict, lr: float) -> tuple[Array, dict]:
        return self.side.optimizer.update(param, grad, state, lr)

    def step(self, params: Any, grads: Any, states: Any, lr: Any = None) -> Any:
        given = {name: _as(grad, self.grads.get(name, grad)) for name, grad in grads.items()}
        if not any(isinstance(p, Gauge) for p in params.values()):
            params = {k: p.view(TOLD[self.format.name]) for k, p in params.items()}
        with rounding_as(self.format):
            if self.scaler is None:
                return self.side.update(params, given, states, lr)
            given, found = self.scaler.unscale(given)
            after = self.scaler.after(found)
            self.found = {
                SCALE: np.asarray(after.scale), TRACKER: np.asarray(after.tracker),
                FOUND: np.asarray(int(found)),
            }  # fmt: skip
            return (params, states) if found else self.side.update(params, given, states, lr)


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
            node.name: Meeting(node.layer, self._of(node, start, theirs))
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


def added_in_half(layer: Layer, inputs: Sequence[Any]) -> float:
    """Return the share of its sums' terms that torch's CPU kernels add up in the half itself.

    Found by experiment (docs/half-precision.md): look-ups add the gradients of a row one by one,
    LayerNorm those of its parameters row by row, recurrent layers those of theirs step by step; a
    memory's w aᵀ is a product element by element there, and its gradients are.
    """
    if isinstance(layer, Embedding | EmbeddingBag | LayerNorm):
        return 1.0
    if isinstance(layer, MemoryAdd | MemoryErase):  # every product is rounded, and then added
        return 1 / min(inputs[0].shape[-2:])
    if isinstance(layer, Recurrent):
        x = inputs[0]
        return x.shape[0 if layer.batch_first or x.ndim == 2 else 1] ** -1 if x.ndim == 3 else 1.0
    return 0.0


def _finite(value: np.ndarray) -> bool:
    return bool(np.isfinite(value).all())


def _of_parameter(key: Key) -> bool:
    return key.quantity.startswith("grad:")


def _key(value: str) -> Key:
    node, _, port = value.partition(":")
    return Key(node, f"output:{port}" if port else "output")
