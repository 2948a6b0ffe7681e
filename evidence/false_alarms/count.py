"""Draw networks, run them through the harness, and count what each rule says of the same numbers.

The counts depend on the seed and the number of networks alone: every network is drawn from its own
number, and results are added in that order, however many processes examined them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from compare.commands.sweep.engine import Where, in_order
from compare.diagnose.reference import reference_inaccurate
from compare.gauge import GaugeMistakeError
from compare.judge.judge import AGREE, DISAGREE, MISSING, VACUOUS, VERDICTS, Rows
from compare.running.alone import Moment
from compare.running.experiment import Experiment
from compare.running.half import lockstep_of
from compare.running.lockstep import Lockstep, Step
from compare.running.process import at_work
from compare.running.refusal import TorchRefusedError
from evidence.false_alarms.draw import DTYPES, Draw, draw, label
from evidence.false_alarms.mistakes import Place, planted
from evidence.false_alarms.rules import RULES, Rule, agrees

ATTEMPTS = 100
Progress = Callable[[int, int], None]  # done, of how many


class Found(NamedTuple):
    """What one network showed; tuples with an entry per rule are in the rules' order."""

    number: int
    dtype: str
    redrawn: int
    verdicts: np.ndarray  # tensors by verdict
    budget: float  # the largest
    worst: str
    rejected: np.ndarray  # tensors that each rule rejected
    caught: dict[str, tuple[bool, ...]]  # by mistake
    unchecked: tuple[str, ...]  # mistakes made in a tensor that the harness calls vacuous
    alarms: tuple[dict[str, Any], ...]  # the harness's own
    inaccurate: tuple[str, ...] = ()  # steps not counted: torch lost digits, and where


class Count(NamedTuple):
    """All networks' findings, in the order of their numbers."""

    seed: int
    rules: tuple[str, ...]
    found: tuple[Found, ...]
    dtypes: tuple[str, ...] = DTYPES

    @property
    def alarms(self) -> list[dict[str, Any]]:
        """Every tensor of a correct network that the harness did not accept."""
        return [alarm for network in self.found for alarm in network.alarms]


def count(
    networks: int = 1000,
    *,
    seed: int = 0,
    jobs: int | None = 1,
    rules: Sequence[Rule] = RULES,
    progress: Progress | None = None,
    dtypes: tuple[str, ...] = DTYPES,
) -> Count:
    """Examine random correct networks and mistakes planted in them.

    Args:
        networks: how many; number i is the same network whatever the others are.
        seed: of everything.
        jobs: processes; None for one per CPU.
        rules: the first is the harness's own verdict, whatever it allows by itself; the others'
            functions must be a module's own if there are several jobs.
        progress: called as `progress(done, networks)`.
        dtypes: of the networks in turn.
    """
    found = in_order(partial(_number, seed, tuple(rules), dtypes), range(networks), Where(jobs),
                     progress=progress)  # fmt: skip
    return Count(seed, tuple(rule.name for rule in rules), tuple(found), dtypes)


def _number(seed: int, rules: tuple[Rule, ...], dtypes: tuple[str, ...], index: int) -> Found:
    with at_work():  # one thread: several add in another order
        return examine(seed, index, rules, dtypes)


def examine(
    seed: int, index: int, rules: Sequence[Rule] = RULES, dtypes: tuple[str, ...] = DTYPES
) -> Found:
    """Run one network; draw another in its place while torch refuses it, or overflows.

    It refuses, say, to normalise a batch of one row. Only torch decides about that, so that no
    overflow of the hand-written side alone is hidden.
    """
    for attempt in range(ATTEMPTS):
        drawn = draw(seed, index, attempt, dtypes)
        try:
            found = run(drawn, np.random.default_rng([seed, index, attempt, 1]), rules)
        except Exception as error:
            error.add_note(f"in random network {index} of seed {seed}, attempt {attempt}")
            raise
        if found is not None:
            return found._replace(number=index, redrawn=attempt)
    raise RuntimeError(f"No finite network in {ATTEMPTS} draws: seed {seed}, number {index}.")


def run(drawn: Draw, rng: np.random.Generator, rules: Sequence[Rule] = RULES) -> Found | None:
    """Run all steps of a drawn network; None if torch overflows, or refuses to run it."""
    experiment = drawn.experiment()
    lockstep = lockstep_of(experiment)
    total = Found(
        -1, label(drawn.config.train), 0, np.zeros(len(VERDICTS), dtype=int), 0.0, "",
        np.zeros(len(rules), dtype=int), {}, (), (),
    )  # fmt: skip
    with np.errstate(all="ignore"):
        for number, batch in zip(range(experiment.steps), experiment.batches(), strict=False):
            try:
                step = lockstep.step(number, batch)
            except TorchRefusedError:
                return None
            except GaugeMistakeError as error:
                return total._replace(
                    rejected=total.rejected + (np.arange(len(rules)) == 0) * len(error.strayed),
                    alarms=(*total.alarms, *_not_judged(number, error)),
                )
            if not all(np.isfinite(value).all() for value in step.torch.values()):
                return None
            blamed = _blamed(experiment, lockstep, step)
            if blamed:
                total = total._replace(inaccurate=(*total.inaccurate, blamed))
            else:
                total = _added(total, step, rules)
            if number == 0 and not blamed and total.verdicts[MISSING] == 0:
                total = _with_mistakes(total, step, _places(experiment, lockstep, step, rng), rules)
            lockstep.resynchronise()
    return total


def _blamed(experiment: Experiment, lockstep: Lockstep, step: Step) -> str:
    """Return where torch lost digits, if all that disagrees follows from that."""
    if not step.rows.bad.size:
        return ""
    assert lockstep.start is not None
    moment = Moment.of(experiment, lockstep.start, step)
    blamed = reference_inaccurate(moment, step.rows)
    names = blamed.names if blamed.all else ()
    named = (f"{n} ({type(moment.nodes[n].layer).__name__ if n != 'loss' else n})" for n in names)
    return f"step {step.number} {', '.join(named)}" if names else ""


def _added(total: Found, step: Step, rules: Sequence[Rule]) -> Found:
    verdicts = np.bincount(step.rows.verdicts, minlength=len(VERDICTS))
    budget = step.rows.measures.budget
    unknown = np.where(step.rows.verdicts == DISAGREE, np.inf, 0.0)  # 0/0, or a tolerance of NaN
    budgets = np.where(np.isnan(budget), unknown, budget)
    worst = int(budgets.argmax())
    if budgets[worst] > total.budget:
        where = f"step {step.number} {'.'.join(step.rows.keys[worst])}"
        total = total._replace(budget=float(budgets[worst]), worst=where)
    return total._replace(
        verdicts=total.verdicts + verdicts,
        rejected=total.rejected + _rejected(step, rules),
        alarms=total.alarms + _alarms(step.number, step.rows),
    )


def _rejected(step: Step, rules: Sequence[Rule]) -> np.ndarray:
    """Return how many tensors each rule rejects; what cannot be compared, every rule does."""
    rows = step.rows
    both = [
        k for k in rows.keys
        if k in step.manual and k in step.torch and step.manual[k].shape == step.torch[k].shape
    ]  # fmt: skip
    sizes = np.array([step.torch[k].size for k in both])
    starts = sizes.cumsum() - sizes
    sides = (step.manual, step.torch)
    manual, torch = (np.concatenate([side[k].ravel() for k in both]) for side in sides)
    tolerances = [np.broadcast_to(step.tolerances.get(k, 0.0), step.torch[k].shape) for k in both]
    tolerance = np.concatenate([t.ravel() for t in tolerances])
    counts = [len(rows.bad)]
    for rule in rules[1:]:
        above = ~(np.abs(manual - torch) <= rule.allowed(manual, torch, tolerance))
        rejected = np.logical_or.reduceat(above, starts)
        counts.append(len(rows.keys) - len(both) + int(rejected.sum()))
    return np.array(counts)


def _not_judged(number: int, error: GaugeMistakeError) -> tuple[dict[str, Any], ...]:
    """Return the tensors for which the harness gave up."""
    nothing = dict.fromkeys(("budget_used", "manual", "torch"), float("nan"))
    return tuple(
        {"step": number, "layer": key.layer, "quantity": key.quantity, "verdict": "not judged"}
        | nothing
        for key in error.strayed
    )


def _alarms(number: int, rows: Rows) -> tuple[dict[str, Any], ...]:
    return tuple(
        {
            "step": number,
            "layer": rows.keys[i].layer,
            "quantity": rows.keys[i].quantity,
            "verdict": str(VERDICTS[rows.verdicts[i]]),
            "budget_used": float(rows.measures.budget[i]),
            "manual": float(rows.measures.manual[i]),
            "torch": float(rows.measures.torch[i]),
        }
        for i in rows.bad
    )


def _places(
    experiment: Experiment, lockstep: Lockstep, step: Step, rng: np.random.Generator
) -> list[Place]:
    """Return every gradient of a parameter or an output in which a mistake can be planted."""
    start = lockstep.start
    assert start is not None
    keys = [k for k in step.rows.keys if k.quantity.startswith(("grad:", "grad_output"))]
    return [
        Place(k, step.manual, experiment.manual, start.x, start.params, rng)
        for k in keys
        if k in step.manual
    ]


def _with_mistakes(total: Found, step: Step, places: list[Place], rules: Sequence[Rule]) -> Found:
    verdicts = dict(zip(step.rows.keys, step.rows.verdicts, strict=True))
    caught, unchecked = {}, []
    for name, (key, wrong) in planted(places, places[0].rng).items():
        torch, tolerance = step.torch[key], step.tolerances[key]
        caught[name] = tuple(not agrees(rule, wrong, torch, tolerance) for rule in rules)
        if verdicts[key] == VACUOUS:
            unchecked.append(name)
    return total._replace(caught=caught, unchecked=tuple(unchecked))


def accepted(found: Found) -> bool:
    """Return whether the harness accepted every tensor of a network."""
    return int(found.verdicts.sum()) == int(found.verdicts[[AGREE, VACUOUS]].sum())
