"""What the normalisations with running statistics have in common: parameters, buffers, modes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from manual.layer import Array, Arrays, Layer

__all__ = ["ChannelNorm", "axes_variant"]

SHAPES = {2: "(N, C)", 3: "(N, C, L)", 4: "(N, C, H, W)", 5: "(N, C, D, H, W)"}


class ChannelNorm(Layer):
    """A norm with a scale and a shift for every channel, and running statistics."""

    axes: ClassVar[tuple[int, ...]] = ()  # how many axes a batched input may have; () is 2 or more
    symbols: ClassVar[Mapping[str, str]] = {
        "gamma": "weight",
        "beta": "bias",
        "eps": "eps",
        "running_mean": "running_mean",
        "running_var": "running_var",
    }

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        bias: bool,
    ) -> None:
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.params, self.buffers = {}, {}
        if affine:
            self.params["weight"] = np.ones(num_features)
        if affine and bias:
            self.params["bias"] = np.zeros(num_features)
        if track_running_stats:
            self.buffers = {
                "running_mean": np.zeros(num_features),
                "running_var": np.ones(num_features),
                "num_batches_tracked": np.array(0),
            }

    @property
    def uses_batch(self) -> bool:
        """Whether μ and σ² are the batch's."""
        return self.training or not self.track_running_stats

    @property
    def _accepted(self) -> str:
        """The shapes of batched inputs, in words."""
        return " or ".join(SHAPES[n] for n in self.axes) or "(N, C, …)"

    def _moved(self, mean: Array, unbiased: Array, m: float) -> Arrays:
        """Return r + m (batch - r) for both running statistics r."""
        return {
            "running_mean": (1 - m) * self.buffers["running_mean"] + m * mean,
            "running_var": (1 - m) * self.buffers["running_var"] + m * unbiased,
        }

    def _named(self, dgamma: Array, dbeta: Array) -> Arrays:
        return {key: {"weight": dgamma, "bias": dbeta}[key] for key in self.params}

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={'bias' in self.params}, track_running_stats={self.track_running_stats}"
        )


def axes_variant(axes: int, usual: int) -> tuple[str, ...]:
    """Return how many axes stand behind the channels, unless it is the usual number."""
    return (f"{axes} axes",) if axes != usual else ()
