"""RNNCell: one step of a simple recurrent network, and its two units."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from manual.examples import Example
from manual.layer import Array, Arrays
from manual.recurrent.cell import CellCache, RecurrentCell
from manual.recurrent.equations import RNN_CELL
from manual.recurrent.unrolled import States, Unit

__all__ = ["RNNCell"]


class TanhUnit(Unit):
    """h' = tanh z with z = W x + U h + b."""

    gates, joint = 1, True

    def forward(self, from_x: Array, from_h: Array, states: States) -> tuple[States, Array]:
        from_h += from_x
        h = np.tanh(from_h)
        return (h,), h

    def backward(self, dstates: States, step: Array) -> tuple[Array, Array, tuple[None]]:
        (dh,) = dstates
        dz = 1 - step * step  # tanh' from its own output
        dz *= dh
        return dz, dz, (None,)


class ReluUnit(Unit):
    """h' = max(z, 0) with z = W x + U h + b."""

    gates, joint = 1, True

    def forward(self, from_x: Array, from_h: Array, states: States) -> tuple[States, Array]:
        from_h += from_x
        h = np.maximum(from_h, 0)
        return (h,), h > 0

    def backward(self, dstates: States, step: Array) -> tuple[Array, Array, tuple[None]]:
        (dh,) = dstates
        dz = dh * step  # 0 at the kink, as torch
        return dz, dz, (None,)


UNITS: dict[str, Unit] = {"tanh": TanhUnit(), "relu": ReluUnit()}


def check_nonlinearity(layer: Any) -> None:
    if layer.nonlinearity not in UNITS:
        raise ValueError(
            f"{type(layer).__name__}: nonlinearity must be 'tanh' or 'relu', received "
            f"{layer.nonlinearity!r}."
        )


class RNNCell(RecurrentCell):
    """One step of a simple recurrent network: h' = tanh(W x + U h + b), or with a rectifier.

    Args:
        input_size: I, the size of x.
        hidden_size: H, the size of h.
        bias: whether the two vectors b_ih and b_hh are added (b is their sum).
        nonlinearity: "tanh" or "relu".

    Inputs: `input` x (N, I) or (I,); `hx` h (N, H) or (H,), zero if left out. Output: h', as h.
    Parameters: `weight_ih` W (H, I), `weight_hh` U (H, H), `bias_ih`, `bias_hh` (H,).

    Raises:
        TypeError: a size is no whole number.
        ValueError: a size is negative, the nonlinearity unknown, or a shape does not fit.
    """

    equations = RNN_CELL
    symbols: ClassVar[dict[str, str]] = {
        "x": "input", "h0": "hx",
        "W": "weight_ih", "U": "weight_hh", "b": "bias_ih", "r": "bias_hh",
    }  # fmt: skip
    examples = (
        Example({"input_size": 2, "hidden_size": 1}, ((2,), None)),
        Example({"input_size": 3, "hidden_size": 3}, ((2, 3), (2, 3))),
        Example({"input_size": 2, "hidden_size": 3, "bias": False}, ((2, 2), (2, 3))),
        Example(
            {"input_size": 3, "hidden_size": 2, "nonlinearity": "relu"},
            ((2, 3), (2, 2)),
            kinks={
                "z = 0": {"input": [1.0, 1.0, -2.0], "hx": [1.0, -1.0], "weight_ih": 1.0,
                          "weight_hh": 1.0, "bias_ih": 0.0, "bias_hh": 0.0},
            },
        ),
    )  # fmt: skip

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh"
    ) -> None:
        self.nonlinearity = nonlinearity
        check_nonlinearity(self)
        self._build(input_size, hidden_size, bias)

    @property
    def unit(self) -> Unit:  # type: ignore[override]
        return UNITS[self.nonlinearity]

    def forward(  # type: ignore[override]
        self, input: Array, hx: Array | None = None
    ) -> tuple[Array, CellCache]:
        """Return h' and the cache."""
        (h,), cache = self._step(input, {"hx": hx})
        return h, cache

    def backward(
        self, grad_output: Array, cache: CellCache
    ) -> tuple[tuple[Array, Array | None], Arrays]:
        r"""Chain rule through the cell z = W x + U h + b, h' = φ(z).

        Shapes: x (N, I), h, h', z (N, H), W (H, I), U (H, H), b (H,).
        1. The nonlinearity, from its own output: tanh' = 1 - tanh², and of the rectifier [z > 0]:
            dz_nk = dh'_nk (1 - h'_nk²)         or         dz_nk = dh'_nk [h'_nk > 0]
        2. The score, z_nk = Σ_i W_ki x_ni + Σ_p U_kp h_np + b_k:
            dx_ni = Σ_k dz_nk W_ki  ->  dx = dz W         dW_ki = Σ_n dz_nk x_ni  ->  dW = dzᵀ x
            dh_np = Σ_k dz_nk U_kp  ->  dh = dz U         dU_kp = Σ_n dz_nk h_np  ->  dU = dzᵀ h
            db_k  = Σ_n dz_nk;      b = b_ih + b_hh, so both have this gradient

        Torch: nn.RNNCell, same layouts; at z = 0 the rectifier's slope is 0 in both.
        Source: Elman, Finding Structure in Time (1990); Werbos, Backpropagation Through Time
        (1990).
        """
        (dx, dh), grads = self._step_back((grad_output,), cache)
        return (dx, dh), grads

    def decisions(self, cache: CellCache) -> Array | None:
        """Return where the rectifier lets through, as h'; None with tanh."""
        (passed,) = cache.past.steps  # (H, N)
        if self.nonlinearity == "tanh":
            return None
        return passed.T if cache.batched else passed[:, 0]

    def extra_repr(self) -> str:
        changed = "" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity!r}"
        return super().extra_repr() + changed
