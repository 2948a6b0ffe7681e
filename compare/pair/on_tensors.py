"""Forward and backward by hand on torch tensors, as a torch.autograd.Function."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from compare.errors import UserError
from compare.pair.candidates import called
from compare.pair.inputs import Specification
from compare.pair.returned import by_name
from compare.pair.signatures import plan, positional

NOTE = "{} takes torch tensors: it was run as the forward of a torch.autograd.Function."


def static_pair(thing: Any) -> tuple[Callable, Callable] | None:
    """Return a class's forward and backward if both are static: they keep nothing on an object."""
    kind = thing if isinstance(thing, type) else type(thing)
    found = [inspect.getattr_static(kind, name, None) for name in ("forward", "backward")]
    if not all(isinstance(method, staticmethod) for method in found):
        return None
    return kind.forward, kind.backward  # type: ignore[attr-defined]


def on_tensors(forward: Any, backward: Any, specification: Specification, seed: int) -> Any:
    """Return the pair as a torch.autograd.Function if it runs on tensors and not on arrays.

    None if it does not, or if its module does not know torch.
    """
    torch = sys.modules.get("torch")
    known = getattr(inspect.unwrap(forward), "__globals__", {}).values()
    if torch is None or not any(value is torch for value in known):
        return None
    values = list(specification.draw(np.random.default_rng(seed)).values())
    if _runs(forward, [np.array(v) if isinstance(v, np.ndarray) else v for v in values]):
        return None
    tensors = [torch.from_numpy(np.array(v)) if isinstance(v, np.ndarray) else v for v in values]
    if not _runs(forward, tensors):
        return None
    return _function(forward, backward, specification)


def _runs(forward: Callable, values: list[Any]) -> bool:
    try:
        forward(*values)
    except UserError:
        raise
    except Exception:  # a stranger's code on what it may not be made for
        return False
    return True


def _function(forward: Callable, backward: Callable, specification: Specification) -> Any:
    import torch

    names, floats = specification.names, specification.differentiable
    who, wanted = called(backward), positional(backward)

    def go_forward(ctx: Any, *inputs: Any) -> Any:
        ctx.planned = plan(forward(*inputs), wanted, names, who)
        ctx.given = dict(zip(names, inputs, strict=True))
        ys = ctx.planned.outputs
        return ys[0] if len(ys) == 1 else ys

    def go_back(ctx: Any, *upstreams: Any) -> Any:
        returned = backward(*ctx.planned.arguments(upstreams, ctx.given))
        returned = upstreams[0] * returned if ctx.planned.elementwise else returned
        found = by_name(returned, floats, names, who)
        return tuple(found[name].value if name in floats else None for name in names)

    methods = {"forward": staticmethod(go_forward), "backward": staticmethod(go_back)}
    own = {**methods, "codes": (forward, backward)}
    return type(called(forward), (torch.autograd.Function,), own)
