"""verdict.json, the result for scripts in strict JSON; config.toml, the run's description."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.report.rendering.against import against_dict
from compare.report.rendering.coverage import missing
from compare.report.rendering.elsewhere import wrong_rows
from compare.report.rendering.facts import accuracies, evidence, sampled, totals, worst_rows
from compare.report.rendering.kills import kills_dict

if TYPE_CHECKING:
    from compare.diagnose.causes import Cause
    from compare.diagnose.divergence import Divergence
    from compare.report.elsewhere import Elsewhere
    from compare.report.report import Report

_FOR_PEOPLE = (  # long: they are in report.html; the cause stands by itself
    "manual_source", "derivation", "torch_source", "cause",
)  # fmt: skip


def verdict_dict(report: Report) -> dict[str, Any]:
    """Return what verdict.json holds: JSON values only, `budget_used` null where not judged."""
    total = totals(report)
    values = {
        "name": report.name,
        "verdict": report.verdict,
        "reason": report.reason,
        "mode": report.mode,
        "steps": report.steps,
        "planned_steps": report.planned_steps,
        "compared_tensors": total.tensors,
        "compared_elements": total.elements,
        "expected_elements": total.expected,
        "verdicts": {**total.verdicts, "not judged": total.unjudged},
        "worst": _worst(report),
        "first_divergence": _divergence(report.first_divergence),
        "cause": _cause(report.cause),
        "elsewhere": [_elsewhere(found) for found in report.elsewhere],
        "abridged": list(report.abridged),
        "kills": kills_dict(report),
        "notes": list(report.notes),
        "torch_layers": list(report.torch_layers),
        "torch_with_torch": report.torch_with_torch,
        "coverage": report.coverage,
        "missing": [row._asdict() for row in missing(report)],
        "planted": report.planted,
        "planted_ran": report.planted_ran,
        "tolerance": report.tolerance,
        "tolerance_overridden": report.overridden,
        "config": report.config,
        "environment": report.environment,
        "theirs": report.theirs,
        "accuracies": {k: _sides(pair) for k, pair in accuracies(report).items()},
        "sample": report.sample._asdict() if report.sample is not None else None,
        "compared_at_some_steps": [s._asdict() for s in sampled(report)],
        "against": against_dict(report.against),
        "provenance": evidence(report),
    }
    return plain(values)


def _sides(pair: tuple[float, float]) -> dict[str, float]:
    return dict(zip(("manual", "torch"), pair, strict=True))


def verdict_json(report: Report) -> str:
    return json.dumps(verdict_dict(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def plain(value: Any, *, strict: bool = True) -> Any:
    """Return `value` in the types that JSON and TOML know.

    With `strict` a NaN or infinity becomes the text that float() reads: JSON has no such numbers.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item, strict=strict) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(item, strict=strict) for item in value]
    if isinstance(value, float) and strict and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return value.as_posix() if isinstance(value, PurePath) else str(value)


def config_toml(report: Report, directory: Path | None = None) -> str:
    """Return the run's description as TOML; TOML has no null, so an unset key is left out.

    Args:
        report: of a run.
        directory: where the TOML will stand; paths of data and weights are then given from there.
    """
    import tomli_w

    def given(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: given(item) for key, item in value.items() if item is not None}
        return [given(item) for item in value] if isinstance(value, list) else value

    tables = given(plain(report.config, strict=False))
    for section in ("data", "init"):
        file = tables.get(section, {}).get("file")
        if file and directory is not None and not os.path.isabs(file):
            tables[section]["file"] = Path(os.path.relpath(file, directory)).as_posix()
    return tomli_w.dumps(tables)


def _worst(report: Report) -> dict[str, Any] | None:
    rows = worst_rows(report, 1)
    if not rows:
        return None
    worst = {key: rows[0][key] for key in ("step", "layer", "quantity", "budget_used")}
    used = float(worst["budget_used"])
    return worst | {"budget_used": None if math.isnan(used) else used}


def _cause(cause: Cause | None) -> dict[str, Any] | None:
    if cause is None:
        return None
    return {
        "kind": cause.kind,
        "evidence": cause.evidence,
        "advice": cause.advice,
        "also": list(cause.also),
    }


def _divergence(first: Divergence | None) -> dict[str, Any] | None:
    if first is None:
        return None
    names = [f.name for f in fields(first) if f.name not in _FOR_PEOPLE]
    found = {name: getattr(first, name) for name in names}
    if found["witnesses"] is not None:
        found["witnesses"] = found["witnesses"]._asdict()
    return found


def _elsewhere(found: Elsewhere) -> dict[str, Any]:
    rows = wrong_rows(found)
    columns = ("layer", "quantity", "worst_index", "manual", "torch", "max_abs_diff", "verdict")
    return {
        "function": found.function,
        "place": found.place,
        "where": found.where,
        "reason": found.report.reason,
        "first_divergence": _divergence(found.divergence),
        "cause": _cause(found.divergence.cause),
        "worst": [{"case" if c == "layer" else c: row[c] for c in columns} for row in rows],
    }
