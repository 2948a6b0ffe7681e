"""A piece that nothing hand-written stands for: torch computes it on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from compare.gauge import Gauge
from compare.pair.hybrid_gauge import measured
from manual.layer import Array, Arrays, Layer, Output
from torch_ref.captured import CapturedCall, tensors_of
from torch_ref.captured_side import CapturedFunction, CapturedNetwork, filled
from torch_ref.operations import OneDtype

__all__ = ["ByTorch"]


class TorchPass(NamedTuple):
    """Torch's graph of one forward pass."""

    inputs: list[Tensor]
    params: dict[str, Tensor]
    outputs: list[Tensor]


class GaugedPass(NamedTuple):
    """The arrays of one forward pass that carry their errors."""

    inputs: tuple[Any, ...]
    params: dict[str, Any]


class ByTorch(Layer):
    """One captured call, run and differentiated by torch; its errors are measured.

    Args:
        call: what was captured.
        names: the values that it takes, in the order of forward's arguments.
        ports: the names of its outputs.
        network: knows tensors that are no inputs, and what was drawn.
    """

    def __init__(
        self, call: CapturedCall, names: Sequence[str], ports: Sequence[str],
        network: CapturedNetwork,
    ) -> None:  # fmt: skip
        self.call, self.names, self.network = call, tuple(names), network
        self.outputs = tuple(ports)
        data = () if network.capture is None else network.capture.data
        self.leaves = [name not in data for name in self.names]
        self.module: nn.Module = call.module or CapturedFunction(call)
        self.params = {k: p.detach().numpy() for k, p in self.module.named_parameters()}

    def forward(self, *inputs: Array) -> tuple[Output, Any]:  # type: ignore[override]
        if any(isinstance(a, Gauge) for a in (*inputs, *self.params.values())):
            return self._gauged(inputs)
        found = self._run(inputs, self.params)
        return self._as_output([_array(t) for t in found.outputs]), found

    def backward(self, grad_output: Output, cache: Any) -> tuple[tuple[Array, ...], Arrays]:
        """Ask autograd."""
        ups = grad_output if len(self.outputs) > 1 else (grad_output,)
        if isinstance(cache, GaugedPass):
            return self._gauged_backward(ups, cache)
        return self._split(self._gradients(cache, ups))

    def _run(self, inputs: Sequence[Any], params: Arrays) -> TorchPass:
        leaves = [_leaf(x, wanted) for x, wanted in zip(inputs, self.leaves, strict=True)]
        own = {k: _leaf(p, True) for k, p in params.items()}
        floats = [t.dtype for t in (*leaves, *own.values()) if t.is_floating_point()]
        kept = OneDtype(floats[0], {}) if floats else nullcontext()  # with errors it is float64
        with torch.enable_grad(), self.network.same_draw(self.call.name), kept:
            whole = self.network.whole(self.names, leaves)
            args, kwargs = filled(self.call, self.names, whole, self.network._known)
            y = functional_call(self.module, own, args, kwargs)
        return TorchPass(leaves, own, tensors_of(y))

    def _gradients(self, found: TorchPass, ups: Sequence[Any]) -> list[np.ndarray | None]:
        pairs = [
            (y, _leaf(u, False).to(y.dtype))
            for y, u in zip(found.outputs, ups, strict=False)
            if y.requires_grad
        ]
        wanted = [t for t in (*found.inputs, *found.params.values()) if t.requires_grad]
        ends, over = [y for y, _ in pairs], [u for _, u in pairs]
        grads = iter(
            torch.autograd.grad(ends, wanted, over, retain_graph=True, allow_unused=True)
            if ends and wanted else (None,) * len(wanted)
        )  # fmt: skip
        every = (*found.inputs, *found.params.values())
        taken = [next(grads) if t.requires_grad else None for t in every]
        return [None if g is None else _array(g) for g in taken]

    def _split(self, grads: Sequence[Any]) -> tuple[tuple[Any, ...], Arrays]:
        count = len(self.names)
        own = zip(self.params, grads[count:], strict=True)
        return tuple(grads[:count]), {k: g for k, g in own if g is not None}

    def _as_output(self, found: Sequence[Any]) -> Output:
        return tuple(found[: len(self.outputs)]) if len(self.outputs) > 1 else found[0]

    # ── with errors ──────────────────────────────────────────────────────────────────────────────
    def _gauged(self, inputs: tuple) -> tuple[Output, GaugedPass]:
        inputs = tuple(x if own else _value(x) for x, own in zip(inputs, self.leaves, strict=True))
        given = (*inputs, *self.params.values())
        plain = self._run(*self._halves([_value(x) for x in given]))
        floats = [i for i, y in enumerate(plain.outputs) if y.is_floating_point()]

        def outputs(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
            found = self._run(*self._halves(_moved(given, arrays))).outputs
            return [_array(found[i]) for i in floats]

        points = [x for x in given if isinstance(x, Gauge)]
        errors = dict(zip(floats, measured(outputs, points), strict=True))
        found = [errors.get(i, _array(y)) for i, y in enumerate(plain.outputs)]  # type: ignore[arg-type]
        return self._as_output(found), GaugedPass(inputs, self.params)

    def _gauged_backward(self, ups: Sequence[Any], cache: GaugedPass) -> Any:
        count = len(cache.inputs) + len(cache.params)
        given = (*cache.inputs, *cache.params.values(), *ups)

        def every(arrays: Sequence[Any]) -> list[np.ndarray | None]:
            return self._gradients(self._run(*self._halves(arrays[:count])), arrays[count:])

        there = [i for i, g in enumerate(every([_value(x) for x in given])) if g is not None]

        def gradients(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
            found = every(_moved(given, arrays))
            return [found[i] for i in there]  # type: ignore[misc]

        points = [x for x in given if isinstance(x, Gauge)]
        errors = dict(zip(there, measured(gradients, points), strict=True))
        return self._split([errors.get(i) for i in range(count)])

    def _halves(self, arrays: Sequence[Any]) -> tuple[Sequence[Any], Arrays]:
        """Return inputs, and parameters by name."""
        count = len(self.names)
        return arrays[:count], dict(zip(self.params, arrays[count:], strict=True))

    def __repr__(self) -> str:
        return f"torch: {self.call.operation}"


def _leaf(x: Any, wanted: bool) -> Tensor:
    tensor = torch.from_numpy(np.array(x, order="C"))
    tensor = tensor.clone(memory_format=torch.contiguous_format)  # empty ones have no strides
    return tensor.requires_grad_() if wanted and tensor.is_floating_point() else tensor


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy().copy()


def _value(x: Any) -> Any:
    return x.v if isinstance(x, Gauge) else x


def _moved(given: Sequence[Any], arrays: Sequence[np.ndarray]) -> list[Any]:
    """Return what is given with these arrays in the places of those that carry errors."""
    moved = iter(arrays)
    return [next(moved) if isinstance(x, Gauge) else x for x in given]
