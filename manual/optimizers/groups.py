"""Parameter groups: one rule for most parameters, and other settings of it for some."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from manual.graph import Array
from manual.optimizers.base import Optimizer, State

__all__: list[str] = []  # no rule of its own: `optimizer.groups` makes one


class Groups(Optimizer):
    """Torch's parameter groups: each parameter is moved by the first group that names it.

    A GPT's AdamW decays matrices alone: biases, norms and embeddings get weight_decay = 0.

    Args:
        optimizer: moves what no group names; the learning rate is its own.
        groups: parameters' dotted names, and what moves them.
    """

    def __init__(
        self, optimizer: Optimizer, groups: Sequence[tuple[Collection[str], Optimizer]]
    ) -> None:
        self.optimizer, self.lr = optimizer, optimizer.lr
        self._rules = {name: rule for names, rule in reversed(groups) for name in names}

    def rule_for(self, name: str) -> Optimizer:
        """Return what moves a parameter."""
        return self._rules.get(name, self.optimizer)

    def update(self, param: Array, grad: Array, state: State, lr: float) -> tuple[Array, State]:
        """Return what the rule of no group returns."""
        return self.optimizer.update(param, grad, state, lr)

    def __repr__(self) -> str:
        return repr(self.optimizer)
