"""What a report says: its headline, its notices, its totals, its rows summed up per tensor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from compare.explaining import format as fmt
from compare.judge.quantities import asked_once
from compare.report.rendering.coverage import not_by_hand

if TYPE_CHECKING:
    import pandas as pd

    from compare.report.report import Report

FAILED = ("missing", "non-finite", "disagree")  # gravest first
VERDICTS = (*FAILED, "vacuous", "agree")
KINDS = ("output", "loss", "grad_output", "grad_input", "grad", "param", "state")


class Headline(NamedTuple):
    """The verdict for people: `tone` is agree, disagree, incomplete or none."""

    word: str
    tone: str
    qualifier: str


class Notice(NamedTuple):
    """Something that a reader must know before believing the verdict."""

    title: str
    text: str


class Words(NamedTuple):
    """What a report's layers and its other side are called: a check's layers are named cases."""

    layer: str
    theirs: str
    checked: bool

    @property
    def place(self) -> tuple[str, ...]:
        """The columns that say where a row was compared."""
        return (self.layer,) if self.checked else ("step", self.layer)

    def at(self, step: Any, layer: Any) -> tuple[Any, ...]:
        """Return what stands in these columns."""
        return (layer,) if self.checked else (step, layer)


def words(report: Report) -> Words:
    checked = report.mode == "check"
    return Words("case" if checked else "layer", fmt.name(report.theirs), checked)


def sides(report: Report) -> tuple[str, str]:
    """Return what the two numbers of the first divergence are called."""
    first = report.first_divergence
    own = first.sides if first is not None else None
    return (fmt.name(own[0]), fmt.name(own[1])) if own else ("manual", words(report).theirs)


def budget_sentence(report: Report) -> str:
    return (
        f"Budget used is the largest |manual − {words(report).theirs}| / tolerance over a tensor's "
        "elements: up to 100 % rounding explains the difference, above it the two sides disagree."
    )


class Sampled(NamedTuple):
    """A tensor that was compared at some of the steps only."""

    layer: str
    quantity: str
    steps: int
    of: int


def sampled(report: Report) -> list[Sampled]:
    """Return what was not compared at every step, in execution order; a check has no steps.

    What no step asks is compared once by design.
    """
    table = report.differences
    if report.mode == "check" or not len(table):
        return []
    code, names = tensor_codes(table)
    steps, of = np.bincount(code), table["step"].nunique()
    return [
        Sampled(*name, int(n), of)
        for name, n in zip(names, steps, strict=True)
        if n < of and not asked_once(*name)
    ]


def sampled_text(report: Report) -> str:
    """Return the same in a phrase, by kind; "" if everything was compared at every step.

    A tensor stands by itself where others of its kind were compared at every step.
    """
    found = sampled(report)
    seldom = {(tensor.layer, tensor.quantity) for tensor in found}
    names = tensor_codes(report.differences)[1] if found else []
    often = {kind(quantity) for layer, quantity in names if (layer, quantity) not in seldom}
    kinds: dict[int, dict[str, None]] = {}
    for layer, quantity, steps, _ in found:
        name = kind(quantity) if kind(quantity) not in often else f"{layer}.{quantity}"
        kinds.setdefault(steps, {})[fmt.name(name)] = None
    told = [f"{', '.join(names)} at {steps:,}" for steps, names in sorted(kinds.items())[::-1]]
    return f"{'; '.join(told)} of {found[0].of:,} steps only" if found else ""


def evidence(report: Report) -> dict[str, Any]:
    """Return by what, of what and when the report was found, with the commit of the code."""
    from compare.report.provenance import commit_of

    found = report.provenance
    if found and "commit" not in found:
        found["commit"] = commit_of(found)
    return found


def accuracies(report: Report) -> dict[str, tuple[float, float]]:
    """Return the shares of rows that each side had right at the end, by kind: (manual, torch)."""
    if not len(report.scores):
        return {}
    ends = report.scores.groupby("rows", sort=False).last()
    pairs = zip(ends.index, ends["accuracy_manual"], ends["accuracy_torch"], strict=True)
    return {str(rows): (float(m), float(t)) for rows, m, t in pairs if m == m and t == t}


def trained_line(report: Report) -> str:
    """Return how well both sides did after training by themselves; "" if that was not asked.

    Where targets are no classes, that is their loss.
    """
    if len(report.scores) and not accuracies(report):
        return _trained_loss(report)
    found = [
        f"{100 * manual:.1f} % ({words(report).theirs} {100 * torch:.1f} %) on the rows "
        f"{'held out' if rows == 'held out' else 'trained on'}"
        for rows, (manual, torch) in accuracies(report).items()
    ]
    what, found = ("right", found) if found else ("loss", _losses(report))
    steps = fmt.plural(int(report.scores["step"].max()), "step") if found else ""
    return f"Trained by themselves for {steps}, {what}: {', '.join(found)}" if found else ""


def _losses(report: Report) -> list[str]:
    """Return the losses at the end of a free run of which some rows were held out."""
    if not len(report.scores) or "held out" not in set(report.scores["rows"]):
        return []
    ends = report.scores.groupby("rows", sort=False).last()
    pairs = zip(ends.index, ends["loss_manual"], ends["loss_torch"], strict=True)
    return [
        f"{fmt.short(manual)} ({words(report).theirs} {fmt.short(torch)}) on the rows "
        f"{'held out' if rows == 'held out' else 'trained on'}"
        for rows, manual, torch in pairs
    ]


def sample_title(report: Report) -> str:
    """Say what the sample is; "" if there is none."""
    steps = len(report.drift)
    return (
        f"Written by the hand-written network, trained by itself for {fmt.plural(steps, 'step')}"
        if report.sample is not None
        else ""
    )


def _trained_loss(report: Report) -> str:
    ends = report.scores.groupby("rows", sort=False).last()
    steps = fmt.plural(int(report.scores["step"].max()), "step")
    found = [
        f"{manual:.3g} ({words(report).theirs} {torch:.3g}) on the rows "
        f"{'held out' if rows == 'held out' else 'trained on'}"
        for rows, manual, torch in zip(
            ends.index, ends["loss_manual"], ends["loss_torch"], strict=True
        )
    ]
    return f"Trained by themselves for {steps}, loss: {', '.join(found)}"


def place(report: Report, step: Any, layer: Any, quantity: Any) -> str:
    if report.mode == "check":
        return f"case {fmt.name(layer)}, {fmt.name(quantity)}"
    return fmt.place(step, layer, quantity)


def extent(report: Report) -> str:
    """Return how many steps, or cases, were compared."""
    if report.mode == "check":
        return fmt.plural(report.steps, "case")
    return fmt.plural(report.differences["step"].nunique(), "step")


def evidence_facts(report: Report) -> list[tuple[str, str]]:
    """Return the same as names and values for people; hashes are cut to twelve digits."""
    found = evidence(report)
    if not found:
        return []
    commit = found["commit"]
    changed = ", with changes that are not committed" if commit and commit["dirty"] else ""
    told = f"{commit['commit'][:12]}{changed}" if commit else "not in a git repository"
    facts = [("date", found["date"]), ("command", found["command"]), ("commit", told)]
    for what in ("code", "reference"):
        facts += [(what, f"{e['name']} ({_file(e)}, {_short(e['sha256'])})") for e in found[what]]
    data = [f"{name} {hashed[:12]}" for name, hashed in list(found["data"].items())[:8]]
    more = [f"and {len(found['data']) - 8} more"] if len(found["data"]) > 8 else []
    return [(k, fmt.name(v)) for k, v in [*facts, ("data, SHA-256", ", ".join(data + more))] if v]


def _file(entry: dict[str, str]) -> str:
    name = Path(entry["file"]).name
    return f"{name}/" if entry["file"].endswith("/") else name or "no file"


def _short(digest: str) -> str:
    return f"SHA-256 {digest[:12]}"


def kind(quantity: str) -> str:
    """Return what family a quantity belongs to: `grad:weight` is a `grad`."""
    return str(quantity).partition(":")[0]


def headline(report: Report) -> Headline:
    within = "beyond" if report.verdict == "disagree" else "within"
    tolerance = f"{within} a tolerance chosen by the user" if report.overridden else ""
    theirs = f"{torch_layers(report)} on both sides" if report.torch_layers else ""
    theirs = not_by_hand(report) if report.coverage else theirs
    wrong = [f"{fmt.name(found.function)}.backward" for found in report.elsewhere]
    elsewhere = f"{', '.join(wrong)} wrong on other inputs" if wrong else ""
    qualifier = ", ".join(filter(None, (elsewhere, theirs, tolerance)))
    if report.mode == "free" and report.verdict != "disagree":
        return Headline("NO VERDICT", "none", qualifier)
    known = report.verdict in ("agree", "disagree", "incomplete")
    tone = report.verdict if known else "none"
    return Headline(fmt.name(report.verdict).upper(), tone, qualifier)


def torch_layers(report: Report, most: int = 6) -> str:
    """Return the layers that torch computed on both sides: `torch in layers 2, 3`."""
    names = [fmt.name(name) for name in report.torch_layers]
    if len(names) == len(report.nodes) > 1:
        return f"torch in all {len(names)} layers"
    more = ", …" if len(names) > most else ""
    return f"torch in layer{'s' * (len(names) > 1)} {', '.join(names[:most])}{more}"


def notices(report: Report) -> list[Notice]:
    found = []
    if report.planted:
        text = f"The manual side was corrupted on purpose: {fmt.name(report.planted)}."
        if not report.planted_ran:
            text += " Torch computed that layer here: the mistake did not run."
        found.append(Notice("Planted mistake", text))
    if report.torch_layers:
        text = (
            f"T{torch_layers(report)[1:]}: {report.torch_with_torch:,} of "
            f"{len(report.differences):,} rows compare torch with torch. They are no evidence for "
            "the hand-written layers."
        )
        found.append(Notice("Torch on both sides", text))
    if report.overridden:
        text = (
            f"Differences were judged by {fmt.name(report.tolerance)}, not by the derived budget."
        )
        found.append(Notice("Tolerance overridden", text))
    if report.interrupted:
        text = f"{report.steps:,} of {report.planned_steps:,} planned steps were run."
        found.append(Notice("Stopped early", text))
    if report.mode == "free":
        text = (
            "The two sides were never re-synchronised; rounding may drift apart without a mistake."
        )
        found.append(Notice("Free run", text))
    return found


class Totals(NamedTuple):
    tensors: int
    elements: int
    expected: int
    verdicts: dict[str, int]
    unjudged: int

    @property
    def failed(self) -> int:
        return sum(self.verdicts[verdict] for verdict in FAILED)

    @property
    def left_out(self) -> int:
        """Elements that should have been compared and were not."""
        return self.expected - self.elements


def totals(report: Report) -> Totals:
    """Return how many tensors and elements were compared, and with which verdicts."""
    found = (
        report.differences["verdict"].value_counts().to_dict() if len(report.differences) else {}
    )
    verdicts = {verdict: int(found.get(verdict, 0)) for verdict in VERDICTS}
    rows = sum(map(int, found.values()))
    elements, expected = (
        int(report.ledger[column].sum()) if len(report.ledger) else 0
        for column in ("elements", "expected_elements")
    )
    unjudged = rows - sum(verdicts.values())
    return Totals(rows - verdicts["missing"], elements, expected, verdicts, unjudged)


def severity(differences: pd.DataFrame) -> np.ndarray:
    """Return the budget used, with ∞ for a failure that has no number.

    Right numbers that fail otherwise (another dtype) come after wrong ones, before all that agrees.
    """
    used = differences["budget_used"].to_numpy(dtype=float)
    failed = differences["verdict"].isin(FAILED).to_numpy() & ~(used > 1)
    right = (differences["verdict"] == "disagree").to_numpy() & (used <= 1)
    return np.where(right, np.nextafter(1, 2), np.where(failed, np.inf, used))


def judged_steps(differences: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the rows of the steps in which something was judged, and their severity."""
    used = severity(differences)
    if not np.isnan(used).any():
        return differences, used
    steps = differences["step"].to_numpy()
    keep = np.isin(steps, np.unique(steps[~np.isnan(used)]))
    return differences[keep], used[keep]


def codes(values: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Number the distinct values in order of appearance."""
    import pandas as pd

    numbers, names = pd.factorize(values.astype(object))
    return numbers, [str(n) for n in names]


def tensor_codes(differences: pd.DataFrame) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """Number the distinct (layer, quantity) in execution order."""
    layer, layers = codes(differences["layer"])
    quantity, quantities = codes(differences["quantity"])
    pairs = layer * max(1, len(quantities)) + quantity
    distinct, first, inverse = np.unique(pairs, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    names = [divmod(int(pair), max(1, len(quantities))) for pair in distinct[order]]
    return rank[inverse], [(layers[a], quantities[b]) for a, b in names]


class TensorRow(NamedTuple):
    """One (layer, quantity) over all steps; the numbers are those of its worst step."""

    layer: str
    quantity: str
    kind: str
    shape: str
    step: int
    budget_used: float
    max_abs_diff: float
    max_rel_diff: float
    verdicts: dict[str, int]

    @property
    def verdict(self) -> str:
        """The gravest verdict of any step."""
        return next(iter(self.verdicts))


def per_tensor(differences: pd.DataFrame) -> list[TensorRow]:
    """Sum the rows up over steps, in execution order."""
    if not len(differences):
        return []
    code, names = tensor_codes(differences)
    at = _worst_of_each(differences, code)
    columns = ("shape", "step", "budget_used", "max_abs_diff", "max_rel_diff")
    worst = zip(*(differences[name].to_numpy()[at].tolist() for name in columns), strict=True)
    counts = _verdict_counts(code, differences["verdict"], len(names))
    return [
        TensorRow(
            layer=layer,
            quantity=quantity,
            kind=kind(quantity),
            shape=str(shape),
            step=int(step),
            budget_used=float(used),
            max_abs_diff=float(absolute),
            max_rel_diff=float(relative),
            verdicts=verdicts,
        )
        for (layer, quantity), (shape, step, used, absolute, relative), verdicts in zip(
            names, worst, counts, strict=True
        )
    ]


def _worst_of_each(differences: pd.DataFrame, code: np.ndarray) -> np.ndarray:
    """Return where each tensor's worst row stands: by budget, then by difference, then first."""
    rank = np.nan_to_num(severity(differences), nan=-1.0, posinf=np.inf)
    size = np.nan_to_num(differences["max_abs_diff"].to_numpy(dtype=float), nan=-1.0)
    order = np.lexsort((-np.arange(len(code)), size, rank, code))
    return order[np.r_[np.flatnonzero(np.diff(code[order])), len(order) - 1]]


def _verdict_counts(code: np.ndarray, verdicts: pd.Series, groups: int) -> list[dict[str, int]]:
    """Count each group's verdicts, gravest first."""
    number, names = codes(verdicts)
    table = np.zeros((groups, len(names)), dtype=np.int64)
    np.add.at(table, (code, number), 1)
    known = [verdict for verdict in VERDICTS if verdict in names]
    ordered = known + [verdict for verdict in names if verdict not in VERDICTS]
    columns = [names.index(verdict) for verdict in ordered]
    return [
        {v: int(row[c]) for v, c in zip(ordered, columns, strict=True) if row[c]} for row in table
    ]


def worst_rows(report: Report, rows: int = 10) -> list[dict[str, Any]]:
    """Return the worst row of each of the tensors that used most of their budget, worst first.

    A failure without a number comes before all others; what was not judged is left out.
    """
    table = report.differences
    if not len(table):
        return []
    at = _worst_of_each(table, tensor_codes(table)[0])
    used = severity(table)[at]
    order = np.argsort(-np.nan_to_num(used, nan=-1.0, posinf=np.inf), kind="stable")[:rows]
    chosen = table.iloc[at[order[~np.isnan(used[order])]]]
    return chosen.to_dict("records")  # type: ignore[return-value]


def gap(manual: Any, torch: Any, otherwise: Any) -> float:
    """Return |manual − torch| of one element; `otherwise` where a side has no number."""
    difference = abs(float(manual) - float(torch))
    return float(otherwise) if np.isnan(difference) else difference
