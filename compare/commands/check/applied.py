"""A custom autograd.Function inside a model, checked by itself on what it was called with."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from compare.commands.check.check import check_torch
from compare.diagnose.cases.first import source
from compare.diagnose.causes import Cause
from compare.diagnose.divergence import Divergence
from compare.errors import UserError
from torch_ref.capture import Capture
from torch_ref.captured import Ref, Region
from torch_ref.captured_side import put_in
from torch_ref.operations import OneDtype, backward_in

if TYPE_CHECKING:
    from compare.report.report import Report

__all__ = ["check_region", "inside", "place_of", "told"]

SECONDS = 10.0  # of one Function: what a mirror may spend on the cause


class Context:
    """What a Function's forward is given in the place of autograd's: it keeps, and does nothing."""

    saved_tensors: tuple = ()
    constant: tuple = ()  # outputs that no gradient flows through

    def __init__(self, args: Sequence[Any]) -> None:
        self.needs_input_grad = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)

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
        owned = (t.clone() for t in tensors)  # it may write into them
        known = dict(zip(self.names, owned, strict=True))
        given = put_in(self.region.args, lambda x: known[x.name] if isinstance(x, Ref) else x)
        with OneDtype(torch.float64, {}), torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self.region.state)  # type: ignore[arg-type]
            return self.apply(*given)


def check_region(
    region: Region, capture: Capture, *, cases: Collection[str] | None = None,
    no_grad: Collection[str] = (), seconds: float = SECONDS,
) -> Report | None:  # fmt: skip
    """Check a Function's backward against autograd through its own forward.

    On the inputs that it was called with, and on those that break derivations. As in the mirror, it
    draws what it drew, and conversions to another floating type are left out: what a Function
    rounds on purpose is no mistake in its derivation. Cases in which it draws something else (in
    the order of memory) are left out. None if it cannot be checked so: its forward does not run by
    itself, or returns something else each time.

    Args:
        region: the Function's call.
        capture: where its tensors are known.
        cases, no_grad, seconds: as for `check_torch`. Nothing is shrunk: a mirror shows no replay.
    """
    names = names_of(region)
    keys = _keys(region, names)
    inputs: Mapping[str, Any] = {
        key: np.array(capture.tensor(name).detach().numpy())
        for key, name in zip(keys, names, strict=True)
    }
    data = [key for key, name in zip(keys, names, strict=True) if name in capture.data]
    function: Any = region.function

    def checked(cases: Collection[str] | None) -> Report:
        return check_torch(
            Applied(region, names, function.apply), Applied(region, names, _forward(function)),
            inputs, no_grad={*data, *no_grad}, resize=False, budget=seconds, cases=cases,
            shrink=False,
        )  # fmt: skip

    try:
        with _doubles():
            report = checked(cases)
            left = _repeatable(report)
            return checked(left) if left else report if left is None else None
    except (UserError, RuntimeError, AttributeError, TypeError):
        return None


def _repeatable(report: Report) -> set[str] | None:
    """Return the cases in which forward, one code on both sides, is one; None if all of them."""
    table = report.differences
    output = table["quantity"].str.startswith("output")
    other = set(table[output & (table["verdict"] == "disagree")]["layer"])
    return set(table[output]["layer"]) - other if other else None


def names_of(region: Region) -> list[str]:
    """Return the names of the tensors that a Function was called with."""
    return list(dict.fromkeys(x.name for x in tree_leaves(region.args) if isinstance(x, Ref)))


@contextmanager
def _doubles() -> Iterator[None]:
    """Let all be computed in float64, in backward and without being told as well."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with backward_in(torch.float64):
            yield
    finally:
        torch.set_default_dtype(before)


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
        context = Context(args)
        found = function.forward(*args) if own else function.forward(context, *args)
        if own:
            function.setup_context(context, args, found)
        constant = {id(t) for t in context.constant}
        return tree_map(lambda t: t.detach() if id(t) in constant else t, found)

    return forward


# ── what was found, in the words of a mirror ─────────────────────────────────────────────────────
def told(region: Region, own: Divergence, found: Divergence | None = None) -> Divergence:
    """Return what a check of a Function found, in the place where the model parts first, if any."""
    name, count = region.function.__name__, len(region.calls)
    those = "one operation was" if count == 1 else f"{count} operations were"
    where = own if found is None else found
    return replace(
        own,
        step=where.step,
        layer=region.name,
        layer_type=name,
        row=where.row,
        last_agreed=where.last_agreed,
        explanation=(
            f"{name}.backward ({place_of(region.function)}) is not the derivative of "
            f"{name}.forward, whose {those} derived by hand. {own.explanation}".replace(
                "the reference", "what is derived from forward"
            )
        ),
        torch_source=source(region.function.forward),  # type: ignore[attr-defined]
        cause=None if own.cause is None else _retold(own.cause, name),
        sides=(f"{name}.backward", "derived from forward"),
    )


def inside(region: Region, found: Divergence) -> Divergence:
    """Return what a mirror found between a Function's operations, told as the Function's."""
    name = region.function.__name__
    return replace(
        found,
        layer=region.name,
        layer_type=name,
        explanation=(
            f"{name}.backward ({place_of(region.function)}) does not return what is derived by "
            f"hand from the operations of {name}.forward, of which {found.layer} is one. By itself "
            f"{name} could not be checked."
        ),
        torch_source=source(region.function.forward),  # type: ignore[attr-defined]
        sides=("derived from forward", f"{name}.backward"),
    )


def _retold(cause: Cause, name: str) -> Cause:
    """Call a check's two sides what they are in a mirror."""
    said = {"manual": f"what {name}.backward returns", "torch": "the derivative"}
    text = re.sub(r"`[^`]*`|\bmanual\b|\btorch\b", lambda m: said.get(m[0], m[0]), cause.evidence)
    return replace(cause, evidence=text.replace("Grad:", "grad:"))


def place_of(function: type) -> str:
    """Return the file and line of a Function's backward."""
    try:
        code = function.backward.__code__  # type: ignore[attr-defined]
        return f"{inspect.getsourcefile(function)}:{code.co_firstlineno}"
    except (AttributeError, TypeError, OSError):
        return "source unknown"
