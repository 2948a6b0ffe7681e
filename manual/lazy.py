"""Layers that take a size from their first input: LazyLinear, LazyConv2d, LazyBatchNorm1d and more.

Forward stores nothing here, so a lazy layer is none yet: `for_input(x)` returns the ordinary layer
with the size that x has, as torch's lazy module becomes one in its first forward pass.

>>> import numpy as np
>>> LazyLinear(3, bias=False).for_input(np.zeros((2, 5)))
Linear(5, 3, bias=False)
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

from manual.arguments import Checked
from manual.conv import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
)
from manual.layer import Array, Layer
from manual.linear import Linear
from manual.norm import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
)

__all__ = [
    "LazyBatchNorm1d",
    "LazyBatchNorm2d",
    "LazyBatchNorm3d",
    "LazyConv1d",
    "LazyConv2d",
    "LazyConv3d",
    "LazyConvTranspose1d",
    "LazyConvTranspose2d",
    "LazyConvTranspose3d",
    "LazyInstanceNorm1d",
    "LazyInstanceNorm2d",
    "LazyInstanceNorm3d",
    "LazyLinear",
]


class _Signature:
    """The signature of the layer that it becomes, less the size."""

    def __get__(self, instance: object, owner: type[Lazy]) -> inspect.Signature:
        whole = inspect.signature(owner.becomes)
        rest = [p for name, p in whole.parameters.items() if name != owner.size]
        return whole.replace(
            parameters=[p.replace(default=owner.defaults.get(p.name, p.default)) for p in rest]
        )


class Lazy(Checked):
    """A layer without one of its sizes.

    Args:
        those of the layer that it becomes, without the size.

    Attributes:
        becomes: the class of that layer.
        size: the argument that its first input decides.
        defaults: those that are not that layer's.
        training: the mode that the layer will have.

    Raises:
        TypeError: arguments that it does not take, or lacks.
    """

    __signature__ = _Signature()  # type: ignore[assignment]
    becomes: ClassVar[type[Layer]] = Linear
    size: ClassVar[str] = "in_features"
    defaults: ClassVar[Mapping[str, Any]] = {}
    training: bool = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        given = inspect.signature(type(self)).bind(*arguments, **options)
        self.options = {**self.defaults, **given.arguments}

    def for_input(self, x: Array) -> Layer:
        """Return the layer whose size is that of x, with parameters of zero.

        Raises:
            ValueError: x has too few axes, or what the layer's constructor refuses.
        """
        if x.ndim <= self._axis(x):
            raise ValueError(
                f"{type(self).__name__}: its first input decides {self.size}, and needs an axis "
                f"for it; received shape {tuple(x.shape)}."
            )
        layer = self.becomes(**{self.size: x.shape[self._axis(x)]}, **self.options)
        return layer.train(self.training)

    def train(self, mode: bool = True) -> Lazy:
        """Return this, to become a layer in training, or in evaluation."""
        twin = type(self)(**self.options)
        twin.training = mode
        return twin

    def _axis(self, x: Array) -> int:
        """Return the axis that decides: channels, the first one of a sample without a batch."""
        return 1

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"{type(self).__name__}({given})"


class LazyLinear(Lazy):
    """Linear of as many features as its first input's last axis is long."""

    def _axis(self, x: Array) -> int:
        return max(x.ndim - 1, 0)


class LazyConvolution(Lazy):
    """A convolution of as many channels as its first input has."""

    size = "in_channels"

    def _axis(self, x: Array) -> int:
        axes = int(self.becomes.__name__[-2])
        return int(x.ndim == axes + 2)


class LazyConv1d(LazyConvolution):
    """Conv1d of as many channels as its first input has."""

    becomes = Conv1d


class LazyConv2d(LazyConvolution):
    """Conv2d of as many channels as its first input has."""

    becomes = Conv2d


class LazyConv3d(LazyConvolution):
    """Conv3d of as many channels as its first input has."""

    becomes = Conv3d


class LazyConvTranspose1d(LazyConvolution):
    """ConvTranspose1d of as many channels as its first input has."""

    becomes = ConvTranspose1d


class LazyConvTranspose2d(LazyConvolution):
    """ConvTranspose2d of as many channels as its first input has."""

    becomes = ConvTranspose2d


class LazyConvTranspose3d(LazyConvolution):
    """ConvTranspose3d of as many channels as its first input has."""

    becomes = ConvTranspose3d


class LazyNorm(Lazy):
    """A norm of as many channels as its first input's second axis is long."""

    size = "num_features"


class LazyBatchNorm1d(LazyNorm):
    """BatchNorm1d of as many features as its first input's second axis is long."""

    becomes = BatchNorm1d


class LazyBatchNorm2d(LazyNorm):
    """BatchNorm2d of as many features as its first input's second axis is long."""

    becomes = BatchNorm2d


class LazyBatchNorm3d(LazyNorm):
    """BatchNorm3d of as many features as its first input's second axis is long."""

    becomes = BatchNorm3d


class LazyInstanceNorm(LazyNorm):
    """An instance norm, which torch gives weights and running statistics where it is lazy."""

    defaults: ClassVar[Mapping[str, Any]] = {"affine": True, "track_running_stats": True}


class LazyInstanceNorm1d(LazyInstanceNorm):
    """InstanceNorm1d of as many features as its first input's second axis is long."""

    becomes = InstanceNorm1d


class LazyInstanceNorm2d(LazyInstanceNorm):
    """InstanceNorm2d of as many features as its first input's second axis is long."""

    becomes = InstanceNorm2d


class LazyInstanceNorm3d(LazyInstanceNorm):
    """InstanceNorm3d of as many features as its first input's second axis is long."""

    becomes = InstanceNorm3d
