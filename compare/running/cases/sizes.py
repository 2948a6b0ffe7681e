"""Which axes are equally long because they must be, and which only by chance."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import combinations, islice, permutations
from typing import NamedTuple

from compare.pair.inputs import Specification, is_float

Axis = tuple[str, int]  # an input's name, and which of its axes
Group = frozenset[Axis]  # axes that must be equally long
Lengths = dict[Group, int]

MOST = 8  # axes in a group that is tried apart


class Sizes(NamedTuple):
    """How long the axes are, and which of them belong together."""

    groups: tuple[Group, ...]
    lengths: Lengths


def tied_axes(specification: Specification, kept: Collection[int] = ()) -> Sizes:
    """Group the axes by length: equal numbers are taken to belong together.

    Axes of length 1 may be there to broadcast and stay; so do the lengths of given float arrays.

    Args:
        specification: the inputs.
        kept: lengths that stay, too.
    """
    by_length: dict[int, set[Axis]] = {}
    fixed = set(kept)
    for name, shape in specification.shapes.items():
        for axis, length in enumerate(shape):
            by_length.setdefault(length, set()).add((name, axis))
    for name, value in specification.given.items():
        for axis, length in enumerate(getattr(value, "shape", ())):
            if is_float(value):
                fixed.add(length)
            elif length in by_length:
                by_length[length].add((name, axis))
    found = {frozenset(axes): n for n, axes in by_length.items() if n > 1 and n not in fixed}
    return Sizes(tuple(found), found)


def neighbours(length: int) -> list[int]:
    """Return the lengths to try: one more, and one less if that is not 1, which may broadcast."""
    return [n for n in (length + 1, length - 1) if n > 1]


def distinct(sizes: Sizes) -> Lengths:
    """Return lengths of which no two are equal, near the given ones."""
    taken: set[int] = set()
    lengths = {}
    for group in sizes.groups:
        wanted = sizes.lengths[group]
        near = sorted(range(2, wanted + len(sizes.groups) + 1), key=lambda n: abs(n - wanted))
        lengths[group] = next(n for n in near if n not in taken)
        taken.add(lengths[group])
    return lengths


def other(sizes: Sizes, accepts: Callable[[Lengths], bool]) -> Lengths:
    """Return lengths that are all different from the given ones, as far as both sides take them.

    A length of 1 is often refused, or a case of its own: a number that is written where a length
    belongs is wrong here at last. One that is a multiple (the four gates of an LSTM) goes with what
    it is a multiple of, if neither goes alone. Both sides must take two other lengths: one alone
    may pass by broadcasting.
    """
    lengths = dict(sizes.lengths)
    taken = set(lengths.values())
    for move in _moves(sizes):
        if any(lengths[group] != sizes.lengths[group] for group in move):
            continue
        n = min(sizes.lengths[group] for group in move)
        wanted = [m for m in (n + 2, n + 3, n + 1, n + 4, n + 6, n + 8, 2 * n, n - 1) if m > 1]
        moved = [{g: times * m for g, times in move.items()} for m in dict.fromkeys(wanted)]
        moved.sort(key=lambda new: not taken.isdisjoint(new.values()))
        found = list(islice((new for new in moved if accepts({**lengths, **new})), 2))
        if len(found) > 1 and taken.isdisjoint(found[0].values()):
            lengths.update(found[0])
            taken.update(found[0].values())
    return lengths


def _moves(sizes: Sizes) -> Iterator[dict[Group, int]]:
    """Yield the groups that may change together, and how many times the shortest each is long."""
    yield from ({group: 1} for group in sizes.groups)
    for short, long in permutations(sizes.groups, 2):
        times, rest = divmod(sizes.lengths[long], sizes.lengths[short])
        if times > 1 and not rest:
            yield {short: 1, long: times}


def independent(sizes: Sizes, accepts: Callable[[Lengths], bool], names: Sequence[str]) -> Sizes:
    """Split groups of axes that need not be equally long: try, and see who refuses.

    Args:
        sizes: the groups as the user's numbers suggest them.
        accepts: whether both sides can run with these lengths.
        names: the inputs' names, for the order of the result.
    """
    done: list[Group] = []
    waiting, lengths = list(sizes.groups), dict(sizes.lengths)
    while waiting:
        group = waiting.pop()
        part = _separable(group, lengths, accepts)
        if part is None:
            done.append(group)
            continue
        for piece in (part, group - part):
            lengths[piece] = lengths[group]
            waiting.append(piece)
        del lengths[group]
    done.sort(key=lambda g: min((names.index(name), axis) for name, axis in g))
    return Sizes(tuple(done), {g: lengths[g] for g in done})


def _separable(group: Group, lengths: Lengths, accepts: Callable[[Lengths], bool]) -> Group | None:
    """Return axes of the group that may take another length than the rest of it."""
    if not 2 <= len(group) <= MOST:
        return None
    n, rest = lengths[group], {g: n for g, n in lengths.items() if g != group}
    others = sorted(group)[1:]
    for size in range(1, len(others) + 1):
        for chosen in combinations(others, size):
            part = frozenset(chosen)
            pairs = [pair for other in neighbours(n) for pair in ((n, other), (other, n))]
            if all(accepts({**rest, group - part: a, part: b}) for a, b in pairs):
                return part
    return None
