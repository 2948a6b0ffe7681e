"""What a mirror found beside its verdict: a custom Function that is wrong on other inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from compare.diagnose.divergence import Divergence
    from compare.report.report import Report

__all__ = ["Elsewhere"]


class Elsewhere(NamedTuple):
    """A Function that is right on what the model gave it, and wrong on something else.

    Attributes:
        function: its name.
        place: file and line of its backward.
        where: on what it is wrong, as an adverbial phrase.
        divergence: the first disagreement there; its `step` counts the cases of the check.
        report: of the check of the Function by itself.
    """

    function: str
    place: str
    where: str
    divergence: Divergence
    report: Report

    @property
    def text(self) -> str:
        return (
            f"{self.function}.backward ({self.place}) is right on what it got here, and wrong "
            f"elsewhere, {self.where}: {self.report.reason}"
        )
