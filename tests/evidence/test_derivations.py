"""The wrong derivations: every mistake is planted, and a few are named as the table says."""

from __future__ import annotations

import ast

import pytest

from evidence.derivations import count

MISTAKES = count.mistakes()


def test_every_mistake_changes_its_pair_and_every_pair_has_one() -> None:
    for mistake in MISTAKES:
        assert mistake.source() != count.source(mistake.pair)
        ast.parse(mistake.source())

    assert {m.pair for m in MISTAKES} == set(count.CHECKED)
    assert len(MISTAKES) > 200


@pytest.mark.parametrize("what", ["bias averaged", "weights of dout", "swapped"])
def test_a_planted_mistake_is_named_rightly(what: str) -> None:
    mistake = next(m for m in MISTAKES if m.pair == "affine" and m.what == what)

    assert count.name(mistake).result == count.RIGHT


def test_a_mistake_that_is_none_agrees() -> None:
    harmless = count.Mistake("tanh", "nothing", "sign", ("dout * (1 - t**2)", "(1 - t**2) * dout"))

    assert count.name(harmless).result == count.UNSEEN
