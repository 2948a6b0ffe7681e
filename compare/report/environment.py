"""What a run ran with: versions, BLAS, processor, threads."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version


def environment(device: str, threads: int, seed: int) -> dict[str, str]:
    """Return names and values for people; nothing that changes between equal runs."""
    import numpy as np
    import torch

    found = {
        "handgrad": _version("handgrad"),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "blas": _blas(),
        "torch blas": "MKL" if torch.backends.mkl.is_available() else "other",
        "cpu": _processor(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": device,
        "threads": str(threads),
        "seed": str(seed),
    }
    if device.startswith("cuda"):
        versions = f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
        settings = "TF32 off, deterministic kernels"
        found["gpu"] = f"{torch.cuda.get_device_name(device)}, {versions}, {settings}"
    return found


@cache
def _blas() -> str:
    from threadpoolctl import threadpool_info

    pools = [
        f"{p['internal_api']} {p['version']}" for p in threadpool_info() if p["user_api"] == "blas"
    ]
    return ", ".join(sorted(set(pools))) or "unknown"


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


@cache
def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
