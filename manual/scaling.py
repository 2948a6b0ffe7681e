"""Loss scaling: gradients too small for a short format, lifted into its range and brought back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from manual.graph import Array, Arrays

__all__ = ["LossScaler"]


class LossScaler(NamedTuple):
    r"""A factor S on the loss that adapts to the range of float16.

    Backward is linear in the upstream gradient: with L' = S L every gradient is S times itself,
        dL'/dv = S dL/dv        for every value v and every parameter,
    and unscaling g = (1/S) dL'/dw gives the gradient back. With S a power of two both products only
    move the exponent: exact, unless the number crosses the border of the format. That is the use
    of it. float16 holds nothing between 0 and 2^-24 = 6e-8 and keeps its eleven digits from 2^-14
    = 6e-5 on; a gradient of 1e-8 vanishes, and S = 2^16 makes 6.6e-4 of it. At the other end
    65,504 is the largest: too large an S makes inf of a gradient, and inf · 1/S stays inf.

    So S is looked for as one goes. Let f be whether any unscaled gradient is inf or NaN:
        f:      no step is taken, S <- S · backoff,  t <- 0
        not f:  a step is taken,  t <- t + 1;  if t = interval:  S <- S · growth,  t <- 0
    What is done with gradients in units of their own, clipping above all, comes after unscaling:
    min(1, c / ‖S g‖) is another factor than min(1, c / ‖g‖), and shrinks every step by up to S.

    Torch: torch.amp.GradScaler (`scale`, `unscale_`, `step`, `update`), whose fields are named
    init_scale, growth_factor, backoff_factor, growth_interval, _growth_tracker.
    Source: Micikevicius et al., Mixed Precision Training, 2018, section 3.2.

    Args:
        scale: S.
        tracker: t, the steps since S changed.
        growth_factor, backoff_factor, growth_interval: as above.

    >>> scaler = LossScaler(scale=4.0, growth_interval=2)
    >>> scaler.unscale({"w": np.array([4.0, -8.0])})
    ({'w': array([ 1., -2.])}, False)
    >>> scaler.after(found_inf=True).scale, scaler.after(False).after(False).scale
    (2.0, 8.0)
    """

    scale: float = 65536.0
    tracker: int = 0
    growth_factor: float = 2.0
    backoff_factor: float = 0.5
    growth_interval: int = 2000

    def upstream(self) -> float:
        """Return what backward starts from instead of 1: dL'/dL = S."""
        return self.scale

    def unscale(self, grads: Mapping[str, Array]) -> tuple[Arrays, bool]:
        """Return the gradients divided by S, and whether any of them is inf or NaN."""
        found = {name: grad * (1.0 / self.scale) for name, grad in grads.items()}
        return found, any(not np.isfinite(grad).all() for grad in found.values())

    def after(self, found_inf: bool) -> LossScaler:
        """Return the scaler of the next step."""
        if found_inf:
            return self._replace(scale=self.scale * self.backoff_factor, tracker=0)
        if self.tracker + 1 == self.growth_interval:
            return self._replace(scale=self.scale * self.growth_factor, tracker=0)
        return self._replace(tracker=self.tracker + 1)
