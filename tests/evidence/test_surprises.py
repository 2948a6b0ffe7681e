"""What the page says of torch is what torch does; a claim that does not hold is no claim."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from evidence import surprises

PAGE = Path(__file__).parents[2] / "docs" / "torch-surprises.md"
SHOWN = [function for family in surprises.FAMILIES.values() for function in family]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("shown", SHOWN, ids=lambda function: function.__name__)
def test_torch_does_what_the_page_says(shown: surprises.Shown) -> None:
    assert shown() in PAGE.read_text(encoding="utf-8")


def test_the_page_is_what_the_command_prints() -> None:
    version = torch.__version__.partition("+")[0]
    if f"(torch {version})" not in PAGE.read_text(encoding="utf-8"):
        pytest.skip(f"the page was printed with another torch than {version}")

    assert surprises.page() == PAGE.read_text(encoding="utf-8")


def test_a_wrong_claim_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surprises.F, "hardsigmoid", lambda x: x / 6 + 0.5)

    with pytest.raises(AssertionError, match="otherwise"):
        surprises.hardsigmoid()
