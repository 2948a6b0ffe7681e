"""A GPU for the length of a run: no TF32, deterministic kernels, draws that can be recorded."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import nn

from torch_ref.draws import NotRecordableError

__all__ = ["devices_that_draw", "refuse_hidden_draws", "reproducible"]

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
UNDETERMINED = re.compile(r"^(\S+) does not have a deterministic implementation")


@contextmanager
def reproducible(device: str) -> Iterator[list[str]]:
    """Compute on a GPU as exactly and as repeatably as torch can; put all settings back after.

    TF32 is off, cuDNN and cuBLAS take deterministic kernels and try none out, and attention is
    computed step by step, which shows its dropout. The list that is given fills with the
    operations that have no deterministic kernel. Of any other device nothing is changed.
    """
    found: list[str] = []
    if not device.startswith("cuda"):
        yield found
        return
    before = [(put, read()) for read, put in _settings()]
    deterministic = torch.are_deterministic_algorithms_enabled()
    lenient = torch.is_deterministic_algorithms_warn_only_enabled()
    workspace = os.environ.get(WORKSPACE)
    try:
        for (_, put), value in zip(_settings(), _WANTED, strict=True):
            put(value)
        torch.use_deterministic_algorithms(True, warn_only=True)
        os.environ.setdefault(WORKSPACE, ":4096:8")
        with _noted(found):
            yield found
    finally:
        for put, value in before:
            put(value)
        torch.use_deterministic_algorithms(deterministic, warn_only=lenient)
        if workspace is None:
            os.environ.pop(WORKSPACE, None)


def refuse_hidden_draws(module: nn.Module, device: str) -> None:
    """Refuse modules whose dropout cuDNN draws itself, before anything is run.

    Raises:
        NotRecordableError: an LSTM, GRU or RNN with dropout between its layers would train there.
    """
    if not (device.startswith("cuda") and torch.backends.cudnn.enabled):
        return
    for name, part in module.named_modules():
        if isinstance(part, nn.RNNBase) and part.training and part.dropout and part.num_layers > 1:
            raise NotRecordableError(
                f"'{name}' ({type(part).__name__}) draws its dropout (p = {part.dropout:g}) inside "
                "cuDNN, where it cannot be recorded and given to the hand-written side. Set its "
                "dropout to 0, put Dropout layers between layers of one, or run on the CPU"
            )


def devices_that_draw(device: str = "cpu") -> list[int]:
    """Return the GPUs whose generators a run may change: all that torch already uses, or will."""
    used = torch.cuda.is_initialized() or device.startswith("cuda")
    return list(range(torch.cuda.device_count())) if used else []


def _settings() -> list[tuple[Callable[[], Any], Callable[[Any], None]]]:
    """Return how each setting is read and put, in the order of `_WANTED`."""
    cudnn, cuda = torch.backends.cudnn, torch.backends.cuda
    return [
        (lambda: _tf32(cuda.matmul), lambda v: _put_tf32(cuda.matmul, v)),
        (lambda: _tf32(cudnn), lambda v: _put_tf32(cudnn, v)),
        (lambda: cudnn.deterministic, lambda v: setattr(cudnn, "deterministic", v)),
        (lambda: cudnn.benchmark, lambda v: setattr(cudnn, "benchmark", v)),
        (cuda.flash_sdp_enabled, cuda.enable_flash_sdp),
        (cuda.mem_efficient_sdp_enabled, cuda.enable_mem_efficient_sdp),
        (cuda.cudnn_sdp_enabled, cuda.enable_cudnn_sdp),
        (cuda.math_sdp_enabled, cuda.enable_math_sdp),
    ]


_WANTED = (False, False, True, False, False, False, False, True)


def _tf32(owner: Any) -> Any:
    """Return whether TF32 may be used; the newer name's value where only that was set."""
    try:
        return owner.allow_tf32
    except RuntimeError:  # torch minds when both names of it were used
        return owner.fp32_precision


def _put_tf32(owner: Any, value: Any) -> None:
    if isinstance(value, str):
        owner.fp32_precision = value
    else:
        with suppress(RuntimeError):
            owner.allow_tf32 = value
            return
        owner.fp32_precision = "tf32" if value else "ieee"


@contextmanager
def _noted(found: list[str]) -> Iterator[None]:
    """Collect the names in torch's warnings of kernels that are not deterministic."""
    with warnings.catch_warnings():
        warnings.filterwarnings("always", message=UNDETERMINED.pattern)
        show = warnings.showwarning

        def note(message: Any, *arguments: Any, **more: Any) -> None:
            named = UNDETERMINED.match(str(message))
            if named is None:
                show(message, *arguments, **more)
            elif named[1] not in found:
                found.append(named[1])

        warnings.showwarning = note
        yield
