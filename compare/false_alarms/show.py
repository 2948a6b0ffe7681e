"""Counting with a progress bar on standard error."""

from __future__ import annotations

from compare.false_alarms.count import Count, count


def counted_with_progress(networks: int, seed: int, jobs: int | None, *, show: bool) -> Count:
    """Count; the bar shows the networks that are done and the time that remains."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("random networks"), BarColumn(), MofNCompleteColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), disable=not show, transient=True) as bar:
        task = bar.add_task("", total=networks)
        return count(
            networks, seed=seed, jobs=jobs,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip
