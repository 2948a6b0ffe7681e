"""A layer that is no pure function: it changes its arguments, or remembers an earlier call."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from compare.diagnose.causes.cause import Cause
from compare.judge.quantities import real
from compare.pair.nests import same
from compare.running.alone import Call as Alone

IN_PLACE = "An in-place operation (+=, *=, out=) works on memory that is not the function's own."
STALE = "forward must store nothing on the layer: hand everything to backward in the cache."


class Call:
    """A layer with arguments for its forward and backward; each use gets copies of them."""

    def __init__(self, call: Alone) -> None:
        self.name, self.layer, self.extra = call.name, call.bound(), call.extra
        self.inputs, self.upstream = list(call.inputs), call.upstream

    def unclean(self, args: Mapping[str, Any]) -> Cause | None:
        """Return the cause if the layer changes what it is given, or remembers; else None.

        `args` are the constructor's, to make the layer anew.
        """
        where = f"layer '{self.name}' ({type(self.layer).__name__})"
        if (changed := self._changed()) is not None:
            return Cause("arguments changed", f"{changed} of {where} in place.", IN_PLACE)
        if self._remembers(args):
            text = f"backward of {where} uses numbers that an earlier call left behind."
            return Cause("stale", text, STALE)
        return None

    def _changed(self) -> str | None:
        """Return what is changed by whom."""
        inputs, dy = copy.deepcopy(self.inputs), copy.deepcopy(self.upstream)
        _, cache = self.layer.forward(*inputs, **self.extra)
        if not same(inputs, self.inputs):
            return "an input is changed by forward"
        self.layer.backward(dy, cache)
        if not same(dy, self.upstream):
            return "the upstream gradient is changed by backward"
        return None if same(inputs, self.inputs) else "an input is changed by backward"

    def _remembers(self, args: Mapping[str, Any]) -> bool:
        """Return whether the gradient depends on forward passes before or after this one."""
        now = self._gradient(self.layer)
        later = copy.copy(self.layer)
        _, cache = later.forward(*copy.deepcopy(self.inputs), **self.extra)
        later.forward(*map(_other, self.inputs), **self.extra)
        if not same(now, later.backward(copy.deepcopy(self.upstream), cache)):
            return True
        try:
            born = vars(type(self.layer)(**args))
        except TypeError:  # a wrapper, which the arguments are not for
            return False
        fresh = copy.copy(self.layer)
        fresh.__dict__ = {k: v for k, v in vars(self.layer).items() if k in born}
        return not same(now, self._gradient(fresh))

    def _gradient(self, layer: Any) -> Any:
        _, cache = layer.forward(*copy.deepcopy(self.inputs), **self.extra)
        return copy.deepcopy(layer.backward(copy.deepcopy(self.upstream), cache))


def _other(x: Any) -> Any:
    return 0.5 * x + 1 if x is not None and real(x) else x
