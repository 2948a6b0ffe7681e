"""Random layers: blocks that are appended to one another, with branches that join again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

WIDTH = 64  # at most


def width(rng: np.random.Generator, most: int = WIDTH) -> int:
    """Return a number of units; small ones as often as large ones."""
    return int(most ** rng.random() + 0.5)


def activation(rng: np.random.Generator) -> dict[str, Any]:
    """Return an activation with random arguments, or with its defaults."""
    arguments: dict[str, Callable[[], dict[str, Any]]] = {
        "ELU": lambda: {"alpha": float(rng.uniform(0.25, 2))},
        "GELU": lambda: {"approximate": str(rng.choice(["none", "tanh"]))},
        "LeakyReLU": lambda: {"negative_slope": float(rng.uniform(0, 0.5))},
        "Softplus": lambda: {
            "beta": float(rng.uniform(0.5, 3)), "threshold": float(rng.uniform(5, 25))
        },
        "Softmax": lambda: {"dim": 1},
        "LogSoftmax": lambda: {"dim": -1},
    }  # fmt: skip
    plain = ["ReLU", "Sigmoid", "Tanh", "SiLU", "LogSigmoid"]
    names = [*plain, *plain, "ELU", "GELU", "LeakyReLU", "Softplus", "ELU", "GELU", "LeakyReLU",
             "Softplus", "Softmax", "LogSoftmax"]  # fmt: skip
    name = str(rng.choice(names))
    needed = name in ("Softmax", "LogSoftmax")
    given = arguments[name]() if name in arguments and (needed or rng.random() < 0.5) else {}
    return {"type": name, **given}


class Layers:
    """A network under construction: its tables, the last layer's name and number of units."""

    def __init__(self, rng: np.random.Generator, inputs: int) -> None:
        self.rng, self.width, self.last = rng, inputs, "input"
        self.tables: list[dict[str, Any]] = []

    def add(self, table: dict[str, Any], *sources: str) -> str:
        """Append a layer that is fed by `sources` (the last layer without any)."""
        name = f"n{len(self.tables)}"
        self.tables.append({**table, "name": name, "inputs": list(sources or (self.last,))})
        self.last = name
        return name

    def linear(self, units: int, source: str | None = None) -> str:
        """Append an affine map, rarely without a bias."""
        table = {"type": "Linear", "in_features": self.width, "out_features": units}
        if self.rng.random() < 0.15:
            table["bias"] = False
        name = self.add(table, source or self.last)
        self.width = units
        return name

    def block(self) -> None:
        """Append one block of a random kind."""
        kinds: Sequence[Callable[[], None]] = (
            self._dense, self._residual, self._concatenate, self._gate, self._maxout,
            self._dropout, self._activation, self._rest,
        )  # fmt: skip
        odds = [0.5, 0.14, 0.1, 0.06, 0.08, 0.06, 0.04, 0.02]
        kinds[int(self.rng.choice(len(kinds), p=odds))]()

    def _dense(self) -> None:
        self.linear(width(self.rng))
        self._activation()

    def _activation(self) -> None:
        self.add(activation(self.rng))

    def _residual(self) -> None:
        start, units = self.last, self.width
        if self.rng.random() < 0.5:
            self._dense()
        else:
            self._activation()
        self.add({"type": "Add"}, start, self.linear(units))

    def _concatenate(self) -> None:
        start, units = self.last, self.width
        ends, total = [], 0
        for _ in range(int(self.rng.integers(2, 4))):
            self.width = units
            self.linear(width(self.rng, most=WIDTH // 3), start)
            self._activation()
            ends.append(self.last)
            total += self.width
        if self.rng.random() < 0.3:
            ends.append(start)
            total += units
        self.add({"type": "Concatenate", "dim": 1}, *ends)
        self.width = total

    def _gate(self) -> None:
        start, units, out = self.last, self.width, width(self.rng)
        self.linear(out, start)
        self._activation()
        value, self.width = self.last, units
        self.linear(out, start)
        self.add({"type": "Sigmoid"})
        self.add({"type": "Multiply"}, value, self.last)

    def _maxout(self) -> None:
        units, pieces = width(self.rng), int(self.rng.integers(2, 5))
        sizes = {"in_features": self.width, "out_features": units, "num_pieces": pieces}
        self.add({"type": "Maxout", **sizes})
        self.width = units

    def _dropout(self) -> None:
        self.add({"type": "Dropout", "p": float(self.rng.choice([0.1, 0.3, 0.5]))})

    def _rest(self) -> None:
        self.add({"type": str(self.rng.choice(["Identity", "Flatten"]))})
