"""Explain one number of a run: its formula, the lines that compute it, and its arithmetic."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compare.errors import UserError, nearest
from compare.explaining.rows import moment_of, work_row, worst_index
from compare.explaining.worked import Worked
from compare.judge.quantities import Key
from compare.running.alone import Moment

if TYPE_CHECKING:
    from compare.description.config import Config
    from compare.running.experiment import Experiment


@dataclass(frozen=True)
class Explanation:
    """One element, explained; prints itself, and shows itself in a notebook."""

    name: str
    layer: str  # the layer as it prints itself
    shape: tuple[int, ...]
    worked: Worked
    chosen: bool  # the index was chosen as the worst element

    @property
    def agrees(self) -> bool:
        """Whether the formula and both sides give one number, and zero would not do as well."""
        return self.worked.agrees and self.worked.holds is True and self.worked.settled

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain data, for JSON."""
        w = self.worked
        data = asdict(w)
        data |= {"difference": w.difference, "share": w.share, "holds": w.holds,
                 "agrees": w.agrees,
                 "settled": w.settled, "finding": w.finding}  # fmt: skip
        return _plain({"run": self.name, "node": self.layer, "shape": self.shape, **data})

    def __str__(self) -> str:
        from compare.report.rendering.explanation import terminal_text

        return terminal_text(self)

    def _repr_html_(self) -> str:
        from compare.report.rendering.html import fragment

        return fragment(self.worked)


def explain(
    config: str | Path | Config,
    *,
    step: int = 0,
    node: str | None = None,
    quantity: str | None = None,
    index: tuple[int, ...] | None = None,
    plant: str | None = None,
    **overrides: Any,
) -> Explanation:
    """Run up to a step and explain one element of one quantity with the run's own numbers.

    Args:
        config: a preset's name, the path of a TOML file, or a `Config`.
        step: the step, from 0; the steps before it are run too.
        node: a node's name, `loss`, or `input`; by default the one that used most of its budget.
        quantity: `output`, `grad_output`, `grad_input`, `grad:weight`, `param:weight`,
            `state:weight:momentum_buffer`, `loss`; by default the node's worst.
        index: the element; by default the worst.
        plant, overrides: as for `compare.run`.

    Raises:
        UserError: there is no such step, node, quantity or element.

    >>> explained = explain("three-rows", node="0", quantity="grad:weight", index=(1, 0))
    >>> explained.agrees
    True
    """
    from compare.description.config import dotted, load
    from compare.running.experiment import prepare
    from compare.running.process import at_work

    loaded = load(config, dotted(overrides))
    if loaded.train.half:
        raise UserError(
            f"explain works a number in float64 or float32; this run is in {loaded.train.dtype}, "
            'whose arithmetic is torch\'s alone. Ask for dtype = "float64" (--dtype float64).'
        )
    with at_work(loaded.train.threads, loaded.train.device), np.errstate(all="ignore"):
        experiment = prepare(loaded, mistake=plant)
        return _explained(experiment, step, node, quantity, index)


def _explained(
    experiment: Experiment, number: int, node: str | None, quantity: str | None, index: Any
) -> Explanation:
    moment, rows = _run_to(experiment, number)
    place = _choose(rows, moment, node, quantity)
    key, shape = rows.keys[place], rows.shapes[place]
    at = _index(index, key, shape, rows.measures.worst[place])
    worked = work_row(moment, rows, place, at)
    return Explanation(
        experiment.config.name, _printed(experiment, key), shape, worked, index is None
    )


def _run_to(experiment: Experiment, number: int) -> tuple[Moment, Any]:
    """Run the steps up to one, and gauge every element of that one."""
    from compare.running.lockstep import Lockstep

    if not 0 <= number < experiment.steps:
        raise UserError(
            f"--step is {number}, but this run has the steps 0 to {experiment.steps - 1}. "
            "Choose one of these, or ask for more with --set train.steps=N."
        )
    lockstep = Lockstep(experiment)
    for n, batch in zip(range(number + 1), experiment.batches(), strict=False):
        step = lockstep.step(n, batch)
        if n < number:
            lockstep.resynchronise()
    return moment_of(experiment, lockstep, step), step.rows


def _choose(rows: Any, moment: Moment, node: str | None, quantity: str | None) -> int:
    """Return the row's position; of those that fit, the one that used most of its budget."""
    layers = list(dict.fromkeys(key.layer for key in rows.keys))
    if node is not None and node not in layers:
        raise UserError(f"This run has no node '{node}'. {nearest(node, layers, what='Nodes')}")
    of_node = [i for i, key in enumerate(rows.keys) if node in (None, key.layer)]
    fits = [i for i in of_node if quantity in (None, rows.keys[i].quantity)]
    if not fits:
        names = list(dict.fromkeys(rows.keys[i].quantity for i in of_node))
        where = f"Node '{node}'" if node is not None else "This run"
        hint = nearest(str(quantity), names, what="Quantities")
        if quantity == "grad_input" and node is not None:
            hint = (
                "What its backward hands down is the grad_output of the node before it: "
                f"{', '.join(_sources(moment, node))}. {hint}"
            )
        raise UserError(f"{where} has no quantity '{quantity}' in this step. {hint}")
    used = np.nan_to_num(rows.measures.budget[fits], nan=np.inf)
    return fits[int(np.argmax(used))]


def _sources(moment: Moment, name: str) -> list[str]:
    graph = moment.experiment.manual.graph
    found = [list(n.inputs) for n in graph.nodes if n.name == name]
    return [f"'{s}'" for s in (found[0] if found else [graph.output])]


def _index(index: Any, key: Key, shape: tuple[int, ...], worst: float) -> tuple[int, ...]:
    if index is None:
        return worst_index(worst, shape)
    at = tuple(int(i) for i in index)
    fits = len(at) == len(shape) and all(0 <= i < n for i, n in zip(at, shape, strict=True))
    if not fits:
        ranges = ", ".join(f"0 to {n - 1}" for n in shape) or "none, it is one number"
        raise UserError(
            f"--index is {','.join(map(str, at)) or 'empty'}, but {key.quantity} of '{key.layer}' "
            f"has shape {shape}: one index per axis, {ranges}."
        )
    return at


def _printed(experiment: Experiment, key: Key) -> str:
    side = experiment.manual
    nodes = {n.name: n.layer for n in side.graph.nodes}
    return (
        repr(nodes.get(key.layer, side.loss)) if key.layer not in side.graph.inputs else "the data"
    )


def _plain(value: Any) -> Any:
    """Return JSON's kinds of data; NaN and infinity as text."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value.item() if isinstance(value, np.generic) else value


def as_json(explanation: Explanation) -> str:
    return json.dumps(explanation.as_dict(), indent=2, ensure_ascii=False)
