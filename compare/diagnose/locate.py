"""Find the first disagreement in execution order, and whose mistake it is.

The suspect layer is run by itself on torch's own inputs and upstream gradient, beside torch's
module on the same: if it still disagrees, the mistake is its own; else it only passed one on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from compare.diagnose.causes import Cause
from compare.diagnose.divergence import Divergence, Place, index_text
from compare.diagnose.examiner import Examiner, Suspect
from compare.judge.judge import AGREE, MISSING, NON_FINITE, Rows, promoted
from compare.judge.quantities import OTHER_UPSTREAM, Key
from compare.pair.sources import derivation_of, source_of, torch_text, unplanted
from compare.running.alone import Moment
from compare.running.asides import UPSTREAM
from compare.running.experiment import Experiment
from compare.running.lockstep import Step
from compare.running.moment import Start
from compare.running.verdict import overflow_text
from compare.witness.lockstep import Hearing
from compare.witness.run_witnesses import hearing
from manual.graph import Layer


def first_divergence(experiment: Experiment, start: Start, step: Step) -> Divergence | None:
    """Return the step's first disagreement with its cause localised; None if there is none.

    Must be called before the next step: it reads torch's side as the step left it.
    """
    rows = step.rows
    if not rows.bad.size:
        return None
    moment = Moment.of(experiment, start, step)
    i = int(rows.bad[0])
    key = rows.keys[i]
    if rows.verdicts[i] == NON_FINITE and not np.isfinite(rows.measures.scale[i]):
        suspect = _overflowed(experiment, key)
    elif step.failure is not None and rows.verdicts[i] == MISSING:
        suspect = _raised(experiment, step.failure, key)
    elif promoted(key, step.manual, step.torch):
        suspect = _promoted(experiment, step, key)
    else:
        suspect = Examiner(moment).suspect(key)
    witnesses = _witnesses(moment, suspect)
    if witnesses is not None and witnesses.side == "manual" and suspect.own:
        suspect = suspect._replace(explanation=_not_ours(suspect))
    agreed = [j for j in range(i) if rows.verdicts[j] == AGREE]
    last: Place | None = (step.number, *rows.keys[agreed[-1]]) if agreed else None
    return Divergence(
        step=step.number,
        layer=suspect.layer,
        quantity=suspect.quantity,
        max_abs_diff=float(rows.measures.max_abs[i]),
        own_or_inherited="own" if suspect.own else "inherited",
        layer_type=type(unplanted(suspect.formula)).__name__,
        worst_index=index_text(rows.measures.worst[i], rows.shapes[i]),
        manual=float(rows.measures.manual[i]),
        torch=float(rows.measures.torch[i]),
        row=(step.number, *key),
        last_agreed=last,
        explanation=suspect.explanation,
        witnesses=witnesses,
        manual_source=source_of(suspect.formula, suspect.method),
        derivation=derivation_of(suspect.formula),
        torch_source=torch_text(experiment, suspect.layer),
        cause=_cause(moment, step, key, suspect),
    )


def _not_ours(suspect: Suspect) -> str:
    """Say that two gradients differ, and that witnesses found the hand-written one to be right."""
    what = suspect.quantity.replace(":", " of ")
    return (
        f"Layer '{suspect.layer}' ({suspect.formula!r}) agrees in its forward pass; of its "
        f"{what}, on torch's own inputs, the hand-written one is the derivative and torch's is not."
    )


def aside_divergence(moment: Moment, rows: Rows) -> Divergence | None:
    """Return the first disagreement among what training steps never ask; None if there is none."""
    if not rows.bad.size:
        return None
    i = int(rows.bad[0])
    key, side = rows.keys[i], moment.experiment.manual
    kind, _, what = key.quantity.partition(":")
    formula = moment.nodes[key.layer].layer if key.layer in moment.nodes else side.loss
    method = "forward" if what.startswith("output") else "backward"
    text = f"In training it agrees; in evaluation, given torch's own inputs, its {what} does not."
    if kind == OTHER_UPSTREAM:
        text = (
            f"Given {UPSTREAM} as its upstream gradient instead of 1, its {what} is another than "
            "torch's: backward must multiply by the upstream gradient, once."
        )
    if key.layer == "schedule":
        formula, method = moment.experiment.schedule, "factor"
        text = "The learning rates are others than those of torch's scheduler."
    return Divergence(
        step=moment.number,
        layer=key.layer,
        quantity=key.quantity,
        max_abs_diff=float(rows.measures.max_abs[i]),
        own_or_inherited="own",
        layer_type=type(unplanted(formula)).__name__,
        worst_index=index_text(rows.measures.worst[i], rows.shapes[i]),
        manual=float(rows.measures.manual[i]),
        torch=float(rows.measures.torch[i]),
        row=(moment.number, *key),
        last_agreed=None,
        explanation=text,
        manual_source=source_of(formula, method),
        derivation=derivation_of(formula) if isinstance(formula, Layer) else "",
    )


def _overflowed(experiment: Experiment, key: Key) -> Suspect:
    """Torch's side is not finite either: nothing can be said of the formula."""
    text = (
        f"Torch's side holds NaN or infinity here as well: {overflow_text(experiment.config)} That "
        "says nothing of the formula."
    )
    side = experiment.manual
    formula = {node.name: node.layer for node in side.graph.nodes}.get(key.layer, side.loss)
    return Suspect(key.layer, key.quantity, False, formula, "forward", text)


def _promoted(experiment: Experiment, step: Step, key: Key) -> Suspect:
    """Name the layer that computes in another dtype than its inputs have."""
    graph, side = experiment.manual.graph, experiment.manual
    layers: dict[str, Any] = {node.name: node.layer for node in graph.nodes}
    fed = [node.name for node in graph.nodes if key.layer in node.inputs]
    kind = key.quantity.partition(":")[0]
    name, method = key.layer, "forward" if kind in ("output", "loss") else "backward"
    if kind in ("grad_output", "grad_input"):
        name = fed[0] if fed else "loss"
    formula = side.optimizer if kind in ("param", "state") else layers.get(name, side.loss)
    method = "update" if kind in ("param", "state") else method
    ours, theirs = step.manual[key].dtype, step.torch[key].dtype
    text = (
        f"It computes in {ours} where torch computes in {theirs}: the numbers may agree, and say "
        f"nothing of {theirs} arithmetic. Look for what promotes the rest to {ours}: np.zeros "
        "without a dtype, np.float64(…), a constant kept as an array."
    )
    return Suspect(name, key.quantity, True, formula, method, text)


def _raised(experiment: Experiment, failure: Exception, key: Key) -> Suspect:
    """Name the layer whose code raised, instead of what was never computed because of it."""
    name, method = getattr(failure, "place", ("", "update"))
    side = experiment.manual
    layers: dict[str, Any] = {node.name: node.layer for node in side.graph.nodes}
    formula = layers.get(name, side.loss)
    if method == "update":
        name, formula = key.layer, side.optimizer
    quantity = {"forward": "output", "backward": "grad_input"}.get(method, key.quantity)
    text = f"Its {method} raised {type(failure).__name__}: {failure}"
    return Suspect(name, quantity, True, formula, method, text)


def _cause(moment: Moment, step: Step, key: Key, suspect: Suspect) -> Cause | None:
    """Say what the mistake looks like; a search that fails must not hide the disagreement."""
    from compare.diagnose.causes.lockstep import Search

    try:
        search = Search(moment, step.failure)
        return search.cause(key, suspect.layer, suspect.quantity, suspect.own)
    except Exception:  # code with a mistake in it may raise whatever it likes
        return None


def _witnesses(moment: Moment, suspect: Suspect) -> Hearing | None:
    """Ask whoever needs no torch about a formula that is wrong by itself."""
    if not suspect.own or not isinstance(suspect.formula, Layer):
        return None
    return hearing(moment, suspect.layer, suspect.quantity)
