"""Which piece of a piecewise function an element takes, beside the jumps of torch's derivative.

The harness lets a kink be settled by torch only where these decisions differ, so they must change
where torch's slope does. Data on a grid: every border is hit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from compare.judge.quantities import Key, Values
from evidence.mutation.battery.base import Check, ExactCheck, Lift, lifted
from evidence.mutation.battery.data import make
from evidence.mutation.battery.layer_table import COLUMN, grouped, takes_any_shape
from evidence.mutation.battery.layers import Arguments, build, keyed
from evidence.mutation.battery.losses import LossCheck
from manual import registry
from manual.layer import Layer

Rule = Callable[[np.ndarray], np.ndarray]
PLACE = Key("", "decisions")


@dataclass(frozen=True)
class DecisionCheck(ExactCheck):
    """The decisions of a layer or loss; `rule` names how torch's slope tells the pieces apart."""

    type: str
    rule: str
    arguments: Arguments = ()
    kind: str = "grid"
    classes: int = 0  # columns of scores, with labels as the target

    @property
    def name(self) -> str:
        shown = ", ".join(f"{key}={value}" for key, value in self.arguments)
        return f"decisions of {self.type}({shown})"

    def inputs(self, seed: int) -> tuple[np.ndarray, ...]:
        rng = self.rng(seed, "data")
        x = make(self.kind, rng, (40, self.classes or 3))
        x = np.tile(x, (1, 3)) if self.kind == "grid" else x
        if self.classes:
            return x, rng.integers(0, self.classes, len(x))
        if self.type.endswith("Loss"):
            return x, make("ties", rng, x.shape) * 2 + 0.25
        return (x,)

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        layer = build(self.type, self.arguments)
        shapes = {key: p.shape for key, p in layer.params.items()}
        layer = layer.with_params({k: lift(p) for k, p in self.params(seed, shapes).items()})
        inputs = [lifted(lift, x) for x in self.inputs(seed)]
        return {PLACE: np.asarray(layer.decisions(layer.forward(*inputs)[1]), dtype=np.float64)}

    def params(self, seed: int, shapes: Any) -> dict[str, np.ndarray]:
        return {k: make("ties", self.rng(seed, k), shape) for k, shape in shapes.items()}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        from evidence.mutation.battery.torch_side import module, run_module, tensor

        twin = module(self.type, dict(self.arguments), dtype)
        params = self.params(seed, {k: tuple(p.shape) for k, p in twin.named_parameters()})
        x, *target = self.inputs(seed)
        if params:
            return {PLACE: _winners(twin, params, x, dtype)}
        targets = [tensor(t, dtype) for t in target]
        _, (slope,), _ = run_module(lambda x: twin(x, *targets), {}, (x,), np.ones, dtype)
        return {PLACE: np.asarray(RULES[self.rule](slope), dtype=np.float64)}


@dataclass(frozen=True)
class PieceCheck(ExactCheck):
    """The decisions of an activation: the last piece is the straight one of torch's slope 1.

    Where none has the slope 1, as in Hardsigmoid and SELU, it is the one nearest to it.
    """

    type: str
    arguments: Arguments

    @property
    def name(self) -> str:
        shown = ", ".join(f"{key}={value}" for key, value in self.arguments)
        return f"decisions of {self.type}({shown})"

    def x(self) -> np.ndarray:
        return make("grid", self.rng(0), COLUMN)

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        layer = build(self.type, self.arguments)
        layer = layer.with_params({key: lift(p) for key, p in layer.params.items()})
        found = np.asarray(layer.decisions(layer.forward(lift(self.x()))[1]))
        return {PLACE: np.asarray(found == found.max(), dtype=np.float64)}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        slope, curvature = self.slopes(self.x())
        away = np.where(curvature == 0, np.abs(slope - 1), np.inf)
        return {PLACE: np.asarray(away == away.min(), dtype=np.float64)}

    def slopes(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return torch's first and second derivative, in float64."""
        import torch

        from evidence.mutation.battery.torch_side import module, tensor

        double = np.dtype(np.float64)
        leaf = tensor(x, double).requires_grad_()
        y = module(self.type, dict(self.arguments), double)(leaf)
        (slope,) = torch.autograd.grad(y.sum(), leaf, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.sum() + 0 * leaf.sum(), leaf)
        return slope.detach().numpy(), curvature.numpy()

    def jumps(self) -> bool:
        """Return whether torch's slope breaks at all: ELU's pieces meet smoothly if α is 1."""
        left, right = (self.slopes(np.nextafter(self.x(), end))[0] for end in (-np.inf, np.inf))
        return bool((np.abs(right - left) > 1e-12).any())


def _pieces() -> Iterator[Check]:
    """Yield a check of each activation that has pieces, with what its examples give it."""
    for name, cls in registry.ACTIVATIONS.items():
        if cls.stochastic or cls.decisions is Layer.decisions:
            continue
        for arguments in grouped(cls):
            if takes_any_shape(cls, dict(arguments), 1):
                check = PieceCheck(name, arguments)
                yield from [check] if check.jumps() else []


@dataclass(frozen=True)
class LossDecisionCheck(ExactCheck):
    """The decisions of a loss on its example's inputs, as a formula of its own has them."""

    type: str
    example: int
    kinds: tuple[str, ...] = ("ties", "random")

    @property
    def name(self) -> str:
        return f"decisions of {self.type}, example {self.example}"

    def inputs(self, seed: int) -> list[tuple[np.ndarray, ...]]:
        specs = registry.find(self.type).examples[self.example].inputs
        losses = LossCheck(self.type)
        return [losses.inputs(k, self.rng(seed, k), specs) for k in self.kinds]

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        arguments = registry.find(self.type).examples[self.example].arguments
        layer = build(self.type, tuple(arguments.items()))
        runs = [layer.forward(*(lifted(lift, x) for x in xs))[1] for xs in self.inputs(seed)]
        found = [np.asarray(layer.decisions(cache_), dtype=np.float64) for cache_ in runs]
        return {PLACE._replace(quantity=k): v for k, v in zip(self.kinds, found, strict=True)}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        pieces = PIECES[self.type, self.example]
        found = [np.asarray(pieces(*xs), dtype=np.float64) for xs in self.inputs(seed)]
        return {PLACE._replace(quantity=k): v for k, v in zip(self.kinds, found, strict=True)}


def _triple(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    near, far = (np.linalg.norm(v + 1e-6, axis=-1) for v in (a - b, a - c))
    return (1 + near >= far)[..., None]


def _swapped(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    near, far, across = (np.linalg.norm(v + 1e-6, axis=-1) for v in (a - b, a - c, b - c))
    return (2.5 + near >= np.minimum(far, across)) + 2 * (across < far)


def _counted(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    near, far, across = ((x != y).sum(axis=-1) for x, y in ((a, b), (a, c), (b, c)))
    return ((1 + near >= np.minimum(far, across)) + 2 * (across < far))[..., None]


def _lists(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    found = np.zeros((*x.shape, x.shape[1]))
    for n, row in enumerate(t):
        labels = row[: list(row).index(-1)] if -1 in row else row
        for j, label in enumerate(labels):
            rivals = ~np.isin(np.arange(len(row)), labels)
            found[n, j] = rivals & (x[n] > x[n, label] - 1)
    return found


PIECES: dict[tuple[str, int], Callable[..., Any]] = {
    ("HingeEmbeddingLoss", 0): lambda x, y: x <= 1,
    ("MarginRankingLoss", 3): lambda a, b, y: y * (a - b) <= 1,
    ("PoissonNLLLoss", 0): lambda x, y: 0 * y,
    ("PoissonNLLLoss", 9): lambda x, y: y > 1,
    ("GaussianNLLLoss", 9): lambda x, y, v: v > 1.5,
    ("CosineEmbeddingLoss", 0): lambda a, b, y: (a * b).sum(axis=1, keepdims=True) >= 0,
    ("TripletMarginLoss", 0): _triple,
    ("TripletMarginLoss", 11): _counted,
    ("TripletMarginWithDistanceLoss", 1): _swapped,
    ("ContrastiveLoss", 0): lambda a, b, y: np.linalg.norm(a - b, axis=1, keepdims=True) < 2,
    ("MultiLabelMarginLoss", 0): _lists,
}


@dataclass(frozen=True)
class SettledCheck(Check):
    """Maxout whose winners are given, as the harness settles ties: any, the largest or not."""

    @property
    def name(self) -> str:
        return "Maxout with winners given"

    def data(self, seed: int) -> dict[str, np.ndarray]:
        shapes = {"x": (5, 3), "other x": (5, 3), "weight": (3, 4, 3), "bias": (3, 4), "dy": (5, 4)}
        winners = self.rng(seed, "winners").integers(0, 3, (5, 4))
        return {k: self.draw(seed, s, k) for k, s in shapes.items()} | {"winners": winners}

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        data = {key: lifted(lift, array) for key, array in self.data(seed).items()}
        params = {key: data[key] for key in ("weight", "bias")}
        layer = build("Maxout", MAXOUT).with_params(params)
        settled = layer.settled(data["winners"])
        runs = [settled.forward(data[key]) for key in ("x", "other x")]
        layer.forward(data["x"])
        values: Values = {}
        for name, (y, cache_) in zip(("x", "other x"), runs, strict=True):
            values |= keyed(name, y, *settled.backward(data["dy"], cache_))
        return values

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        from torch.nn.functional import linear

        from evidence.mutation.battery.torch_side import run_module, tensor

        data = self.data(seed)
        index = tensor(data["winners"], dtype).unsqueeze(-1)

        def gathered(x: Any, weight: Any, bias: Any) -> Any:
            pieces = linear(x, weight.flatten(0, 1), bias.flatten()).unflatten(-1, (3, 4))
            return pieces.transpose(-1, -2).gather(-1, index).squeeze(-1)

        values: Values = {}
        for name in ("x", "other x"):
            inputs = [data[key] for key in (name, "weight", "bias")]
            y, (dx, dw, db), _ = run_module(gathered, {}, inputs, lambda _: data["dy"], dtype)
            values |= keyed(name, y, (dx,), {"weight": dw, "bias": db})
        return values


@dataclass(frozen=True)
class RectifiedCheck(ExactCheck):
    """Which steps of a recurrent layer or cell with rectifiers let through: those it shows."""

    type: str
    shape: tuple[int, ...]
    state: tuple[int, ...] | None = None
    lengths: tuple[int, ...] = ()
    arguments: Arguments = ()

    @property
    def name(self) -> str:
        shown = ", ".join(f"{key}={value}" for key, value in self.arguments)
        return f"decisions of {self.type}({shown}), {self.shape}, {self.lengths}"

    def inputs(self, seed: int) -> list[Any]:
        rng = self.rng(seed, "data")
        drawn = [None if s is None else make("ties", rng, s) for s in (self.shape, self.state)]
        return [*drawn, *([np.array(self.lengths)] if self.lengths else [])]

    def values(self, lift: Lift, dtype: np.dtype, seed: int) -> Values:
        layer = build(self.type, self.arguments)
        params = {k: make("ties", self.rng(seed, k), p.shape) for k, p in layer.params.items()}
        layer = layer.with_params({k: lift(p) for k, p in params.items()})
        inputs = [x if x is None or x.dtype.kind == "i" else lift(x) for x in self.inputs(seed)]
        found = layer.decisions(layer.forward(*inputs)[1])
        return {PLACE: np.array(-1.0) if found is None else found.astype(np.float64)}

    def torch(self, dtype: np.dtype, seed: int) -> Values:
        from evidence.mutation.battery.torch_side import module, tensor
        from torch_ref.recurrent import call_of

        twin = module(self.type, dict(self.arguments), dtype)
        own = {k: make("ties", self.rng(seed, k), tuple(p.shape))
               for k, p in twin.named_parameters()}  # fmt: skip
        twin.load_state_dict({k: tensor(p, dtype) for k, p in own.items()})
        places, named = call_of(twin, [None if x is None else tensor(x, dtype)
                                       for x in self.inputs(seed)])  # fmt: skip
        y = twin(*places, **named)
        if dict(self.arguments).get("nonlinearity") != "relu":
            return {PLACE: np.array(-1.0)}
        shown = (y[0] if isinstance(y, tuple) else y).detach().numpy() > 0
        if isinstance(y, tuple):  # (T, N, D H) to (D, T, N, H)
            shown = np.moveaxis(shown.reshape(*shown.shape[:2], 2, -1), 2, 0)
        return {PLACE: shown.astype(np.float64)}


def _winners(twin: Any, params: Any, x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return which piece of a Maxout unit the gradient of its output reaches, row by row."""
    from evidence.mutation.battery.torch_side import run_module

    rows = [run_module(twin, params, (row[None],), np.ones, dtype)[2]["bias"] for row in x]
    return np.argmax(np.stack(rows), axis=1).astype(np.float64)


RULES: dict[str, Rule] = {
    "rises": lambda slope: slope > 0,
    "sign": np.sign,
    "at slope 1": np.trunc,
    "at the bound": lambda slope: np.sign(slope) * (np.abs(slope) >= 2),
    "winner": lambda slope: slope,
}
MAXOUT: Arguments = (("in_features", 3), ("out_features", 4), ("num_pieces", 3))
RELU: Arguments = (("input_size", 3), ("hidden_size", 2), ("nonlinearity", "relu"))
SUM = (("reduction", "sum"),)


@cache
def decision_checks() -> list[Check]:
    """Return every layer and loss that has pieces."""
    return [
        SettledCheck(),
        *_pieces(),
        DecisionCheck("Maxout", "winner", MAXOUT, "ties"),
        DecisionCheck("L1Penalty", "sign", (("coefficient", 0.5),)),
        DecisionCheck("L1Loss", "sign", SUM),
        DecisionCheck("HuberLoss", "at the bound", (*SUM, ("delta", 2.0))),
        DecisionCheck("SmoothL1Loss", "at slope 1", (*SUM, ("beta", 2.0))),
        RectifiedCheck("RNNCell", (4, 3), (4, 2), arguments=RELU),
        RectifiedCheck("RNNCell", (3,), (2,), arguments=RELU),
        RectifiedCheck("RNNCell", (3,), arguments=RELU[:2]),
        RectifiedCheck("RNN", (5, 3, 3), arguments=(*RELU, ("bidirectional", True))),
        RectifiedCheck("RNN", (5, 3, 3), None, (2, 5, 3), (*RELU, ("bidirectional", True))),
        RectifiedCheck("RNN", (5, 3, 3), arguments=RELU[:2]),
        *(LossDecisionCheck(name, example) for name, example in PIECES),
        DecisionCheck("MulticlassHingeLoss", "rises", SUM, "ties", 5),
        DecisionCheck("MultiMarginLoss", "rises", SUM, "ties", 5),
        DecisionCheck("MultiMarginLoss", "rises", (*SUM, ("margin", 2.0)), "ties", 5),
    ]
