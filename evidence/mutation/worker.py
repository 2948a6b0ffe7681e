"""What one process does: load a mutant in memory, give it the checks, say which one caught it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from compare.errors import UserError
from evidence.mutation.battery import Kill, verdict
from evidence.mutation.loading import loaded, renew
from evidence.mutation.sources import Mutant, compiled, mutants
from evidence.mutation.survey import Survey

MEMORY = 4 * 2**30  # bytes of data per worker, where the system can limit them
TIMEOUT = 20.0  # seconds of computing for all checks of one mutant; it is normally a few hundredths
STATE: dict[str, Survey] = {}


class Outcome(NamedTuple):
    """What became of a mutant: what killed it (None: nothing did), after how many checks."""

    mutant: Mutant
    kill: Kill | None
    checks: int
    seconds: float


def start(survey: Survey) -> None:
    """Prepare a worker process: its memory limited, the survey and what checks need at hand."""
    limit_memory()
    STATE["survey"] = survey
    for unit in survey.units:
        unit.check.prepare()


def limit_memory(most: int = MEMORY) -> None:
    """Let a mutant that fills the memory fail with a MemoryError, instead of the machine."""
    try:
        import resource
    except ImportError:  # Windows
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def examine_numbered(key: tuple[str, int]) -> Outcome:
    """Examine a mutant by its module and number: a worker finds the edits in its own trees."""
    return examine(mutants(key[0])[key[1]], STATE["survey"])


def examine(mutant: Mutant, survey: Survey, timeout: float = TIMEOUT) -> Outcome:
    """Return what becomes of a mutant, in a process that no other mutant has spoilt.

    A mutant may write into what lives on after it (a dict that classes share), and every later one
    would be "caught" by that: no kill counts unless the right code passes where it was seen.

    Raises:
        UserError: the right code fails there even when it is loaded anew.
    """
    outcome, passes = _examined(mutant, survey, timeout)
    if passes():
        return outcome
    renew()
    outcome, passes = _examined(mutant, survey, timeout)
    if not passes():
        renew()  # of what this very mutant left behind
        if not passes():
            raise UserError(
                f"{mutant.path}:{mutant.line}: the right code fails as well after this mutant "
                f"({outcome.kill}). It changed something outside manual/, and nothing that this "
                "process says of others holds: start anew, and leave this mutant out."
            )
    return outcome


def _examined(mutant: Mutant, survey: Survey, timeout: float) -> tuple[Outcome, Callable[[], bool]]:
    """Run the checks that concern a mutant until one catches it; does the right code pass there?

    What equals the right code's values bit by bit is not judged at first: most mutants are caught
    without that. One that is not caught is asked everything again, with tolerances of its own,
    unless a review has found it equivalent.
    """
    started, done = time.perf_counter(), 0
    units = survey.of(mutant)
    rounds = [(unit, unit.right) for unit in units]
    if (mutant.module, mutant.number) not in survey.reviewed:
        rounds += [(unit, "") for unit in units if unit.right]
    kill: Kill | None = None
    passes = partial(_loads, mutant.module)
    try:
        with time_limit(timeout), loaded(mutant.module, compiled(mutant)):
            for unit, right in rounds:
                done += 1
                asked = unit.check, unit.dtype, survey.seed, unit.vacuous, right
                kill = verdict(*asked)
                if kill is not None:
                    passes = partial(_agrees, timeout, *asked)
                    break
    except Exception as error:
        kill = Kill(type(error).__name__, "import", "", "")
    outcome = Outcome(mutant, kill, done, time.perf_counter() - started)
    return outcome, (lambda: True) if kill is None else passes


def _agrees(timeout: float, *asked: Any) -> bool:
    try:
        with time_limit(timeout):
            return verdict(*asked) is None
    except TimeoutError:
        return False


def _loads(module: str) -> bool:
    try:
        with loaded(module):
            return True
    except Exception:
        return False


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError after so many seconds of computing; only the main thread has a limit."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(
        signal, "setitimer"
    ):
        yield
        return

    def expire(*_: object) -> None:
        raise TimeoutError(f"no answer within {seconds:g} seconds of computing")

    before = signal.signal(signal.SIGPROF, expire)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
