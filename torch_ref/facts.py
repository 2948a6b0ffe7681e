"""What torch computes with here, in words: the same question asked in two processes."""

from __future__ import annotations

import os
import platform
import re
import sys

import numpy as np
import torch

ASKED = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS",
         "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA",
         "DNNL_MAX_CPU_ISA", "CUBLAS_WORKSPACE_CONFIG")  # fmt: skip

__all__ = ["facts"]


def facts() -> dict[str, str]:
    """Return names and values, in the order in which people look for a difference."""
    said = torch.__config__.show()
    blas = re.search(r"BLAS_INFO=(\w+)", said)
    library = re.search(r"oneAPI Math Kernel Library Version ([\w.]+)|OpenBLAS[^\n]*", said)
    onednn = re.search(r"MKL-DNN v([\w.]+)", said)
    found = {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "interpreter": os.path.abspath(sys.executable),
        "compile": "no",
        "threads": str(torch.get_num_threads()),
        "deterministic": _yes(torch.are_deterministic_algorithms_enabled()),
        "oneDNN": f"{onednn[1] if onednn else 'none'}, "
        f"{'on' if torch._C._get_mkldnn_enabled() else 'off'}",
        "BLAS": " ".join(part for part in (
            blas[1] if blas else "unknown", library[1] or "" if library else "") if part),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }  # fmt: skip
    return found | {name: os.environ[name] for name in ASKED if name in os.environ}


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"
