"""The corpus as the job of a sweep."""

from __future__ import annotations

import pytest

import handgrad
from handgrad import UserError


def test_the_corpus_is_swept_class_by_class() -> None:
    found = handgrad.sweep({"job": "corpus", "grid": {"name": ["Tanh", "PixelShuffle"]}}, jobs=1)

    assert found.agrees
    assert set(found.tensors["verdict"]) <= {"agree", "empty", "vacuous", "refused"}
    assert (found.tensors.groupby("point").size() > 1).all()


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({"grid": {"nmae": ["Tanh"]}}, "Did you mean 'name'"),
        ({"grid": {"name": ["Tahn"]}}, "Did you mean 'Tanh'"),
        ({"base": {"ops": 3}}, "ops = true or false"),
    ],
)
def test_what_the_corpus_does_not_know_is_refused(tables: dict, told: str) -> None:
    with pytest.raises(UserError, match=told):
        handgrad.sweep({"job": "corpus", **tables}, jobs=1)
