"""Progress bars on standard error; rich is imported when the first thing is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

Advance = Callable[[str, int, int], None]  # what, done, of how many


@contextmanager
def bars(*, show: bool, after: float = 0.0, rate: bool = False) -> Iterator[Advance]:
    """Yield a function that moves the bar of what is counted; none is drawn before its first call.

    So an error message that comes before stands alone; and what is done in `after` seconds needs
    no bar. With `rate` it also says how many there are per second.
    """
    shown: list[Any] = []
    begun: list[float] = []  # when each call came
    tasks: dict[str, Any] = {}

    def advance(what: str, done: int, total: int) -> None:
        begun.append(monotonic())
        if not show or begun[-1] - begun[0] < after:
            return
        if not shown:
            shown.append(_started(rate))
        if what not in tasks:
            tasks[what] = shown[0].add_task(what, total=total)
        shown[0].update(tasks[what], completed=done, total=total)

    try:
        yield advance
    finally:
        for bar in shown:
            bar.stop()


def _started(rate: bool) -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Any) -> Text:
            return Text(f"{task.speed:.1f}/s" if task.speed else "")

    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    columns += [Rate()] if rate else []
    columns.append(TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    bar.start()
    return bar
