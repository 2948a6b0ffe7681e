"""L-BFGS: Newton's direction, from the last few changes of the gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any, ClassVar, final

import numpy as np
from numpy.linalg import norm

from manual.graph import Array, Arrays
from manual.optimizers.base import Optimizer, State, States, nonnegative, number
from manual.optimizers.line_search import Point, strong_wolfe

__all__ = ["LBFGS"]

Closure = Callable[[Arrays], tuple[Any, Mapping[str, Array]]]  # parameters -> loss, gradients
CURVED = 1e-10  # the least yᵀs that is remembered


@final
@dataclass(frozen=True)
class LBFGS(Optimizer):
    """Quasi-Newton steps over all parameters as one vector; asks for the loss again and again.

    Args:
        lr: η, the step length, or the first to try.
        max_iter: iterations in one step.
        max_eval: evaluations in one step; None for 5/4 max_iter.
        tolerance_grad: the largest element of a gradient that counts as zero.
        tolerance_change: the change of loss or parameters that ends a step.
        history_size: how many changes are remembered.
        line_search_fn: "strong_wolfe", or None for steps of length η.

    State, of the first parameter, for all: `func_evals`, `n_iter`, `d` and `t` the last direction
    and length, `old_dirs` and `old_stps` the changes of gradient and parameters (k, n), `ro` their
    1 / yᵀs, `H_diag` γ, `prev_flat_grad`, `prev_loss`.

    Raises:
        ValueError: a negative lr, or another line search.
    """

    needs: ClassVar[str] = "the loss several times a step (step(closure)); take another rule here"
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"history_size": 2})

    implementations: ClassVar[tuple[str, ...]] = ()
    lr: float = 1.0
    max_iter: int = 20
    max_eval: int | None = None
    tolerance_grad: float = 1e-7
    tolerance_change: float = 1e-9
    history_size: int = 100
    line_search_fn: str | None = None

    def __post_init__(self) -> None:
        nonnegative(self, "lr")
        for name in ("tolerance_grad", "tolerance_change"):
            number(self, name)
        if self.line_search_fn not in (None, "strong_wolfe"):
            raise ValueError(
                "LBFGS: line_search_fn must be 'strong_wolfe' or None, received "
                f"{self.line_search_fn!r}."
            )

    def update(self, param: Array, grad: Array, state: State, lr: float) -> tuple[Array, State]:
        r"""Take one iteration on one vector, without a line search.

        Shapes (n,); s_k = θ_k+1 - θ_k, y_k = g_k+1 - g_k of the last m iterations with yᵀs > 1e-10:
            d = -H g,   θ = θ + t d         (t = η; first min(1, 1 / Σ|g|) η)
        H stands for the inverse of the Hessian B. Of all symmetric H with H y = s (what the newest
        change says of B⁻¹), the nearest to the one before is
            H_k+1 = (I - ρ s yᵀ) H_k (I - ρ y sᵀ) + ρ s sᵀ,   ρ = 1 / yᵀs
        begun m changes ago at γ I with γ = yᵀs / yᵀy of the newest, the size of B⁻¹ along y. It is
        never formed: multiplied out from the right, H g needs two passes over the changes,
            q = -g;  newest to oldest:  α_k = ρ_k s_kᵀ q,   q = q - α_k y_k
            r = γ q; oldest to newest:  r = r + s_k (α_k - ρ_k y_kᵀ r);   d = r
        Torch: optim.LBFGS. Where gᵀd > -tolerance_change, or g counts as zero, the iteration does
        not step.
        Source: Nocedal, Wright, Numerical Optimization, 2006, section 7.2, algorithm 7.4.
        """
        return self._iterated(param, lambda _: (0.0, grad.copy()), state, lr, 1)

    def step(
        self,
        params: Mapping[str, Array],
        grads: Closure | Mapping[str, Array],
        states: Mapping[str, State],
        lr: float | None = None,
    ) -> tuple[Arrays, States]:
        """Iterate until max_iter, max_eval or a tolerance is reached.

        Args:
            params: by dotted name.
            grads: a closure that returns the loss at other parameters, and their gradients by name;
                a parameter without one counts as having zeros.
            states: that of the first parameter counts.
            lr: this step's learning rate; None takes the optimiser's own.

        Returns:
            `(new_params, new_states)`, with the keys of `params`.

        Raises:
            ValueError: gradients in place of the closure.
        """
        if not callable(grads):
            raise ValueError(
                "LBFGS.step takes a closure in place of the gradients: a function from parameters "
                "to (loss, gradients), for it asks for them several times in a step."
            )
        first, *others = params
        evaluate = partial(_evaluated, params, grads)
        x = np.concatenate([p.reshape(-1) for p in params.values()])
        rate = self.lr if lr is None else float(lr)
        x, state = self._iterated(x, evaluate, states.get(first, {}), rate, self.max_iter)
        return _cut(params, x), {first: state, **{name: {} for name in others}}

    def aimed(self, g: Array, state: State, lr: float) -> State:
        """Return the state with the next direction `d`, its length `t`, and what is remembered."""
        new = state | {"n_iter": state["n_iter"] + 1, "prev_flat_grad": g}
        if new["n_iter"] == 1:
            t = min(1.0, 1.0 / np.sum(np.abs(g))) * lr
            return new | {"d": -g, "t": t, "old_dirs": [], "old_stps": [], "ro": [], "H_diag": 1}
        y, s = g - state["prev_flat_grad"], state["d"] * state["t"]
        if (ys := np.vdot(y, s)) > CURVED:
            for name, value in (("old_dirs", y), ("old_stps", s), ("ro", 1.0 / ys)):
                new[name] = [*state[name], value][-self.history_size :]
            new["H_diag"] = ys / np.vdot(y, y)
        return new | {"d": _newton(g, new), "t": lr}

    def _iterated(
        self, x: Array, evaluate: Callable, state: State, lr: float, most: int
    ) -> tuple[Array, State]:
        """Return the parameters and the state after one step's iterations."""
        loss, g = evaluate(x)
        state = {"n_iter": 0} | state | {"func_evals": state.get("func_evals", 0) + 1}
        evaluated = 1
        for left in reversed(range(most)):
            if norm(g, np.inf) <= self.tolerance_grad:
                break
            state, before = self.aimed(g, state, lr) | {"prev_loss": loss}, loss
            d, slope = state["d"], np.vdot(g, state["d"])
            if slope > -self.tolerance_change:
                break
            start = Point(0, loss, g, slope)
            found, asked = self._found(x, d, start, state["t"], evaluate, left, evaluated)
            state["t"], loss, g = found.t, found.loss, found.grad
            step = d * found.t
            x = x + step
            evaluated += asked
            state["func_evals"] += asked
            small = norm(step, np.inf) <= self.tolerance_change
            if evaluated >= self._most or small or abs(loss - before) < self.tolerance_change:
                break
        return x, state

    @property
    def _most(self) -> int:
        """Evaluations in one step."""
        return self.max_iter * 5 // 4 if self.max_eval is None else self.max_eval

    def _found(
        self,
        x: Array,
        d: Array,
        start: Point,
        t: Any,
        evaluate: Callable,
        left: int,
        evaluated: int,
    ) -> tuple[Point, int]:
        """Return where to step, and how often the loss was asked for: not after the last step."""

        def at(t: Any) -> Point:
            loss, g = evaluate(x + d * t)
            return Point(t, loss, g, np.vdot(g, d))

        if self.line_search_fn is None:
            return (at(t), 1) if left else (start._replace(t=t), 0)
        most, length = self._most - evaluated, norm(d, np.inf)
        return strong_wolfe(at, start, t, length=length, most=most)  # its own tolerance, as torch's


def _newton(g: Array, state: State) -> Array:
    """Return -H g, by the two passes that `update` derives."""
    changes = list(zip(state["old_stps"], state["old_dirs"], state["ro"], strict=True))
    q, shares = -g, []
    for s, y, rho in reversed(changes):
        shares.append(np.vdot(s, q) * rho)
        q = q - y * shares[-1]
    r = q * state["H_diag"]
    for (s, y, rho), share in zip(changes, reversed(shares), strict=True):
        r = r + s * (share - np.vdot(y, r) * rho)
    return r


def _evaluated(params: Mapping[str, Array], closure: Closure, x: Array) -> tuple[float, Array]:
    """Return the loss at a flat vector of parameters, and its gradient, flat."""
    loss, grads = closure(_cut(params, x))
    found = [grads.get(name) for name in params]
    pairs = zip(params.values(), found, strict=True)
    flat = np.concatenate([(np.zeros_like(p) if g is None else g).reshape(-1) for p, g in pairs])
    return float(loss), flat


def _cut(params: Mapping[str, Array], x: Array) -> Arrays:
    """Return the parameters that lie end to end in a vector."""
    ends = accumulate(p.size for p in params.values())
    return {
        name: x[end - p.size : end].reshape(p.shape)
        for (name, p), end in zip(params.items(), ends, strict=True)
    }
