"""Time every hand-written class beside torch's, forward and backward, on enlarged examples.

An example is small so that it can be read; here each of its axes grows as far as the class takes
it: the first to 64 times its length, the others to 16 times.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
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

Row = dict[str, Any]
FIRST, OTHERS = 64, 16
MOST = 1 << 18  # elements of an input
DTYPES = {"float64": torch.float64, "float32": torch.float32}


def bench_layers(*, rounds: int, only: str | None = None, show: bool = True) -> list[Row]:
    """Return a row per class and dtype: milliseconds of both, and their ratio."""
    from compare.commands.progress import bars

    every = {**registry.LAYERS, **registry.LOSSES}
    names = [n for n in every if hasattr(nn, n) and (only is None or only in n)]
    rows = []
    with at_work(), bars(show=show) as advance, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for done, name in enumerate(names, start=1):
            rows += list(_rows(name, every[name], rounds))
            advance("classes", done, len(names))
    return rows


def _rows(name: str, cls: type[Layer], rounds: int) -> Iterator[Row]:
    for example in cls.examples[:1]:
        large = enlarged(cls, example)
        for dtype in DTYPES:
            ours, theirs = sides(cls, large, dtype)
            if ours is None or theirs is None:
                continue
            times = interleaved({"manual": ours, "torch": theirs}, rounds)
            found = {key: 1e3 * float(np.median(t)) for key, t in times.items()}
            ratio = float(np.median(times["manual"] / times["torch"]))
            given = [x.shape for x in large.inputs if x is not None]
            yield {
                "class": name,
                "arguments": ", ".join(f"{k}={v}" for k, v in example.arguments.items()),
                "inputs": " ".join("×".join(map(str, shape)) for shape in given),
                "dtype": dtype,
                **{f"{key}_ms": round(ms, 3) for key, ms in found.items()},
                "ratio": round(ratio, 2),
            }


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
