"""Many items, worked on by joblib's workers; an item that takes its worker down stops no other."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from functools import cache, partial
from typing import Any, NamedTuple, TypeVar

from compare.errors import UserError, nearest

__all__ = ["DIED", "Where", "answers", "in_order"]

WAIT = 8  # seconds for a scheduler to answer, and to have a worker
RESTART = 120  # seconds for workers that have died to come back
LOCK = threading.Lock()  # torch's settings and generators are a process's, not a thread's
OURS = "handgrad-dask"
INSIDE = ("threading", "sequential")  # backends whose workers are this process
Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Died:
    """The answer of an item that took its worker down, twice."""

    def __repr__(self) -> str:
        return "DIED"


DIED = Died()


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
    with _pool(where, most, start, given) as pool:
        feed, call = Feed(items), partial(_answer, work, where.backend not in INSIDE)
        while True:
            died = yield from _whole(pool, call, feed)
            if not died:
                return
            yield from _one_by_one(pool, call, feed.taken())


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

    def taken(self) -> dict[int, Any]:
        """Return what was handed out and has no answer; whoever asked for items gets no more."""
        with self._lock:
            left, self._open = self._open, {}
        return left


def _whole(pool: Callable, call: Callable, feed: Feed) -> Generator[Any, None, bool]:
    """Yield answers until there are no more items, or a worker dies: then return True."""
    try:
        for position, answer in pool(feed.calls(call)):
            feed.answered(position)
            yield position, answer
    except _deaths():
        return True
    return False


def _one_by_one(pool: Callable, call: Callable, left: dict[int, Any]) -> Iterator[Any]:
    """Do each item by itself, so that the culprit is known."""
    from joblib import delayed

    for position, item in left.items():
        try:
            yield from list(pool([delayed(call)(position, item)]))
        except _deaths():
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


def _started(start: Callable[..., None] | None, given: tuple) -> None:
    """Prepare a process of this machine; whoever started it answers Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _one_thread()
    if start is not None:
        start(*given)


def _deaths() -> tuple[type[BaseException], ...]:
    """Return what joblib raises where a worker has died."""
    with contextlib.suppress(ImportError):
        from distributed.scheduler import KilledWorker

        return BrokenProcessPool, KilledWorker
    return (BrokenProcessPool,)


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
                      "initargs": (start, given)}  # fmt: skip
            stack.callback(_ended)
        elif where.backend == "dask":
            client = stack.enter_context(_client(str(where.scheduler)))
            named = {"backend": OURS, "client": client, "wait_for_workers_timeout": RESTART}
            jobs = where.jobs or -1
            stack.enter_context(_dask_errors(str(where.scheduler)))
            client.wait_for_workers(1, timeout=WAIT)

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


@contextlib.contextmanager
def _client(address: str) -> Iterator[Any]:
    """Connect to a dask scheduler, and register joblib's backend for it."""
    try:
        from distributed import Client
        from distributed.comm import get_address_host_port
    except ImportError:
        raise UserError(
            "--backend dask needs dask.distributed: pip install 'handgrad[dask]'."
        ) from None
    _register()
    try:
        place = get_address_host_port(address)
        socket.create_connection(place, WAIT).close()  # a Client that fails lingers
        client = Client(address, timeout=WAIT, set_as_default=False)
    except Exception as error:  # whatever another kind of server makes of a greeting
        told = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"The scheduler {address} does not answer ({told}). Is `dask scheduler` running there, "
            "and is the address the one that it prints (tcp://HOST:8786)?"
        ) from None
    with client:
        yield client


@contextlib.contextmanager
def _dask_errors(address: str) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise UserError(
            f"The scheduler {address} has no workers. Start some: dask worker {address} "
            "--nthreads 1."
        ) from None
    except (OSError, CancelledError) as error:
        raise UserError(f"The scheduler {address} was lost: {error}.") from None


@cache
def _register() -> None:
    """Register joblib's backend for dask, mended: it never heard of a batch whose worker died."""
    from joblib import register_parallel_backend
    from joblib._dask import DaskDistributedBackend

    class Mended(DaskDistributedBackend):
        def submit(self, func: Any, callback: Any = None) -> Any:
            future = super().submit(func, callback)
            future.add_done_callback(lambda f: callback(f.exception()) if f.exception() else None)
            return future

        def retrieve_result_callback(self, out: Any) -> Any:
            if isinstance(out, BaseException):
                raise out
            return super().retrieve_result_callback(out)

    register_parallel_backend(OURS, Mended)
