"""Gates on numbers that are objects and bring their own functions, as balls and decimals do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Self

import numpy as np

from compare.judge.quantities import Key, Values
from compare.witness.ball_array import balls
from evidence.mutation.battery.base import Check, FixedCheck, Lift
from evidence.mutation.battery.gate_calls import GateCallCheck, Inputs
from evidence.mutation.battery.layers import build
from manual import registry

OF = (
    "CopysignGate", "ErfGate", "ErfcGate", "ErfcxGate", "ErfinvGate", "LgammaGate",
    "MvlgammaGate", "PolygammaGate",
)  # fmt: skip


class Own(float):
    """A float that answers functions by methods of their names, and stays one in arithmetic."""

    def __getattr__(self, name: str) -> Any:
        from scipy import special

        known = getattr(np, name, None) or getattr(special, name)
        return lambda *first: Own(known(*first, float(self)))

    def _done(self, name: str, *other: Any) -> Self:
        return type(self)(getattr(float, name)(float(self), *map(float, other)))


for _name in ("add", "sub", "mul", "truediv", "radd", "rsub", "rmul", "rtruediv", "pow", "neg"):
    setattr(Own, f"__{_name}__", lambda s, *o, n=f"__{_name}__", **_: s._done(n, *o))


@dataclass(frozen=True)
class OwnNumberCheck(FixedCheck):
    """One example of a gate, its values and gradients."""

    call: GateCallCheck

    @property
    def type(self) -> str:
        return self.call.type

    @property
    def name(self) -> str:
        return f"own numbers through {self.call.name}"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        gate = build(self.type, self.call.arguments)
        y, cache_ = gate.forward(*map(_owned, self._inputs(seed)))
        grads, _ = gate.backward(_owned(self._upstream(seed, np.shape(y))), cache_)
        found = {Key("", "output"): np.asarray(y, np.float64)}
        return found | {
            Key("", f"grad_input#{i}"): np.asarray(grads[i], np.float64)
            for i in self.call.real(self._inputs(seed))
        }

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        theirs = self.call.raw(dtype, seed)
        found = {Key("", "output"): theirs[Key("drawn", "output#0")]}
        return found | {
            Key("", f"grad_input#{i}"): theirs[Key("drawn", f"grad_input#{i}")]
            for i in self.call.real(self._inputs(seed))
        }

    def _inputs(self, seed: int) -> Inputs:
        return self.call.calls(seed)["drawn"]

    def _upstream(self, seed: int, shape: tuple[int, ...]) -> np.ndarray:
        return self.call.upstream(seed, "drawn", 0, shape)


class BallCheck(OwnNumberCheck):
    """One example of a gate in balls, which have no floats among them."""

    @property
    def name(self) -> str:
        return f"balls through {self.call.name}"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        gate = build(self.type, self.call.arguments)
        y, _ = gate.forward(*map(balls, self._inputs(seed)))
        return {Key("", "output"): np.vectorize(lambda v: float(v.value.mid()))(y)}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        return {Key("", "output"): super().torch(dtype, seed)[Key("", "output")]}


class FineCheck(FixedCheck):
    """A quotient by a number, of floats finer than the number, where there are such."""

    name = "finer numbers through DivideConstantGate"  # type: ignore[assignment]
    type = "DivideConstantGate"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        gate, one = build(self.type, (("constant", 3.0),)), np.ones(2, np.longdouble)
        y, cache_ = gate.forward(one)
        (grad,), _ = gate.backward(one, cache_)
        found = {"output": y, "grad_input#0": grad}
        return {Key("", k): np.asarray((v - one / 3) * 2**60, np.float64) for k, v in found.items()}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        return {Key("", k): np.zeros(2) for k in ("output", "grad_input#0")}


class Answering:
    """What answers by itself."""

    def __polygamma__(self, n: int) -> float:
        return n + 10.0


class PolygammaCheck(FixedCheck):
    """The first two, of which torch's second is good to ten digits; and of what answers itself."""

    name = "ψ and ψ′"  # type: ignore[assignment]
    type = "PolygammaGate"
    x = np.array([0.5, 1.25, 3.0])

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        found = {Key(f"{n}", "y"): build(self.type, (("n", n),)).forward(self.x)[0] for n in (0, 1)}
        asked = import_module("manual.gates.special").polygamma(2, Answering())
        return found | {Key("own", "y"): np.float64(asked)}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch

        x = torch.tensor(self.x)
        found = {Key(f"{n}", "y"): torch.polygamma(n, x).numpy() for n in (0, 1)}
        return found | {Key("own", "y"): np.float64(12)}


def _owned(x: Any) -> Any:
    if x is None or x.dtype.kind != "f":
        return x
    return np.array([Own(v) for v in x.ravel()] + [None], dtype=object)[:-1].reshape(x.shape)


@cache
def own_number_checks() -> list[Check]:
    """Return the own examples of the gates that ask numbers for functions."""
    calls = ((name, number) for name in OF for number in range(len(registry.GATES[name].examples)))
    return [
        FineCheck(),
        PolygammaCheck(),
        *(BallCheck(GateCallCheck("LogitGate", number)) for number in range(2)),
        *(OwnNumberCheck(GateCallCheck(*call)) for call in calls),
    ]
