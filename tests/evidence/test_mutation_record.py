"""The mutation score that documents quote is the recorded one, of this very code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compare.errors import UserError
from compare.witness.fingerprint import fingerprint
from evidence.mutation.battery import battery
from evidence.mutation.record import MEASURED, record, recorded
from evidence.mutation.run import mutate

ROOT = Path(__file__).parents[2]


EARLIER = "the hand-written code has grown since"  # what a document says of a score that is not new


@pytest.mark.parametrize("document", ["README.md", "docs/mutation.md"])
def test_a_score_of_earlier_code_is_said_to_be_one_and_no_other(document: str) -> None:
    found = recorded()

    assert found is not None
    assert found["killed"] == found["mutants"] - found["equivalent"] >= 500
    text = " ".join((ROOT / document).read_text(encoding="utf-8").split())
    assert (EARLIER in text) == (found["sources"] != fingerprint(*MEASURED))


@pytest.mark.parametrize("document", ["README.md", "docs/mutation.md"])
def test_documents_quote_the_recorded_score(document: str) -> None:
    found = recorded()

    assert found is not None
    text = " ".join((ROOT / document).read_text(encoding="utf-8").split())
    assert f"{found['killed']:,} of {found['mutants'] - found['equivalent']:,}" in text
    assert found["date"] in text


def test_only_a_score_without_survivors_is_written_down(tmp_path: Path) -> None:
    few = [c for c in battery() if c.name.startswith(("Add", "Multiply", "Concatenate"))]
    whole = mutate(["joins"], jobs=1, every=4, checks=few)
    blind = mutate(["joins"], jobs=1, every=4, checks=())

    record(whole, tmp_path / "score.json")

    assert json.loads((tmp_path / "score.json").read_text())["killed"] == len(whole.killed)
    with pytest.raises(UserError, match="survived"):
        record(blind, tmp_path / "no.json")
    assert not (tmp_path / "no.json").exists()
