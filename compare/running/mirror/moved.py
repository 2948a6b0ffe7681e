"""The model run once more, on other numbers: what its custom Functions get there."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from compare.running.mirror.model import Model
from torch_ref.capture import Capture
from torch_ref.captured_side import CapturedSide

__all__ = ["Moves", "captures_elsewhere", "is_bound", "is_ordered", "moved"]

FAR, NEAR = 4.0, 1 / 16  # how many times larger: what branches far from zero, and close to it
APART = 0.25  # how far numbers that are all alike are moved apart, as a part of them
ALIKE = 1e-6  # sums and norms


class Moves(NamedTuple):
    """What of a model is given other numbers.

    Attributes:
        every: all inputs and weights; else of the weights and buffers those that are one number.
        masks: whether ones and zeros that no gradient is kept of may be a mask: some of them then
            become the other, and none a number between. Who relies on that is not to blame.
        far: how many times larger other numbers get.
    """

    every: bool = True
    masks: bool = True
    far: float = FAR


WAYS = (Moves(), Moves(every=False), Moves(far=NEAR))
UNMASKED = (Moves(masks=False), Moves(every=False, masks=False))


def captures_elsewhere(model: Model, side: CapturedSide) -> Iterator[tuple[Moves, Capture]]:
    """Yield runs of copies: with other inputs and weights; with other weights of ones alone;
    with smaller numbers.

    A Function gets what the model makes of them: probabilities, indices and what else belongs
    together stay what they are. What the model refuses is left out.
    """
    ungraded = {name for name, tensor in side.inputs.items() if tensor.grad is None}
    held = (*model.module.parameters(), *model.module.buffers(), *model.inputs.values())
    known = any(_is_mask(t.detach().numpy()) for t in (*held, *model.others.values()))
    for moves in (*WAYS, *UNMASKED) if known else WAYS:
        try:
            probe = model.fresh()
            _move(probe, moves, ungraded)
            watched = CapturedSide(
                probe.module, probe.run, probe.inputs, None, side.dtype, side.derive, side.seed
            )
            watched.closed = side.closed
            with torch.random.fork_rng(devices=[]):
                watched.forward_backward()
        except Exception:  # whatever a model does not take
            continue
        yield moves, watched.capture


def _move(model: Model, moves: Moves, ungraded: Set[str]) -> None:
    """Move inputs, and weights and buffers that are one number throughout, or every one."""
    held = [*model.module.parameters(), *model.module.buffers()]
    inputs = [*model.inputs.values(), *model.others.values()]
    graded = {id(tensor) for name, tensor in model.inputs.items() if name not in ungraded}
    with torch.no_grad():
        for seed, tensor in enumerate([*inputs, *held]):
            if seed < len(inputs) or moves.every or _is_alike(tensor):
                learnt = isinstance(tensor, nn.Parameter) and tensor.requires_grad
                a, free = tensor.detach().numpy(), learnt or id(tensor) in graded
                masked = moves.masks and not free and _is_mask(a)
                new = flipped(a) if masked else moved(a, seed, moves.far, learnt=learnt)
                tensor.copy_(torch.from_numpy(new))


def _is_alike(tensor: Tensor) -> bool:
    return bool(tensor.numel()) and bool((tensor == tensor.flatten()[0]).all())


def flipped(a: np.ndarray) -> np.ndarray:
    """Return ones of which every third is a zero, or zeros of which every third is a one.

    >>> flipped(np.ones((2, 4)))
    array([[1., 0., 1., 1.],
           [0., 1., 1., 0.]])
    """
    turned = np.arange(a.size).reshape(a.shape) % 3 == 1
    return np.where(turned, 1 - a, a).astype(a.dtype)


def _is_mask(a: np.ndarray) -> bool:
    """Return whether several numbers are ones throughout, or zeros."""
    return a.dtype.kind == "f" and a.size > 1 and not np.ptp(a) and a.flat[0] in (0, 1)


def moved(a: np.ndarray, seed: int = 0, far: float = FAR, *, learnt: bool = False) -> np.ndarray:
    """Return other numbers of the same kind.

    What is one number throughout goes apart towards zero, zeros upwards; so does a matrix that is
    learnt, of which only the start is symmetric. Other floats get `far` times larger; not what
    lies between 0 and 1, or what may have to be as it is.

    >>> moved(np.array([-0.5, 2.0])), moved(np.array([0.2, 0.8])), moved(np.array([0.5, 0.5]))
    (array([-2.,  8.]), array([0.2, 0.8]), array([0.5, 0.5]))
    """
    if a.dtype.kind != "f" or not a.size or not np.isfinite(a).all():
        return a
    if not learnt and _is_uniform(a):
        return a
    if not np.ptp(a) or (learnt and _is_matrix(a)):
        by = np.random.default_rng(seed).uniform(0, APART, a.shape)
        return (a * (1 - by) + (a == 0) * by).astype(a.dtype)
    within = a.min() >= 0 and a.max() <= 1
    return a if within or is_bound(a) else (far * a).astype(a.dtype)


def is_bound(a: np.ndarray) -> bool:
    """Return whether numbers may be bound to each other, or to be whole.

    Probabilities have the sum 1, directions the norm 1; normalised rows have one norm.

    >>> is_bound(np.array([[0.25, 0.75], [0.5, 0.5]])), is_bound(np.array([0.25, 0.5]))
    (True, False)
    """
    if a.dtype.kind != "f" or not a.size or not np.isfinite(a).all() or not np.ptp(a):
        return False
    axes = range(a.ndim) if a.ndim > 1 else (None,)
    found = [f(a, axis=axis) for axis in axes for f in (np.sum, np.linalg.norm)]
    return not (a % 1).any() or any(_is_one_number(np.ravel(x)) for x in found)


def _is_uniform(a: np.ndarray) -> bool:
    """Return whether all numbers are 1/n of n along an axis: probabilities."""
    return not np.ptp(a) and any(n > 1 and np.isclose(n * a.flat[0], 1) for n in a.shape)


def is_ordered(a: np.ndarray) -> bool:
    """Return whether numbers may be bound, sorted, or a symmetric or a triangular matrix.

    >>> is_ordered(np.array([1.5, 2.0, 4.0])), is_ordered(np.array([1.5, -2.0, 4.0]))
    (True, False)
    """
    if a.dtype.kind != "f" or not a.size or not np.ptp(a):
        return False
    steps = (np.diff(a, axis=axis) for axis in range(a.ndim) if a.shape[axis] > 2)
    return is_bound(a) or any((d >= 0).all() or (d <= 0).all() for d in steps) or _is_matrix(a)


def _is_matrix(a: np.ndarray) -> bool:
    if a.ndim < 2 or a.shape[-1] != a.shape[-2] or a.shape[-1] < 2:
        return False
    turned = np.swapaxes(a, -1, -2)
    symmetric = np.abs(a - turned).max() <= ALIKE * np.abs(a).max()
    return symmetric or not np.triu(a, 1).any() or not np.tril(a, -1).any()


def _is_one_number(found: np.ndarray) -> bool:
    """Return whether sums or norms are all alike; a single one tells only if it is 1."""
    known = (1.0,) if found.size == 1 else (1.0, found[0])
    return any(np.abs(found - x).max() <= ALIKE * max(1.0, abs(x)) for x in known)
