"""A step of a mirror: torch's model under the capture, then its twin on the same."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import numpy as np

from compare.errors import UserError
from compare.judge.judge import Rows
from compare.judge.quantities import Key, Values, expected, real
from compare.running.lockstep import Lockstep, Step
from compare.running.mirror.experiment import MirrorExperiment
from compare.running.moment import Start, attempt
from compare.running.refusal import torchs_own
from manual.nodes import ports_of
from torch_ref.capture import Capture

__all__ = ["MirrorLockstep"]


class MirrorLockstep(Lockstep):
    """Runs the model's steps; each has a hand-written graph of its own."""

    works = False
    experiment: MirrorExperiment
    untold: Set[Key] = frozenset()  # what the twin computes and torch tells nothing of

    def step(self, number: int, batch: np.ndarray) -> Step:
        side: Any = self.experiment.torch
        with torchs_own():
            loss = side.forward_backward()
        self.experiment = self.experiment.captured()
        x, target = self.experiment.rows(batch)
        lr = self.experiment.lr(number)
        start = Start(self.params, self.states, x, target, lr, side.noise(), {}, True, self.buffers)
        self.start = start
        first = attempt(self.experiment.manual, start)
        theirs = self._torch_values(loss, lr)
        manual = self._comparable(first.values, theirs)
        self.untold = first.values.keys() - manual.keys()
        keys = self._keys_of(manual, theirs)
        deep = self._is_thorough(number)
        step = self._judged(number, keys, first._replace(values=manual), theirs, deep)
        alone = {key: first.values[key] for key in self._alone() if key in first.values}
        return step._replace(torch={**theirs, **alone}) if alone else step  # for who looks closer

    def _rows(
        self, keys: list[Key], manual: Values, torch: Values, tolerances: Any, start: Start
    ) -> Rows:
        """Judge; what both sides hold as the same infinity (a mask of -inf) is alike."""
        for key in keys:
            ours: Any = manual.get(key)
            theirs: Any = torch.get(key)
            alike = _same_infinity(ours, theirs) if key.quantity[:6] == "output" else None
            if alike is None:
                continue
            manual = {**manual, key: np.where(alike, 0.0, ours)}
            torch = {**torch, key: np.where(alike, 0.0, theirs)}
            least = np.finfo(theirs.dtype).tiny
            tolerances = {**tolerances, key: np.where(alike, least, tolerances.get(key, 0.0))}
        return super()._rows(keys, manual, torch, tolerances, start)

    def _refereed(self, start: Start, torch: Values) -> tuple[Values, dict[str, int]]:
        again, flips = super()._refereed(start, torch)
        return {k: v for k, v in again.items() if k not in self.untold}, flips

    def _gauged(self, start: Start, torch: Values | None = None, **how: Any) -> dict[Key, Any]:
        try:
            found = super()._gauged(start, torch, **how)
        except Exception as error:
            side: Any = self.experiment.torch
            if not side.derive.has_layers:
                raise
            where = " ".join(getattr(error, "__notes__", ()))
            raise UserError(
                f"twin: on arrays that carry their errors your own layers fail ({where}: "
                f"{type(error).__name__}: {error}). A manual.Layer uses NumPy functions that "
                "dispatch (no np.asarray, no isinstance); else give a forward and a backward."
            ) from error
        self.gauges = {k: v for k, v in self.gauges.items() if k not in self.untold}
        return found

    @property
    def _capture(self) -> Capture:
        side: Any = self.experiment.torch
        return side.capture

    def _torch_values(self, loss: float, lr: float) -> Values:
        """Read torch's side: of what the twin has too."""
        with torchs_own():
            found = super()._torch_values(loss, lr)
        nodes = self.experiment.manual.graph.nodes
        known = {port for node in nodes for port in ports_of(node)}
        idle = {name for name in self._capture.values if name not in known}
        gone = {_key(name, kind) for name in idle for kind in ("output", "grad_output")}
        updated = self.experiment.updated
        gone |= self._untold()
        return {
            key: value
            for key, value in found.items()
            if key not in gone and (updated or key.quantity[:6] != "param:")
        }

    def _untold(self) -> set[Key]:
        """Return the gradients of values that torch tells none of, or that of their memory."""
        return {_key(name, "grad_output") for name in self._capture.untold}

    def _keys_of(self, manual: Values, theirs: Values) -> list[Key]:
        """Return what is expected: every value; its gradient where torch has or must have one."""
        experiment = self.experiment
        states = frozenset(k for k in (*manual, *theirs) if k.quantity[:6] == "state:")
        nodes = experiment.manual.graph.nodes
        inputs = tuple(name for name in experiment.model.inputs if name in experiment.twin.data)
        keys = expected(nodes, self.params, states, inputs=inputs, buffers=self.buffers)
        alone = self._alone()
        return [key for key in keys if key not in alone and (key in theirs or self._required(key))]

    def _alone(self) -> set[Key]:
        """Return what only somebody's own graph has: no value of torch's bears the name."""
        alone = self.experiment.twin.alone
        return {_key(name, kind) for name in alone for kind in ("output", "grad_output")}

    def _required(self, key: Key) -> bool:
        """Return whether something has to be there although torch has not got it."""
        kind = key.quantity.partition(":")[0]
        if kind == "param":
            return self.experiment.updated
        if kind == "grad":
            return False  # of a parameter that no gradient reaches, torch keeps none
        return kind not in ("grad_output", "grad_input")

    def _comparable(self, manual: Values, theirs: Values) -> Values:
        """Leave out gradients that torch keeps no account of: zeros, and of what it overwrote.

        A function's argument that its layer keeps as a buffer (random numbers given) is none.
        """
        unknown = self._untold() | self._alone()
        inputs = {_key(n, "grad_input") for n in self.experiment.twin.data}
        return {
            key: value
            for key, value in manual.items()
            if key in theirs
            or not (
                key in unknown
                or key.quantity[:7] == "buffer:"
                or (key in inputs and key.layer not in self.experiment.model.inputs)
                or (key.quantity[:4] == "grad" and not np.any(value))
            )
        }


def _same_infinity(ours: Any, theirs: Any) -> np.ndarray | None:
    """Return where two arrays hold the same infinity; None if nowhere, or they are not alike."""
    if ours is None or theirs is None or ours.shape != theirs.shape or not real(theirs):
        return None
    alike = np.isinf(theirs) & (ours == theirs)
    return alike if alike.any() else None


def _key(value: str, kind: str) -> Key:
    node, _, port = value.partition(":")
    return Key(node, f"{kind}:{port}" if port else kind)
