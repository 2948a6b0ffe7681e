"""An update of a half-precision run examined in float64: the rule, or what is done with a scale."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from compare.judge.quantities import Key
from compare.running.alone import Moment
from compare.running.meeting import FOUND, SCALE, TRACKER
from compare.running.update import gradients
from manual.scaling import LossScaler

SKIPPED = (
    "Torch left this step out, because a gradient was inf or NaN: parameters and state stay as "
    "they are. Here it was taken."
)
CLIPPED = (
    "It is what comes of clipping before unscaling: the norm of scaled gradients is larger by the "
    "scale. Unscale first."
)
OTHERWISE = (
    "The rule is right on torch's unscaled gradients: what is wrong is the unscaling, or whether a "
    "step is taken."
)
UNFOUND = "An inf or NaN among the unscaled gradients decides whether a step is taken."


class Scaled(NamedTuple):
    """What is wrong with a scaled loss, and the lines that do it."""

    formula: Any
    method: str
    text: str


def unscaled(moment: Moment) -> Moment:
    """Return the moment with torch's gradients as the update takes them."""
    settings = moment.experiment.config.train.scaler
    if settings is None:
        return moment
    scale = scale_before(moment)
    grads = {
        key: value / scale if key.quantity.startswith("grad:") else value
        for key, value in moment.torch.items()
    }
    return moment._replace(torch=grads)


def scale_before(moment: Moment) -> float:
    """Return the scale of the step, given torch's after it."""
    settings, after = moment.experiment.config.train.scaler, float(moment.torch[SCALE])
    assert settings is not None
    if moment.torch[FOUND]:
        return after / settings.backoff_factor
    return after / settings.growth_factor if moment.torch[TRACKER] == 0 else after


def in_double(moment: Moment, key: Key) -> dict[str, np.ndarray]:
    """Return torch's own update of a parameter or state, in float64 on the same numbers."""
    start = moment.start
    params, states = moment.experiment.torch.updated_alone(
        start.params, start.states, gradients(moment), start.lr
    )
    name, _, state = key.quantity.partition(":")[2].partition(":")
    dotted = f"{key.layer}.{name}"
    found = states.get(dotted, {}) if state else params
    name = state or dotted
    return {"updated": found[name]} if name in found else {}


def mistaken(moment: Moment, key: Key) -> Scaled:
    """Say what is wrong with a parameter or state whose rule is right."""
    side = moment.experiment.manual
    if moment.torch[FOUND]:
        return Scaled(LossScaler(), "unscale", SKIPPED)
    start, scale = moment.start, scale_before(moment)
    early = side._replace(
        clip_norm=_over(side.clip_norm, scale), clip_value=_over(side.clip_value, scale)
    )
    params, _ = early.update(start.params, gradients(unscaled(moment)), start.states, start.lr)
    wrong, name = moment.manual.get(key), f"{key.layer}.{key.quantity[6:]}"
    clips = side.clip_norm or side.clip_value
    if clips and wrong is not None and np.allclose(wrong, params.get(name, np.nan), rtol=1e-5):
        return Scaled(LossScaler(), "unscale", CLIPPED)
    return Scaled(LossScaler(), "unscale", OTHERWISE)


def scaled_wrongly(moment: Moment, key: Key) -> bool:
    """Return whether the gradient of the network's output is not the loss's times the scale."""
    if moment.experiment.config.train.scaler is None:
        return False
    right = moment.loss().by_hand()["grad_input#0"] * scale_before(moment)
    return not np.allclose(moment.manual[key], right, rtol=1e-9, atol=0, equal_nan=True)


def of_upstream(moment: Moment) -> Scaled:
    """Say what is wrong with what a scaled loss's backward starts from."""
    text = f"Its formula is right: backward must start from the scale, {scale_before(moment):g}."
    return Scaled(LossScaler(), "upstream", text)


def _over(bound: float | None, scale: float) -> float | None:
    return None if bound is None else bound / scale


def of_scaler(moment: Moment, key: Key) -> Scaled:
    """Say what is wrong with the scale itself."""
    if key == FOUND:
        return Scaled(LossScaler(), "unscale", UNFOUND)
    settings = moment.experiment.config.train.scaler
    assert settings is not None
    text = (
        f"The scale was {scale_before(moment):g}. It is multiplied by {settings.growth_factor:g} "
        f"after {settings.growth_interval:,} steps in a row without inf or NaN, and by "
        f"{settings.backoff_factor:g} after a step with one, which also sets the count to 0."
    )
    return Scaled(LossScaler(), "after", text)
