"""One lockstep step: both sides from the same weights, measured, gauged and judged.

Torch's trajectory is the one that both follow: after each step the hand-written side is given
copies of torch's parameters and optimiser state, so every step is judged on its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from compare.experiment import Experiment
from compare.gauge import Gauge, gauge, gauging
from compare.judge import Rows, fixed, gauged, judge
from compare.manual_side import States
from compare.quantities import LOSS, Key, Values, collected, expected
from manual.graph import Array, Arrays, Node


class Step(NamedTuple):
    """What one step leaves."""

    number: int
    rows: Rows
    losses: tuple[float, float]  # manual, torch
    flips: dict[str, int]  # per layer: elements that took another piece within rounding
    tolerances: Mapping[Key, Any]
    manual: Values
    torch: Values


class Start(NamedTuple):
    """What a step starts from: parameters, optimiser state and data, the same for both sides."""

    params: Arrays
    states: States
    x: np.ndarray
    target: np.ndarray
    lr: float
    noise: dict[str, np.ndarray]
    input_grad: bool


class Lockstep:
    """Runs steps in lockstep and judges them.

    Thorough steps (every `gauge_every`-th) gauge every element and follow gradients down to the
    input. The steps between are screened: each tensor's largest difference against the root mean
    square of its tolerances in the last thorough step. A step that does not pass is gauged after
    all, so a screen never fails anything.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.compare = experiment.config.compare
        self.dtype = experiment.dtype
        self.tolerances: Mapping[Key, Any] = {}  # of the last thorough step
        self.screen: dict[Key, float] = {}  # their root mean squares, found when first needed
        self._known_keys: dict[Any, list[Key]] = {}
        self.start: Start | None = None
        experiment.torch.load(experiment.weights)
        self.resynchronise()

    def step(self, number: int, batch: np.ndarray) -> Step:
        """Run, compare and judge one step; `resynchronise` before the next.

        The step's torch values are views that torch's next step overwrites.
        """
        side, torch = self.experiment.manual, self.experiment.torch
        thorough = number % self.compare.gauge_every == 0
        x, target = self.experiment.rows(batch)
        lr = self.experiment.lr(number)
        input_grad = thorough and self.compare.input_gradient
        loss = torch.forward_backward(torch.tensor(x), torch.tensor(target), input_grad=input_grad)
        start = Start(self.params, self.states, x, target, lr, torch.noise(), input_grad)
        self.start = start
        manual = _manual(side, start, self.dtype)
        theirs = self._torch_values(loss, lr)
        keys = self._keys(manual, theirs, input_grad)
        return self._judged(number, start, keys, manual, theirs, thorough)

    def _judged(
        self, number: int, start: Start, keys: list[Key], manual: Values, torch: Values, deep: bool
    ) -> Step:
        """Judge by the screen if that is enough, else by the gauge, else with torch's kinks."""
        if self.compare.tolerance is not None:
            tolerances: Mapping[Key, Any] = fixed(torch, *self.compare.tolerance)
        else:
            tolerances = self._gauged(start) if deep else self._screen()
        rows = judge(keys, manual, torch, tolerances)
        flips: dict[str, int] = {}
        if rows.disagree and self.compare.tolerance is None:
            if not deep:
                tolerances = self._gauged(start)
                rows = judge(keys, manual, torch, tolerances)
            if rows.disagree:
                manual, tolerances, flips = self._refereed(start, torch)
                rows = judge(keys, manual, torch, tolerances)
        losses = (float(manual.get(LOSS, np.nan)), float(torch[LOSS]))
        return Step(number, rows, losses, flips, tolerances, manual, torch)

    def _gauged(self, start: Start, referee: Any = None) -> dict[Key, Any]:
        """Run the hand-written code on gauge arrays: the tolerance of every element."""
        values = gauge_values(self.experiment.manual, start, self.dtype, referee)
        self.tolerances, self.screen = gauged(values, self.dtype, self.compare.k), {}
        return self.tolerances

    def _screen(self) -> dict[Key, float]:
        if not self.screen:
            self.screen = {key: _typical(t) for key, t in self.tolerances.items()}
        return self.screen

    def _refereed(self, start: Start, torch: Values) -> tuple[Values, dict[Key, Any], dict]:
        """Run again with torch's decisions at kinks, where the two sides' decisions differ."""
        flips: dict[str, int] = {}
        manual = _manual(self.experiment.manual, start, self.dtype, Referee(start, torch, flips))
        return manual, self._gauged(start, Referee(start, torch, {})), flips

    def _torch_values(self, loss: float, lr: float) -> Values:
        """Read torch's side; gradients before the update, because clipping changes them."""
        torch = self.experiment.torch
        outputs, grad_outputs, grads = torch.outputs(), torch.grad_outputs(), torch.grads()
        if torch.clip != (None, None):
            grads = {name: grad.copy() for name, grad in grads.items()}
        torch.update(lr)
        return collected(
            outputs, np.asarray(loss, self.dtype), grad_outputs, grads, torch.params(), torch.state()
        )

    def _keys(self, manual: Values, torch: Values, input_grad: bool) -> list[Key]:
        states = frozenset(k for k in (*manual, *torch) if k.quantity[:6] == "state:")
        if (input_grad, states) not in self._known_keys:
            nodes = self.experiment.manual.graph.nodes
            self._known_keys[input_grad, states] = expected(
                nodes, self.params, states, input_grad=input_grad
            )
        return self._known_keys[input_grad, states]

    def resynchronise(self) -> None:
        """Give the hand-written side copies of torch's weights and optimiser state.

        Copies, not views: torch updates in place, and an optimiser that returned its argument
        unchanged would then seem to agree. Read-only, so that nothing can write into them.
        """
        torch = self.experiment.torch
        self.params = {name: _frozen(array) for name, array in torch.params().items()}
        self.states = {
            name: {k: v.item() if v.ndim == 0 else _frozen(v) for k, v in entry.items()}
            for name, entry in torch.state().items()
        }


def _typical(tolerance: Any) -> float:
    """Return the root mean square over elements."""
    flat = np.ravel(tolerance)
    return float(np.sqrt(np.dot(flat, flat) / flat.size))


def _frozen(array: np.ndarray) -> np.ndarray:
    copy = array.copy()
    copy.setflags(write=False)
    return copy


def _manual(side: Any, start: Start, dtype: np.dtype, referee: Referee | None = None) -> Values:
    values = side.step(
        start.params, start.states, start.lr, start.x, start.target,
        noise=start.noise, input_grad=start.input_grad, intercept=referee,
    )  # fmt: skip
    return {key: np.asarray(value) for key, value in values.items()}


def gauge_values(side: Any, start: Start, dtype: np.dtype, referee: Referee | None) -> Values:
    """Run the same step of the same hand-written code on error-gauge arrays."""
    floating = np.issubdtype(start.target.dtype, np.floating)
    with gauging(dtype):
        return side.step(
            {name: gauge(p) for name, p in start.params.items()},
            {
                name: {k: gauge(v) if np.ndim(v) else v for k, v in entry.items()}
                for name, entry in start.states.items()
            },
            start.lr,
            gauge(start.x),
            start.target.astype(np.float64) if floating else start.target,
            noise=start.noise, input_grad=start.input_grad, intercept=referee,
        )  # fmt: skip


class Referee:
    """Settles kinks: where the sides take different pieces, the layer is given torch's input.

    That input may differ from the hand-written side's only within the tolerance, because the
    output of the node before, which it is, is judged as it was.
    """

    def __init__(self, start: Start, torch: Values, flips: dict[str, int]) -> None:
        self.start, self.torch, self.flips = start, torch, flips

    def __call__(self, node: Node, arguments: tuple[Array, ...]) -> tuple[Array, ...]:
        extra = (self.start.target,) if node.name == "loss" else ()
        ours = tuple(a.v if isinstance(a, Gauge) else a for a in arguments)
        mine = node.layer.decisions(*ours, *extra)
        if mine is None:
            return arguments
        theirs = tuple(self._torch_output(name) for name in node.inputs)
        flips = int(np.count_nonzero(mine != node.layer.decisions(*theirs, *extra)))
        if not flips:
            return arguments
        self.flips[node.name] = flips
        pairs = zip(arguments, theirs, strict=True)
        return tuple(
            Gauge(t.astype(np.float64), a.e2) if isinstance(a, Gauge) else t for a, t in pairs
        )

    def _torch_output(self, name: str) -> np.ndarray:
        return self.start.x if name == "input" else self.torch[Key(name, "output")]
