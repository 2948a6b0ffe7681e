"""The sweep file: what it says, and what is refused before anything is started."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compare.commands.sweep.file import described, read
from compare.errors import UserError

TEXT = """
job = "run"
[base]
config = "three-rows"
train.steps = 1
[grid]
train.seed = [0, 1, 2]
dtype = ["float64", "float32"]
[random]
draws = 5
seed = 7
optimizer.lr = {log_uniform = [1e-4, 1e-1]}
loss.factor = {uniform = [-1, 2.5]}
"""


def test_points_are_every_combination_of_the_grid_with_every_draw(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(TEXT)
    found = read(tmp_path / "mine.toml")
    points = list(found.points())

    assert found.name == "mine"
    assert found.axes == ["train.seed", "dtype", "optimizer.lr", "loss.factor"]
    assert len(points) == len(found) == 3 * 2 * 5
    assert [p["optimizer.lr"] for p in points[:5]] == [p["optimizer.lr"] for p in points[5:10]]
    assert read(tmp_path / "mine.toml") == found


def test_what_is_written_down_reads_as_the_same_sweep(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(TEXT)
    found = read(tmp_path / "mine.toml")
    (tmp_path / "again.toml").write_text(found.as_toml())

    assert read(tmp_path / "again.toml") == found


def test_draws_have_the_distribution_that_is_named() -> None:
    keys = {
        "a": {"log_uniform": [1e-4, 1.0]}, "b": {"uniform": [-1, 3]}, "c": {"integers": [1, 3]},
    }  # fmt: skip
    drawn = described({"random": {"draws": 4000, "seed": 1, **keys}}).random.points()
    a, b, c = (np.array([point[key] for point in drawn]) for key in keys)

    assert np.log10(a).min() > -4
    assert np.log10(a).max() < 0
    assert np.log10(a).mean() == pytest.approx(-2, abs=0.1)
    assert (b.min(), b.max(), b.mean()) == pytest.approx((-1, 3, 1), abs=0.1)
    assert set(c) == {1, 2, 3}


def test_a_draw_that_comes_twice_is_one_point_and_a_new_key_changes_no_others_draws() -> None:
    few = described({"random": {"draws": 50, "a": {"choice": ["x", "y"]}}})
    more = {"draws": 3, "a": {"uniform": [0, 1]}}
    alone, beside = (
        [p["a"] for p in described({"random": keys}).points()]
        for keys in (more, {**more, "b": {"uniform": [0, 1]}})
    )

    assert sorted(p["a"] for p in few.points()) == ["x", "y"]
    assert len(few) == 2
    assert alone == beside


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({"gird": {}}, "'gird': there is no such key. Did you mean 'grid'"),
        ({"grid": {"a": []}}, "grid.a"),
        ({"grid": {"a": 3}}, "grid.a"),
        ({"grid": {"a": [1, 1]}}, "lists 1 twice"),
        ({"grid": {"a": [1]}, "base": {"a": 2}}, "'a' stands in [base] and among what is swept"),
        ({"grid": {"a": [1]}, "random": {"a": {"choice": [1]}}}, "[grid] and [random]"),
        ({"random": {"draws": 0}}, "draws"),
        ({"random": {"draws": 3}}, "no key to draw"),
        ({"random": {"a": 3}}, "'a' is no distribution"),
        ({"random": {"a": {"unifrom": [0, 1]}}}, "Did you mean 'uniform'"),
        ({"random": {"a": {"uniform": [1, 0]}}}, "from < to is needed"),
        ({"random": {"a": {"uniform": [1]}}}, "takes two numbers"),
        ({"random": {"a": {"uniform": [0, 1], "choice": [3]}}}, "one distribution"),
        ({"random": {"a": {"integers": [0.5, 2]}}}, "two whole numbers"),
        ({"random": {"a": {"log_uniform": [0, 1]}}}, "0 < from < to"),
        ({"random": {"a": {"choice": []}}}, "nothing to choose from"),
        ({"name": "../up"}, "name"),
    ],
)
def test_a_mistake_in_the_file_is_told_where_it_stands(tables: dict, told: str) -> None:
    with pytest.raises(UserError) as refused:
        described(tables)

    assert told in str(refused.value)
