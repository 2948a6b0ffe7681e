"""What a witness says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Testimony:
    """A witness's word on one backward pass.

    `agrees`: backward is the derivative of forward as far as this witness can tell. Where it cannot
    tell (`conclusive` is False: a kink, code that its numbers cannot pass), `agrees` only says that
    it saw nothing wrong. `evidence` is one line with the numbers.
    """

    agrees: bool
    evidence: str
    conclusive: bool = True
