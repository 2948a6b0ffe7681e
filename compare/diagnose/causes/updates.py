"""The cause of a wrong parameter or optimiser state: torch's optimiser runs beside, in float64."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from compare.diagnose.causes import optimizers, precision, update_terms
from compare.diagnose.causes.alone import Alone
from compare.diagnose.causes.cause import Cause, Context, Tensors
from compare.diagnose.causes.find import find_cause
from compare.diagnose.causes.optimizers import Update, clipped
from compare.running.alone import wide

OF_THE_WHOLE = ("coupled decay", "decoupled decay")  # seen in a state as decay that is not there


def update_cause(alone: Alone, dotted: str, quantity: str) -> Cause | None:
    """Return the cause of a wrong update; a parameter's may be in a state that its step uses.

    Args:
        dotted: the parameter.
        quantity: `param`, or the state's name.
    """
    update = _update(alone, dotted)
    names = [*update.states(), "param"] if quantity == "param" else [quantity]
    found = {name: _beside(alone, dotted, replace(update, quantity=name)) for name in names}
    wrong = {name: t for name, t in found.items() if t is not None and not t.agree}
    update = replace(update, quantity=quantity)
    whole = _fitted(wrong[quantity], update) if quantity in wrong else None
    if whole is not None and whole.kind in OF_THE_WHOLE:
        return whole
    for name, tensors in wrong.items():
        cause = whole if name == quantity else _fitted(tensors, replace(update, quantity=name))
        if cause is not None and name != quantity:
            return replace(cause, evidence=f"Its {name}: {cause.evidence}")
        if cause is not None:
            return cause
    shown = found[quantity]
    single = not wrong and shown is not None and alone.experiment.dtype == np.float32
    return precision.unstable(shown) if single and shown is not None else None


def _update(alone: Alone, dotted: str) -> Update:
    """Return torch's update of this parameter."""
    start, torch = alone.start, alone.experiment.torch
    raw = alone.gradients()
    return Update(
        torch.optimizer_spec[0], torch.settings_of(dotted),
        wide(start.params[dotted]), clipped(raw, torch.clip)[dotted],
        {k: wide(v) for k, v in start.states.get(dotted, {}).items()}, start.lr, "param",
        None if torch.clip == (None, None) else raw[dotted],
    )  # fmt: skip


def _beside(alone: Alone, dotted: str, update: Update) -> Tensors | None:
    theirs = update.run()
    state = "" if update.quantity == "param" else update.quantity
    return None if theirs is None else alone.update(dotted, state, theirs)


def _fitted(found: Tensors, update: Update) -> Cause | None:
    numbers = {k: float(v) for k, v in update.args.items() if isinstance(v, int | float)}
    betas = update.args.get("betas", (0.9, 0.999)) if "Adam" in update.type else ()
    numbers |= {f"β{i + 1}": b for i, b in enumerate(betas)}
    numbers |= {name: now for name, now, _ in optimizers.settings(update) if "[" not in name}
    numbers["lr"] = update.lr
    if update.quantity not in ("param", "momentum_buffer"):
        del numbers["lr"]  # nobody makes an average with it
    context = Context(
        constants=numbers,
        origin=update.param if update.quantity == "param" else None,
        others={"the gradient": update.grad, "the parameter": update.param},
        terms=update_terms.terms(update),
        factors=update_terms.blocks(update),
        alternatives=partial(optimizers.alternatives, update),
        settings=partial(optimizers.settings, update),
    )
    return find_cause(*found, context)
