"""Judge what both sides said of one case: tolerances, kinks, shapes and dtypes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from compare.gauge import Format
from compare.judge.judge import AGREE, DISAGREE, VACUOUS, Rows, judge
from compare.judge.quantities import Key
from compare.pair.candidates import Candidate
from compare.pair.inputs import as_float
from compare.pair.montecarlo import FLOOR, SAMPLES
from compare.pair.own_forward import OwnForward
from compare.pair.tolerance import (
    GAUGED,
    HURRIED,
    LOOSE,
    RANDOM,
    WIDE,
    Errors,
    combined,
    errors,
    perturbed,
)
from compare.running.cases.kinks import Disagreement, excused
from compare.running.cases.outcome import Outcome
from compare.running.cases.tied import Claim, equal_to_another, fits_smooth_directions

FAR = 1e4  # tolerances of one noisy run that no rounding reaches
UNSTABLE = 1e3  # times the reference's rounding error
FEW = 8.0  # how much less than the rest one noisy run may show


class Judge:
    """Judges the cases of one candidate; arguments as for `Evaluator`."""

    def __init__(
        self,
        candidate: Candidate,
        reference: Any,
        precision: Format,
        errors: Callable,
        seed: int,
        rtol: float = 0.0,
    ) -> None:
        self.candidate, self.reference = candidate, reference
        self.precision, self.errors, self.seed, self.rtol = precision, errors, seed, rtol
        self.own = reference if isinstance(reference, OwnForward) else None
        self.whole: dict[str, np.ndarray] = {}  # of the latest case: gradients not projected
        self.wrong: set[str] = set()  # what is plainly wrong on the user's own inputs
        self.costly = False  # the user's own case has been judged, by Monte-Carlo arithmetic

    def judged(self, outcome: Outcome) -> Outcome:
        """Return the outcome with its rows.

        E by Monte-Carlo arithmetic costs most of a check, and is at least FLOOR roundings of an
        element: where the sides differ by less, it cannot change the verdict and is not found.
        """
        least = self.costly and not outcome.case.own
        outcome.tolerances = self._least(outcome) if least else self._tolerances(outcome)
        self._project(outcome)
        self._leave_out(outcome)
        outcome.rows = self._rows(outcome)
        if outcome.rows.disagree and not self._settled(outcome):
            self._reconsider(outcome, least=least)
        self._find_blind(outcome)
        if outcome.case.own and self.own is None:
            self._find_unstable(outcome)
        self._remark(outcome)
        return outcome

    def _reconsider(self, outcome: Outcome, *, least: bool) -> None:
        """Allow, one by one, what costs more to find: E, the reference's E, conventions."""
        if least:
            self._raise(outcome, self._tolerances(outcome))
            outcome.rows = self._rows(outcome)
        if outcome.rows.disagree and self._widen(outcome):  # type: ignore[union-attr]
            outcome.rows = self._rows(outcome)
        if outcome.rows.disagree:  # type: ignore[union-attr]
            self._excuse(outcome)
        if outcome.case.own:
            self.wrong = self._plainly_wrong(outcome)

    def _settled(self, outcome: Outcome) -> bool:
        """Return whether all that disagrees is plainly wrong, here and on the user's own inputs.

        Then the verdict stands already.
        """
        bad = set(outcome.bad)
        return bad <= self.wrong and bad <= self._plainly_wrong(outcome)

    def _plainly_wrong(self, outcome: Outcome) -> set[str]:
        """Return what disagrees by more than a hundredth of the tensor's largest number."""
        found = set()
        for quantity in outcome.bad:
            pair = outcome.pair(quantity)
            if pair is not None and np.isfinite(pair[0]).all() and np.isfinite(pair[1]).all():
                off = np.max(np.abs(as_float(pair[0]) - pair[1]), initial=0.0)
                if off > WIDE * np.max(np.abs(pair[1]), initial=0.0):
                    found.add(quantity)
        return found

    def _tolerances(self, outcome: Outcome) -> dict[Key, Any]:
        """Return what rounding in the candidate allows; numeric derivatives add their own error."""
        outcome.judged = self.errors(self.candidate, outcome.values, outcome.upstreams)
        if outcome.case.own:
            self.costly = outcome.judged.how.startswith(RANDOM.partition("{")[0])
        return self._allowed(outcome, outcome.judged.errors)

    def _least(self, outcome: Outcome) -> dict[Key, Any]:
        """Return what Monte-Carlo arithmetic would allow at least."""
        given = {q: np.abs(np.nan_to_num(as_float(v))) for q, v in outcome.manual.items()}
        return self._allowed(outcome, {q: FLOOR * size for q, size in given.items()})

    def _allowed(self, outcome: Outcome, found: Errors) -> dict[Key, Any]:
        tolerances = {}
        for quantity in outcome.expected:
            name, error = quantity.removeprefix("grad:"), found.get(quantity)
            if error is None or (self.own and np.shape(error) != np.shape(outcome.values[name])):
                continue  # not returned, or in another shape
            directions = self.own.directions(outcome.values, name) if self.own else None
            if directions is not None:
                error = np.sqrt(_dot(np.square(directions), np.square(error)))
            tolerance = self.precision.tolerance(error)
            theirs = np.abs(as_float(outcome.expected[quantity]))
            if self.rtol and theirs.shape == np.shape(tolerance):
                tolerance = tolerance + self.rtol * np.where(np.isfinite(theirs), theirs, 0.0)
            tolerances[outcome.key(quantity)] = tolerance + (
                self.own.error(name) if self.own else 0
            )
        return tolerances

    def _widen(self, outcome: Outcome) -> bool:
        """Add what costs more to find, now that it matters: both sides' Monte-Carlo error.

        One noisy run shows most derivations to be wrong beyond anything that rounding does.
        """
        if not any(self._differs(outcome, q).any() for q in outcome.bad):
            return False
        wide = self._wide(outcome, 1)
        if any(self._is_beyond(outcome, q, FAR * wide[q]) for q in outcome.bad if q in wide):
            wide = {q: FEW * t for q, t in wide.items()}
        else:
            wide = self._wide(outcome, SAMPLES)
        self._raise(outcome, {outcome.key(q): tolerance for q, tolerance in wide.items()})
        return True

    def _raise(self, outcome: Outcome, tolerances: Mapping[Key, Any]) -> None:
        for key, wide in tolerances.items():
            before = outcome.tolerances.get(key, 0.0)
            if np.shape(before) == np.shape(wide):
                outcome.tolerances = {**outcome.tolerances, key: np.fmax(before, wide)}

    def _wide(self, outcome: Outcome, samples: int) -> dict[str, Any]:
        """Return tolerances from so many noisy runs of either side, by quantity."""
        assert outcome.judged is not None
        found, given = dict(outcome.judged.errors), (outcome.values, outcome.upstreams)
        dtype = self.precision.name
        if outcome.judged.how in (GAUGED, HURRIED):
            noisy = perturbed(self.candidate, *given, dtype, "", samples)
            found = combined(found, noisy.errors)
        if self.own is None and any(q[:5] == "grad:" for q in outcome.expected):
            found = combined(found, self._references(*given, dtype, samples))
        return {key.quantity: t for key, t in self._allowed(outcome, found).items()}

    def _is_beyond(self, outcome: Outcome, quantity: str, allowed: Any) -> bool:
        """Return whether half of what differs does so by more than is allowed, at no kink."""
        pair, differs = outcome.pair(quantity), self._differs(outcome, quantity)
        tolerance = outcome.tolerances.get(outcome.key(quantity), 0.0)
        if pair is None or quantity[:5] != "grad:" or np.shape(allowed) != pair[1].shape:
            return False
        far = differs & (np.abs(as_float(pair[0]) - pair[1]) > allowed)
        if 2 * np.count_nonzero(far) <= np.count_nonzero(differs):
            return False
        return self._kink(outcome, quantity, np.fmax(tolerance, allowed)) is None

    def _differs(self, outcome: Outcome, quantity: str) -> np.ndarray:
        """Return which elements are further apart than is allowed; none without a counterpart."""
        pair = outcome.pair(quantity)
        if pair is None:
            return np.zeros(0, dtype=bool)
        allowed = outcome.tolerances.get(outcome.key(quantity), 0.0)
        return ~(np.abs(as_float(pair[0]) - pair[1]) <= allowed)

    def _references(self, values: Any, upstreams: Any, dtype: str, samples: int) -> Errors:
        given = self.reference.run, self.candidate.differentiable, values, upstreams, dtype
        try:
            return errors(*given, how="torch", floor=0.0, samples=samples)
        except Exception:  # an operation that a dispatch mode cannot take
            return errors(*given, how="inputs", floor=0.0, samples=samples)

    def _find_blind(self, outcome: Outcome) -> None:
        """Call vacuous what rounding alone could have moved by more than 1 %.

        Not an element that is small by cancellation beside others of its tensor, nor one at which
        the two numbers are alike though they need not be.
        """
        assert outcome.rows is not None
        for i, key in enumerate(outcome.rows.keys):
            pair = outcome.pair(key.quantity)
            if pair is None or outcome.rows.verdicts[i] != AGREE:
                continue
            size, allowed = np.abs(as_float(pair[1])), outcome.tolerances.get(key, 0.0)
            few = max(1e-6, 64 * self.precision.k * self.precision.unit)
            large, most = (WIDE + self.rtol) * size, np.max(size, initial=0.0)
            wide = ~(allowed <= np.maximum(large, few * most))
            alike = max(1e-6, 4 * self.precision.k * self.precision.unit) * size
            unlike = ~(np.abs(as_float(pair[0]) - pair[1]) <= alike)
            blind = wide & unlike & (size > 0) & ~outcome.unjudged.get(key.quantity, False)
            if blind.any():
                outcome.blind[key.quantity] = int(np.count_nonzero(blind))
                outcome.rows.verdicts[i] = VACUOUS

    def _find_unstable(self, outcome: Outcome) -> None:
        """Find gradients whose digits the candidate loses and the reference does not."""
        assert outcome.judged is not None
        found, unit = outcome.judged.errors, self.precision.k * self.precision.unit
        few = LOOSE if self.precision.name == "float64" else WIDE
        loose: dict[str, np.ndarray] = {}
        for quantity, theirs in outcome.expected.items():
            error, size = found.get(quantity, np.zeros(0)), np.abs(theirs)
            if quantity[:5] == "grad:" and error.shape == size.shape:
                at = (unit * error > few * size) & (size > 0) & np.isfinite(error)
                loose |= {quantity: at} if at.any() else {}
        if not loose:
            return
        needed = self._references(outcome.values, outcome.upstreams, self.precision.name, SAMPLES)
        for quantity, at in loose.items():
            least = 4 * np.abs(outcome.expected[quantity][at])  # roundings of the number itself
            times = np.median(found[quantity][at] / np.maximum(needed[quantity][at], least))
            if times > UNSTABLE:
                outcome.unstable[quantity] = float(times)

    def _project(self, outcome: Outcome) -> None:
        """Project gradients where the reference has only its derivatives along some directions."""
        self.whole = {}
        for name in self.candidate.differentiable if self.own else ():
            directions = self.own.directions(outcome.values, name)  # type: ignore[union-attr]
            grad = outcome.manual.get(f"grad:{name}")
            if directions is not None and grad is not None and grad.shape == directions.shape[1:]:
                self.whole[name] = as_float(grad)
                outcome.manual[f"grad:{name}"] = _dot(directions, grad).astype(grad.dtype)

    def _leave_out(self, outcome: Outcome) -> None:
        """Take out elements where the reference is not finite on inputs that we made up.

        It runs in float64: beyond what the candidate's dtype can hold it counts as infinite, and
        where neither side is finite in that dtype, it is what it is there. On the user's own inputs
        nothing is left out: they cannot be judged.
        """
        low = self._in_dtype(outcome)
        for quantity, theirs in outcome.expected.items():
            beyond = np.isfinite(theirs) & (np.abs(theirs) > self.precision.largest)
            found = np.where(beyond, np.copysign(np.inf, theirs), theirs)
            pair, there = outcome.pair(quantity), low.get(quantity, theirs)
            if pair is not None:
                found = np.where(np.isfinite(pair[0]) | np.isfinite(there), found, there)
            outcome.expected[quantity] = found
        for quantity in () if outcome.case.own else list(outcome.expected):
            pair = outcome.pair(quantity)
            if pair is None or np.isfinite(pair[1]).all():
                continue
            finite, key = np.isfinite(pair[1]), outcome.key(quantity)
            outcome.left_out += int(np.count_nonzero(~finite))
            outcome.unjudged[quantity] = ~finite
            outcome.manual[quantity], outcome.expected[quantity] = (
                np.where(finite, side, side.dtype.type(0)) for side in pair
            )
            outcome.tolerances = {
                **outcome.tolerances,
                key: np.where(finite, outcome.tolerances.get(key, 0.0), np.inf),
            }

    def _in_dtype(self, outcome: Outcome) -> dict[str, np.ndarray]:
        """Run the reference in the candidate's dtype, if the candidate is not finite there."""
        if self.own or self.precision.name == "float64" or not outcome.upstreams:
            return {}
        if all(np.isfinite(np.asarray(v, dtype=float)).all() for v in outcome.manual.values()):
            return {}
        try:
            result = self.reference.run(outcome.values, outcome.upstreams, self.precision.name)
        except Exception:  # torch has no such kernel, or sizes that do not fit
            return {}
        return {q: np.asarray(v, dtype=np.float64) for q, v in result.named().items()}

    def _rows(self, outcome: Outcome) -> Rows:
        def keyed(values: Mapping[str, np.ndarray]) -> dict[Key, np.ndarray]:
            return {outcome.key(q): as_float(v) for q, v in values.items()}

        keys = [outcome.key(q) for q in outcome.expected if q[:6] == "output"]
        keys += [outcome.key(f"grad:{name}") for name in self.candidate.differentiable]
        fitting = {
            key: tolerance
            for key, tolerance in outcome.tolerances.items()
            if np.shape(tolerance) in ((), np.shape(outcome.expected[key.quantity]))
        }
        rows = judge(keys, keyed(outcome.manual), keyed(outcome.expected), fitting)
        outcome.promoted = set()
        for i, key in enumerate(rows.keys):
            if self._dtype_is_wrong(outcome, key.quantity):
                if rows.verdicts[i] in (AGREE, VACUOUS):
                    outcome.promoted.add(key.quantity)
                rows.verdicts[i] = DISAGREE
        return rows

    def _excuse(self, outcome: Outcome) -> None:
        """Judge again without what differs only by convention at a kink, all such together."""
        rng = np.random.default_rng([self.seed, 8])
        tolerances, masks = dict(outcome.tolerances), {}
        plainly = set() if outcome.case.own else self.wrong
        for quantity in (q for q in outcome.bad if q not in plainly):
            key = outcome.key(quantity)
            tolerance = tolerances.get(key, 0.0)
            mask = self._kink(outcome, quantity, tolerance)
            if mask is not None:
                tolerances[key] = np.where(mask, np.inf, tolerance)
                masks[quantity] = mask
        if not masks:
            return
        wrong = set(outcome.bad) - masks.keys()
        claims = self._claims(outcome, masks)
        claims = {name: claim for name, claim in claims.items() if f"grad:{name}" not in wrong}
        floats = self.candidate.differentiable
        given = outcome.values, outcome.upstreams
        if not fits_smooth_directions(claims, self.reference, *given, floats, rng):
            return
        outcome.tolerances = tolerances
        for quantity, mask in masks.items():
            outcome.unjudged[quantity] = outcome.unjudged.get(quantity, False) | mask
        outcome.conventions = {quantity: int(mask.sum()) for quantity, mask in masks.items()}
        outcome.rows = self._rows(outcome)

    def _kink(self, outcome: Outcome, quantity: str, tolerance: Any) -> Any:
        """Return where a gradient differs by convention at a kink; None if it differs elsewhere."""
        pair = outcome.pair(quantity)
        if pair is None or quantity[:5] != "grad:" or self._dtype_is_wrong(outcome, quantity):
            return None
        differs = Disagreement(quantity[5:], as_float(pair[0]), pair[1], tolerance)
        return excused(
            differs, self.reference, outcome.values, outcome.upstreams,
            self.candidate.differentiable, np.random.default_rng([self.seed, 8]),
        )  # fmt: skip

    def _claims(self, outcome: Outcome, masks: Mapping[str, np.ndarray]) -> dict[str, Claim]:
        """Return the gradients that tied inputs share among them.

        Of a gradient that was projected nobody knows which elements differ: all that tie may.
        """
        claims = {}
        for name in self.candidate.differentiable:
            quantity = f"grad:{name}"
            if (pair := outcome.pair(quantity)) is None:
                continue
            grad = as_float(pair[0])
            tolerance = outcome.tolerances.get(outcome.key(quantity), 0.0)
            differs = masks.get(quantity, np.zeros(grad.shape, dtype=bool))
            if name in self.whole:
                grad, tolerance = self.whole[name], np.max(tolerance)
                differs = equal_to_another(outcome.values[name])
            claims[name] = Claim(grad, tolerance, differs)
        return claims

    def _dtype_is_wrong(self, outcome: Outcome, quantity: str) -> bool:
        mine = outcome.manual.get(quantity)
        if mine is None or quantity[:5] != "grad:" or self.candidate.keeps_dtype:
            return False
        return bool(mine.dtype != self.precision.name)

    def _remark(self, outcome: Outcome) -> None:
        """Say in words what numbers do not: a wrong shape, a wrong dtype, nothing returned."""
        for quantity in outcome.bad:
            mine, theirs = outcome.manual.get(quantity), outcome.expected.get(quantity)
            what = quantity.replace("grad:", "the gradient of ")
            if mine is None:
                text = f"{what} was not returned; if it is to have none, name it in no_grad"
            elif theirs is not None and mine.shape != theirs.shape:
                text = f"{what} has shape {mine.shape}; it must be {theirs.shape}"
            elif self._dtype_is_wrong(outcome, quantity):
                text = f"{what} has dtype {mine.dtype}; its input has {self.precision.name}"
            else:
                continue
            outcome.remarks.setdefault(quantity, f"{self.candidate.name}: {text}.")


def _dot(directions: np.ndarray, grad: np.ndarray) -> np.ndarray:
    return directions.reshape(len(directions), -1) @ np.ravel(grad)
