"""What it costs to form the Jacobian of ReLU, beside the product that is wanted of it."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from manual.activations import ReLU

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SIZES = (64, 128, 256, 512, 1024, 2048)


class JacobianSize(NamedTuple):
    """How large a Jacobian is, and how little of it is not zero by construction."""

    rows: int
    columns: int
    entries: int
    diagonal: int
    float32_bytes: int


def jacobian_sizes(features: int = 4096, batch: int = 1) -> JacobianSize:
    """Return the size of the Jacobian of an element-wise function on a minibatch.

    >>> jacobian_sizes(4096, 100).rows
    409600
    """
    n = features * batch
    return JacobianSize(n, n, n * n, n, 4 * n * n)


def full_jacobian(x: np.ndarray, upstream: np.ndarray) -> np.ndarray:
    """Return upstream · J with the n × n matrix J formed, row by row from one-hot gradients."""
    relu = ReLU()
    _, cache = relu.forward(x)
    jacobian = np.zeros((x.size, x.size), x.dtype)
    one_hot = np.zeros_like(x)
    for i in range(x.size):
        one_hot[i] = 1
        jacobian[i] = relu.backward(one_hot, cache)[0][0]
        one_hot[i] = 0
    return upstream @ jacobian


def product(x: np.ndarray, upstream: np.ndarray) -> np.ndarray:
    """Return upstream · J as backward does: element by element."""
    relu = ReLU()
    return relu.backward(upstream, relu.forward(x)[1])[0][0]


def jacobian_cost(sizes: Sequence[int] = SIZES, *, repeats: int = 3, seed: int = 0) -> pd.DataFrame:
    """Measure both ways for vectors of growing length, in float32.

    Returns one row per length n: seconds (the best of `repeats`) and peak bytes of NumPy's
    allocations, for the full Jacobian and for the vector-Jacobian product.

    Raises:
        ArithmeticError: the two ways differ; each element is one product, so no bit may.
    """
    import pandas as pd

    rng = np.random.default_rng(seed)
    rows = []
    for n in sizes:
        x, upstream = rng.standard_normal((2, n)).astype(np.float32)
        if not np.array_equal(full_jacobian(x, upstream), product(x, upstream)):
            raise ArithmeticError(f"upstream · J and backward differ at n = {n}.")
        row: dict[str, float] = {"n": n, "jacobian_entries": n * n}
        for name, way in (("jacobian", full_jacobian), ("product", product)):
            row[f"{name}_seconds"] = _seconds(way, x, upstream, repeats)
            row[f"{name}_bytes"] = _peak(way, x, upstream)
        rows.append(row)
    return pd.DataFrame(rows)


def _seconds(way: Callable, x: np.ndarray, upstream: np.ndarray, repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        way(x, upstream)
        times.append(time.perf_counter() - start)
    return min(times)


def _peak(way: Callable, x: np.ndarray, upstream: np.ndarray) -> int:
    tracemalloc.start()
    try:
        way(x, upstream)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def jacobian_plot(cost: pd.DataFrame) -> Figure:
    """Draw seconds and bytes against n, both axes logarithmic.

    In the colours that `compare.report.rendering.svg` exchanges for a theme's: see `jacobian_svg`.
    """
    from matplotlib.figure import Figure

    from compare.report.rendering.svg import SENTINEL, drawing

    with drawing():
        figure = Figure(figsize=(8.4, 3.4), layout="constrained")
        for axes, what in zip(figure.subplots(1, 2), ("seconds", "bytes"), strict=True):
            for name, label, colour in (
                ("jacobian", "full Jacobian", SENTINEL["s2"]),
                ("product", "upstream × local", SENTINEL["s1"]),
            ):
                axes.loglog(cost["n"], cost[f"{name}_{what}"], "o-", label=label, color=colour)
            axes.set_xlabel("n, the length of the vector")
            axes.set_ylabel(what)
        axes.legend()
        return figure


def jacobian_svg(cost: pd.DataFrame) -> str:
    """Return the plot as an SVG file of its own."""
    from compare.report.rendering.svg import for_file, to_svg

    label = "Seconds and bytes of the full Jacobian and of the product, against n"
    return for_file(to_svg(jacobian_plot(cost), "jacobian"), label)
