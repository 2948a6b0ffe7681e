"""Bars go to standard error, only when they are wanted and only once something is counted."""

from __future__ import annotations

import pytest

from compare.commands import progress


class Bar:
    def __init__(self) -> None:
        self.seen: dict[str, tuple[int, int]] = {}
        self.stopped = False

    def add_task(self, what: str, total: int) -> str:
        self.seen[what] = (0, total)
        return what

    def update(self, what: str, completed: int, total: int) -> None:
        self.seen[what] = (completed, total)

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Bar]:
    made: list[Bar] = []

    def start(rate: bool) -> Bar:
        made.append(Bar())
        return made[-1]

    monkeypatch.setattr(progress, "_started", start)
    return made


def test_every_thing_that_is_counted_has_a_bar_and_all_are_stopped(started: list[Bar]) -> None:
    with progress.bars(show=True) as advance:
        assert not started
        advance("comparing", 1, 4)
        advance("drifting", 2, 4)
        advance("comparing", 3, 4)

    assert [bar.seen for bar in started] == [{"comparing": (3, 4), "drifting": (2, 4)}]
    assert started[0].stopped


def test_an_error_stops_the_bar_and_passes_through(started: list[Bar]) -> None:
    def fails() -> None:
        with progress.bars(show=True) as advance:
            advance("comparing", 1, 4)
            raise KeyError("x")

    with pytest.raises(KeyError):
        fails()
    assert started[0].stopped


def test_nothing_is_drawn_if_nothing_is_to_be_shown(started: list[Bar]) -> None:
    with progress.bars(show=False) as advance:
        advance("comparing", 1, 4)

    assert not started


def test_a_real_bar_writes_to_standard_error_alone(capsys: pytest.CaptureFixture) -> None:
    with progress.bars(show=True) as advance:
        advance("comparing", 4, 4)

    assert capsys.readouterr().out == ""
