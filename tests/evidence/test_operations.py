"""Torch's operations in a mirror: what is by hand, and a wrong gate is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from compare.errors import UserError
from handgrad.cli import app

pytest.importorskip("expecttest", reason="torch's tables need it")

from compare.witness.fingerprint import fingerprint
from evidence.catalogue import _operations
from evidence.corpus import ops
from evidence.corpus.count import Row
from evidence.mutation import sources, survey, worker
from evidence.mutation.battery.operations import operation_checks
from manual.gates.places import TakeGate

pytestmark = pytest.mark.filterwarnings("ignore")
SOME = ("__getitem__", "as_strided", "baddbmm", "block_diag", "einsum", "index_add", "kron",
        "linalg.inv", "masked_scatter", "nn.functional.conv2d", "nn.functional.cross_entropy",
        "nn.functional.layer_norm", "nn.functional.pad", "scatter_reduce", "split",
        "tensordot", "unfold")  # fmt: skip


@pytest.mark.parametrize("name", SOME)
def test_operations_agree_by_hand(name: str) -> None:
    found = list(ops.rows(name, most=2))

    assert {row.status for row in found} <= {"by hand", "silent"}, found
    assert any(row.status == "by hand" for row in found)


def test_a_gate_whose_gradient_is_a_little_off_disagrees(monkeypatch: pytest.MonkeyPatch) -> None:
    right = TakeGate.backward

    def wrong(self: Any, grad_output: Any, cache: Any) -> Any:
        grads, own = right(self, grad_output, cache)
        return tuple((1 + 1e-9) * g for g in grads), own

    monkeypatch.setattr(TakeGate, "backward", wrong)

    assert {row.status for row in ops.rows("gather", most=3)} == {"disagree"}


def test_a_gate_in_another_place_disagrees(monkeypatch: pytest.MonkeyPatch) -> None:
    from compare.pair.mirror.functions import FUNCTIONS

    right = FUNCTIONS["tril"]
    monkeypatch.setitem(FUNCTIONS, "tril", lambda input, diagonal=0: right(input, diagonal - 1))

    assert "disagree" in {row.status for row in ops.rows("tril", most=2)}


def test_what_nothing_stands_for_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    from compare.pair.mirror.functions import FUNCTIONS

    monkeypatch.delitem(FUNCTIONS, "tril")

    assert {row.status for row in ops.rows("tril", most=2)} == {"by torch"}


def test_a_mistake_in_a_gate_is_caught_by_torchs_samples() -> None:
    checks = [c for c in operation_checks(("gather",)) if c.name == "torch's sample 0 of gather"]
    known = survey.survey(["float64"], 0, checks)
    places = sources.mutants("manual.gates.places")
    wrong = next(m for m in places if (m.function, m.operator) == ("added_back", "factor"))

    outcome = worker.examine(wrong, known)

    assert [len(checks), outcome.kill and outcome.kill.by] == [1, "disagree"]


def test_a_written_exception_says_why() -> None:
    (row,) = ops.rows("as_strided_scatter", most=1)

    assert row.status == "excepted"
    assert "other way round" in row.reason


ROWS = [Row("a", "ops", "0", "by hand"), Row("a", "ops", "1", "by torch", "x"),
        Row("b", "ops", "0", "by hand"), Row("b", "ops", "1", "silent")]  # fmt: skip


def test_an_operation_is_by_hand_where_every_sample_that_shows_something_is() -> None:
    found = ops.by_name(ROWS).set_index("operation")["all"].to_dict()

    assert found == {"a": "partly by hand", "b": "by hand"}
    assert ops.summary(ROWS)["by hand"] == 1
    assert ops.summary(ROWS)["samples"] == 4


WRONG = Row("c", "ops", "0", "disagree", "why")


def test_of_an_operation_that_is_not_right_nothing_is_written_and_the_rest_is(
    tmp_path: Path,
) -> None:
    file = tmp_path / "ops.json"
    with pytest.raises(UserError, match="nothing was written of c, which is not right"):
        ops.record([*ROWS, WRONG], file=file)

    found = ops.recorded(file)
    assert [row["operation"] for row in found["rows"]] == ["a", "b"]
    assert found["left out"] == ["c"]


def test_a_few_operations_are_recorded_beside_the_others(tmp_path: Path) -> None:
    file = tmp_path / "ops.json"
    with pytest.raises(UserError):
        ops.record([*ROWS, WRONG], file=file)
    ops.record([WRONG._replace(status="by hand")], ["c"], file)

    found = ops.recorded(file)
    assert found["summary"]["operations"] == 3
    assert found["left out"] == []


def test_a_few_operations_are_refused_early_beside_a_record_of_another_source(
    tmp_path: Path,
) -> None:
    file = tmp_path / "ops.json"
    file.write_text('{"sources": "old", "rows": []}')

    with pytest.raises(UserError, match="is of another source"):
        ops.refuse_partial(["c"], file)


def test_what_is_recorded_is_of_all_operations_and_the_page_says_if_sources_changed() -> None:
    found = ops.recorded()
    page = "\n".join(_operations({**found, "sources": fingerprint(*ops.MEASURED)}))
    stale = "\n".join(_operations({**found, "sources": "others"}))

    assert "have changed since" in stale
    assert "have changed since" not in page
    assert {row["operation"] for row in found["rows"]} == set(ops.names())
    assert not found["left out"]


def test_the_command_prints_counts_and_refuses_unknown_names() -> None:
    runner = CliRunner()
    told = runner.invoke(app, ["corpus", "--ops", "trace", "--jobs", "1", "--json"])
    unknown = runner.invoke(app, ["corpus", "--ops", "tracce"])

    assert told.exit_code == 0
    assert json.loads(told.stdout)["summary"]["by hand"] == 1
    assert isinstance(unknown.exception, UserError)
