"""Workers: every item has one answer, and a worker that dies stops no other item."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from compare.commands.sweep.engine import DIED, Where, answers, in_order
from compare.errors import UserError


def square(number: int) -> int:
    return number * number


def deadly(folder: Path, number: int) -> int:
    """End the process at 3 always, at 5 once."""
    once = folder / "5"
    if number == 3 or (number == 5 and not once.exists()):
        once.touch()
        os._exit(9)
    return number


def failing(number: int) -> int:
    raise ValueError(f"no {number}")


def threads(_: int) -> tuple[str, int]:
    """Return what a torch that is loaded later is told, and how many threads NumPy has."""
    import numpy  # noqa: F401
    from threadpoolctl import threadpool_info

    pools = [pool["num_threads"] for pool in threadpool_info()]
    return os.environ["OMP_NUM_THREADS"], max(pools, default=1)


def test_one_worker_is_this_process_and_takes_items_as_it_needs_them() -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(3):
            taken.append(number)
            yield number

    found = answers(lambda n: (n, os.getpid()), items(), Where(1))

    assert next(found) == (0, (0, os.getpid()))
    assert taken == [0]


def test_a_worker_that_dies_costs_its_own_item_alone_and_others_have_one_thread(
    tmp_path: Path,
) -> None:
    found = list(answers(partial(deadly, tmp_path), range(12), Where(2)))

    assert sorted(position for position, _ in found) == list(range(12))
    assert {p: a for p, a in found if a != p} == {3: DIED}
    assert (tmp_path / "5").exists()
    assert in_order(threads, [1, 2], Where(2)) == [("1", 1), ("1", 1)]


def test_answers_come_in_the_order_of_the_items_with_progress_after_each() -> None:
    told: list[tuple[int, int]] = []

    assert in_order(square, [3, 1, 2], Where(1), progress=lambda *a: told.append(a)) == [9, 1, 4]
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("where", [Where(1), Where(2, "threading")])
def test_an_exception_of_the_work_ends_everything(where: Where) -> None:
    with pytest.raises(ValueError, match="no 7"):
        list(answers(failing, [7, 7], where))


def test_any_backend_of_joblibs_works_by_its_name() -> None:
    assert in_order(square, range(20), Where(2, "threading")) == [n * n for n in range(20)]


@pytest.mark.parametrize(
    ("where", "told"),
    [
        (Where(2, "lokky"), "no such backend. Did you mean 'loky'?"),
        (Where(0), "from 1 on"),
        (Where(2, "dask"), "--scheduler tcp://HOST:8786"),
        (Where(2, "threading", "tcp://a:1"), "takes none"),
        (Where(2, "dask", "tcp://127.0.0.1:9"), "127.0.0.1:9 does not answer"),
        (Where(None, "loky", "nowhere"), "nowhere does not answer"),
    ],
)
def test_workers_that_cannot_be_are_refused(where: Where, told: str) -> None:
    with pytest.raises(UserError, match=told):
        list(answers(square, [1, 2], where))
