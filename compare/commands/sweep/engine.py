"""Many items, worked on by joblib's workers; an item that takes its worker down stops no other."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import cache, partial
from typing import Any, NamedTuple, TypeVar

from compare.commands.sweep import cluster
from compare.commands.sweep.cluster import DIED, Died
from compare.errors import UserError, nearest

__all__ = ["DIED", "Where", "answers", "in_order"]

LOCK = threading.Lock()  # torch's settings and generators are a process's, not a thread's
INSIDE = ("threading", "sequential")  # backends whose workers are this process
Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Where(NamedTuple):
    """Which workers: `jobs` processes of this machine (None: one per CPU, 1: this process alone),
    or any backend of joblib's by name; of dask a scheduler's address.
    """

    jobs: int | None = None
    backend: str = "loky"
    scheduler: str | None = None

    def checked(self) -> Where:
        """Return the same, with the backend that a scheduler implies.

        Raises:
            UserError: joblib has no such backend, or a scheduler and a backend do not fit.
        """
        from joblib.parallel import BACKENDS, EXTERNAL_BACKENDS

        if self.jobs is not None and self.jobs < 1:
            raise UserError(f"--jobs {self.jobs}: give a number of workers from 1 on.")
        if self.scheduler is not None and self.backend in ("loky", "dask"):
            return self._replace(backend="dask")
        if self.scheduler is not None:
            raise UserError(f"--scheduler is dask's; the backend '{self.backend}' takes none.")
        if self.backend == "dask":
            raise UserError(
                "--backend dask needs the address of a scheduler: --scheduler tcp://HOST:8786. "
                "`dask scheduler` starts one, `dask worker ADDRESS --nthreads 1` its workers."
            )
        known = [*BACKENDS, *EXTERNAL_BACKENDS]
        if self.backend not in known:
            hint = nearest(self.backend, known, what="Backends")
            raise UserError(f"--backend {self.backend}: joblib has no such backend. {hint}")
        return self

    def reached(self) -> Where:
        """Return the same once a scheduler has answered: before anything is replaced or made.

        Raises:
            UserError: it does not answer, or has no workers.
        """
        if self.backend == "dask" and self.scheduler is not None:
            with cluster.connected(self.scheduler):
                pass
        return self

    def workers(self, most: int) -> int:
        """Return how many workers there are for so many items."""
        from joblib import cpu_count

        return max(1, min(self.jobs or cpu_count(), most))


def answers(
    work: Callable[[Item], Answer], items: Iterable[Item], where: Where | None = None, *,
    start: Callable[..., None] | None = None, given: tuple = (), most: int = 2**31,
) -> Generator[tuple[int, Answer | Died], None, None]:  # fmt: skip
    """Yield each item's position with its answer, as they come.

    Items are taken as they are needed, and sent in batches of a fraction of a second. Where a
    worker dies, what was under way is done again, item by item in new workers; the answer of one
    that takes its worker down again is DIED. An exception of `work` ends everything.

    Args:
        work: called with an item; a module's own function, or a partial of one.
        items: any number.
        where: which workers; None for one process per CPU.
        start: prepares a worker process of this machine, as `start(*given)`.
        most: no more workers than this, and none for one item.

    Raises:
        UserError: the workers cannot be reached, or are lost.
    """
    where = (where or Where()).checked()
    if where.backend == "loky" and where.workers(most) == 1:
        yield from ((n, work(item)) for n, item in enumerate(items))
        return
    again = cluster.once if where.backend == "dask" else lambda call: call
    with _pool(where, most, start, given) as pool:
        feed, call = Feed(items), partial(_answer, work, where.backend not in INSIDE)
        while (yield from _whole(pool, call, feed)):
            yield from _one_by_one(pool, again(call), feed.taken())


def in_order(
    work: Callable[[Item], Answer], items: Sequence[Item], where: Where | None = None, *,
    progress: Callable[[int, int], None] | None = None, **how: Any,
) -> list[Answer]:  # fmt: skip
    """Return all answers in the order of the items; `progress(done, total)` after each.

    Raises:
        UserError: as for `answers`, and for an item that takes its worker down.
    """
    found: dict[int, Answer] = {}
    for position, answer in answers(work, items, where, most=len(items), **how):
        if isinstance(answer, Died):
            raise UserError(
                f"A worker process ended without an answer, twice, at {items[position]!r}: out of "
                "memory, or a crash in C."
            )
        found[position] = answer
        if progress is not None:
            progress(len(found), len(items))
    return [found[n] for n in range(len(items))]


class Feed:
    """Items with their positions, handed to threads of joblib's, and remembered until answered."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = enumerate(items)
        self._open: dict[int, Any] = {}
        self._lock = threading.Lock()

    def calls(self, call: Callable) -> Iterator[Any]:
        """Yield joblib's calls until the items end, or `taken` ends this round."""
        from joblib import delayed

        held = self._open
        while True:
            with self._lock:
                if held is not self._open or (found := next(self._items, None)) is None:
                    return
                held[found[0]] = found[1]
            yield delayed(call)(*found)

    def answered(self, position: int) -> None:
        """Forget an item."""
        del self._open[position]

    @property
    def waits(self) -> bool:
        """Whether something was handed out and has no answer."""
        return bool(self._open)

    def taken(self) -> dict[int, Any]:
        """Return what was handed out and has no answer; whoever asked for items gets no more."""
        with self._lock:
            left, self._open = self._open, {}
        return left


def _whole(pool: Callable, call: Callable, feed: Feed) -> Generator[Any, None, bool]:
    """Yield answers until there are no more items, or a worker dies; return whether one did."""
    try:
        for position, answer in pool(feed.calls(call)):
            if not isinstance(answer, Died):  # that will be done again
                feed.answered(position)
                yield position, answer
    except BrokenProcessPool:
        return True
    return feed.waits


def _one_by_one(pool: Callable, call: Callable, left: dict[int, Any]) -> Iterator[Any]:
    """Do each item by itself, so that the culprit is known."""
    from joblib import delayed

    for position, item in left.items():
        try:
            yield from list(pool([delayed(call)(position, item)]))
        except BrokenProcessPool:
            yield position, DIED


def _answer(work: Callable, alone: bool, position: int, item: Any) -> tuple[int, Any]:
    if alone:
        _one_thread()
    with LOCK:
        return position, work(item)


@cache
def _one_thread() -> None:
    """Use one thread per worker process: there are as many workers as processors."""
    from threadpoolctl import threadpool_limits

    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")  # of what loads later
    threadpool_limits(1)
    if "torch" in sys.modules:  # it takes seconds to load, and not all work needs it
        sys.modules["torch"].set_num_threads(1)


def _started(parent: int, start: Callable[..., None] | None, given: tuple) -> None:
    """Prepare a process of this machine; whoever started it answers Ctrl-C, and takes it along."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _one_thread()
    if start is not None:
        start(*given)


def _end_with(parent: int) -> None:
    """End this process once its parent has ended, by SIGKILL too."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


@contextlib.contextmanager
def _pool(
    where: Where, most: int, start: Callable[..., None] | None, given: tuple
) -> Iterator[Callable]:
    """Yield what runs joblib's calls and yields their answers as they come."""
    from joblib import Parallel, parallel_config

    named: dict[str, Any] = {"backend": where.backend}
    jobs = where.workers(most)
    with contextlib.ExitStack() as stack:
        if where.backend == "loky":
            named |= {"inner_max_num_threads": 1, "initializer": _started,
                      "initargs": (os.getpid(), start, given)}  # fmt: skip
            stack.callback(_ended)
        elif where.backend == "dask":
            named, jobs = stack.enter_context(cluster.connected(str(where.scheduler))), -1

        def pool(calls: Iterable[Any]) -> Iterator[Any]:
            with parallel_config(n_jobs=jobs, **named):  # a backend that saw a death is not reused
                parallel = Parallel(return_as="generator_unordered")
            return parallel(calls)  # type: ignore[no-any-return]

        yield pool


def _ended() -> None:
    """End the processes: they hold what `start` gave them."""
    from joblib.externals.loky import reusable_executor

    if reusable_executor._executor is not None:
        reusable_executor._executor.shutdown(wait=True, kill_workers=True)
