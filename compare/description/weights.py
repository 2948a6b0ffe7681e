"""Shared initial weights: drawn once, or read from a file, and checked key for key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compare.description.reading import MOST, one_line, refuse_large
from compare.errors import UserError, nearest

Weights = dict[str, np.ndarray]


def representable(array: Any) -> np.ndarray:
    """Round to float32 and return float64, so that one gauge run serves both dtypes."""
    return np.asarray(array, dtype=np.float32).astype(np.float64)


def read(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Weights:
    """Read weights from a `.safetensors` file or a torch `state_dict` file, and check them.

    Raises:
        UserError: the file is missing or unreadable, or a tensor is missing, unknown, misshapen,
            not floating-point, or not finite.
    """
    if not path.is_file():
        raise UserError(f"No weights file at {path}. Give the path of a .safetensors or .pt file.")
    refuse_large(path, f"The weights file {path}")
    found = _read_safetensors(path) if path.suffix == ".safetensors" else _read_state_dict(path)
    check(found, shapes, where=str(path))
    return {name: representable(found[name]) for name in shapes}


def check(found: Mapping[str, np.ndarray], shapes: Mapping[str, Any], *, where: str) -> None:
    """Raise a UserError unless `found` has exactly these keys, these shapes and finite floats."""
    for name in shapes:
        if name not in found:
            raise UserError(
                f"{where}: the tensor '{name}' is missing. {nearest(name, found, what='It has')}"
            )
    for name, array in found.items():
        if name not in shapes:
            raise UserError(
                f"{where}: the tensor '{name}' belongs to no layer of this network. "
                f"{nearest(name, shapes, what='The network has')}"
            )
        if tuple(array.shape) != tuple(shapes[name]):
            raise UserError(
                f"{where}: '{name}' has shape {tuple(array.shape)}; the network needs "
                f"{tuple(shapes[name])} (torch's layout: a Linear weight is (out, in))."
            )
        if not np.issubdtype(array.dtype, np.floating):
            raise UserError(f"{where}: '{name}' holds {array.dtype}; weights are floats.")
        if not np.isfinite(representable(array)).all():
            raise UserError(f"{where}: '{name}' holds NaN, infinity or values beyond float32.")


def _read_safetensors(path: Path) -> Weights:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise UserError(f"{path} is not a readable safetensors file: {error}.") from None


def _read_state_dict(path: Path) -> Weights:
    """Load with `weights_only=True`: a pickle that holds anything but tensors is refused."""
    import warnings

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols; refusals are raised
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever a broken file makes its reader raise
        raise UserError(
            f"{path} cannot be loaded as a torch state_dict ({type(error).__name__}). Only plain "
            "tensors are ever read from a pickle: save it with torch.save(model.state_dict(), "
            "path), or as .safetensors."
        ) from None
    if not isinstance(found, dict) or not all(isinstance(v, torch.Tensor) for v in found.values()):
        raise UserError(f"{path} does not hold a state_dict (a dictionary of tensors).")
    return {str(name): _plain(tensor, f"{path}: '{name}'") for name, tensor in found.items()}


def _plain(tensor: Any, where: str) -> np.ndarray:
    """Return a tensor as an array, half precision widened; quantised and other forms are refused.

    A tensor may claim far more elements than its file has bytes.
    """
    import torch

    kind = str(tensor.dtype).removeprefix("torch.")
    try:
        if tensor.numel() > MOST:
            raise UserError(f"{where} has {tensor.numel():,} elements; at most {MOST:,} are read.")
        dense = tensor.detach().to_dense().resolve_neg().resolve_conj()
        return (dense.float() if dense.dtype == torch.bfloat16 else dense).numpy()
    except (RuntimeError, TypeError, NotImplementedError) as error:
        raise UserError(
            f"{where} is a tensor of {kind} on {tensor.device} that has no plain form "
            f"({one_line(error)}). Save plain float tensors: call .dequantize(), .float() or "
            ".cpu() first."
        ) from None
