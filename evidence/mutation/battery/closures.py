"""L-BFGS beside torch's: it asks for the loss again and again, by a closure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import islice
from typing import Any, ClassVar, NamedTuple

import numpy as np

from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import Check, FixedCheck, Lift
from evidence.mutation.battery.layers import Arguments, build
from evidence.mutation.battery.optimizers import OptimizerCheck, keyed, scribble


@dataclass(frozen=True)
class ClosureCheck(FixedCheck, OptimizerCheck):
    """L-BFGS on Σ (A θ - 1)⁴ / 4 + ½ ‖θ‖², over a few steps; one parameter gets no gradient.

    Near the minimum, changes of the gradient are rounding: in float32 also the number of iterations
    is a matter of chance, and first-order errors are infinite. So only float64, by a fixed
    tolerance.
    """

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"0.weight": (2, 3), "0.bias": (3,), "idle": (2,)}

    def matrices(self, seed: int) -> dict[str, np.ndarray]:
        sizes = {name: math.prod(shape) for name, shape in self.shapes.items() if name != "idle"}
        return {name: self.draw(seed, (4, n), name, "matrix") for name, n in sizes.items()}

    def rates(self) -> tuple[float | None, ...]:
        return (None, None, None) if self.own_rate else (0.5, 0.25, 0.5)

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        optimizer = build(self.type, self.arguments)
        params: Any = {name: lift(p) for name, p in self.params(seed).items()}
        a = {name: lift(m) for name, m in self.matrices(seed).items()}

        def closure(params: Any) -> tuple[Any, Any]:
            r = sum(m @ params[name].reshape(-1) for name, m in a.items()) - 1.0
            squares = sum(np.sum(params[name] * params[name]) for name in a)
            cubes = r * r * r
            grads = {n: params[n] + (cubes @ m).reshape(params[n].shape) for n, m in a.items()}
            return np.sum(cubes * r) / 4 + squares / 2, grads

        states: Any = {}
        values: Values = {}
        for number, lr in enumerate(self.rates(), 1):
            params, states = optimizer.step(params, closure, states, lr)
            values |= keyed(number, params, {"first": _counts(states["0.weight"], len(states))})
        return values

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        from torch.nn import Parameter

        from evidence.mutation.battery.torch_side import tensor
        from torch_ref import optimizers
        from torch_ref.side import array_of

        params = {name: Parameter(tensor(p, dtype)) for name, p in self.params(seed).items()}
        a = {name: tensor(m, dtype) for name, m in self.matrices(seed).items()}
        optimizer: Any = optimizers.build(self.type, params, dict(self.arguments))

        def closure() -> Any:
            optimizer.zero_grad()
            r: Any = sum(m @ params[name].reshape(-1) for name, m in a.items()) - 1
            squares: Any = sum((params[name] ** 2).sum() for name in a)
            loss = (r**4).sum() / 4 + squares / 2
            loss.backward()
            return loss

        values: Values = {}
        for number, lr in enumerate(self.rates(), 1):
            if lr is not None:
                optimizers.set_lr(optimizer, lr)
            optimizer.step(closure)
            arrays = {name: array_of(p).copy() for name, p in params.items()}
            counts = _counts(optimizer.state[params["0.weight"]], len(params))
            values |= keyed(number, arrays, {"first": counts})
        return values


@dataclass(frozen=True)
class IterationCheck(ClosureCheck):
    """L-BFGS's single iterations on one vector, given gradients of any function."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"vector": (5,)}

    @property
    def name(self) -> str:
        return f"{super().name}, one iteration each"

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        optimizer = build(self.type, self.arguments)
        param = lift(self.params(seed)["vector"])
        state: Any = {}
        values: Values = {}
        for number, (grads, _) in enumerate(self.steps(seed), 1):
            grad = lift(grads["vector"])
            param, state = optimizer.update(param, grad, state, 0.25)
            scribble(grad)
            kept = {"d": state["d"], **_counts(state, 1)}
            values |= keyed(number, {"vector": param}, {"vector": kept})
        return values

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch

        from evidence.mutation.battery.torch_side import tensor
        from torch_ref.side import array_of

        p = torch.nn.Parameter(tensor(self.params(seed)["vector"], dtype))
        optimizer = torch.optim.LBFGS([p], lr=0.25, **{**dict(self.arguments), "max_iter": 1})
        values: Values = {}
        for number, (grads, _) in enumerate(self.steps(seed), 1):
            p.grad = tensor(grads["vector"], dtype)
            optimizer.step(lambda: torch.zeros(()))
            d = array_of(optimizer.state[p]["d"]).copy()
            kept = {"d": d, **_counts(optimizer.state[p], 1)}
            values |= keyed(number, {"vector": array_of(p).copy()}, {"vector": kept})
        return values


LENGTHS = (1.0, 0.25, 8.0)  # of the direction: powers of two divide without rounding


class Wave(NamedTuple):
    """A function of one variable, and how it is searched."""

    at: Callable[[Any], tuple[float, float]]  # φ(t) and φ′(t), which is below 0 at 0
    t: float
    most: int
    length: float
    told: dict[str, float]  # the tolerance, unless it is the usual one


@dataclass(frozen=True)
class SearchCheck(FixedCheck):
    """The line search alone, on wavy functions of one variable, beside torch's.

    Slopes need not fit: the search may be led anywhere. On a coarse grid, values are equal.
    """

    trials: ClassVar[int] = 800

    @property
    def name(self) -> str:
        return "strong Wolfe line search on waves"

    def waves(self, seed: int) -> Iterator[Wave]:
        rng = self.rng(seed, "waves")
        while True:
            at = _wave(rng)
            t = float(
                rng.choice([10.0 ** rng.uniform(-2, 1.5), 2.0 ** rng.integers(-3, 5), 10.0, NARROW])
            )
            length = float(rng.choice([1.0, 0.25, 8.0]))  # powers of two divide without rounding
            told = ({}, {"tolerance": 0.3}, {"tolerance": t * length})[rng.integers(3)]
            if at(0.0)[1] < 0:
                yield Wave(at, t, int(rng.choice([2, 3, 8, 25])), length, told)

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        search = import_module("manual.optimizers.line_search")
        values: Values = {}
        for number, wave in enumerate(islice(self.waves(seed), self.trials)):

            def at(t: Any, wave: Wave = wave) -> Any:
                value, slope = wave.at(t)
                return search.Point(t, value, np.array([slope]), slope)

            found, asked = search.strong_wolfe(
                at, at(0.0), wave.t, length=wave.length, most=wave.most, **wave.told
            )
            told = [found.t, found.loss, found.slope, asked]
            values[Key(f"wave {number}", "found")] = np.array(told, dtype=np.float64)
        return values

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch
        from torch.optim.lbfgs import _strong_wolfe

        values: Values = {}
        for number, wave in enumerate(islice(self.waves(seed), self.trials)):
            d = torch.tensor([wave.length], dtype=torch.float64)

            def at(x: Any, t: Any, d: Any, wave: Wave = wave) -> Any:
                value, slope = wave.at(float(t))
                return value, slope / d

            loss, grad = at(None, 0.0, d)
            given = {f"{name}_change": value for name, value in wave.told.items()}
            found, g, t, asked = _strong_wolfe(
                at, None, wave.t, d, loss, grad, grad.dot(d), max_ls=wave.most, **given
            )
            told = [float(t), float(found), float(g.dot(d)), asked]
            values[Key(f"wave {number}", "found")] = np.array(told, dtype=np.float64)
        return values


NARROW = 4e-9  # an interval that is not yet too small
KNOTS: tuple[dict[float, tuple[float, float]], ...] = (
    {0.0: (0.0, -3.0), 10.0: (970.0, 297.0)},  # t³ - 3t: the trial lies on the margin
    {0.0: (0.0, -1.0), 10.0: (-10.0, -4.0)},  # an inflection
    {0.0: (0.0, -10.0), 10.0: (-5.0, -9.0)},  # just flat enough
    {0.0: (0.0, -3.0), NARROW: (970.0, 297.0)},
)


def _wave(rng: np.random.Generator) -> Callable[[Any], tuple[float, float]]:
    a, b, c = rng.normal(size=4), rng.uniform(0.2, 4, 4), rng.uniform(0, 6, 4)
    lean = c if rng.random() < 0.5 else rng.uniform(0, 6, 4)  # slopes of another wave
    bowl, scale = 10.0 ** rng.uniform(-3, 0), 10.0 ** rng.uniform(-2, 1)
    steep, grid = float(rng.choice([1.0, 1.0, 1e4])), float(rng.choice([2.0**-40, 0.25, 1.0]))
    height = 2.0**45 * (grid == 1.0) * (rng.random() < 0.5)  # a small fall vanishes beside it
    knots = KNOTS[rng.integers(len(KNOTS))] if rng.random() < 0.2 else {}

    def wave(t: Any) -> tuple[float, float]:
        value = scale * (np.sum(a * np.sin(b * t + c)) + bowl * t * t)
        slope = scale * (np.sum(a * b * np.cos(b * t + lean)) + 2 * bowl * t)
        slope *= steep if t == 0 else 1.0
        found = height + np.floor(value / grid) * grid, np.floor(slope / grid) * grid
        return knots.get(float(t), (float(found[0]), float(found[1])))

    return wave


@dataclass(frozen=True)
class ScriptCheck(FixedCheck):
    """L-BFGS told losses and gradients from a list: every rule that stops it is met to the bit."""

    trials: ClassVar[int] = 200

    @property
    def name(self) -> str:
        return "LBFGS by a script"

    def scripts(self, seed: int) -> Iterator[tuple[dict[str, Any], list[tuple[float, np.ndarray]]]]:
        """Yield arguments, and what is answered, question by question."""
        yield BARELY_CURVED
        yield UPHILL
        level = {"lr": 0.5, "tolerance_change": 0.0, "max_iter": 3}  # the loss, not the gradient
        yield level, [(1.0, np.array([0.5, -0.25, 1 - n / 4])) for n in range(12)]
        yield (
            {"max_iter": 60, "lr": 2.0**-8},
            [(-float(n), np.array([0.5, -0.25, 1 - n / 256])) for n in range(250)],
        )
        rng = self.rng(seed, "scripts")
        for _ in range(self.trials):
            given = {name: rng.choice(values) for name, values in SCRIPTED.items()}
            given = {name: v.item() for name, v in given.items() if v != 0}
            given |= {"line_search_fn": "strong_wolfe"} if rng.random() < 0.3 else {}
            sizes = rng.choice([0.0, 0.0, 0.25, 0.5, 1.0, 1e-7, 2e-7], (80, 3))
            grads = sizes * rng.choice([-1.0, 1.0], (80, 1))
            losses = rng.choice([0.25, 1.0]) * rng.integers(-4, 4, 80) - np.arange(
                80.0
            ) * rng.integers(2)
            yield given, list(zip(losses.tolist(), grads, strict=True))

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        values: Values = {}
        for number, (given, answers) in enumerate(self.scripts(seed)):
            optimizer, told = build("LBFGS", tuple(given.items())), iter(answers)
            params: Any = {"x": lift(np.ones(3))}
            out = np.zeros(())  # one memory for every loss
            states: Any = {}

            def closure(params: Any, told: Any = told, out: Any = out) -> Any:
                out[...], grad = next(told)
                return out, {"x": lift(grad)}

            for _ in range(2):
                params, states = optimizer.step(params, closure, states)
            values |= _ended(number, params["x"], states["x"], told)
        return values

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        import torch

        from torch_ref.side import array_of

        values: Values = {}
        for number, (given, answers) in enumerate(self.scripts(seed)):
            x, told = torch.nn.Parameter(torch.ones(3, dtype=torch.float64)), iter(answers)
            optimizer = torch.optim.LBFGS([x], **given)

            def closure(x: Any = x, told: Any = told) -> Any:
                loss, grad = next(told)
                x.grad = torch.from_numpy(grad.copy())
                return torch.tensor(loss, dtype=torch.float64)

            for _ in range(2):
                optimizer.step(closure)
            values |= _ended(number, array_of(x), optimizer.state[x], told)
        return values


def _ended(number: int, x: Any, state: Any, told: Iterator) -> Values:
    """Return what is left after a script: parameters, the state, answers that nobody asked for."""
    kept: dict[str, Any] = {
        k: np.float64(state.get(k, 0)) for k in ("n_iter", "func_evals", "t", "prev_loss")
    }
    kept |= {"remembered": np.float64(len(state.get("old_dirs", ())))}
    kept |= {"left": np.float64(len(list(told)))}
    kept |= {k: np.array(state.get(k, np.zeros(3))) for k in ("d", "prev_flat_grad")}
    return keyed(number, {"x": x}, {"x": kept})


SCRIPTED: dict[str, tuple[float, ...]] = {  # 0: left out
    "lr": (0.0, 0.5, 0.25),
    "max_iter": (0, 2, 3),
    "max_eval": (0, 3, 4),
    "tolerance_grad": (0.0, 0.0, 0.25),
    "tolerance_change": (0.0, 0.25, 0.25, 0.125, -1.0),
    "history_size": (0, 0, 1, 2),
}
BARELY_CURVED = (
    {"lr": 1e10, "tolerance_change": 0.0, "tolerance_grad": 0.0, "max_iter": 3},
    [
        (-float(n), np.array(g))
        for n, g in enumerate([[-1e-10, 0, 0], [0, 1e-3, 0], [0, 1, 0.5]] * 3)
    ],
)  # yᵀs is what is just not remembered
UPHILL = (
    {"lr": 1e-10, "tolerance_change": -1.0, "max_iter": 6, "line_search_fn": "strong_wolfe"},
    [(float(n), np.array([0.5, -0.25, 0.125 * n])) for n in range(30)],
)  # the search stays where it is, and goes on from there


def _counts(state: Any, parameters: int) -> dict[str, Any]:
    """Return how often L-BFGS has iterated and evaluated, as floats."""
    counts = {name: np.float64(state[name]) for name in ("n_iter", "func_evals", "prev_loss")}
    return counts | {"parameters": np.float64(parameters)}


WOLFE: Arguments = (("line_search_fn", "strong_wolfe"),)
SEARCHES: tuple[tuple[Any, ...], ...] = (
    (50.0, ("max_iter", 3)),
    (1e-3, ("max_iter", 3)),
    (300.0, ("max_iter", 2), ("max_eval", 5)),
    (1e-4, ("max_iter", 2), ("max_eval", 3)),
    (20.0, ("max_iter", 2), ("tolerance_change", 0.5)),
)
CLOSURES: tuple[Arguments, ...] = (
    (),
    (("max_iter", 7), ("history_size", 3)),
    (("max_eval", 5),),
    (("tolerance_change", 1e-2),),
    (("tolerance_grad", 1e-1),),
    (("line_search_fn", "strong_wolfe"), ("lr", 1.0)),
    (("line_search_fn", "strong_wolfe"), ("max_iter", 4), ("max_eval", 6)),
)


@cache
def closure_checks() -> list[Check]:
    """Return L-BFGS with its options."""
    checks: list[Check] = [ClosureCheck("LBFGS", given) for given in CLOSURES]
    searches = [(*WOLFE, ("lr", lr), *more) for lr, *more in SEARCHES]
    checks += [ClosureCheck("LBFGS", given, own_rate=True) for given in ((), *searches)]
    return [
        *checks,
        SearchCheck(),
        ScriptCheck(),
        IterationCheck("LBFGS"),
        IterationCheck("LBFGS", (("tolerance_change", 0.0),)),
        IterationCheck("LBFGS", (("history_size", 2),)),
    ]
