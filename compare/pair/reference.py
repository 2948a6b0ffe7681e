"""The reference side: a torch function or nn.Module, differentiated by autograd."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from compare.errors import UserError
from compare.pair.candidates import Result, called, described
from compare.pair.inputs import Inputs, is_float
from compare.pair.signatures import positional


class TorchReference:
    """Runs a torch function on NumPy inputs; values and gradients come back as NumPy arrays.

    Args:
        function: a torch function, or an nn.Module whose parameters may be among the inputs.
        names: the inputs' names, in the order of the arguments.
        floats: the differentiable ones.
        device: where it runs.

    Raises:
        UserError: the function's parameters do not fit the inputs.
    """

    def __init__(
        self, function: Any, names: Sequence[str], floats: Sequence[str], device: str = "cpu"
    ) -> None:
        import torch

        self.name, self.device, self.floats = called(function), device, tuple(floats)
        self.function = function
        self.module = function if isinstance(function, torch.nn.Module) else None
        own = dict(self.module.named_parameters()) if self.module is not None else {}
        self.parameters = [name for name in names if name in own]
        self.left_as_they_are = [name for name in own if name not in names]
        passed = [name for name in names if name not in own]
        self.arguments = _arguments(function, self.module, passed, floats)
        self._ready: dict[str, Any] = {}

    def run(
        self, values: Inputs, upstreams: Sequence[np.ndarray] | None, dtype: str = "float64"
    ) -> Result:
        """Return outputs, and gradients of Σ upstream · output (of each input that is a float).

        Without upstream gradients only the outputs are returned.
        """
        import torch

        tensors = {n: self.tensor(v, dtype, leaf=n in self.floats) for n, v in values.items()}
        with torch.enable_grad():
            outputs = self.outputs(tensors, dtype)
        if upstreams is None:
            return Result(tuple(map(array, outputs)), {})
        grads = _gradients(outputs, [tensors[n] for n in self.floats], upstreams)
        return Result(tuple(map(array, outputs)), dict(zip(self.floats, grads, strict=True)))

    def undifferentiable(self, values: Inputs) -> str:
        """Say why torch cannot differentiate the function here; empty if it can."""
        import torch

        tensors = {n: self.tensor(v, "float64", leaf=n in self.floats) for n, v in values.items()}
        with torch.enable_grad():
            outputs = self.outputs(tensors, "float64")
        if any(y.requires_grad or not y.is_floating_point() for y in outputs):
            return ""
        return (
            f"Torch cannot differentiate the reference {self.name}: what it returns has no grad_fn "
            "(.detach(), .data, torch.tensor(x), a function without a derivative). Its gradient is "
            "not zero but unknown, so nothing was compared."
        )

    def forward(self, values: Inputs) -> tuple[np.ndarray, ...]:
        return self.run(values, None).outputs

    def outputs(self, tensors: dict[str, Any], dtype: str) -> tuple[Any, ...]:
        """Return the function's outputs on tensors, by input name."""
        import torch

        arguments: Sequence[Any] = [tensors[name] for name in self.arguments]
        if self.module is None:
            returned = self.function(*arguments)
        else:
            from torch_ref.network import nested

            module = self._module(dtype)
            buffers = {name: b.clone() for name, b in module.named_buffers()}
            parameters = {name: tensors[name] for name in self.parameters}
            arguments = nested(module, arguments)
            _refuse_other_sizes(module, parameters)
            returned = torch.func.functional_call(module, (parameters, buffers), tuple(arguments))
        outputs = _flat(returned)
        for output in outputs:
            if not isinstance(output, torch.Tensor):
                raise UserError(
                    f"The reference {self.name} must return a torch tensor (or a tuple of them); "
                    f"it returned {described(output)}. Write it with torch functions."
                )
        return outputs

    def _module(self, dtype: str) -> Any:
        import torch

        if dtype not in self._ready:
            module = copy.deepcopy(self.module)
            self._ready[dtype] = module.to(device=self.device, dtype=getattr(torch, dtype))  # type: ignore[union-attr]
        return self._ready[dtype]

    def tensor(self, value: Any, dtype: str, *, leaf: bool) -> Any:
        """Return a tensor in place of an array; everything else passes through."""
        import torch

        if not isinstance(value, np.ndarray | np.generic):
            return value
        tensor = torch.from_numpy(np.array(value))
        if not is_float(value):
            kept = tensor if tensor.dtype == torch.bool else tensor.long()
            return kept.to(self.device)
        return tensor.to(device=self.device, dtype=getattr(torch, dtype)).requires_grad_(leaf)


def _refuse_other_sizes(module: Any, parameters: dict[str, Any]) -> None:
    """Refuse weights that do not fit a recurrent module: torch looks at none, and may crash."""
    import torch

    own = dict(module.named_parameters()) if isinstance(module, torch.nn.RNNBase) else {}
    for name, tensor in parameters.items():
        if name in own and tensor.shape != own[name].shape:
            raise ValueError(
                f"{type(module).__name__} was made for {name} of shape {tuple(own[name].shape)}, "
                f"received {tuple(tensor.shape)}"
            )


def _flat(returned: Any) -> tuple[Any, ...]:
    """Return what a function returned as one tuple, as `y, (h, c)` of an LSTM."""
    if not isinstance(returned, tuple):
        return (returned,)
    return tuple(part for item in returned for part in _flat(item))


def array(tensor: Any) -> np.ndarray:
    """Return a tensor's numbers; halves, which NumPy lacks or treats badly, as float64."""
    import torch

    tensor = tensor.detach().cpu()
    if tensor.dtype in (torch.float16, torch.bfloat16) or not tensor.is_floating_point():
        tensor = tensor.double()
    return tensor.numpy()


def upstream_tensor(output: Any, upstream: np.ndarray) -> Any:
    """Return an upstream gradient in the output's dtype, device and shape (if its size fits)."""
    import torch

    tensor = torch.from_numpy(np.array(upstream, dtype=np.float64)).to(output.device, output.dtype)
    return tensor.reshape(output.shape)


@cache
def handed() -> Any:
    """Return a function of (dys, *ys), a number with the gradient dy with respect to each y.

    Autograd's own argument for upstream gradients imports SymPy: half a second.
    """
    import torch

    class Handed(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, dys: Any, *ys: Any) -> Any:
            if any(dy.shape != y.shape for dy, y in zip(dys, ys, strict=True)):
                raise RuntimeError("an upstream gradient has another shape than its output")
            ctx.dys = dys
            return ys[0].new_zeros(())

        @staticmethod
        def backward(ctx: Any, *_: Any) -> Any:
            return None, *ctx.dys

    return Handed.apply


def _gradients(
    outputs: Any, leaves: list[Any], upstreams: Sequence[np.ndarray]
) -> list[np.ndarray]:
    import torch

    pairs = [
        (y, upstream_tensor(y, dy))
        for y, dy in zip(outputs, upstreams, strict=False)
        if y.requires_grad
    ]
    if not pairs:
        return [np.zeros(tuple(leaf.shape)) for leaf in leaves]
    ys, dys = zip(*pairs, strict=True)
    found = torch.autograd.grad(handed()(dys, *ys), leaves, allow_unused=True)
    return [
        np.zeros(tuple(leaf.shape)) if grad is None else array(grad)
        for grad, leaf in zip(found, leaves, strict=True)
    ]


def _arguments(
    function: Callable, module: Any, names: list[str], floats: Sequence[str]
) -> list[str]:
    """Return which inputs the reference takes: all of them, those it names, or the float ones."""
    taken = positional(module.forward if module is not None else function)
    if taken is None or len(taken) == len(names) or _takes(function, module, len(names)):
        return names
    if set(taken) <= set(names) and not set(names).difference(taken).intersection(floats):
        return taken
    tensors = [name for name in names if name in floats]
    if len(taken) == len(tensors):
        return tensors
    raise UserError(
        f"The reference {called(function)} takes ({', '.join(taken)}), but the inputs are "
        f"({', '.join(names)}). Give it one parameter for each input, in the same order, or name "
        "its parameters as the inputs are named."
    )


def _takes(function: Callable, module: Any, count: int) -> bool:
    """Return whether the function can be called with this many positional arguments."""
    import torch

    if isinstance(module, torch.nn.RNNBase | torch.nn.RNNCellBase):  # the states are a tuple
        from torch_ref.network import nested

        count = len(nested(module, [None] * count))
    try:
        inspect.signature(module.forward if module is not None else function).bind(*[None] * count)
    except (TypeError, ValueError):
        return False
    return True
