"""How well both sides do while they train by themselves, also on rows that neither has seen."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from compare.description.data.dataset import each
from compare.description.wanted import wants_fractions, wants_labels
from compare.running.experiment import Experiment
from manual.graph import Arrays

COLUMNS = ["step", "rows", "loss_manual", "loss_torch", "accuracy_manual", "accuracy_torch"]
TRAIN, HELD_OUT = "train", "held out"
MOST = 2000  # rows of a kind; more say little more
VALUES = 1 << 26  # in all layers for all rows; more take long, and much memory
POINTS = 20


class Scores:
    """A table that grows: both sides in evaluation, at some steps of a free run.

    An accuracy is the share of rows whose largest output is the right class; of a single output,
    that which lies on the target's side of ½ (of 0, where the loss takes logits). Targets that are
    no classes have none.
    """

    def __init__(self, experiment: Experiment, steps: int) -> None:
        self.experiment, self.rows = experiment, []  # type: ignore[var-annotated]
        self.manual = experiment.manual._replace(graph=experiment.manual.graph.train(False))
        sets = {TRAIN: (experiment.features, experiment.targets), HELD_OUT: experiment.held_out}
        self.sizes = {kind: len(target) for kind, (_, target) in sets.items() if len(target)}
        self.most = self._affordable(*sets[TRAIN])
        rows = {kind: _spread(n, self.most) for kind, n in self.sizes.items()}
        self.sets = {kind: _rows(*sets[kind], at) for kind, at in rows.items()}
        self.due = {0, *np.linspace(0, steps, min(POINTS, steps) + 1).round().astype(int).tolist()}

    def _affordable(self, x: Any, target: Any) -> int:
        """Return how many rows of a kind may be asked for, by what a few leave in the layers."""
        few = min(2, len(target))
        try:
            graph, given = self.manual.graph, _rows(x, target, np.arange(few))
            done = self.manual.forward(self.experiment.weights, *given, buffers=graph.buffers)
        except Exception:  # a mistake may raise whatever it likes
            return MOST
        values = sum(map(np.size, done.tape.values.values())) // few
        return max(1, min(MOST, VALUES // values))

    def note(self) -> str:
        """Say which rows were scored, where it is not all of them."""
        cut = {kind: n for kind, n in self.sizes.items() if n > self.most}
        told = " and of ".join(f"{n:,} {'trained on' * (k == TRAIN) or k}" for k, n in cut.items())
        return f"Scores are of {self.most:,} rows, evenly taken of {told}." if cut else ""

    def add(self, step: int, params: Arrays, buffers: Arrays) -> None:
        """Score both sides after so many steps, if it is time."""
        if step in self.due:
            for kind, (x, target) in self.sets.items():
                manual, torch = self._manual(params, buffers, x, target), self._torch(x, target)
                pairs = zip(manual, torch, strict=True)
                self.rows.append((step, kind, *(value for pair in pairs for value in pair)))

    def _manual(self, params: Arrays, buffers: Arrays, x: Any, target: Any) -> Score:
        try:
            done = self.manual.forward(params, x, target, buffers=buffers)
        except Exception:  # a mistake may raise whatever it likes: no score
            return NONE
        return Score(float(done.loss), self._accuracy(np.asarray(done.tape.output), target))

    def _torch(self, x: Any, target: Any) -> Score:
        side = self.experiment.torch
        try:
            output, loss = side.evaluated(side.tensor(x), side.tensor(target))
        except (RuntimeError, ValueError):  # numbers that its loss refuses
            return NONE
        return Score(loss, self._accuracy(output, target))

    def _accuracy(self, output: np.ndarray, target: np.ndarray) -> float:
        loss = self.experiment.config.loss.type
        if wants_labels(loss):
            return float((output.argmax(axis=1) == target).mean())
        if self.experiment.data.classes is None or output.shape != target.shape:
            return float("nan")
        if output.ndim > 1 and output.shape[1] > 1:
            return float((output.argmax(axis=1) == target.argmax(axis=1)).mean())
        logits = wants_fractions(loss) and not wants_fractions(loss, of=0)
        return float(((output > (0 if logits else 0.5)) == (target > 0.5)).mean())


def _rows(x: Any, target: Any, at: np.ndarray) -> tuple[Any, Any]:
    return each(lambda array: array[at], x), target[at]


def _spread(n: int, most: int) -> np.ndarray:
    """Return all of n rows, or so many evenly apart."""
    return np.linspace(0, n - 1, min(n, most)).round().astype(int)


class Score(NamedTuple):
    """Of one side: the loss, and the share of rows that it has right."""

    loss: float
    accuracy: float


NONE = Score(float("nan"), float("nan"))
