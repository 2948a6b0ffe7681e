"""The catalogue's page is what the command prints of what was recorded."""

from __future__ import annotations

from pathlib import Path

from compare.witness.fingerprint import fingerprint
from evidence.catalogue import page
from evidence.corpus.record import MEASURED, recorded
from manual import registry

PAGE = Path(__file__).parents[2] / "docs" / "catalogue.md"


def test_every_class_has_a_row_and_a_source_or_is_a_plain_renaming() -> None:
    text = PAGE.read_text(encoding="utf-8")
    every = [name for table in registry.KINDS.values() for name in table]

    assert [name for name in (*every, *registry.OPTIMIZERS) if f"| [{name}](" not in text] == []


def test_the_page_is_what_the_command_prints() -> None:
    assert page() == PAGE.read_text(encoding="utf-8")


def test_the_recorded_count_has_no_sample_that_disagrees_unexplained() -> None:
    found = recorded()

    assert found["sources"] == fingerprint(*MEASURED)
    assert found["summary"]["disagree"] == found["summary"]["raised"] == 0
    assert found["summary"]["macro of the hand-written"] > 0.98
    assert found["summary"]["hand-written"] >= 121
