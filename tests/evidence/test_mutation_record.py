"""The mutation score that documents quote is the recorded one, of unchanged modules."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compare.errors import UserError
from evidence.mutation.battery import battery
from evidence.mutation.record import PAGES, quoted, record, recorded, score_line, section, valid
from evidence.mutation.run import mutate
from evidence.mutation.sources import modules, printed, source_print

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_quotes_what_the_command_writes(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")

    assert "**" in text.partition(": begin -->")[2]
    assert quoted(text) == text, "Write it anew: python -m evidence.mutation.record"


def test_every_recorded_mistake_was_caught() -> None:
    entries = recorded().values()

    assert all(e["killed"] == e["mutants"] - e["equivalent"] for e in entries)
    assert sum(e["killed"] for e in valid().values()) >= 500


def test_a_module_that_has_changed_is_not_counted(tmp_path: Path) -> None:
    file = tmp_path / "score.json"
    entry = {"source": source_print("manual.linear"), "mutants": 4, "killed": 3, "equivalent": 1}
    told = {"date": "2026-11-22", "torch": "2", "numpy": "2"}
    file.write_text(json.dumps({"manual.linear": entry | told, "manual.graph": {"source": "0"}}))

    found = valid(file)

    assert list(found) == ["manual.linear"]
    assert score_line(found, modules()) == f"**3 of 3** in 1 of {len(modules())} modules"
    assert "| linear | 1 | 4 | 3 | 1 |" in section(found, modules())
    assert "graph," in section(found, modules()).partition("Not counted")[2].split()


def test_docstrings_are_no_change_and_formulas_are() -> None:
    before = 'def f(x):\n    """Twice."""\n    return 2 * x\n'

    assert printed(before.replace("Twice.", "Two times.\n    ")) == printed(before)
    assert printed(before.replace("2", "3")) != printed(before)


def test_only_modules_without_survivors_are_written_down(tmp_path: Path) -> None:
    file = tmp_path / "score.json"
    few = [c for c in battery() if c.name.startswith(("Add", "Multiply", "Concatenate"))]
    caught = mutate(["joins"], jobs=1, every=4, checks=few)
    blind = mutate(["joins"], jobs=1, every=4, checks=())

    file.write_text('{"manual.linear": {"source": "0"}}')
    record(caught, ["manual.joins"], file)
    before = file.read_bytes()

    assert recorded(file)["manual.joins"]["killed"] == len(caught.killed)
    assert list(recorded(file)) == ["manual.joins", "manual.linear"]
    with pytest.raises(UserError, match=r"manual.joins \d+\)\. Catch those first"):
        record(blind, ["manual.joins"], file)
    assert file.read_bytes() == before
