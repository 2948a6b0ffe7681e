"""Time every hand-written class beside torch's.

Layers and losses forward and backward, on enlarged examples: an example is small so that it can be
read; here each of its axes grows as far as the class takes it, the first to 64 times its length,
the others to 16 times. Optimisers one step after the other, on a million parameters.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from compare.pair.example import is_real, made
from compare.running.process import at_work
from evidence.bench import interleaved
from manual import registry
from manual.examples import Draw, Example
from manual.layer import Layer
from manual.optimizers import Optimizer

Row = dict[str, Any]
FIRST, OTHERS = 64, 16
MOST = 1 << 18  # elements of an input
MILLION = (1000, 1000)  # parameters of an optimiser
DTYPES = {"float64": torch.float64, "float32": torch.float32}


def bench_layers(*, rounds: int, only: str | None = None, show: bool = True) -> list[Row]:
    """Return a row per class and dtype: milliseconds of both, and their ratio."""
    from compare.commands.progress import bars

    layers = {n: c for n, c in {**registry.LAYERS, **registry.LOSSES}.items() if hasattr(nn, n)}
    rules = {
        n: c for n, c in registry.OPTIMIZERS.items() if hasattr(torch.optim, n) and not c.needs
    }
    names = [name for name in (*layers, *rules) if only is None or only in name]
    rows = []
    with at_work(), bars(show=show) as advance, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for done, name in enumerate(names, start=1):
            found = _rows(name, layers[name], rounds) if name in layers else _updates(name, rounds)
            rows += list(found)
            advance("classes", done, len(names))
    return rows


def _rows(name: str, cls: type[Layer], rounds: int) -> Iterator[Row]:
    for example in cls.examples[:1]:
        large = enlarged(cls, example)
        for dtype in DTYPES:
            ours, theirs = sides(cls, large, dtype)
            if ours is None or theirs is None:
                continue
            given = [x.shape for x in large.inputs if x is not None]
            yield _row(name, example.arguments, given, dtype, _times(ours, theirs, rounds))


def _updates(name: str, rounds: int) -> Iterator[Row]:
    """Time an optimiser with its first settings."""
    rule: Any = registry.OPTIMIZERS[name]
    for dtype in DTYPES:
        ours, theirs = updates(rule(**rule.examples[0]), dtype)
        yield _row(name, rule.examples[0], [MILLION], dtype, _times(ours, theirs, rounds))


def _times(ours: Callable, theirs: Callable, rounds: int) -> dict[str, np.ndarray]:
    return interleaved({"manual": ours, "torch": theirs}, rounds)


def _row(
    name: str, arguments: Mapping[str, Any], inputs: Sequence[tuple[int, ...]], dtype: str,
    times: dict[str, np.ndarray],
) -> Row:  # fmt: skip
    return {
        "class": name,
        "arguments": ", ".join(f"{k}={v}" for k, v in arguments.items()),
        "inputs": " ".join("×".join(map(str, shape)) for shape in inputs),
        "dtype": dtype,
        **{f"{key}_ms": round(1e3 * float(np.median(t)), 3) for key, t in times.items()},
        "ratio": round(float(np.median(times["manual"] / times["torch"])), 2),
    }


def updates(rule: Optimizer, dtype: str) -> tuple[Callable, Callable]:
    """Return both sides' next step, with what the steps before left."""
    rng = np.random.default_rng(0)
    param, grad = (rng.standard_normal(MILLION).astype(dtype) for _ in range(2))
    leaf = nn.Parameter(torch.tensor(param))
    leaf.grad = torch.tensor(grad)
    settings = {f.name: getattr(rule, f.name) for f in fields(rule)}  # type: ignore[arg-type]
    theirs = getattr(torch.optim, type(rule).__name__)([leaf], **settings)
    now: tuple[Any, Any] = {"weight": param}, {}

    def manual() -> None:
        nonlocal now
        now = rule.step(now[0], {"weight": grad}, now[1])

    return manual, theirs.step


def enlarged(cls: type[Layer], example: Example) -> Example:
    """Return the example with its inputs as long as torch's class takes them."""
    specs = [_spec(x) for x in example.inputs]
    for axis in range(max((len(s.shape) for s in specs if s is not None), default=0)):
        factor = FIRST if axis == 0 else OTHERS
        tried = [s if s is None else _longer(s, axis, factor) for s in specs]
        if all(s is None or np.prod(s.shape) <= MOST for s in tried) and _runs(cls, example, tried):
            specs = tried
    return example._replace(inputs=tuple(specs))


def _spec(given: Any) -> Draw | None:
    if given is None or isinstance(given, Draw):
        return given
    if isinstance(given, np.ndarray):
        if given.dtype.kind == "f":
            return Draw(given.shape)
        low, high = int(given.min(initial=0)), int(given.max(initial=0)) + 1
        return Draw(given.shape, "bool" if given.dtype == bool else "integers", low, high)
    return Draw(tuple(given))


def _longer(spec: Draw, axis: int, factor: int) -> Draw:
    shape = tuple(n * factor if i == axis else n for i, n in enumerate(spec.shape))
    return spec._replace(shape=shape)


def _runs(cls: type[Layer], example: Example, specs: Sequence[Draw | None]) -> bool:
    try:
        case = made(cls, example._replace(inputs=tuple(specs)), np.random.default_rng(0))
        _, cache = case.forward()
        case.layer.backward(case.upstream(np.random.default_rng(0)), cache)
        _twin(cls, example, "float64")(*_tensors(case.inputs, "float64"))
    except Exception:  # one side does not take this length
        return False
    return True


def sides(
    cls: type[Layer], example: Example, dtype: str
) -> tuple[Callable | None, Callable | None]:
    """Return both sides' forward and backward, all gradients included; None where one has none."""
    case = made(cls, example, np.random.default_rng(0), np.dtype(dtype))
    upstream = case.upstream(np.random.default_rng(1))

    def manual() -> None:
        _, cache = case.forward()
        case.layer.backward(upstream, cache)

    twin = _twin(cls, example, dtype)
    leaves = _tensors(case.inputs, dtype)
    wanted = [x.requires_grad_() for x in leaves if x.is_floating_point()]
    every = [*wanted, *twin.parameters()]
    ups = [torch.tensor(u) for u in (upstream if isinstance(upstream, tuple) else (upstream,))
           if u is not None]  # fmt: skip
    if not every:
        return None, None

    def theirs() -> None:
        ys = [y for y in tree_leaves(twin(*leaves)) if isinstance(y, Tensor) and y.requires_grad]
        torch.autograd.grad(ys, every, ups[: len(ys)], allow_unused=True)

    return manual, theirs


def _twin(cls: type[Layer], example: Example, dtype: str) -> nn.Module:
    arguments = {
        k: torch.tensor(v, dtype=DTYPES[dtype]) if isinstance(v, list) and "weight" in k else v
        for k, v in example.arguments.items()
    }
    return getattr(nn, cls.__name__)(**arguments).to(DTYPES[dtype]).train(example.training)


def _tensors(inputs: Sequence[Any], dtype: str) -> list[Any]:
    given = [x for x in inputs if x is not None]  # what is left out stands at the end
    return [torch.tensor(x, dtype=DTYPES[dtype] if is_real(x) else None) for x in given]
