"""A custom autograd.Function inside a model, checked by itself on what it was called with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from compare.commands.check.check import check_torch
from compare.errors import UserError
from torch_ref.capture import Capture
from torch_ref.captured import Ref, Region
from torch_ref.captured_side import put_in

if TYPE_CHECKING:
    from compare.report.report import Report

__all__ = ["check_region"]

SECONDS = 10.0  # of one Function: what a mirror may spend on the cause


class Context:
    """What a Function's forward is given in the place of autograd's: it keeps, and does nothing."""

    needs_input_grad = (True,) * 64
    saved_tensors: tuple = ()
    constant: tuple = ()  # outputs that no gradient flows through

    def save_for_backward(self, *tensors: Tensor) -> None:
        self.saved_tensors = tensors

    save_for_forward = mark_dirty = save_for_backward

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        self.constant = tensors

    def set_materialize_grads(self, value: bool) -> None:
        pass


class Applied:
    """A Function as a callable of the tensors among its arguments."""

    def __init__(self, region: Region, names: Sequence[str], apply: Callable) -> None:
        self.region, self.names, self.apply = region, names, apply
        self.__self__ = region.function  # whose source and name are told
        self.__name__ = region.function.__name__

    def __call__(self, *tensors: Tensor) -> Any:
        known = dict(zip(self.names, tensors, strict=True))
        given = put_in(self.region.args, lambda x: known[x.name] if isinstance(x, Ref) else x)
        return self.apply(*given)


def check_region(region: Region, capture: Capture, *, elsewhere: bool = False) -> Report | None:
    """Check a Function's backward against autograd through its own forward.

    On the inputs that it was called with, and on those that break derivations. None if it cannot
    be checked so: its forward does not run by itself.

    Args:
        elsewhere: move what is one number throughout: at a weight of ones, as it begins, a backward
            that forgets the weight is right.
    """
    refs = dict.fromkeys(x.name for x in tree_leaves(region.args) if isinstance(x, Ref))
    names = list(refs)
    keys = _keys(region, names)
    inputs: Mapping[str, Any] = {
        key: np.array(capture.tensor(name).detach().numpy())
        for key, name in zip(keys, names, strict=True)
    }
    if elsewhere:
        inputs = {key: _moved(a, i) for i, (key, a) in enumerate(inputs.items())}
    data = [key for key, name in zip(keys, names, strict=True) if name in capture.data]
    function: Any = region.function
    try:
        return check_torch(
            Applied(region, names, function.apply), Applied(region, names, _forward(function)),
            inputs, no_grad=data, resize=False, budget=SECONDS,
        )  # fmt: skip
    except (UserError, RuntimeError, AttributeError, TypeError):
        return None


def _moved(a: np.ndarray, seed: int) -> np.ndarray:
    """Return floats that are all alike moved apart, by a quarter of their size at most."""
    if a.dtype.kind != "f" or not a.size or not np.isfinite(a).all() or np.ptp(a):
        return a
    by = np.random.default_rng(seed).uniform(-0.25, 0.25, a.shape)
    return (a + by * (np.abs(a) + (a == 0))).astype(a.dtype)


def _keys(region: Region, names: Sequence[str]) -> list[str]:
    """Return what a Function's forward calls its tensors: x0, x1, … where it has no names."""
    plain = [p.name for p in signature(region.function.forward).parameters.values()  # type: ignore[attr-defined]
             if p.kind is not p.VAR_POSITIONAL]  # fmt: skip
    given = plain if _is_split(region.function) else plain[1:]  # without its context
    at = {x.name: key for key, x in zip(given, region.args, strict=False) if isinstance(x, Ref)}
    return [at.get(name, f"x{i}") for i, name in enumerate(names)]


def _is_split(function: Any) -> bool:
    """Return whether a Function's context is set up apart from its forward."""
    return function.setup_context is not torch.autograd.Function.setup_context


def _forward(function: Any) -> Callable:
    """Return a Function's forward as autograd differentiates it."""
    own = _is_split(function)

    def forward(*args: Any) -> Any:
        if own:
            return function.forward(*args)
        context = Context()
        found = function.forward(context, *args)
        constant = {id(t) for t in context.constant}
        return tree_map(lambda t: t.detach() if id(t) in constant else t, found)

    return forward
