"""A bound on memory while a stranger's code runs with changed lines.

A change inside a loop may let an array grow with every pass: an axis more, an outer product.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

MOST = 512 << 20  # bytes, beside what is in use


@contextmanager
def bounded(most: int = MOST) -> Iterator[None]:
    """Let what asks for more memory than this fail, on Linux; elsewhere nothing is bounded."""
    with ExitStack() as lifted:
        with suppress(ImportError, OSError, ValueError):
            import resource  # not on Windows

            soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
            limit = _in_use() + most
            if limit < min(n for n in (soft, hard, limit + 1) if n != resource.RLIM_INFINITY):
                resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
                lifted.callback(resource.setrlimit, resource.RLIMIT_DATA, (soft, hard))
        yield


def _in_use() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[5]) * os.sysconf("SC_PAGE_SIZE")
