"""Pools that pick one element of each window, wherever their windows lie."""

from __future__ import annotations

from abc import abstractmethod
from itertools import product
from math import prod
from typing import Any, NamedTuple, Self

import numpy as np

from manual.layer import Array, Arrays
from manual.pool.windows import Pool, Sizes

__all__ = ["PickCache", "PickingPool", "gathered", "scattered"]


class PickCache(NamedTuple):
    shape: tuple[int, ...]  # of x
    winner: np.ndarray  # of y's shape: which element of its image each window took
    out: Sizes  # (H', W')
    starts: tuple[np.ndarray, ...]  # by axis, each window's first row: (H',), or (N, C, H')


class PickingPool(Pool):
    """A max pool whose class says where its windows are."""

    return_indices: bool
    winner: Array | None = None  # given winners; None lets the largest win

    def _set_outputs(self, return_indices: bool) -> None:
        self.return_indices = return_indices
        if return_indices:
            self.outputs = ("output", "indices")

    @abstractmethod
    def _rows(self, axis: int, starts: Array, size: int) -> list[np.ndarray]:
        """Return the rows of all windows along an axis, one array for each row of a window."""

    def _picked(self, x: Array, starts: tuple[np.ndarray, ...]) -> tuple[Any, PickCache]:
        """Return the largest of each window, or `(largest, indices)`."""
        sizes, out = tuple(x.shape[-self.axes :]), tuple(s.shape[-1] for s in starts)
        winner = self.winner
        if winner is None:
            rows = [self._rows(a, s, n) for a, (s, n) in enumerate(zip(starts, sizes, strict=True))]
            places = [_index(at, sizes) for at in product(*rows)]
            winner = first_largest(x, places, (*x.shape[: -self.axes], *out), self.axes)
        y = gathered(x, winner, self.axes)
        cache = PickCache(tuple(x.shape), winner, out, starts)
        return (y, winner) if self.return_indices else y, cache

    def _returned(self, grad_output: Array, cache: PickCache) -> tuple[tuple[Array], Arrays]:
        dy = grad_output[0] if self.return_indices else grad_output
        return (scattered(dy, cache.winner, cache.shape, self.axes),), {}

    def decisions(self, cache: PickCache) -> Array:  # type: ignore[override]
        """Return the winners' indices, as torch counts them: i W + j."""
        return cache.winner

    def settled(self, winner: Array) -> Self:
        """Return this layer with its winners given: near a tie, rounding before it decides."""
        return self._twin(winner=winner)


def _index(rows: tuple[np.ndarray, ...], sizes: Sizes) -> np.ndarray:
    """Return one place of all windows, (…, H', W'), as the index into its image."""
    axes, index = len(rows), np.array(0)
    for a, (at, size) in enumerate(zip(rows, sizes, strict=True)):
        own = at.reshape(*at.shape[:-1], *[1] * a, at.shape[-1], *[1] * (axes - 1 - a))
        index = index * size + own
    return index


def first_largest(
    x: Array, places: list[np.ndarray], shape: tuple[int, ...], axes: int
) -> np.ndarray:
    """Return the index of each window's first largest element, or of its last nan."""
    winner = np.broadcast_to(places[0], shape)
    y = gathered(x, winner, axes)
    for place in places:
        index = np.broadcast_to(place, shape)
        here = gathered(x, index, axes)
        won = (here > y) | (here != here)
        winner, y = np.where(won, index, winner), np.where(won, here, y)
    return winner


def gathered(x: Array, index: np.ndarray, axes: int) -> Array:
    """Return the elements of x (N, C, H, W) with these indices (N, C, H', W') into its images."""
    lead = x.shape[:-axes]
    flat = x.reshape(*lead, prod(x.shape[-axes:]))
    own = index.reshape(*lead, prod(index.shape[-axes:]))
    return np.take_along_axis(flat, own, axis=-1).reshape(*index.shape)


def scattered(dy: Array, index: np.ndarray, shape: tuple[int, ...], axes: int) -> Array:
    """Return the transpose of `gathered`: each dy added where its element was."""
    images = prod(shape[:-axes])
    dx = np.zeros_like(dy, shape=(images, prod(shape[-axes:])))
    own = index.reshape(images, prod(index.shape[-axes:]))
    np.add.at(dx, (np.arange(images)[:, None], own), dy.reshape(*own.shape))
    return dx.reshape(*shape)
