"""One rule decides: nothing agrees by default."""

from __future__ import annotations

from itertools import product

import pytest

from compare.judge.verdict import Evidence, decided

DOUBTS = ("unfit", "unfinished", "unchecked", "unknown")


class Given(Evidence):
    """Evidence with sentences as they are given; each is its own name."""

    def __init__(self, total: int, bad: int, *said: str) -> None:
        self.total, self.bad, self.said = total, bad, said

    def _text(self, name: str) -> str:
        return name if name in self.said else ""

    def unfit(self) -> str:
        return self._text("unfit")

    def excused(self) -> str:
        return self._text("excused")

    def disagreeing(self) -> str:
        return "disagreeing"

    def unfinished(self) -> str:
        return self._text("unfinished")

    def unchecked(self) -> str:
        return self._text("unchecked")

    def unknown(self) -> str:
        return self._text("unknown")

    def agreeing(self) -> str:
        return "agreeing"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Given(3, 0), ("agree", "agreeing")),
        (Given(0, 0), ("incomplete", "Nothing was compared.")),
        (Given(3, 1), ("disagree", "disagreeing")),
        (Given(0, 1), ("disagree", "disagreeing")),
        (Given(3, 1, "excused"), ("incomplete", "excused")),
        (Given(3, 1, "unfinished", "unchecked", "unknown"), ("disagree", "disagreeing")),
        (Given(3, 0, "unfinished", "unchecked"), ("incomplete", "unfinished")),
        (Given(3, 1, "unfit"), ("incomplete", "unfit")),
    ],
)
def test_the_first_rule_that_applies_decides(found: Given, expected: tuple[str, str]) -> None:
    assert decided(found) == expected


def test_what_does_not_agree_or_leaves_a_doubt_never_agrees() -> None:
    for total, bad, *said in product((0, 3), (0, 2), *((name, "") for name in DOUBTS)):
        verdict = decided(Given(total, bad, *said))

        assert verdict.agrees == (total > 0 and not bad and not any(said))
