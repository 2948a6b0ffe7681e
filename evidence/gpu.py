"""Run every test that needs a GPU, and write device, versions and results into docs/gpu.md.

`python -m evidence.gpu`; without a GPU it says so and changes nothing.
"""

from __future__ import annotations

import platform
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from subprocess import run
from tempfile import TemporaryDirectory

import numpy as np
import torch

PAGE = Path(__file__).parents[1] / "docs" / "gpu.md"
BEGIN, END = "<!-- results -->", "<!-- end of results -->"

__all__ = ["main", "put", "results"]


def main() -> int:
    """Run the tests and record them; return the exit status."""
    if not torch.cuda.is_available():
        print(f"torch {torch.__version__} sees no CUDA device: nothing was run, {PAGE} stays.")
        return 2
    with TemporaryDirectory() as folder:
        file = Path(folder) / "results.xml"
        done = run([sys.executable, "-m", "pytest", "-m", "cuda", "-n", "0", f"--junitxml={file}"])
        text = results(file.read_text(encoding="utf-8"), _machine())
    PAGE.write_text(put(PAGE.read_text(encoding="utf-8"), text), encoding="utf-8")
    print(f"Recorded in {PAGE}.")
    return done.returncode


def results(junit: str, machine: Sequence[str]) -> str:
    """Return what pytest's JUnit file says, as Markdown: the machine, counts, and what failed."""
    cases = list(ET.fromstring(junit).iter("testcase"))
    kinds = {kind: [c for c in cases if c.find(kind) is not None] for kind in ("failure", "error")}
    failed = kinds["failure"] + kinds["error"]
    skipped = [case for case in cases if case.find("skipped") is not None]
    passed = len(cases) - len(failed) - len(skipped)
    lines = [*machine, f"{passed} of {len(cases)} tests passed, {len(failed)} failed, "
             f"{len(skipped)} were skipped."]  # fmt: skip
    lines += [f"Failed: `{case.get('classname')}.{case.get('name')}`" for case in failed]
    return "\n".join(f"- {line}" for line in lines)


def put(page: str, text: str) -> str:
    """Return the page with these results in place of those that stand there."""
    between = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if not between.search(page):
        raise ValueError(f"{PAGE} has no {BEGIN} … {END}.")
    return between.sub(lambda _: f"{BEGIN}\n{text}\n{END}", page)


def _machine() -> list[str]:
    properties = torch.cuda.get_device_properties(0)
    return [
        f"Run on {date.today().isoformat()}.",
        f"Device: {properties.name}, compute capability {properties.major}.{properties.minor}, "
        f"{properties.total_memory / 2**30:.0f} GiB.",
        f"torch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN "
        f"{torch.backends.cudnn.version()}, NumPy {np.__version__}, Python "
        f"{platform.python_version()}, {platform.system()} {platform.machine()}.",
    ]


if __name__ == "__main__":
    sys.exit(main())
