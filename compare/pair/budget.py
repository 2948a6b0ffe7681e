"""How much computing a check may cost: what is beyond it is done more cheaply, and said."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compare.pair.candidates import Candidate
    from compare.pair.inputs import Inputs
    from compare.pair.tolerance import Judged

SECONDS = 5.0  # with the time to start, a check in about ten
PART = 4.0  # a case may take this part of what is left
FORWARDS = 19  # forward passes that one derivative takes
FEWEST = 2  # directions
LENIENT = 2  # times the budget may be overdrawn before cases are left out


class Budget:
    """Seconds of this thread, which others on the machine do not use up.

    Attributes:
        directions: of the latest case: along how many random directions it was judged for want of
            time; 0 if it was not.
        hurried: whether its rounding errors were found the cheap way for want of time.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds, self.started = seconds, time.thread_time()
        self.directions, self.hurried = 0, False

    @property
    def gone(self) -> bool:
        """Whether so much more was used that the cases to come are left out."""
        return self.left < -LENIENT * self.seconds

    @property
    def left(self) -> float:
        return self.seconds - (time.thread_time() - self.started)

    def begin_case(self) -> None:
        self.directions, self.hurried = 0, False

    def along(self, elements: int, inputs: int, forward: float, most: int) -> int:
        """Return along how many directions to differentiate; 0 for every element by itself.

        Args:
            elements: of all inputs; `inputs` how many there are.
            forward: seconds that one forward pass takes.
            most: directions where time is no matter.
        """
        share = max(0.0, self.left) / PART
        if elements * FORWARDS * forward <= share:
            return 0
        self.directions = min(most, max(FEWEST, int(share / (inputs * FORWARDS * forward))))
        return self.directions

    def errors(self, dtype: str, exact: Callable[..., Judged]) -> Callable[..., Judged]:
        """Return a function that finds rounding errors as `exact` does, while there is time."""
        latest = 0.0  # seconds

        def found(candidate: Candidate, values: Inputs, upstreams: Sequence[Any]) -> Judged:
            nonlocal latest
            from compare.pair.tolerance import hurried

            if latest > max(0.0, self.left) / PART:
                self.hurried = True
                return hurried(dtype, candidate, values, upstreams)
            before = time.thread_time()
            judged = exact(dtype, candidate, values, upstreams)
            latest = time.thread_time() - before
            return judged

        return found
