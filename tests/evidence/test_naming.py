"""`handgrad mutate --causes`: what is right is read off the edit, and the counts add up."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

import compare.diagnose.causes
from compare.diagnose.causes import Cause
from compare.diagnose.causes.kinds import KINDS, table
from evidence.mutation.naming import run as running
from evidence.mutation.naming import show
from evidence.mutation.naming.count import RIGHT, SILENT, UNSEEN, WRONG, Count, Naming, count, name
from evidence.mutation.naming.edit import Edit, edit
from evidence.mutation.naming.expected import expected, is_right, rows
from evidence.mutation.sources import Mutant, mutants
from handgrad.cli import app

FEW = ("Tanh", "residual", "gate", "gate-3", "join", "softmax")  # of the networks, for speed
CAUSES = Path(str(compare.diagnose.causes.__file__)).parent
DOCS = Path(__file__).parents[2] / "docs" / "causes.md"


@pytest.fixture(autouse=True, scope="module")
def _few_networks() -> Iterator[None]:
    """Leave those networks that run what is planted here, and one that does not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "ALL", {name: running.ALL[name] for name in FEW})
        patch.setattr(running, "_units", cache(running._units.__wrapped__))
        yield


def mutant(module: str, function: str, after: str) -> Mutant:
    found = (m for m in mutants(f"manual.{module}") if m.function == function)
    return next(m for m in found if m.after == after)


def cause(kind: str, evidence: str = "") -> Cause:
    return Cause(kind, evidence, "")


# ── what an edit is ──────────────────────────────────────────────────────────────────────────────
def test_an_edit_tells_what_it_stands_in_and_what_it_touches() -> None:
    found = edit(mutant("activations.sigmoidal", "Sigmoid.backward", "dx *= 1 + cache.y"))

    assert found.operator == "sign"
    assert found.place == "activations.sigmoidal.Sigmoid.backward"
    assert {"term", "factor"} <= found.parts
    assert "cache.y" in found.touched


def test_a_name_is_followed_to_the_lines_that_read_it() -> None:
    """slope = x (1 − g) is multiplied and added to further down."""
    found = edit(
        mutant("activations.gated", "SiLU.backward", "slope = cache.gate * (1 - cache.gate)")
    )

    assert {"factor", "term"} <= found.parts
    assert "inside" not in found.parts


def test_a_number_is_read_off_the_edit() -> None:
    doubled = edit(mutant("activations.sigmoidal", "Tanh.forward",
                          "return (2 * y, OutputCache(y))"))  # fmt: skip

    assert doubled.number == 2


# ── which causes are right ───────────────────────────────────────────────────────────────────────
def test_a_doubled_result_is_a_factor_of_two_and_nothing_else() -> None:
    doubled = edit(mutant("activations.sigmoidal", "Tanh.forward",
                          "return (2 * y, OutputCache(y))"))  # fmt: skip

    assert is_right(cause("factor 2", "manual is torch × 2 in every element."), doubled)
    assert not is_right(cause("factor 2", "manual is torch × 0.5 in every element."), doubled)
    for kind in ("batch size", "number of classes", "sign", "missing term", "transpose", "zero"):
        assert not is_right(cause(kind), doubled)


def test_a_default_must_be_told_with_its_value() -> None:
    planted = Edit("constant", "optimizers.adam.Adam", "1e-07 1e-08 eps", frozenset(), 1e-7)

    assert is_right(cause("argument", "torch's step with eps=1e-07 instead of 1e-08"), planted)
    assert not is_right(cause("argument", "torch's step with eps=5e-09 instead of 1e-08"), planted)


def test_a_lost_transpose_is_no_lost_sum() -> None:
    planted = Edit("transpose", "linear.Linear.grad_params", "T", frozenset({"factor"}), None)

    assert {"transpose", "wrong product"} <= expected(planted)
    assert not {"missing sum", "batch size", "sign"} & expected(planted)


def test_every_row_says_why_and_names_known_kinds() -> None:
    assert all(row.because for row in rows())
    assert {kind for row in rows() for kind in row.kinds} <= set(KINDS)


def test_the_table_leaves_most_kinds_wrong_for_most_edits() -> None:
    edits = [edit(m) for name in ("linear", "softmax", "losses.classes", "optimizers.adam")
             for m in mutants(f"manual.{name}")]  # fmt: skip
    allowed = [len(expected(e)) for e in edits]

    assert sum(allowed) / len(allowed) < len(KINDS) / 2
    assert max(allowed) < 0.75 * len(KINDS)


def test_the_finder_is_not_asked_what_is_right() -> None:
    for path in ("edit.py", "expected.py"):
        text = (Path(show.__file__).parent / path).read_text("utf-8")

        assert "find_cause" not in text
        assert "divergence" not in text


# ── counting ─────────────────────────────────────────────────────────────────────────────────────
def test_a_mutant_is_run_and_its_cause_judged() -> None:
    found = name(mutant("activations.sigmoidal", "Tanh.forward", "return (2 * y, OutputCache(y))"))

    assert (found.result, found.network, found.quantity) == (RIGHT, "Tanh", "output")
    assert found.cause is not None
    assert found.cause.kind == "factor 2"


def test_the_counts_add_up_and_leave_out_what_is_apart() -> None:
    some = mutants("manual.joins")[:6]
    results = (RIGHT, RIGHT, RIGHT, WRONG, SILENT, UNSEEN)
    made = Count(
        tuple(Naming(m, r, cause=cause("sign") if r in (RIGHT, WRONG) else None)
              for m, r in zip(some, results, strict=True)),
        2, 0, 1.0,
    )  # fmt: skip
    told = made.as_dict()

    assert (told["mutants"], told["counted"], told["named"]) == (8, 5, 4)
    assert (told["named_share"], told["right_share"]) == (0.8, 0.75)
    assert told["apart"]["unseen"] == 1
    assert "4 are named (80 %), 3 of them rightly (75 %)" in show.summary(made)
    assert "Wrong names: 1" in show.report(made)


@pytest.mark.filterwarnings("ignore")
def test_a_module_is_counted_from_the_command_line() -> None:
    arguments = ["mutate", "joins", "--causes", "--only", "factor", "--jobs", "1", "--json"]
    result = CliRunner().invoke(app, arguments)
    told = json.loads(result.output)

    assert result.exit_code == 0
    assert told["right"] == told["named"] == told["counted"] > 0
    assert {n["operator"] for n in told["namings"]} == {"factor"}


def test_every_so_many_th_mutant_can_be_taken() -> None:
    some = count(["joins"], only=["factor"], jobs=1, every=3)

    assert 0 < len(some.namings) <= 4


# ── the documentation ────────────────────────────────────────────────────────────────────────────
def test_the_documented_kinds_are_those_of_the_code() -> None:
    assert table() in DOCS.read_text("utf-8"), (
        "python -m compare.diagnose.causes.kinds prints the table"
    )


def test_no_kind_is_named_that_the_table_lacks() -> None:
    assert _kinds_in_the_code() <= set(KINDS)


def _kinds_in_the_code() -> set[str]:
    """Return what stands where a kind does: first in Cause(…) and Alternative(…), or kind=…"""
    found: set[str] = set()
    for path in CAUSES.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            called = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
            if isinstance(node, ast.Call) and called in ("Cause", "Alternative"):
                found |= _texts(node.args[0])
            elif isinstance(node, ast.Call) and called == "replace":
                found |= {t for k in node.keywords if k.arg == "kind" for t in _texts(k.value)}
    return found


def _texts(node: ast.expr) -> set[str]:
    """Return the text that an expression may be."""
    if isinstance(node, ast.IfExp):
        return _texts(node.body) | _texts(node.orelse)
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()
