"""A torch callable with its own backward as the candidate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compare.errors import UserError
from compare.pair.candidates import Candidate, Started, called, described
from compare.pair.inputs import Inputs, is_float
from compare.pair.montecarlo import FLOOR, Errors, errors
from compare.pair.reference import TorchReference, array, upstream_tensor
from compare.pair.returned import Found, by_name
from compare.pair.tolerance import HALF_K, PRECISIONS, Judged

MEASURED = (
    "E by Monte-Carlo arithmetic on the reference in float64, element by element, and from what "
    "it loses when it runs in this dtype; u = {unit}, a mistake below about {share} of an element "
    "passes"
)


class TorchCandidate(Candidate):
    """Runs a torch callable in its dtype and on its device; its numbers are NumPy float64."""

    keeps_dtype = True  # autograd sees to it

    def __init__(
        self, function: Any, names: Sequence[str], floats: Sequence[str], dtype: str, device: str
    ) -> None:
        import torch

        if isinstance(function, type) and issubclass(function, torch.autograd.Function):
            function = function.apply
        if not callable(function):
            raise UserError(f"The candidate must be callable; received {described(function)}.")
        self.function, self.names, self.differentiable = function, tuple(names), tuple(floats)
        self.dtype, self.device = getattr(torch, dtype), _device(device)
        owner = getattr(function, "__self__", None)
        self.owner = owner if isinstance(owner, type) else None
        self.name = self.owner.__name__ if self.owner else called(function)
        own = (getattr(self.owner, name, function) for name in ("forward", "backward"))
        self.forward_code, self.backward_code = getattr(self.owner, "codes", own)

    def start(self, values: Inputs) -> Started:
        import torch

        tensors = {name: self._tensor(name, value) for name, value in values.items()}
        with torch.enable_grad():
            returned = self.function(*tensors.values())
        outputs = returned if isinstance(returned, tuple) else (returned,)
        for output in outputs:
            if not isinstance(output, torch.Tensor):
                raise UserError(
                    f"{self.name} must return tensors; it returned {described(output)}."
                )
        shown = tuple(array(y).astype(np.float64) for y in outputs)
        self._write_back(values, tensors)
        return Started(shown, None, (outputs, tensors))

    def backward(self, upstreams: Sequence[Any], started: Started) -> list[Any]:
        import torch

        outputs, tensors = started.state
        leaves = [tensors[name] for name in self.differentiable]
        pairs = [
            (y, upstream_tensor(y, dy))
            for y, dy in zip(outputs, upstreams, strict=True)
            if y.requires_grad
        ]
        if not pairs:
            return [None for _ in leaves]
        ys, dys = zip(*pairs, strict=True)
        found = torch.autograd.grad(ys, leaves, dys, allow_unused=True, retain_graph=True)
        return [None if grad is None else array(grad).astype(np.float64) for grad in found]

    def gradients(self, returned: Any, started: Started) -> dict[str, Found]:
        return by_name(list(returned), self.differentiable, self.names, self.name)

    def _tensor(self, name: str, value: Any) -> Any:
        """Return a leaf in the candidate's dtype, with gaps or columns first as the array is."""
        import torch

        if not isinstance(value, np.ndarray):
            return value
        tensor = torch.from_numpy(np.array(value))
        if is_float(value):
            tensor = tensor.to(device=self.device, dtype=self.dtype)
        else:
            tensor = (tensor if tensor.dtype == torch.bool else tensor.long()).to(self.device)
        if not value.flags.forc:
            tensor = torch.stack([tensor, tensor], dim=-1)[..., 0]
        return tensor.detach().requires_grad_(name in self.differentiable)

    def _write_back(self, values: Inputs, tensors: dict[str, Any]) -> None:
        """Show in the arrays what the callable has written into its tensors."""
        for name, value in values.items():
            if is_float(value) and tensors[name]._version:
                value[...] = array(tensors[name])


def _device(name: str) -> Any:
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"device '{name}' cannot be used here: {str(error).splitlines()[0]}"
        ) from error
    return name


def torch_errors(
    reference: Any,
    candidate: Any,
    values: Inputs,
    upstreams: Sequence[np.ndarray],
) -> Judged:
    """Find what rounding in the candidate's dtype can do, on the reference.

    Monte-Carlo arithmetic on the reference in float64; and what the reference itself loses when it
    runs in the candidate's dtype, if torch can do that.
    """
    precision = PRECISIONS[str(candidate.dtype).removeprefix("torch.")]
    run = reference.run if isinstance(reference, TorchReference) else candidate.run
    floor = 1.0 if precision.k == HALF_K else FLOOR
    share = precision.k * precision.unit * floor
    given = run, candidate.differentiable, values, upstreams, precision.name
    found = errors(*given, how="torch", floor=floor)
    if precision.name != "float64" and isinstance(reference, TorchReference):
        found = _with_loss(found, reference, values, upstreams, precision)
    return Judged(found, MEASURED.format(unit=f"{precision.unit:.2g}", share=f"{share:.1g}"))


def _with_loss(
    found: Errors, reference: TorchReference, values: Inputs, upstreams: Any, precision: Any
) -> Errors:
    try:
        low = reference.run(values, upstreams, precision.name).named()
    except RuntimeError:  # torch has no such kernel in this dtype
        return found
    exact = reference.run(values, upstreams).named()
    for quantity, error in found.items():
        lost = np.abs(low[quantity] - exact[quantity]) / precision.unit
        lost = np.where(np.isfinite(lost), lost, 0.0)
        found[quantity] = np.hypot(error, lost)
    return found
