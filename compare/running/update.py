"""One optimiser step run again by itself, given torch's gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compare.judge.quantities import REDUCED, Key
from compare.running.alone import Moment

Lift = Callable[[Any], Any]


def gradients(moment: Moment) -> dict[str, np.ndarray]:
    """Return torch's gradients before clipping, by the parameter's dotted name.

    Of several workers, those that they have agreed on.
    """
    kinds = {k.quantity.partition(":")[0] for k in moment.torch}
    wanted = REDUCED if REDUCED in kinds else "grad"
    return {
        f"{k.layer}.{name}": v
        for k, v in moment.torch.items()
        for kind, _, name in [k.quantity.partition(":")]
        if kind == wanted and name
    }


def updated(moment: Moment, key: Key, lift: Lift) -> dict[str, Any]:
    """Return what the hand-written optimiser makes of one parameter or state, as `updated`."""
    start = moment.start
    states = {
        name: {k: lift(v) if np.ndim(v) else v for k, v in entry.items()}
        for name, entry in start.states.items()
    }
    params, new = moment.experiment.manual.update(
        {k: lift(p) for k, p in start.params.items()},
        {k: lift(g) for k, g in gradients(moment).items()},
        states,
        start.lr,
    )
    name, _, state = key.quantity.partition(":")[2].partition(":")
    dotted = f"{key.layer}.{name}"
    found = new.get(dotted, {}) if state else params
    name = state or dotted
    return {"updated": found[name]} if name in found else {}
