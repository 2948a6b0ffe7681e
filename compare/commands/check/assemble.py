"""Make the report of a check: its table, verdict, first divergence and notes."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.commands.check.notes import abridged, notes_of
from compare.commands.check.verdict import settled
from compare.diagnose.cases.first import first_divergence
from compare.judge.judge import AGREE, DISAGREE, Rows
from compare.judge.measure import Measures, measure
from compare.judge.quantities import Key
from compare.pair.candidates import called
from compare.pair.inputs import as_float, is_float
from compare.pair.own_forward import OwnForward
from compare.pair.sources import docstring_of
from compare.pair.tolerance import tolerance_text
from compare.report.findings import Findings
from compare.report.report import NodeInfo, Report
from compare.running.cases.contract import Promise
from compare.running.cases.outcome import Outcome, quiet

if TYPE_CHECKING:
    from compare.commands.check.session import Session
    from compare.diagnose.causes import Cause

CONTRACT = "contract"
NUMERIC = "numeric"  # what the derivative of forward itself is called


def assemble(session: Session) -> Report:
    """Return the report of a session whose cases have run."""
    import torch

    from compare.report.environment import environment

    run = [o for o in session.outcomes if o.rows is not None]
    found, verdict = _findings(session, run), settled(session)
    first = None if session.blamed else first_divergence(session, run)
    report = found.report(
        verdict,
        first,
        name=session.candidate.name,
        mode="check",
        steps=len(run),
        planned_steps=len(run),
        tolerance=_tolerance(session, run),
        overridden=session.rtol is not None,
        planted=None,
        config={"check": _described(session)},
        environment=environment(session.device, torch.get_num_threads(), session.seed),
        nodes=(_node(session),),
        initial_weights={n: v for n, v in session.cases.base.items() if is_float(v)},
        kills=_kills(run),
        notes=tuple(notes_of(session, run)),
        abridged=abridged(session, run),
        attachments=_attachments(session, run) if verdict.verdict == "disagree" else {},
        provenance=_provenance(session),
    )
    return without_torch(report) if isinstance(session.reference, OwnForward) else report


def _findings(session: Session, run: list[Outcome]) -> Findings:
    found = Findings()
    for number, outcome in enumerate(run):
        found.table.add(number, outcome.rows)  # type: ignore[arg-type]
        found.kinks += [
            (number, f"{outcome.case.name}: {quantity}", flips)
            for quantity, flips in outcome.conventions.items()
        ]
        expected = {
            q: theirs.astype(outcome.manual[q].dtype)
            for q, theirs in outcome.expected.items() if q in outcome.manual
        }  # fmt: skip
        with quiet():  # both sides may be infinite
            found.count_ulps(outcome.manual, expected)
    if session.contract.promises:
        found.table.add(len(run), contract_rows(session.contract.promises))
    return found


def _provenance(session: Session) -> dict[str, Any]:
    from compare.report.provenance import provenance

    candidate = session.candidate
    return provenance(
        code=[candidate.forward_code, candidate.backward_code],
        reference=[getattr(session.reference, "function", None)],
        data=session.cases.base,
    )


def without_torch(report: Report) -> Report:
    """Return the report of a check without a reference: what it says of torch is not so."""

    def told(text: str) -> str:
        text = re.sub(r",? without torch\b", "", text)
        text = re.sub(r"\b[Tt]orch('s|’s)", r"the numeric derivative\1", text)
        return re.sub(r"\btorch\b(?!\.)", NUMERIC, text)

    def named(cause: Cause | None) -> Cause | None:
        if cause is None:
            return None
        return replace(cause, evidence=told(cause.evidence), advice=told(cause.advice))

    first = report.first_divergence
    if first is not None:
        first = replace(first, explanation=told(first.explanation), cause=named(first.cause))
    return replace(
        report,
        theirs=NUMERIC,
        cause=named(report.cause),
        first_divergence=first,
        notes=tuple(map(told, report.notes)),
    )


def contract_rows(promises: Sequence[Promise]) -> Rows:
    """Return one row per promise: what was compared must be bitwise equal."""
    same = [p.now.shape == p.then.shape for p in promises]
    pairs = [
        (as_float(p.now), as_float(p.then)) if ok else (np.zeros(1), np.full(1, np.nan))
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


def _kills(run: list[Outcome]) -> Any:
    """Return the kill row of the user's own inputs: would corrupted tensors have been noticed?"""
    from compare.judge.kills import empty, kill_table

    outcome = next((o for o in run if o.expected and o.tolerances), None)
    if outcome is None or outcome.rows is None:
        return empty()
    shapes = [dy.shape for dy in outcome.upstreams]
    tensors = {outcome.key(q): as_float(v) for q, v in outcome.expected.items()}
    batch = shapes[0][0] if shapes and shapes[0] else None
    return kill_table(outcome.rows.keys, tensors, outcome.tolerances, batch)


def _tolerance(session: Session, run: list[Outcome]) -> str:
    judged = next((o.judged for o in run if o.judged is not None), None)
    side = "numeric" if isinstance(session.reference, OwnForward) else "torch"
    text = tolerance_text(judged, session.precision, side)
    return text if session.rtol is None else f"rtol = {session.rtol:g} of {side} on top of {text}"


def _described(session: Session) -> dict[str, Any]:
    shapes = session.specification.shapes
    return {
        "forward": session.candidate.name,
        "reference": session.reference.name,
        "dtype": session.precision.name,
        "device": session.device,
        "seed": session.seed,
        **({} if session.rtol is None else {"rtol": session.rtol}),
        **({} if session.evaluator.upstream is None else {"upstream": "given"}),
        "inputs": {
            name: list(np.shape(value)) if name in shapes else _value(value)
            for name, value in session.cases.base.items()
        },
        "cases": [o.case.name for o in session.outcomes if o.rows is not None],
    }


def _value(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} array of shape {list(value.shape)}"
    return str(value)


def _node(session: Session) -> NodeInfo:
    candidate, reference = session.candidate, session.reference
    codes = dict.fromkeys((candidate.forward_code, candidate.backward_code))
    module = getattr(reference, "module", None)
    theirs = getattr(reference, "function", None)
    return NodeInfo(
        candidate.name,
        candidate.name,
        session.specification.names,
        ", ".join(_signature(code) for code in codes),
        repr(module) if module is not None else _signature(theirs) if theirs else reference.name,
        docstring_of(candidate.backward_code),
    )


def _signature(code: Any) -> str:
    """Return a function's name and parameters, without annotations."""
    try:
        parameters = inspect.signature(code).parameters.values()
    except (TypeError, ValueError):
        return called(code)
    return f"{called(code)}({', '.join(p.name for p in parameters)})"


def _attachments(session: Session, run: list[Outcome]) -> dict[str, bytes]:
    """Return the smallest case that still fails, and the script that replays it."""
    from compare.diagnose.cases.replay import replay_files
    from compare.diagnose.cases.shrink import shrunk

    failed = next((o for o in run if o.bad), None)
    if failed is None or not session.shrink:
        return {}
    try:
        with quiet():
            return replay_files(session, shrunk(session, failed))
    except Exception as error:  # it must not hide the disagreement
        warnings.warn(f"The replay could not be written: {error!r}", stacklevel=2)
        return {}
