"""One lockstep step: both sides from the same weights, measured, gauged and judged.

Torch's trajectory is the one that both follow: after each step the hand-written side is given
copies of torch's parameters and optimiser state, so every step is judged on its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from compare.description.data.dataset import named
from compare.gauge import (
    FAR,
    GaugeMistakeError,
    parts,
    sketches,
    strayed,
    widened,
)
from compare.judge.judge import (
    Rows,
    fixed,
    gauged,
    judge,
    least_share,
    of_one_dtype,
    out_of_range,
    typical,
    unbounded,
)
from compare.judge.quantities import LOSS, Key, Values, collected, expected, real
from compare.pair.manual_side import ManualSide
from compare.running.alone import Moment, wide
from compare.running.doubt import deciding_inside, in_doubt
from compare.running.experiment import Experiment
from compare.running.kinks import Referee, continuous, settled, without_excuses
from compare.running.large import InBlocks, freed, let_go
from compare.running.moment import Attempt, Start, attempt, gauge_values, in_double
from compare.running.refusal import torchs_own
from manual.graph import Intercept
from manual.rounding import standing_for

FINITE = float(np.finfo(np.float64).max)  # a share that errors which add up may still explain


class Step(NamedTuple):
    """What one step leaves."""

    number: int
    rows: Rows
    losses: tuple[float, float]  # manual, torch
    flips: dict[str, int]  # per layer: elements that took another piece within rounding
    tolerances: Mapping[Key, Any]
    manual: Values
    torch: Values
    failure: Exception | None  # raised by the hand-written side
    certain: Rows | None = None  # as judged before either answer of those in doubt was allowed


class Lockstep:
    """Runs steps in lockstep and judges them.

    Thorough steps (every `gauge_every`-th, the second and the last) gauge every element and follow
    gradients down to the input. The steps between are screened: each tensor's largest difference
    against the root mean square of its tolerances in the last thorough step. A step that does not
    pass is gauged after all, so a screen never fails anything; but it may pass a difference in
    elements much smaller than the rest of their tensor.
    """

    works = True  # whether the worst element of each row can be worked by its formula
    asks = True  # whether what training never asks is compared once
    of_one_format = True  # whether both sides compute in it, so that ulps can be counted

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.compare = experiment.config.compare
        self.dtype = experiment.dtype
        self.tolerances: Mapping[Key, Any] = {}  # of the last thorough step
        self.screen: dict[Key, float] = {}  # their root mean squares, found when first needed
        self.gauges: Values = {}  # the gauged run that they are from; none in a screened step
        self.watch: Intercept | None = None  # sees every node of a gauged run
        self.unjudged: Counter[Key] = Counter()  # elements that rounding may take anywhere
        self.doubted: list[int] = []  # of a step each: comparisons that rounding may turn
        self._known_keys: dict[Any, list[Key]] = {}
        self.start: Start | None = None
        self.params: dict[str, Any] = {}  # of the step to come; `resynchronise` sets them
        experiment.torch.load(experiment.weights)
        self.resynchronise()
        for name, weight in experiment.weights.items():
            if name in self.params:
                self.params[name] = _shared(self.params[name], weight)

    def step(self, number: int, batch: np.ndarray) -> Step:
        """Run, compare and judge one step; `resynchronise` before the next.

        The step's torch values are views that torch's next step overwrites.

        Raises:
            TorchRefusedError: torch cannot do it.
        """
        thorough = self._is_thorough(number)
        self._let_go(thorough)
        x, target = self.experiment.rows(batch)
        lr = self.experiment.lr(number)
        reals = tuple(name for name in self.experiment.inputs if real(named(x)[name]))
        inputs = reals if thorough and self.compare.input_gradient else ()
        start, loss = self._started(x, target, lr, input_grad=bool(inputs))
        first = attempt(self.experiment.manual, start)
        theirs = self._torch_values(loss, lr)
        keys = self._keys(first.values, theirs, inputs)
        return self._judged(number, keys, first, theirs, thorough)

    def _let_go(self, thorough: bool) -> None:
        """Keep of the last step's tolerances what the next one asks for: they are large."""
        self.screen = {} if thorough else self._screen()
        self.tolerances = {}

    def notes(self) -> tuple[str, ...]:
        """Say what a reader should know of how the steps were run."""
        told = []
        if self.unjudged:
            where = ", ".join(sorted({".".join(key) for key in self.unjudged})[:5])
            told.append(
                f"Of {sum(self.unjudged.values()):,} elements nothing is said: rounding may take "
                f"them anywhere ({where})."
            )
        if self.doubted:
            told.append(
                f"In {len(self.doubted)} step{'s' if len(self.doubted) > 1 else ''} rounding may "
                f"turn comparisons inside a layer ({max(self.doubted):,} at most): either answer "
                "is allowed, so that little is said there of the gradients that depend on them."
            )
        return tuple(told)

    def shortfall(self) -> str:
        """Say why agreement in all steps so far is none of what was asked for; else nothing."""
        return ""

    def _started(self, x: Any, target: Any, lr: float, *, input_grad: bool) -> tuple[Start, float]:
        """Let torch go forward and back; return what the other side starts from, and the loss.

        Raises:
            TorchRefusedError: torch cannot do it.
        """
        torch = self.experiment.torch
        with torchs_own():
            loss = torch.forward_backward(
                torch.tensor(x), torch.tensor(target), input_grad=input_grad
            )
        self.start = Start(
            self.params, self.states, x, target, lr, torch.noise(), torch.winners(), input_grad,
            self.buffers,
        )  # fmt: skip
        return self.start, loss

    def _is_thorough(self, number: int) -> bool:
        last = self.experiment.steps - 1
        return number % self.compare.gauge_every == 0 or number in (1, last)

    def _judged(
        self, number: int, keys: list[Key], first: Attempt, torch: Values, deep: bool
    ) -> Step:
        """Judge by the screen if that is enough, else by the gauge, else with torch's kinks."""
        start = self.start
        assert start is not None
        own = self.compare.tolerance
        failing = first.failure is not None
        gauge = partial(self._gauged, start, failing=failing, plain=first.values)
        if own is not None:
            tolerances: Mapping[Key, Any] = fixed(torch, *own)
        else:
            tolerances = gauge() if deep else self.screen
        manual = first.values
        flips: dict[str, int] = {}
        certain, doubted = None, len(self.doubted)
        rows = self._rows(keys, manual, torch, tolerances, start)
        if own is None and rows.differ and not deep:
            tolerances = gauge()
            rows = self._rows(keys, manual, torch, tolerances, start)
        wide = own is None and (
            bool(unbounded(tolerances)) or (rows.disagree and out_of_range(rows, manual))
        )
        if wide:
            tolerances = gauge(wide=True)
            rows = self._rows(keys, manual, torch, tolerances, start)
        settling = own is None and rows.disagree
        if settling:
            again, flips = self._refereed(start, torch)
            before = _Before(continuous(manual), continuous(tolerances))
            if flips:
                manual.clear()  # the rest is large, and nothing asks for it again
            sides = _Sides(before, again if flips else manual, torch, flips)
            self.tolerances = tolerances = {}
            for hopeless, tolerances in self._with_kinks(start, torch, failing, wide, sides.again):
                if len(self.doubted) > doubted:
                    certain, doubted = rows, len(self.doubted)
                rows, flips = self._excused(keys, sides, tolerances, start)
                if not rows.disagree or not least_share(rows) <= hopeless:
                    break
            manual = sides.again
        if self.gauges and not (failing or rows.disagree):
            self._confirm(start, manual, tolerances, torch if settling else None)
        self.gauges = {}  # not kept: they are as large as the step itself
        self.unjudged.update(unbounded(tolerances))
        losses = (float(manual.get(LOSS, np.nan)), float(torch[LOSS]))
        return Step(number, rows, losses, flips, tolerances, manual, torch, first.failure, certain)

    def judged_with(self, side: ManualSide, step: Step) -> Step:
        """Judge a step just run again, with another hand-written side."""
        assert self.start is not None
        kept = vars(self).copy()
        self.unjudged, self.doubted = Counter(), []
        self.experiment = replace(self.experiment, manual=side)
        try:
            first = attempt(side, self.start)
            return self._judged(step.number, step.rows.keys, first, step.torch, True)
        finally:
            vars(self).update(kept)

    def _rows(
        self, keys: list[Key], manual: Values, torch: Values, tolerances: Any, start: Start
    ) -> Rows:
        return of_one_dtype(judge(keys, manual, torch, tolerances, start.params), manual, torch)

    def _gauged(
        self, start: Start, torch: Values | None = None, *, failing: bool,
        plain: Values | None = None, wide: bool = False,
    ) -> dict[Key, Any]:  # fmt: skip
        """Run the code on gauge arrays, with torch's kinks if they are given: the tolerances.

        Large gauge arrays that computed what the `plain` run did are not kept for `_confirm`.
        """
        side, referee = self.experiment.manual, self.watch
        if torch is not None:
            side, referee = settled(side, start), Referee(start, torch, {})
        k = self.compare.k
        side = InBlocks.side(side, plain, self.dtype, k) if plain else side
        values = gauge_values(side, start, self.dtype, referee, wide=wide, failing=failing)
        tolerances = freed(values, plain, self.dtype, k) if plain else {}
        tolerances |= let_go(side) | gauged(values, self.dtype, k)
        self.tolerances, self.screen, self.gauges = tolerances, {}, values
        return tolerances

    def _with_kinks(
        self, start: Start, torch: Values, failing: bool, wide: bool, plain: Values
    ) -> Iterator[tuple[float, Mapping[Key, Any]]]:
        """Yield tolerances at torch's kinks: by the gauge, then also by errors that add up.

        `plain` is what the code computes there.
        With each comes the share of it that no better estimate of the errors can explain.
        """
        yield FINITE, self._gauged(start, torch, failing=failing, plain=plain, wide=wide)
        self.tolerances = self._in_doubt(start, torch, failing, wide)
        yield FINITE, self.tolerances
        side, referee = settled(self.experiment.manual, start), Referee(start, torch, {})

        def run(number: int) -> Values:
            return gauge_values(side, start, self.dtype, referee, sketch=number, failing=failing)

        for errors in sketches(run):
            self.tolerances = widened(self.tolerances, errors, self.dtype, self.compare.k)
            yield FAR, self.tolerances

    def _in_doubt(
        self, start: Start, torch: Values, failing: bool, wide: bool
    ) -> Mapping[Key, Any]:
        """Return the tolerances that allow for kinks inside a layer as well.

        What torch decided there is not known: where rounding may have decided otherwise, both
        pieces are allowed.
        """
        side, referee = settled(self.experiment.manual, start), Referee(start, torch, {})

        def run(side: ManualSide) -> Values:
            return gauge_values(side, start, self.dtype, referee, wide=wide, failing=failing)

        moment = Moment(self.experiment, start, 0, {}, torch, {}, {})
        nodes = deciding_inside(moment, self.dtype)
        wider, doubts = in_doubt(side, nodes, run, self.tolerances, self.dtype, self.compare.k)
        self.doubted += [doubts] if doubts else []
        return wider

    def _excused(
        self, keys: list[Key], sides: _Sides, tolerances: Mapping[Key, Any], start: Start
    ) -> tuple[Rows, dict[str, int]]:
        """Judge what was run again with torch's kinks, and what they do not excuse."""
        rows = self._rows(keys, sides.again, sides.torch, tolerances, start)
        if not sides.flips:  # no kink: what was computed first stands
            return rows, {}
        first, wider = sides.before, continuous(tolerances)
        either = {k: np.fmax(t, first.tolerances.get(k, 0.0)) for k, t in wider.items()}
        asked = list(continuous(dict.fromkeys(keys)))
        before = self._rows(asked, first.manual, continuous(sides.torch), either, start)
        nodes = self.experiment.manual.graph.nodes
        return without_excuses(before, rows, sides.flips, nodes, sides.torch)

    def _confirm(
        self, start: Start, plain: Values, tolerances: Mapping[Key, Any], torch: Values | None
    ) -> None:
        """Demand that the gauged run computed what the plain run did, within the tolerances.

        The gauge runs in float64 and may take another piece at a kink (unless it took those of
        `torch`), or its errors may add up.
        Elements that rounding may change by a part of themselves are beyond errors of first order:
        they say nothing of the gauge.

        Raises:
            GaugeMistakeError: it did not, so its tolerances say nothing.
        """
        found, kept = strayed(self.gauges, plain, tolerances), (self.tolerances, self.screen)
        if not found:
            return
        if not strayed(self.gauges, plain, _of_first_order(tolerances, self.gauges, plain)):
            return
        if self.dtype != np.float64 and self._as_in_double(start, tolerances, torch):
            return  # what float32 cannot hold is no mistake of the gauge
        kinks = plain if torch is None else torch
        for _, tolerances in self._with_kinks(start, kinks, False, False, plain):
            found = strayed(self.gauges, plain, _of_first_order(tolerances, self.gauges, plain))
            if not found:
                break
        else:
            raise GaugeMistakeError(found)
        self.tolerances, self.screen = kept

    def _as_in_double(
        self, start: Start, tolerances: Mapping[Key, Any], torch: Values | None
    ) -> bool:
        """Return whether the gauged run computed what the same code computes in float64.

        An intermediate number beyond float32's range may come back as a plain one (1 / inf is 0).
        """
        side, referee, start = self.experiment.manual, None, in_double(start)
        if torch is not None:
            torch = {key: wide(value) for key, value in torch.items()}
            side, referee = settled(side, start), Referee(start, torch, {})
        with standing_for(self.dtype):
            plain = attempt(side, start, referee).values
        return not strayed(self.gauges, plain, _of_first_order(tolerances, self.gauges, plain))

    def _screen(self) -> dict[Key, float]:
        if not self.screen:
            self.screen = {key: typical(t) for key, t in self.tolerances.items()}
        return self.screen

    def _refereed(self, start: Start, torch: Values) -> tuple[Values, dict[str, int]]:
        """Run again with torch's decisions at kinks, where the two sides' decisions differ."""
        flips: dict[str, int] = {}
        again = attempt(settled(self.experiment.manual, start), start, Referee(start, torch, flips))
        return again.values, flips

    def _torch_values(self, loss: float, lr: float) -> Values:
        """Read torch's side; gradients before the update, which clips them."""
        torch = self.experiment.torch
        outputs, grad_outputs, grads = torch.outputs(), torch.grad_outputs(), torch.grads()
        if torch.clip != (None, None) or torch.scaler.on:  # both write into them
            grads = {name: grad.copy() for name, grad in grads.items()}
        with torchs_own():
            torch.update(lr)
        value = np.asarray(loss, self.dtype)
        params, state, buffers = torch.params(), torch.state(), torch.buffers()
        if torch.overflowed:  # its update says nothing
            params, state = (_undefined(part) for part in (params, state))
        inputs = self.experiment.inputs
        return collected(outputs, value, grad_outputs, grads, params, state, buffers, inputs)

    def _keys(self, manual: Values, torch: Values, inputs: tuple[str, ...]) -> list[Key]:
        states = frozenset(k for k in (*manual, *torch) if k.quantity[:6] == "state:")
        if (inputs, states) not in self._known_keys:
            nodes = self.experiment.manual.graph.nodes
            found = expected(nodes, self.params, states, inputs=inputs, buffers=self.buffers)
            self._known_keys[inputs, states] = _without_indices(found, torch)
        return self._known_keys[inputs, states]

    def resynchronise(self) -> None:
        """Give the hand-written side copies of torch's weights, buffers and optimiser state.

        Copies, not views: torch updates in place, and an optimiser that returned its argument
        unchanged would then seem to agree. Read-only, so that nothing can write into them.
        """
        torch = self.experiment.torch
        self.params = {name: _frozen(array) for name, array in torch.params().items()}
        self.buffers = {name: _frozen(array) for name, array in torch.buffers().items()}
        self.states = {
            name: {k: v.item() if v.ndim == 0 else _frozen(v) for k, v in entry.items()}
            for name, entry in torch.state().items()
        }
        self.start = None


def _without_indices(keys: list[Key], torch: Values) -> list[Key]:
    """Leave out the gradients of values that hold no real numbers."""
    return [k for k in keys if k.quantity[:11] != "grad_output" or real(torch.get(_output(k)))]


def _output(key: Key) -> Key:
    return Key(key.layer, key.quantity.replace("grad_output", "output"))


class _Before(NamedTuple):
    """What is continuous across kinks, as computed at first, and its tolerances there."""

    manual: Values
    tolerances: Mapping[Key, Any]


class _Sides(NamedTuple):
    """What both sides computed, the hand-written one with torch's kinks, and before that."""

    before: _Before
    again: Values
    torch: Values
    flips: dict[str, int]


def _of_first_order(tolerances: Mapping[Key, Any], gauges: Values, plain: Values) -> dict[Key, Any]:
    """Return infinite tolerances where they are more than a hundredth of the number itself."""
    sizes = {
        key: np.minimum(np.abs(plain[key]), np.abs(parts(gauges[key])[0]))
        for key in tolerances
        if key in plain and key in gauges and np.shape(gauges[key]) == np.shape(plain[key])
    }
    return {
        key: np.where(tolerances[key] > 0.01 * size, np.inf, tolerances[key])
        for key, size in sizes.items()
        if np.shape(tolerances[key]) in ((), size.shape)
    }


def _undefined(values: Any) -> Any:
    """Return the same nest of arrays, all NaN."""
    if isinstance(values, dict):
        return {name: _undefined(value) for name, value in values.items()}
    return np.full_like(values, np.nan) if values.dtype.kind == "f" else values


def _frozen(array: np.ndarray) -> np.ndarray:
    return _shown(array.copy())


def _shared(array: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the other's memory if it holds the same numbers."""
    same = other.dtype == array.dtype and np.array_equal(array, other)
    return _shown(other) if same else array


def _shown(array: np.ndarray) -> np.ndarray:
    """Return the same memory, which cannot be written into there."""
    view = array.view()
    view.setflags(write=False)
    return view
