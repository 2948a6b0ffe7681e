"""Networks that a rule builds: `[network] type = …` with its sizes stands for many `[[layers]]`.

A recurrent network is unrolled over time by naming the calls: `head@0`, `head@1`, … are calls of
one layer, which share its parameters. A rule returns layer tables, as a file would hold them, in an
order in which each follows what feeds it. To add one: a function of whole numbers, and a line here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from compare.description.networks.turing_machine import neural_turing_machine

__all__ = ["NETWORKS"]

NETWORKS: dict[str, Callable[..., list[dict[str, Any]]]] = {
    "NeuralTuringMachine": neural_turing_machine,
}
