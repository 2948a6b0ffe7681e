"""Torch's own configurations of its optimisers, each beside the hand-written rule of that name.

A few steps are taken side by side on the same gradients, state running free, in float64 and
float32, on parameters of zero to three axes, one of them not contiguous, some without a gradient at
some steps. The hand-written rule runs once more on error-gauge arrays, which gives the tolerances.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from compare.gauge import Gauge, gauge, gauging
from compare.gauge.array import least_tolerance
from evidence.corpus.samples import flags_kept
from manual import registry
from manual.graph import Array, Arrays
from manual.optimizers import LBFGS, Optimizer, SparseGradient
from torch_ref.optimizers import state_of

__all__ = ["DTYPES", "Configuration", "configurations", "implementations", "judged", "rows"]

STEPS = 6
DTYPES = {torch.float64: np.float64, torch.float32: np.float32}
IMPLEMENTATIONS = ("foreach", "differentiable", "fused")
SHAPES: dict[str, tuple[int, ...]] = {"scalar": (), "vector": (3,), "block": (2, 3, 4)}
MATRICES = {"matrix": (4, 3), "wide": (3, 5), "transposed": (5, 3)}  # the last not contiguous
STEPS_OF_LBFGS = {torch.float64: 3, torch.float32: 1}
ITERATIONS_OF_LBFGS = {torch.float64: 20, torch.float32: 5}  # a step, at most
FIXED = {torch.float64: 1e-10, torch.float32: 1e-4}
RESTS = {"vector": 2, "wide": 3}  # parameters without a gradient at one step
SCRATCH = ("al",)  # torch keeps it with LBFGS's state, and reads nothing of it later
DIFFERENT = {  # what another implementation does, by its name and the rule's
    ("differentiable", "Adam"): "both corrections 1 - β^t are float32 tensors, off by up to 3e-8",
    ("differentiable", "AdamW"): "both corrections 1 - β^t are float32 tensors, off by up to 3e-8",
    ("differentiable", "NAdam"): "the product of μ is a float32 tensor in every formula",
    ("foreach", "ASGD"): "η is worked out in float32, not rounded to it at the end",
}  # fmt: skip


class Configuration(NamedTuple):
    """One of torch's own: the optimiser's name, what is special, and the arguments."""

    module: str
    sample: str
    args: Mapping[str, Any]
    implementations: tuple[str, ...]


def configurations() -> Iterator[Configuration]:
    """Yield torch's own (`optim_db`)."""
    with flags_kept():
        from torch.testing._internal.common_optimizers import optim_db

    for info in optim_db:
        cls: Any = info.optim_cls  # annotated as an instance
        for given in info.optim_inputs_func(device="cpu"):
            names = tuple(info.supported_impls)
            yield Configuration(cls.__name__, given.desc, given.kwargs, names)


def rows(name: str) -> Iterator[tuple[str, str, str]]:
    """Yield a sample, a status and a reason for every configuration of an optimiser."""
    for one in configurations():
        if one.module == name:
            found = [_row(one, dtype, "") for dtype in DTYPES]
            worst = max(found, key=lambda row: SEVERITY.index(row["status"]))
            yield one.sample, worst["status"], worst["reason"]


def implementations(*dtypes: torch.dtype) -> Iterator[dict[str, str]]:
    """Yield rows for torch's other implementations (foreach, …) of every configuration."""
    for one in configurations():
        for name in one.implementations:
            for dtype in dtypes or DTYPES:
                row = _row(one, dtype, name)
                sample = f"{one.sample}, {name}, {_name(dtype)}"
                yield {"module": one.module, "sample": sample, **row}


SEVERITY = ("agree", "excepted", "disagree", "raised")


def _row(one: Configuration, dtype: torch.dtype, implementation: str) -> dict[str, str]:
    try:
        difference = judged(one, dtype, implementation)
    except Exception as error:  # whatever a hand-written rule raises is the finding
        return {"status": "raised", "reason": f"{type(error).__name__}: {error}"}
    if not difference:
        return {"status": "agree", "reason": ""}
    known = DIFFERENT.get((implementation, one.module))
    if known is None:
        return {"status": "disagree", "reason": f"{_name(dtype)}: {difference}"}
    return {"status": "excepted", "reason": f"{_name(dtype)}: {known} ({difference})"}


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def judged(one: Configuration, dtype: torch.dtype, implementation: str = "") -> str:
    """Return where the two sides part, in words; nothing if they agree."""
    run: Any = _steps
    if one.module == "LBFGS":
        run, one = _closures, one._replace(args=_iterating(one.args, dtype))
    optimizer = registry.OPTIMIZERS[one.module](**one.args)
    for number, (ours, theirs, tolerances) in enumerate(run(one, optimizer, dtype, implementation)):
        if ours.keys() != theirs.keys():
            return f"step {number}: only one side has {', '.join(ours.keys() ^ theirs.keys())}"
        for key, value in theirs.items():
            mine, allowed = np.asarray(ours[key]), tolerances[key]
            if mine.shape != value.shape:
                return f"step {number}, {key}: shape {mine.shape}, torch's {value.shape}"
            if mine.ndim and mine.dtype != value.dtype:
                return f"step {number}, {key}: {mine.dtype}, torch's {value.dtype}"
            used = np.abs(np.subtract(mine, value, dtype=np.float64)) / allowed
            if not (used <= 1).all():
                return f"step {number}, {key}: {np.max(used):.3g} of its budget"
    return ""


# ─────────────────────────────────────────────────────────────────────────── the two sides of a run
Step = tuple[Arrays, Arrays, Arrays]  # the hand-written values, torch's, and the tolerances


def _steps(
    one: Configuration, optimizer: Optimizer, dtype: torch.dtype, implementation: str
) -> Iterator[Step]:
    """Yield every step of a rule that is given one gradient a step."""
    start = _start(one.module, dtype)
    build = getattr(torch.optim, one.module)
    plain = {"foreach": False} if one.implementations else {}
    named = {implementation: True} if implementation else plain
    theirs = build(list(start.values()), **{**one.args, **named})
    ours: Any = {name: p.detach().numpy().copy() for name, p in start.items()}
    gauged: Any = {name: gauge(p) for name, p in ours.items()}
    states: Any = {}
    gauged_states: Any = {}
    for grads in _gradients(one.module, start, dtype):
        for name, p in start.items():
            p.grad = grads.get(name)
        theirs.step()
        own = {name: _array(g) for name, g in grads.items()}
        ours, states = optimizer.step(ours, own, states)
        with gauging(np.dtype(DTYPES[dtype])):
            lifted = {name: _lifted(g) for name, g in own.items()}
            gauged, gauged_states = optimizer.step(gauged, lifted, gauged_states)
        after = {name: p.detach().numpy() for name, p in start.items()}
        torch_states = {
            name: {key: value.numpy() for key, value in state.items()}
            for name, state in state_of(theirs, start).items()
        }
        tolerances = _tolerances(_flat(gauged, gauged_states), dtype)
        yield _flat(ours, states), _flat(after, torch_states), tolerances


def _start(module: str, dtype: torch.dtype) -> dict[str, Parameter]:
    rng = np.random.default_rng(0)
    shapes = MATRICES if module == "Muon" else SHAPES | MATRICES
    if module == "SparseAdam":
        shapes = {name: shape for name, shape in shapes.items() if shape}
    drawn = {name: torch.tensor(rng.normal(size=s), dtype=dtype) for name, s in shapes.items()}
    drawn["transposed"] = drawn["transposed"].T
    return {name: Parameter(p, requires_grad=False) for name, p in drawn.items()}


def _gradients(
    module: str, params: Mapping[str, Tensor], dtype: torch.dtype
) -> Iterator[dict[str, Tensor]]:
    """Yield gradients of sizes from 1e-4 to 10, laid out as their parameters; some rest."""
    rng = np.random.default_rng(1)
    for number in range(STEPS):
        found = {}
        for name, p in params.items():
            drawn = torch.tensor(rng.normal(size=p.shape) * 10 ** rng.uniform(-4, 1), dtype=dtype)
            grad = torch.empty_like(p.detach()).copy_(drawn)
            if module == "SparseAdam":
                grad = _rows_of(grad, rng)
            if RESTS.get(name) != number:
                found[name] = grad
        yield found


def _rows_of(grad: Tensor, rng: np.random.Generator) -> Tensor:
    """Return some rows of a gradient as a sparse one, one of them twice; sometimes none."""
    places = np.flatnonzero(rng.random(len(grad)) < 0.6)
    twice = torch.tensor([*places, *places[:1]], dtype=torch.long)
    return torch.sparse_coo_tensor(twice[None], grad[twice], grad.shape, check_invariants=True)


def _array(grad: Tensor) -> Any:
    if not grad.is_sparse:
        return grad.numpy().copy()
    indices, values = grad._indices().numpy(), grad._values().numpy()
    return SparseGradient(indices, values, tuple(grad.shape))


def _lifted(grad: Any) -> Any:
    sparse = isinstance(grad, SparseGradient)
    return grad._replace(values=gauge(grad.values)) if sparse else gauge(grad)


def _flat(params: Mapping[str, Array], states: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return parameters and states under one key each."""
    found: dict[str, Any] = dict(params)
    found |= {f"{p}:{k}": v for p, state in states.items() for k, v in state.items()}
    return {key: v.copy() if isinstance(v, np.ndarray) else v for key, v in found.items()}


def _tolerances(gauged: Mapping[str, Any], dtype: torch.dtype) -> Arrays:
    exact = np.asarray(least_tolerance(np.dtype(DTYPES[dtype])))
    return {
        key: value.tolerance(np.dtype(DTYPES[dtype])) if isinstance(value, Gauge) else exact
        for key, value in gauged.items()
    }


def _iterating(args: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    most = ITERATIONS_OF_LBFGS[dtype]
    return {**args, "max_iter": min(args.get("max_iter", most), most)}


def _closures(
    one: Configuration, optimizer: LBFGS, dtype: torch.dtype, implementation: str
) -> Iterator[Step]:
    """Yield the steps of L-BFGS on a loss with curvature: Σ (A θ - 1)⁴ / 4 + ½ ‖θ‖².

    Errors of first order grow without bound over its iterations, so the tolerance is a fixed share
    of the largest element. Near the minimum its changes are rounding, which then decides how often
    it iterates: in float32 one step of a few iterations is all that two correct programs share.
    """
    drawn = _start("LBFGS", dtype)
    start = {name: drawn[name].requires_grad_() for name in ("vector", "matrix")}
    rng = np.random.default_rng(2)
    wide = {name: rng.normal(size=(4, p.numel())) for name, p in start.items()}
    a = {name: v.astype(DTYPES[dtype]) for name, v in wide.items()}
    tensors = {name: torch.tensor(v) for name, v in a.items()}
    theirs = torch.optim.LBFGS(list(start.values()), **one.args)

    def torchs() -> Tensor:
        theirs.zero_grad()
        residual: Any = sum(tensors[n] @ p.reshape(-1) for n, p in start.items()) - 1
        loss: Any = (residual**4).sum() / 4 + sum((p * p).sum() for p in start.values()) / 2
        loss.backward()
        return loss

    def own(params: Any) -> tuple[Any, Any]:
        r = sum(a[n] @ p.reshape(-1) for n, p in params.items()) - 1
        loss = np.sum(r * r * r * r) / 4 + sum(np.sum(p * p) for p in params.values()) / 2
        cubed = r * r * r
        return loss, {n: p + (cubed @ a[n]).reshape(p.shape) for n, p in params.items()}

    ours: Any = {name: p.detach().numpy().copy() for name, p in start.items()}
    states: Any = {}
    for _ in range(STEPS_OF_LBFGS[dtype]):
        theirs.step(torchs)
        ours, states = optimizer.step(ours, own, states)
        after = {name: p.detach().numpy() for name, p in start.items()}
        first, *_ = start
        counts = {k: np.asarray(theirs.state[start[first]][k]) for k in ("n_iter", "func_evals")}
        tolerances = {k: np.asarray(FIXED[dtype] * np.abs(v).max()) for k, v in after.items()}
        exact = np.asarray(least_tolerance(np.dtype(DTYPES[dtype])))
        yield (
            {**ours, **{k: states[first][k] for k in counts}},
            {**after, **counts},
            tolerances | dict.fromkeys(counts, exact),
        )
