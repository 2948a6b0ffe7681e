"""Half precision as torch does it: autocast, seen from outside, and the scaled loss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["HALVES", "Autocast", "Scaler", "serial_sums"]

HALVES = (torch.float16, torch.bfloat16)
CONVOLUTIONS = ("correlated", "input_gradients", "weight_gradients")  # as the other side calls them


class Autocast(TorchDispatchMode):
    """torch.autocast, which notes the modules in which anything was computed in the half.

    Args:
        dtype, device: what it casts to, and where.
        enabled: without it, `on` changes nothing.

    Attributes:
        in_half: those modules, of the last forward pass.
    """

    def __init__(self, dtype: torch.dtype, device: torch.device, *, enabled: bool) -> None:
        super().__init__()
        self.dtype, self.kind, self.enabled = dtype, device.type, enabled
        self.in_half: set[nn.Module | None] = set()
        self._module: nn.Module | None = None

    def watch(self, modules: Iterable[nn.Module]) -> None:
        """Tell these apart: the one called last is the one that computes."""
        for module in modules if self.enabled else ():
            module.register_forward_pre_hook(self._called)

    def _called(self, module: nn.Module, _: Any) -> None:
        self._module = module

    @contextmanager
    def on(self) -> Iterator[None]:
        """Cast as autocast does, for as long as a `with` statement lasts."""
        if not self.enabled:
            yield
            return
        self.in_half = set()
        with torch.autocast(self.kind, self.dtype), self:
            yield

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Run the operation, and note where a half came out of it."""
        found = func(*args, **(kwargs or {}))
        if any(isinstance(t, Tensor) and t.dtype == self.dtype for t in tree_leaves(found)):
            self.in_half.add(self._module)
        return found


class Scaler:
    """torch.amp.GradScaler, or nothing.

    Args:
        device: of the gradients.
        arguments: GradScaler's; None leaves the loss as it is.

    Attributes:
        found_inf: whether the last step was skipped.
    """

    def __init__(self, device: torch.device, arguments: Mapping[str, Any] | None) -> None:
        given = arguments or {}
        self.on = arguments is not None
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.on, **given)
        self.found_inf = False

    @property
    def state(self) -> dict[str, float]:
        """The scale and how many steps it has been kept; nothing without a scaler."""
        if not self.on:
            return {}
        found = self.scaler.state_dict()
        return {"scale": found["scale"], "growth_tracker": found["_growth_tracker"]}

    def scaled(self, loss: Tensor) -> Tensor:
        return self.scaler.scale(loss) if self.on else loss

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Divide the gradients by the scale, and remember whether any is not finite."""
        if not self.on:
            return
        self.scaler.unscale_(optimizer)
        found = self.scaler._found_inf_per_device(optimizer).values()
        self.found_inf = any(bool(flag) for flag in found)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Step if all gradients are finite, and adapt the scale."""
        if not self.on:
            optimizer.step()
            return
        self.scaler.step(optimizer)
        self.scaler.update()


def serial_sums(dtype: str, device: torch.device) -> tuple[str, ...]:
    """Return which convolutions torch adds up in the half itself: it lays them out and folds back.

    Where oneDNN has a kernel it keeps the sum in float32. In float16 on the CPU it has none for
    gradients; in bfloat16 it has them all, if the processor has the instructions.
    """
    if device.type != "cpu":
        return ()
    native = torch.ops.mkldnn
    if dtype == "bfloat16":
        return () if native._is_mkldnn_bf16_supported() else CONVOLUTIONS
    known = bool(native._is_mkldnn_fp16_supported())
    return CONVOLUTIONS[1:] if known else CONVOLUTIONS
