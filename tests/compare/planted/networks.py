"""A planted mistake, the small network it is planted in, and the run that should name it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import pytest

from compare.commands.run import run
from compare.commands.runner import Runner
from compare.report.report import Report
from evidence.mutation.naming.networks import BATCH, network

__all__ = ["BATCH", "Mistake", "network", "planted"]


class Mistake(NamedTuple):
    """A wrong derivation: where it stands, what it is instead, and what it should be called."""

    name: str
    kinds: tuple[str, ...]  # the right names
    owner: Any
    method: str
    wrong: Callable[..., Any]
    network: str

    @property
    def steps(self) -> int:
        """How many steps it takes to show."""
        return 3 if "later" in self.name else 1


@cache
def planted(mistake: Mistake, dtype: str = "float64") -> Report:
    """Run the network with the mistake in it, once for all tests that look at it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mistake.owner, mistake.method, mistake.wrong)
        patch.setattr(Runner, "works", False)  # of a mistake the name is asked, not a report
        return run(network(mistake.network, dtype, mistake.steps), drift=False)
