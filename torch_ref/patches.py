"""What of torch is replaced while a run is captured: how calls come to be seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch._C import _FunctionBase as FunctionBase  # type: ignore[attr-defined]
from torch.autograd.function import _SingleLevelFunction as SingleLevel
from torch.overrides import TorchFunctionMode

__all__ = ["APPLY", "CALL", "active", "patched", "unasked"]

CALL = nn.Module.__call__
APPLY = FunctionBase.__dict__["apply"]  # what any `MyFunction.apply` ends in, kept or not


@contextmanager
def patched(
    called: Callable[[nn.Module, tuple, dict], Any], applied: Callable[[Any, tuple], Any]
) -> Iterator[None]:
    """Let these two stand for the calls of modules, and for custom Functions' `apply`."""

    def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return called(module, args, kwargs)

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        return applied(cls, args)

    nn.Module.__call__ = call  # type: ignore[method-assign]
    SingleLevel.apply = classmethod(apply)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        nn.Module.__call__ = CALL  # type: ignore[method-assign]
        del SingleLevel.apply  # type: ignore[attr-defined]


@contextmanager
def unasked(function: Any) -> Iterator[None]:
    """Let a Python function of torch's run its body: at first it asks whether a mode wants it."""
    scope = function.__globals__
    asked = {name: f for name, f in scope.items() if name.startswith("has_torch_function")}

    def once(*_: Any) -> bool:
        scope.update(asked)
        return False

    scope.update(dict.fromkeys(asked, once))
    try:
        yield
    finally:
        scope.update(asked)


def active(mode: TorchFunctionMode) -> bool:
    """Return whether a mode sees the calls that are made now."""
    from torch.overrides import _get_current_function_mode_stack

    return any(m is mode for m in _get_current_function_mode_stack())
