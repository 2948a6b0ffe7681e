"""After the backward pass: the workers' gradients become one, and every worker takes the same step.

In which order is no matter of taste. Clipping by the global norm is not linear,
    c(g) = g · min(1, c / ‖g‖),
so the mean of clipped gradients is not the clipped mean: a worker whose gradient is long is heard
less, and two that pull in opposite directions are shortened before they can cancel. One process on
the whole batch clips what it has summed: workers reduce first, and then clip, each the same vector.
"""

from __future__ import annotations

from collections.abc import Mapping

from manual.layer import Array, Arrays
from manual.parallel.collectives import all_reduce
from manual.parallel.workers import name_of, owned

__all__ = ["owners", "reduced"]


def reduced(grads: Mapping[str, Array], workers: int, how: str = "mean") -> Arrays:
    """Return every worker's gradients after the all-reduce, under the names they had before.

    Args:
        grads: of all workers' copies of the parameters.
        how: "mean" (what DistributedDataParallel does) or "sum".
    """
    found: Arrays = {}
    for name in owned(grads, 0):
        copies = [name_of(worker, name.partition(".")[2]) for worker in range(workers)]
        found |= zip(copies, all_reduce([grads[copy] for copy in copies], how), strict=True)
    return {name: found[name] for name in grads}


def owners(sizes: Mapping[str, int], workers: int) -> dict[str, int]:
    r"""Return which worker keeps the optimiser's state of each parameter: ZeRO, stage 1.

    An optimiser that moves every element by itself (SGD, Adam) can be cut along its parameters:
        (θ, s)_k -> (θ, s)_k'   depends on the gradient g_k and the state s_k alone,
    so that worker r may work out its share k of the parameters only, and hold s_k only: 1/W of the
    states. Each then knows its share of θ', and an all_gather gives everyone the whole. No sum is
    taken, so that the step is bit for bit that of one worker with all states.

    The largest parameter goes to whoever has least so far, as in torch's ZeroRedundancyOptimizer.
    Source: Rajbhandari et al., ZeRO: memory optimizations toward training trillion parameter
    models (2020), section 5.1.
    """
    load, found = [0] * workers, {}
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        found[name] = load.index(min(load))
        load[found[name]] += sizes[name]
    return {name: found[name] for name in sizes}
