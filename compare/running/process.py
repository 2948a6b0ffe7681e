"""What a run asks of its process: one thread a side, draws of its own, memory kept at hand."""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

KEPT = 1 << 28  # bytes: so much of what is freed is not given back to the system
OF_ITS_OWN = 1 << 25  # bytes: a larger array is, each time
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # glibc's numbers of them


@contextmanager
def at_work(threads: int = 1, device: str = "cpu") -> Iterator[list[str]]:
    """Give NumPy one thread and torch so many; torch's generators and threads stay as they were.

    Yields what has no deterministic kernel on the device, once it is known.
    """
    import torch

    from torch_ref.gpu import devices_that_draw, reproducible

    keep_memory()
    before = torch.get_num_threads()
    try:
        with (
            _pools(len(sys.modules)).limit(limits=1),
            torch.random.fork_rng(devices_that_draw(device)),
            reproducible(device) as undetermined,
        ):
            torch.set_num_threads(threads)
            yield undetermined
    finally:
        torch.set_num_threads(before)


@lru_cache(maxsize=1)
def _pools(_modules: int) -> ThreadpoolController:
    """Return the libraries with threads; they are looked for anew once more modules are there."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@lru_cache(maxsize=1)
def keep_memory() -> bool:
    """Let freed memory stay with the process; return whether its C library can do that.

    A step frees what it measured and asks for the same again: given back to the system in between,
    every page of it is made anew (a third of a gauged step on 784-128-64-10).
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(TRIM_THRESHOLD, KEPT) and mallopt(MMAP_THRESHOLD, OF_ITS_OWN))
