"""Make the report of a check: its table, verdict, first divergence and notes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.checking.contract import Promise
from compare.checking.first import first_divergence, source
from compare.checking.inputs import is_float
from compare.checking.outcome import Outcome, quiet
from compare.checking.own_forward import OwnForward
from compare.checking.tolerance import tolerance_text
from compare.checking.witnesses import testimonies, told
from compare.judge import AGREE, DISAGREE, MISSING, Rows
from compare.measure import Measures, measure, ulps
from compare.quantities import Key
from compare.report import NodeInfo, Report
from compare.table import Table

if TYPE_CHECKING:
    from compare.checking.session import Session

CONTRACT = "contract"


def assemble(session: Session) -> Report:
    """Return the report of a session whose cases have run."""
    import pandas as pd
    import torch

    from compare.environment import environment

    run = [o for o in session.outcomes if o.rows is not None]
    table = Table()
    for number, outcome in enumerate(run):
        table.add(number, outcome.rows)  # type: ignore[arg-type]
    if session.contract.promises:
        table.add(len(run), contract_rows(session.contract.promises))
    verdict, reason = _verdict(session, run)
    first = first_divergence(session, run)
    counts = _ulps(run)
    bins = np.flatnonzero(counts)
    return Report(
        name=session.candidate.name,
        verdict=verdict,
        reason=reason,
        mode="check",
        steps=len(run),
        planned_steps=len(run),
        differences=table.frame(),
        ledger=table.ledger(),
        losses=pd.DataFrame(columns=["step", "manual", "torch"]),
        drift=pd.DataFrame(columns=["step", "loss_manual", "loss_torch", "max_param_diff"]),
        kinks=_kinks(run),
        ulps=pd.DataFrame({"log2_ulps": bins - 1, "elements": counts[bins]}),
        first_divergence=first,
        tolerance=_tolerance(session, run),
        overridden=False,
        planted=None,
        config={"check": _described(session)},
        environment=environment(session.device, torch.get_num_threads(), session.seed),
        nodes=(_node(session),),
        initial_weights={n: v for n, v in session.cases.base.items() if is_float(v)},
        cause=first.cause if first else None,
        kills=_kills(run),
        notes=tuple(_notes(session, run)),
        attachments=_attachments(session, run),
    )


def contract_rows(promises: Sequence[Promise]) -> Rows:
    """Return one row per promise: what was compared must be bitwise equal."""
    same = [p.now.shape == p.then.shape for p in promises]
    pairs = [
        (np.float64(p.now), np.float64(p.then)) if ok else (np.zeros(1), np.full(1, np.nan))
        for p, ok in zip(promises, same, strict=True)
    ]
    measures = measure([now for now, _ in pairs], [then for _, then in pairs], None)
    budget = np.array([0.0 if p.kept else np.inf for p in promises])
    verdicts = np.array([AGREE if p.kept else DISAGREE for p in promises])
    return Rows(
        [Key(CONTRACT, p.quantity) for p in promises],
        [p.then.shape for p in promises],
        Measures(*measures._replace(budget=budget)),
        verdicts,
    )


def _verdict(session: Session, run: list[Outcome]) -> tuple[str, str]:
    """Return the verdict and one sentence; agreeing needs every gradient compared for real."""
    broken = [p for p in session.contract.promises if not p.kept]
    failed = [o for o in run if o.bad]
    total = sum(len(o.rows.keys) for o in run if o.rows is not None)
    total += len(session.contract.promises)
    if failed or broken:
        bad = sum(len(o.bad) for o in failed) + len(broken)
        own = [o for o in failed if o.case.own]
        if own and all(_undefined(o, q) for o in own for q in o.bad):
            return "incomplete", (
                f"{session.reference.name} is not finite on these inputs, so nothing can be judged: "
                "give arrays on which it is."
            )
        return (
            "disagree",
            f"{bad:,} of {total:,} compared tensors do not agree: {_places(run, broken)}.",
        )
    if not total:
        return "incomplete", "Nothing was compared."
    vacuous = _never_checked(session, run)
    if vacuous:
        return "incomplete", (
            f"The gradient of {', '.join(vacuous)} was never really checked, because zeros would "
            "have passed in every case. If it is zero by construction, name it in structural_zeros."
        )
    side = (
        "the derivative of its own forward"
        if isinstance(session.reference, OwnForward)
        else (f"{session.reference.name}, differentiated by torch")
    )
    cases = f"{len(run)} case{'s' if len(run) != 1 else ''}"
    return "agree", f"All {total:,} tensors of {cases} agree with {side}."


def _undefined(outcome: Outcome, quantity: str) -> bool:
    theirs = outcome.expected.get(quantity)
    return theirs is not None and not np.isfinite(theirs).all()


def _places(run: list[Outcome], broken: list[Promise]) -> str:
    """Return which quantities fail, and where: in every case, or in which."""
    where: dict[str, list[str]] = {}
    for outcome in run:
        for quantity in outcome.bad:
            where.setdefault(quantity, []).append(outcome.case.name)
    told = []
    for quantity, names in where.items():
        if len(names) == len(run):
            told.append(f"{quantity} in every case")
        elif len(names) > 4:
            told.append(f"{quantity} in {len(names)} of {len(run)} cases")
        else:
            quoted = ", ".join(f"'{name}'" for name in names)
            told.append(f"{quantity} only in the case{'s' if len(names) > 1 else ''} {quoted}")
    told += [p.quantity for p in broken]
    return "; ".join(told)


def _never_checked(session: Session, run: list[Outcome]) -> list[str]:
    """Return the inputs whose gradient zeros would have passed for, everywhere."""
    seen: dict[str, bool] = {}
    for outcome in run:
        assert outcome.rows is not None
        for key, verdict in zip(outcome.rows.keys, outcome.rows.verdicts, strict=True):
            if key.quantity.startswith("grad:"):
                name = key.quantity.removeprefix("grad:")
                seen[name] = seen.get(name, False) or verdict in (AGREE, MISSING)
    return [n for n, real in seen.items() if not real and n not in session.structural_zeros]


def _kinks(run: list[Outcome]) -> Any:
    import pandas as pd

    rows = [
        (number, f"{outcome.case.name}: {quantity}", flips)
        for number, outcome in enumerate(run)
        for quantity, flips in outcome.conventions.items()
    ]
    return pd.DataFrame(rows, columns=["step", "layer", "flips"])


def _kills(run: list[Outcome]) -> Any:
    """Return the kill row of the user's own inputs: would corrupted tensors have been noticed?"""
    from compare.kills import empty, kill_table

    outcome = next((o for o in run if o.expected and o.tolerances), None)
    if outcome is None or outcome.rows is None:
        return empty()
    shapes = [dy.shape for dy in outcome.upstreams]
    tensors = {outcome.key(q): np.float64(v) for q, v in outcome.expected.items()}
    batch = shapes[0][0] if shapes and shapes[0] else None
    return kill_table(outcome.rows.keys, tensors, outcome.tolerances, batch)


def _ulps(run: list[Outcome]) -> np.ndarray:
    total = np.zeros(66, dtype=np.int64)
    for outcome in run:
        pairs = [
            (mine, outcome.expected[q].astype(mine.dtype))
            for q, mine in outcome.manual.items()
            if q in outcome.expected and mine.shape == outcome.expected[q].shape
        ]
        total += ulps([m for m, _ in pairs], [t for _, t in pairs])
    return total


def _tolerance(session: Session, run: list[Outcome]) -> str:
    judged = next((o.judged for o in run if o.judged is not None), None)
    return tolerance_text(
        judged,
        session.precision,
        ("numeric" if isinstance(session.reference, OwnForward) else "torch"),
    )


def _notes(session: Session, run: list[Outcome]) -> list[str]:
    own = isinstance(session.reference, OwnForward)
    notes = [_convention(o.case.name, q, n, own) for o in run for q, n in o.conventions.items()]
    notes += [
        f"In the case '{o.case.name}' the reference is not finite at {o.left_out} element"
        f"{'s' if o.left_out != 1 else ''}; they were left out."
        for o in run
        if o.left_out
    ]
    skipped = [f"'{o.case.name}' ({o.skipped})" for o in session.outcomes if o.skipped]
    if skipped:
        notes.append(f"Cases that could not be run: {'; '.join(skipped)}.")
    if own:
        notes.append(
            "No reference was given: backward was checked against forward, whose own values were "
            "compared with nothing."
        )
    elif session.reference.left_as_they_are:
        names = ", ".join(session.reference.left_as_they_are)
        notes.append(f"The reference's {names} are no inputs: they kept their values, unchecked.")
    if not session.candidate.takes_upstream:
        notes.append(
            "Backward takes no upstream gradient: it was checked for an upstream gradient of 1 only."
        )
    if run and session.precision.name == "float64" and (own or any(o.bad for o in run)):
        with quiet():
            notes += told(testimonies(session.candidate, run[0].values, session.seed))
    return notes + session.contract.notes + session.candidate.notes()


def _convention(case: str, quantity: str, count: int, own: bool) -> str:
    elements = f"{count} element{'s' if count != 1 else ''} of {quantity}"
    if own:
        return (
            f"In the case '{case}' {elements} lie at a kink: the one-sided derivatives differ there, "
            "and backward's numbers fit both. Not counted as a disagreement."
        )
    return (
        f"Convention at ties differs from torch's: in the case '{case}' {elements} differ where the "
        "function has no derivative, and both numbers fit the derivatives around. Not counted as a "
        "disagreement."
    )


def _described(session: Session) -> dict[str, Any]:
    shapes = session.specification.shapes
    return {
        "forward": session.candidate.name,
        "reference": session.reference.name,
        "dtype": session.precision.name,
        "device": session.device,
        "seed": session.seed,
        "inputs": {
            name: list(shapes[name]) if name in shapes else _value(value)
            for name, value in session.cases.base.items()
        },
        "cases": [o.case.name for o in session.outcomes if o.rows is not None],
    }


def _value(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} array of shape {list(value.shape)}"
    return str(value)


def _node(session: Session) -> NodeInfo:
    import inspect

    candidate = session.candidate
    doc = inspect.getdoc(candidate.backward_code) or ""
    return NodeInfo(
        candidate.name,
        candidate.name,
        session.specification.names,
        source(candidate.backward_code) or candidate.name,
        source(getattr(session.reference, "function", None)) or session.reference.name,
        doc,
    )


def _attachments(session: Session, run: list[Outcome]) -> dict[str, bytes]:
    """Return the smallest case that still fails, and the script that replays it."""
    from compare.checking.replay import replay_files
    from compare.checking.shrink import shrunk

    failed = next((o for o in run if o.bad), None)
    if failed is None or not session.shrink:
        return {}
    return replay_files(session, shrunk(session, failed))
