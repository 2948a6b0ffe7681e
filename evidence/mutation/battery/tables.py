"""Which rows of a table are too long, and which row of a bag is the largest, in plain loops."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import Check, ExactCheck, Lift
from evidence.mutation.battery.examples import ExactExampleCheck, ExampleCheck, examples
from evidence.mutation.battery.layers import build

TYPES = ("Embedding", "EmbeddingBag")


@dataclass(frozen=True)
class TableDecisionCheck(ExactCheck):
    """The decisions of an example; none where nothing is decided."""

    type: str
    number: int
    ties: bool  # whether the table holds whole numbers

    @property
    def name(self) -> str:
        return f"decisions of example {self.number} of {self.type}, ties: {self.ties}"

    @property
    def of(self) -> ExampleCheck:
        kind = ExactExampleCheck if self.ties else ExampleCheck
        return kind(self.type, self.number)

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        layer = build(self.type, tuple(self.of.example.arguments.items()))
        shapes = {key: p.shape for key, p in layer.params.items()}
        layer = layer.with_params({k: lift(p) for k, p in self.of.params(seed, shapes).items()})
        found = layer.decisions(layer.forward(*self.of.calls(seed)[0].inputs)[1])
        return {Key("", "decisions"): np.array([] if found is None else found, float)}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        arguments = {"max_norm": None, "mode": "", **self.of.example.arguments}
        shape = (arguments["num_embeddings"], arguments["embedding_dim"])
        weight = self.of.params(seed, {"weight": shape})["weight"].astype(dtype)
        index, *rest = [np.asarray(x) for x in self.of.calls(seed)[0].inputs if x is not None]
        norms = [np.linalg.norm(row, arguments.get("norm_type", 2.0)) for row in weight]
        long = [norms[row] > (arguments["max_norm"] or np.inf) for row in np.unique(index)]
        winners = [] if arguments["mode"] != "max" else self._winners(weight, index, rest, norms)
        return {Key("", "decisions"): np.array(
            [*winners, *(long if arguments["max_norm"] else [])], float
        )}  # fmt: skip

    def _winners(self, weight: np.ndarray, index: np.ndarray, rest: list, norms: list) -> list:
        """Return the largest look-up by bag and column, counted without padding."""
        arguments = self.of.example.arguments
        starts = rest[0] if index.ndim == 1 else np.arange(len(index)) * index.shape[1]
        bags = np.split(index.reshape(-1), starts[1:])
        most, padding, count = arguments.get("max_norm", np.inf), arguments.get("padding_idx"), 0
        found: list = []
        for bag in bags:
            kept = [row for row in bag if row != padding]
            cut = [weight[r] * (most / norms[r] if norms[r] > most else 1) for r in kept]
            for column in range(weight.shape[1]):
                numbers = [row[column] for row in cut]
                found.append(count + numbers.index(max(numbers)) if numbers else 0)
            count += len(kept)
        return found


@cache
def table_checks() -> list[Check]:
    """Return them all."""
    return [
        TableDecisionCheck(name, n, ties)
        for name in TYPES for n, _ in enumerate(examples(name)) for ties in (False, True)
    ]  # fmt: skip
