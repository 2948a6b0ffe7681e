"""The verdict of a comparison: one rule for runs and checks, so that nothing passes by default."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple


class Verdict(NamedTuple):
    """`agree`, `disagree` or `incomplete`, and why, in one sentence."""

    verdict: str
    reason: str

    @property
    def agrees(self) -> bool:
        return self.verdict == "agree"


class Evidence(ABC):
    """What a comparison has found; a sentence is empty where it does not apply.

    Attributes:
        total: how many tensors were compared.
        bad: how many of these do not agree, and promises that are broken.
    """

    total: int
    bad: int

    def unfit(self) -> str:
        """Say why nothing can be compared."""
        return ""

    def excused(self) -> str:
        """Say why all that does not agree is the reference's fault and no formula's."""
        return ""

    @abstractmethod
    def disagreeing(self) -> str:
        """Say what does not agree."""

    def unfinished(self) -> str:
        """Say why all that agrees is not what was asked for."""
        return ""

    @abstractmethod
    def unchecked(self) -> str:
        """Say for what zeros would have passed wherever it was compared."""

    def unknown(self) -> str:
        """Say of what nothing is known, because rounding alone moves it too far."""
        return ""

    @abstractmethod
    def agreeing(self) -> str:
        """Say how much agrees."""


def decided(found: Evidence) -> Verdict:
    """Return the verdict: to agree, all that was asked for must have been compared for real."""
    if reason := found.unfit():
        return Verdict("incomplete", reason)
    if found.bad:
        excuse = found.excused()
        return Verdict("incomplete", excuse) if excuse else Verdict("disagree", found.disagreeing())
    if not found.total:
        return Verdict("incomplete", "Nothing was compared.")
    if reason := found.unfinished() or found.unchecked() or found.unknown():
        return Verdict("incomplete", reason)
    return Verdict("agree", found.agreeing())
