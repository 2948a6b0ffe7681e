"""The hand-written scaler of a loss beside torch.amp.GradScaler, step after step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import Check, ExactCheck, Lift

EVENTS = (0.0, 0.0, 0.0, np.inf, 0.0, np.nan, 0.0, 0.0, 0.0, -np.inf, np.inf, 0.0)  # in a gradient


@dataclass(frozen=True)
class ScalerCheck(ExactCheck):
    """Gradients of which some are not finite; powers of two, so that nothing rounds.

    Args:
        arguments: of both scalers, by torch's names.
        place: which of two gradients holds what is not finite.
    """

    arguments: tuple[tuple[str, Any], ...]
    place: int

    @property
    def name(self) -> str:
        shown = ", ".join(f"{k}={v}" for k, v in self.arguments)
        return f"LossScaler({shown}), inf in gradient {self.place}"

    def grads(self, seed: int, step: int) -> list[np.ndarray]:
        found = [np.array(self.draw(seed, (3,), step, i)) for i in range(2)]
        found[self.place][1] += EVENTS[step]
        return found

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        given = dict(self.arguments)
        start = {"scale": given.pop("init_scale")} if "init_scale" in given else {}
        scaler = import_module("manual.scaling").LossScaler(**start, **given)
        usual = [scaler.growth_factor, scaler.backoff_factor, scaler.growth_interval, scaler.scale]
        values: Values = {Key("", "settings"): np.array(usual, np.float64)}
        for step in range(len(EVENTS)):
            grads = {str(i): lift(g) for i, g in enumerate(self.grads(seed, step))}
            values[Key(str(step), "upstream")] = np.float64(scaler.upstream())
            unscaled, found = scaler.unscale(grads)
            scaler = scaler.after(found)
            values |= _keyed(step, unscaled, found, scaler.scale, scaler.tracker)
        return values

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch

        scaler = torch.amp.GradScaler("cpu", **dict(self.arguments))
        params = [torch.nn.Parameter(torch.zeros(3)) for _ in range(2)]
        optimizer = torch.optim.SGD(params, lr=0.0)
        usual = [scaler.get_growth_factor(), scaler.get_backoff_factor(),
                 scaler.get_growth_interval(), scaler.get_scale()]  # fmt: skip
        values: Values = {Key("", "settings"): np.array(usual, np.float64)}
        for step in range(len(EVENTS)):
            values[Key(str(step), "upstream")] = np.float64(scaler.scale(torch.ones(())).item())
            for p, g in zip(params, self.grads(seed, step), strict=True):
                p.grad = torch.tensor(g, dtype=torch.float32)
            scaler.unscale_(optimizer)
            unscaled = {str(i): p.grad.numpy().copy() for i, p in enumerate(params)}  # type: ignore[union-attr]
            found = any(bool(f) for f in scaler._found_inf_per_device(optimizer).values())
            scaler.step(optimizer)
            scaler.update()
            state = scaler.state_dict()
            values |= _keyed(step, unscaled, found, state["scale"], state["_growth_tracker"])
        return values


def _keyed(step: int, grads: dict[str, Any], found: bool, scale: float, tracker: int) -> Values:
    """Return what a step leaves; what is not finite as 2 (nan) or ±3."""
    where = str(step)
    values: Values = {}
    for name, grad in grads.items():
        told = np.where(np.isnan(grad), 2.0, np.sign(grad) * 3.0)
        values[Key(where, name)] = np.where(np.isfinite(grad), grad, told).astype(np.float32)
    values[Key(where, "found")] = np.float64(found)
    values[Key(where, "scale")] = np.float64(scale)
    return values | {Key(where, "tracker"): np.float64(tracker)}


@cache
def scaler_checks() -> list[Check]:
    """Return scalers that grow at once, later, by other factors, and torch's default."""
    often = (("init_scale", 1024.0), ("growth_interval", 2))
    other = (("init_scale", 8.0), ("growth_factor", 4.0), ("backoff_factor", 0.25),
             ("growth_interval", 1))  # fmt: skip
    rarely = (("init_scale", 2.0**16), ("growth_interval", 3))
    return [*(ScalerCheck(a, place) for a in (often, other, rarely) for place in (0, 1)),
            ScalerCheck((), 0)]  # fmt: skip
