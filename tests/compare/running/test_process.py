"""What a run asks of its process."""

import subprocess
import sys

import pytest

from compare.running.process import at_work, keep_memory

FAULTS = """
import resource, sys
import numpy as np
from compare.running.process import keep_memory
if sys.argv[1] == "kept":
    assert keep_memory()
for _ in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.full(1 << 18, 1.0) for _ in range(40)]  # 2 MiB each
    del arrays
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, check=True)
    return int(done.stdout)


def test_memory_that_is_freed_is_not_asked_for_anew() -> None:
    if not keep_memory():
        pytest.skip("this C library cannot be told")
    assert _faults("kept") < 1000 < _faults("given back")


def test_torchs_draws_and_threads_are_as_before_a_run() -> None:
    import torch

    threads, drawn = torch.get_num_threads(), torch.get_rng_state()
    with at_work(threads=3):
        assert torch.get_num_threads() == 3
        torch.rand(5)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), drawn)


def test_numpy_has_one_thread_in_a_run() -> None:
    from threadpoolctl import threadpool_info, threadpool_limits

    with threadpool_limits(2), at_work():
        assert {
            pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"
        } == {1}
