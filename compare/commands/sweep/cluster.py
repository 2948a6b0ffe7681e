"""The workers of a dask scheduler, as joblib's: a batch whose worker dies is told, and no other
batch hears of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from functools import cache, partial
from typing import Any, NamedTuple
from uuid import uuid4

from compare.errors import UserError

WAIT = 8  # seconds for a scheduler to answer, and to have a worker
RESTART = 120  # seconds for workers that have died to come back
NAME = "handgrad-dask"


class Died:
    """The answer of an item that took its worker down."""

    def __repr__(self) -> str:
        return "DIED"


DIED = Died()


class Lost(NamedTuple):
    """Stands for the answers of a batch whose workers died."""

    positions: list[int]


class NoWorkersError(Exception):
    """All workers have ended, and none came back."""


@contextlib.contextmanager
def connected(address: str) -> Iterator[dict[str, Any]]:
    """Connect to a scheduler; yield what joblib's `parallel_config` takes.

    Raises:
        UserError: it does not answer, has no workers, or is lost.
    """
    with _client(address) as client:
        _register()
        try:
            client.wait_for_workers(1, timeout=WAIT)
            yield {"backend": NAME, "client": client, "wait_for_workers_timeout": RESTART}
        except TimeoutError:
            raise UserError(
                f"The scheduler {address} has no workers. Start some: dask worker {address} "
                "--nthreads 1."
            ) from None
        except NoWorkersError:
            raise UserError(
                f"All workers of the scheduler {address} have ended, and none came back within "
                f"{RESTART} s. What was done is kept: start workers, then go on."
            ) from None
        except (OSError, CancelledError) as error:
            raise UserError(f"The scheduler {address} was lost: {error}.") from None


@contextlib.contextmanager
def _client(address: str) -> Iterator[Any]:
    try:
        from distributed import Client
        from distributed.comm import get_address_host_port
    except ImportError:
        raise UserError(
            "--backend dask needs dask.distributed: pip install 'handgrad[dask]'."
        ) from None
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


def once(call: Callable) -> Callable:
    """Return a call of which dask's own further tries answer that its worker has died."""
    return partial(_once, uuid4().hex, call)


def _once(name: str, call: Callable, position: int, item: Any) -> tuple[int, Any]:
    from distributed import Event

    begun = Event(f"{name}-{position}")  # the scheduler remembers it
    if begun.is_set():
        begun.clear()
        return position, DIED
    begun.set()
    found = call(position, item)
    begun.clear()
    return found  # type: ignore[no-any-return]


@cache
def _register() -> None:
    """Register joblib's backend for dask, mended.

    As it is, it never hears of a batch whose worker died, waits for ever when all have, and does
    everything in this process if there is one worker.
    """
    from distributed.scheduler import KilledWorker
    from joblib import register_parallel_backend
    from joblib._dask import DaskDistributedBackend

    class Mended(DaskDistributedBackend):
        def effective_n_jobs(self, n_jobs: int) -> int:
            return max(2, super().effective_n_jobs(n_jobs))

        def submit(self, func: Any, callback: Any = None) -> Any:
            positions = [arguments[0] for _, arguments, _ in func.items]

            def ended(future: Any) -> None:
                error = future.exception()
                if isinstance(error, KilledWorker):
                    callback(Lost(positions))
                elif error is not None:
                    callback(error)

            future = super().submit(func, callback)
            future.add_done_callback(ended)
            return future

        def retrieve_result_callback(self, out: Any) -> Any:
            if isinstance(out, BaseException):
                raise out
            if isinstance(out, Lost):
                return [(position, DIED) for position in out.positions]
            return super().retrieve_result_callback(out)

        def start_call(self) -> None:
            super().start_call()
            self.client.loop.add_callback(self._watch)

        async def _watch(self) -> None:
            """End the call once there has been no worker for too long."""
            seen = time.monotonic()
            while self._continue:
                await asyncio.sleep(1)
                with contextlib.suppress(Exception):  # a scheduler that is lost is told elsewhere
                    found = await self.client.scheduler.identity()
                    seen = time.monotonic() if found["workers"] else seen
                if time.monotonic() - seen > RESTART:
                    for future in list(self._results):
                        self._callbacks.pop(future)
                        self._results.pop(future).set_exception(NoWorkersError())
                    return

    register_parallel_backend(NAME, Mended)
