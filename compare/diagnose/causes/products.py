"""The candidate is the reference times, or plus, a product of tensors at hand.

A factor of the formula that is missing, squared, inverted or another's leaves such a product; so
does a term of a sum. All products of up to three tensors are tried at a few elements, and what fits
there must explain every element.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import combinations, product

import numpy as np

from compare.diagnose.causes.cause import Cause
from compare.diagnose.causes.constants import names_of, told
from compare.diagnose.causes.fit import Case

PROBES = 6  # elements on which products are tried
CLOSE = 1e-9
POWERS = (1, -1, 2, -2)
FACTOR = (
    "A factor of the product is missing, extra, inverted, or another one: compare the factors in "
    "the code with those of the derivation."
)
TERM = (
    "A term of the sum is missing, extra or has a wrong factor: compare the terms in the code with "
    "those of the derivation."
)


def wrong_factor(case: Case) -> Iterator[Cause]:
    """The quotient of the two sides is a product of known tensors."""
    with np.errstate(all="ignore"):
        ratio = case.candidate / case.reference
    for text, c, value in _products(case, ratio):
        if case.explains(c * value * case.reference, np.abs(c * value)):
            yield Cause("wrong factor", f"manual is torch × {text} in every element.", FACTOR)
            return
    with np.errstate(all="ignore"):
        exponent = np.log(ratio)
    for text, c, value in _products(case, exponent):
        with np.errstate(all="ignore"):
            power = np.exp(c * value)
        if case.explains(power * case.reference, power):
            yield Cause("wrong factor", f"manual is torch × e^({text}) in every element.", FACTOR)
            return


def wrong_term(case: Case) -> Iterator[Cause]:
    """The difference of the two sides is a product of known tensors."""
    for text, c, value in _products(case, case.diff):
        if case.explains(case.reference + c * value):
            yield Cause("wrong term", f"manual − torch is {text} in every element.", TERM)
            return


def _products(case: Case, target: np.ndarray) -> Iterator[tuple[str, float, np.ndarray]]:
    """Yield (in words, constant, product) for what fits at the probes, simplest first."""
    blocks = _blocks(case)
    at = _probes(case, target, blocks)
    if at is None:
        return
    names = list(blocks)
    logs = np.stack([np.log(np.abs(blocks[name].ravel()[at])) for name in names])
    powers = _exponents(len(names))
    rest = np.log(np.abs(target.ravel()[at])) - powers @ logs
    fits = np.flatnonzero(np.ptp(rest, axis=1) < CLOSE * max(1.0, case.roundoff * 2.0**53))
    for row in powers[fits[np.argsort(np.abs(powers[fits]).sum(axis=1), kind="stable")]][:8]:
        with np.errstate(all="ignore"):
            value = np.prod([blocks[n] ** int(k) for n, k in zip(names, row, strict=True)], axis=0)
        if np.isfinite(value).all():
            c = float(np.median(target.ravel()[at] / value.ravel()[at]))
            yield f"{_constant(c, case)}{_written(names, row)}", c, value


def _probes(case: Case, target: np.ndarray, blocks: dict) -> np.ndarray | None:
    """Return the elements to try products on: where nothing is zero, spread over the tensor."""
    good = (case.telling & np.isfinite(target) & (target != 0)).ravel()
    for block in blocks.values():
        good &= (block != 0).ravel()
    places = np.flatnonzero(good)
    if len(places) < PROBES or not blocks:
        return None
    return places[np.linspace(0, len(places) - 1, PROBES).astype(int)]


def _blocks(case: Case) -> dict[str, np.ndarray]:
    """Return the tensors at hand and what formulas make of them: 1 − y, f′, Σ dy."""
    known = {name: np.asarray(t, dtype=np.float64) for name, t in case.context.others.items()}
    known |= {name: np.asarray(t, dtype=np.float64) for name, t in case.context.places.items()}
    known |= case.context.factors
    dy = case.context.upstream
    shape = case.reference.shape
    blocks = {name: t for name, t in known.items() if t.shape == shape}
    with np.errstate(all="ignore"):
        for name in [n for n in ("x", "y") if n in blocks]:
            blocks |= {f"(1 − {name})": 1 - blocks[name], f"(1 + {name})": 1 + blocks[name]}
        if dy is not None and dy.shape == shape:
            blocks |= {"dy": dy} | _of_rows(blocks, dy)
        if (slope := case.context.slope) is not None:
            blocks |= {"f′": slope, "(1 − f′)": 1 - slope}
        if "x" in blocks and "y" in blocks:
            gate = blocks["y"] / blocks["x"]
            blocks |= {"(y/x)": gate, "(1 − y/x)": 1 - gate, "e^y": np.exp(blocks["y"])}
            blocks["e^x"] = np.exp(blocks["x"])
    usable = {n: b for n, b in blocks.items() if np.isfinite(b).all() and np.ptp(b) > 1e-9}
    return {n: b for n, b in usable.items() if np.mean(b != 0) > 0.5}


def _of_rows(blocks: dict[str, np.ndarray], dy: np.ndarray) -> dict[str, np.ndarray]:
    """Return the sums along the last axis that norms and softmax have."""
    if dy.ndim < 2:
        return {}
    sums = {"Σ dy": dy} | ({"Σ dy y": dy * blocks["y"]} if "y" in blocks else {})
    return {
        name: np.broadcast_to(t.sum(axis=-1, keepdims=True), dy.shape) for name, t in sums.items()
    }


@cache
def _exponents(blocks: int) -> np.ndarray:
    """Return every choice of up to three blocks with a small power each."""
    rows = []
    for count in range(1, min(3, blocks) + 1):
        for chosen in combinations(range(blocks), count):
            for powers in product(POWERS, repeat=count):
                row = np.zeros(blocks)
                row[list(chosen)] = powers
                rows.append(row)
    return np.array(rows)


def _constant(c: float, case: Case) -> str:
    if abs(c - 1) < 1e-6:
        return ""
    return "−" if abs(c + 1) < 1e-6 else f"{told(c, names_of(c, 1e-6, case.context))} × "


def _written(names: list[str], powers: np.ndarray) -> str:
    """Return a product in words: `dy · y² / (1 − y)`."""
    above = [_power(n, k) for n, k in zip(names, powers, strict=True) if k > 0]
    below = [_power(n, -k) for n, k in zip(names, powers, strict=True) if k < 0]
    return " / ".join([" · ".join(above) or "1", *below])


def _power(name: str, k: float) -> str:
    return name if k == 1 else f"{name if len(name) < 3 or name[0] == '(' else f'({name})'}²"
