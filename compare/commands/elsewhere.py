"""Custom Functions that are right on what a model gives them, and wrong on something else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from compare.commands.check.applied import SECONDS, check_region, names_of, place_of, told
from compare.report.elsewhere import Elsewhere
from compare.report.report import Report
from compare.running.cases.cases import LAYOUTS
from compare.running.mirror.model import Model
from compare.running.mirror.moved import Moves, captures_elsewhere, is_ordered
from manual.layer import Layer
from torch_ref.capture import Capture
from torch_ref.captured import CapturedCall, Region
from torch_ref.captured_side import CapturedSide

__all__ = ["Found", "look_elsewhere"]

TOGETHER = ("given", *LAYOUTS)  # cases in which each tensor keeps its numbers
ROUNDING = 1e-8  # of a tensor's largest number: what may be digits that a right formula loses
SMALLER = 0.7  # what 1.0 among the arguments becomes
OTHERWISE = "on other inputs"
ELSEWHERE = "where the model's inputs and weights are others"
MASK = (  # why a wrong number may be no mistake
    "is right where what is all ones or all zeros here holds some of both, as a mask may, and "
    "wrong where it holds numbers between, as a scale may: {} If it is a scale, give it such "
    "numbers: then this is a disagreement."
)
COUNT = (
    "is right with the argument 1 that it gets here, and wrong with 2: {} If that can be another "
    "number, call it with one: then this is a disagreement."
)
INDEX = (
    "is right on the whole numbers that it gets here, all different, and wrong where one is there "
    "twice: {} If an index can come twice, give it such: then this is a disagreement."
)


class Found(NamedTuple):
    """What was found of a model's Functions: those that are wrong, and notes on the others."""

    wrong: dict[type, Elsewhere]
    notes: dict[type, tuple[str, ...]]


class Trial(NamedTuple):
    """A call of a Function that is to be checked by itself."""

    region: Region
    capture: Capture
    where: str = ELSEWHERE
    cases: Collection[str] | None = TOGETHER
    seconds: float = SECONDS / 3
    doubt: str = ""  # why a wrong number there may be no mistake


def look_elsewhere(model: Model, side: CapturedSide) -> Found:
    """Check each Function that a captured run called on what it got, and on what it might get."""
    found, capture = Found({}, {}), side.capture
    functions = {region.function: region for region in capture.regions}
    others = list(captures_elsewhere(model, side)) if functions else []
    leaves = {*dict(model.module.named_parameters()), *dict(model.module.named_buffers())}
    leaves |= {*model.inputs, *model.others}
    for function, region in functions.items():
        wrong, notes = _first_wrong(_trials(region, capture, others, leaves))
        if wrong is not None:
            found.wrong[function] = wrong
        notes += () if wrong else _one_way(function, [capture, *(other for _, other in others)])
        found.notes[function] = notes
    return found


def _trials(
    region: Region, capture: Capture, others: Sequence[tuple[Moves, Capture]],
    leaves: Collection[str],
) -> Iterator[Trial]:  # fmt: skip
    apart = None if _may_go_apart(region, capture, leaves) else TOGETHER
    yield Trial(region, capture, OTHERWISE, apart, SECONDS)
    if any(type(x) is float and x == 1 for x in tree_leaves(region.args)):
        args = tree_map(lambda x: SMALLER if type(x) is float and x == 1 else x, region.args)
        where = f"where an argument is {SMALLER} that is 1.0 here"
        yield Trial(replace(region, args=args), capture, where)
    for moves, other in others:
        for its in other.regions:
            if its.name == region.name and _are_one(its.function, region.function):
                yield Trial(its, other, doubt="" if moves.masks else MASK)
                break
    if any(type(x) is int and x == 1 for x in tree_leaves(region.args)):
        args = tree_map(lambda x: 2 if type(x) is int and x == 1 else x, region.args)
        yield Trial(replace(region, args=args), capture, doubt=COUNT)
    if (repeated := _repeated(region, capture)) is not None:
        yield Trial(region, repeated, doubt=INDEX)


def _are_one(a: Any, b: Any) -> bool:
    """Return whether two classes are one, or one that each run of the model makes anew."""
    return a is b or getattr(a.backward, "__code__", a) is getattr(b.backward, "__code__", b)


def _repeated(region: Region, capture: Capture) -> Capture | None:
    """Return a capture in which a number of each index comes twice; None if there is none."""
    own = {name: capture.data[name] for name in names_of(region) if name in capture.data}
    indices = {name: t.clone() for name, t in own.items() if _is_index(t)}
    if not indices:
        return None
    for tensor in indices.values():
        tensor.view(-1)[1] = tensor.view(-1)[0]
    found = copy(capture)
    found.data = {**capture.data, **indices}
    return found


def _is_index(tensor: Tensor) -> bool:
    """Return whether these are several whole numbers, all different."""
    whole = tensor.dtype in (torch.int64, torch.int32)
    return whole and tensor.numel() > 1 and len(tensor.unique()) == tensor.numel()


def _first_wrong(trials: Iterator[Trial]) -> tuple[Elsewhere | None, tuple[str, ...]]:
    """Return the first trial that shows a wrong number, and a note on what else was seen."""
    notes: tuple[str, ...] = ()
    for trial in trials:
        report = _checked(trial)
        if report is None and trial.where == OTHERWISE:
            name = trial.region.function.__name__
            alone = f"{name}.forward does not run twice alike by itself"
            notes = (f"{alone}: nothing is known of it {OTHERWISE}.",)
        if report is None or report.verdict != "disagree" or _returns_nothing(report):
            continue
        shown = _of_numbers(trial, report)
        if shown is None or shown.first_divergence is None or trial.doubt:
            if shown is not None or trial.doubt not in (COUNT, INDEX):
                notes = notes or (_no_evidence(trial, shown, report),)
            continue
        function = trial.region.function
        own = told(trial.region, shown.first_divergence)
        name, where = function.__name__, _where(trial, shown)
        return Elsewhere(name, place_of(function), where, own, shown), ()
    return None, notes


def _no_evidence(trial: Trial, shown: Report | None, report: Report) -> str:
    """Say what is no mistake for sure."""
    own = f"{trial.region.function.__name__}.backward ({place_of(trial.region.function)})"
    if shown is not None and trial.doubt:
        return f"{own} {trial.doubt.format(shown.reason)}"
    return (
        f"{own} refuses, returns nothing finite, or differs by digits that rounding may take "
        f"{trial.where}: {report.reason} That is no evidence against it."
    )


def _checked(trial: Trial, **how: Any) -> Report | None:
    how = {"cases": trial.cases, "seconds": trial.seconds, **how}
    return check_region(trial.region, trial.capture, **how)


def _returns_nothing(report: Report) -> bool:
    """Return whether all that is wrong is that some inputs get no gradient, on what it got too."""
    table = report.differences
    lost = table["verdict"] == "missing"
    never = set(table[lost & (table["layer"] == "given")]["quantity"])
    bad = table[~table["verdict"].isin(["agree", "vacuous"])]
    return bool((bad["verdict"] == "missing").all()) and never >= set(bad["quantity"])


def _where(trial: Trial, report: Report) -> str:
    case = report.first_divergence.layer  # type: ignore[union-attr]
    if trial.where != OTHERWISE:
        return trial.where
    if case == "given":
        return "for other upstream gradients, or an output that the model does not use"
    return f"in the case '{case}'"


def _of_numbers(trial: Trial, report: Report) -> Report | None:
    """Return the report of a case in which a number is wrong, beyond rounding; None if none is.

    A gradient that is not returned, an exception, and what is not finite prove nothing on inputs
    that nobody may ever give.
    """
    table, first = report.differences, report.first_divergence
    finite = np.isfinite(table["manual"]) & np.isfinite(table["torch"])
    part = table["max_rel_diff"].where(np.isfinite(table["max_rel_diff"]), table["max_abs_diff"])
    shown = table[(table["verdict"] == "disagree") & finite & (part > ROUNDING)]
    if not len(shown):
        return None
    case = shown["layer"].iloc[0]
    if first is not None and (first.layer, first.quantity) in zip(
        shown["layer"], shown["quantity"], strict=True
    ):
        return report
    lost = table[(table["layer"] == case) & ~table.index.isin(shown.index)]
    off = lost[lost["verdict"].isin(["missing", "non-finite"])]["quantity"]
    return _checked(trial, cases=(case,), no_grad=[q[5:] for q in off if q[:5] == "grad:"])


# ── what belongs together ────────────────────────────────────────────────────────────────────────
def _may_go_apart(region: Region, capture: Capture, leaves: Collection[str]) -> bool:
    """Return whether a Function's numbers may be chosen at will, one by one.

    Probabilities add up, times are sorted, matrices are symmetric; and what was computed from
    another tensor (a maximum, an order, a mask), or from the same one (a sine and a cosine), has to
    fit it: a backward may rely on that.
    """
    names = names_of(region)
    if any(is_ordered(capture.tensor(name).detach().numpy()) for name in names):
        return False
    if len(names) == 1:
        return True
    if any(n in capture.data and n not in leaves and ".constant" not in f".{n}" for n in names):
        return False
    behind = [_behind(name, capture) for name in names]
    return sum(map(len, behind)) == len(set().union(*behind))


def _behind(name: str, capture: Capture) -> set[str]:
    """Return a value and all that it was computed from."""
    made = {output: call for call in capture.calls for output in call.outputs}
    found, left = {name}, [name]
    while left:
        call = made.get(left.pop())
        new = call.refs() - found if call is not None else set()
        found |= new
        left += new
    return found


# ── pieces that were never taken ─────────────────────────────────────────────────────────────────
def _one_way(function: type, captures: Sequence[Capture]) -> tuple[str, ...]:
    """Return a note on what chooses among pieces, and chose the same for every element."""
    seen: dict[tuple[int, str], set[int]] = defaultdict(set)
    for capture in captures:
        for region in capture.regions:
            for i, call in enumerate(region.calls if region.function is function else ()):
                seen[i, call.operation] |= _pieces(call, capture)
    found = sorted({operation for (_, operation), pieces in seen.items() if len(pieces) == 1})
    if not found:
        return ()
    name, these = function.__name__, ", ".join(found)
    return (
        f"In {name}, {these} took one and the same piece at every element, here and on the other "
        "inputs that were tried: of the gradient of its other pieces nothing is known.",
    )


def _pieces(call: CapturedCall, capture: Capture) -> set[int]:
    """Return which pieces a call chose; none if it has none, or they cannot be told."""
    if call.operation in ("where", "where_method", "masked_fill"):
        masks = (capture.tensor(name) for name in call.refs())
        return {int(x) for mask in masks if not mask.is_floating_point() for x in mask.unique()}
    layer: Any = getattr(call.twin, "layer", None)
    if not isinstance(layer, Layer) or type(layer).decisions is Layer.decisions:
        return set()
    names = call.twin.names
    arrays = [None if n is None else call.twin.casts.get(n, None) for n in names]
    given = [
        capture.tensor(n).detach().numpy() if a is None and n is not None else a
        for n, a in zip(names, arrays, strict=True)
    ]
    try:
        chosen = layer.decisions(layer.forward(*given)[1])
    except (TypeError, ValueError, AttributeError):
        return set()
    return set() if chosen is None else {int(x) for x in np.unique(np.asarray(chosen))[:9]}
