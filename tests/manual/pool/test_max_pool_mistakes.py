"""Mistakes that people make in max-pooling: the comparison rejects each of them."""

from __future__ import annotations

import numpy as np
import pytest

from manual.pool import MaxPool2d
from tests.helpers import draw, integers
from tests.manual.pool.against_torch import check_against_torch


class LastWins(MaxPool2d):
    """Of equals the last wins."""

    def _places(self, shape, out):
        return super()._places(shape, out)[::-1]


class AllWin(MaxPool2d):
    """Every one of equals gets the whole gradient."""

    def _to_first(self, dy, cache):
        dx = np.zeros_like(cache.x)
        for place in self._places(cache.x.shape, dy.shape[2:]):
            dx[place.read] += dy[place.out] * (cache.x[place.read] == cache.y[place.out])
        return dx


class Overwritten(MaxPool2d):
    """Where windows overlap, one gradient replaces the other."""

    def _to_winners(self, dy, cache):
        dx = np.zeros_like(cache.x)
        flat = dx.reshape(*dx.shape[:2], -1)
        index = self._first_winners(cache).reshape(*dx.shape[:2], -1)
        np.put_along_axis(flat, index, dy.reshape(index.shape), axis=-1)
        return flat.reshape(dx.shape)

    def _to_first(self, dy, cache):
        return None


class ColumnsFirst(MaxPool2d):
    """Of equals the first wins, column by column."""

    def _places(self, shape, out):
        return sorted(super()._places(shape, out), key=lambda p: (p.read[2].start, p.read[1].start))


class ZeroPadded(MaxPool2d):
    """Beyond the border there are zeros, not -∞."""

    def _largest(self, x):
        p, q = self.padding
        padded = np.pad(x, ((0, 0), (0, 0), (p, p), (q, q)))
        return MaxPool2d(self.kernel_size, self.stride)._largest(padded)


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (LastWins, "indices"),
        (AllWin, "gradient of input 0"),
        (Overwritten, "gradient of input 0"),
        (ColumnsFirst, "indices"),
        (ZeroPadded, "output"),
    ],
)
def test_mistakes_are_rejected(wrong: type[MaxPool2d], what: str) -> None:
    x = integers(1, (2, 2, 7, 7)) - 2
    check_against_torch(MaxPool2d(3, 2, 1), x)

    with pytest.raises(AssertionError, match=what):
        check_against_torch(wrong(3, 2, 1), x)


@pytest.mark.parametrize("wrong", [LastWins, ColumnsFirst])
def test_another_winner_of_equals_is_rejected_by_its_gradient_alone(
    wrong: type[MaxPool2d], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        wrong,
        "decisions",
        lambda s, cache: MaxPool2d.decisions(MaxPool2d(s.kernel_size, s.stride, s.padding), cache),
    )

    with pytest.raises(AssertionError, match="gradient of input 0"):
        check_against_torch(wrong(3, 2, 1), integers(1, (2, 2, 7, 7)))


def test_a_window_that_does_not_start_inside_is_rejected_in_ceil_mode() -> None:
    class OneMore(MaxPool2d):
        def _windows(self, axis, size):
            room = size + 2 * self.padding[axis] - self._span(axis)
            return -(-room // self.stride[axis]) + 1

    with pytest.raises(AssertionError, match="shape"):
        check_against_torch(OneMore(2, 2, 1, ceil_mode=True), draw(1, (1, 1, 3, 3)))
