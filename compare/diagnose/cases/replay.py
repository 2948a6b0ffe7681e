"""The smallest failing case as files: `replay.npz`, and `replay.py` that shows it by itself.

The script holds the functions under test, if their source and all that they use can be had, and
needs NumPy and torch alone. Where the source cannot be had, it shows the numbers that were found.
"""

from __future__ import annotations

import io
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from compare.diagnose.cases.bundle import Bundle, CannotBundleError
from compare.diagnose.cases.script_lines import (
    candidate_lines,
    dtype_of,
    input_lines,
    reference_lines,
)
from compare.pair.torch_candidate import TorchCandidate
from compare.running.cases.outcome import Outcome

if TYPE_CHECKING:
    from compare.commands.check.session import Session

SCRIPT = '''"""{title}

The smallest case that still fails, found by `handgrad check`. Run it: python replay.py
"""

import sys
from pathlib import Path

import numpy as np
import torch
{imports}
saved = np.load(Path(__file__).with_name("replay.npz"))


{parts}{inputs}

# the candidate
{ours}

# what it must be
{theirs}

with np.printoptions(precision=17):
    print("manual", manual, "expected", expected, sep="\\n")
wrong = np.shape(manual) != np.shape(expected) or manual.dtype != np.{dtype} or not bool(
    np.all(np.abs(manual - expected) <= saved["tolerance"])
)
print({what!r}, "is wrong." if wrong else "is right.")
sys.exit(int(wrong))
'''

FAILURE = '''"""{title} fails: the smallest case on which it still does.

Found by `handgrad check`. Run it: python replay.py
"""

from pathlib import Path

import numpy as np
{imports}
saved = np.load(Path(__file__).with_name("replay.npz"))


{parts}{inputs}

{ours}
print({who!r}, "runs on these inputs: repeat the check.")
'''


def replay_files(session: Session, smallest: Outcome) -> dict[str, bytes]:
    """Return the files that replay a failing case."""
    quantity = smallest.bad[0]
    if smallest.crashed:
        return _failure_files(session, smallest, quantity)
    bundle = _bundle(session, smallest, quantity)
    try:
        ours = candidate_lines(session, smallest, quantity, bundle)
    except CannotBundleError as reason:
        bundle = _bundle(session, smallest, quantity)
        ours = f'# its source cannot be written down here: {reason}\nmanual = saved["manual"]'
    theirs = reference_lines(session, smallest, quantity, bundle)
    parts = bundle.text()
    script = SCRIPT.format(
        title=_title(
            f"{quantity} of {session.candidate.name}: a "
            f"{'gradient' if quantity.startswith('grad:') else 'value'} that does not agree."
        ),
        imports="".join(f"{line}\n" for line in bundle.imports if line not in ALREADY),
        parts=f"{parts}\n\n\n" if parts else "",
        inputs=input_lines(session, smallest, bundle),
        ours=ours,
        theirs=theirs,
        what=quantity,
        dtype=dtype_of(session),
    )
    return _files(script, _arrays(smallest, quantity, bundle) | bundle.arrays)


def _failure_files(session: Session, smallest: Outcome, quantity: str) -> dict[str, bytes]:
    """Return the files that replay an exception; none without source, for there are no numbers."""
    bundle = _bundle(session, smallest, quantity)
    try:
        ours = candidate_lines(session, smallest, quantity, bundle)
    except CannotBundleError:
        return {}
    parts = bundle.text()
    imports = [line for line in bundle.imports if line != "import numpy as np"]
    if isinstance(session.candidate, TorchCandidate) and "import torch" not in imports:
        imports.append("import torch")
    script = FAILURE.format(
        title=_title(smallest.failing),
        who=smallest.failing,
        imports="".join(f"{line}\n" for line in imports),
        parts=f"{parts}\n\n\n" if parts else "",
        inputs=input_lines(session, smallest, bundle),
        ours=ours,
    )
    return _files(script, _arrays(smallest, quantity, bundle) | bundle.arrays)


def _bundle(session: Session, smallest: Outcome, quantity: str) -> Bundle:
    """Return a bundle whose inputs take no name that the functions under test need."""
    first = Bundle()
    with suppress(CannotBundleError):
        candidate_lines(session, smallest, quantity, first)
    with suppress(CannotBundleError):
        reference_lines(session, smallest, quantity, first)
    return Bundle(taken=first.names())


def _title(text: str) -> str:
    """Return a text that can stand in a docstring."""
    return " ".join(text.split()).replace("\\", "/").replace('"', "'")


def _files(script: str, arrays: dict[str, np.ndarray]) -> dict[str, bytes]:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return {
        "replay.npz": buffer.getvalue(),
        "replay.py": script.encode("utf-8", "backslashreplace"),
    }


ALREADY = ("import sys", "import numpy as np", "import torch")


def _arrays(smallest: Outcome, quantity: str, bundle: Bundle) -> dict[str, np.ndarray]:
    values = smallest.values.items()
    arrays = {bundle.variable(n): v for n, v in values if isinstance(v, np.ndarray)}
    arrays |= {f"dy{i}": dy for i, dy in enumerate(smallest.upstreams)}
    for name, side in (("manual", smallest.manual), ("expected", smallest.expected)):
        if quantity in side:
            arrays[name] = np.asarray(side[quantity])
    key = next((k for k in smallest.tolerances if k.quantity == quantity), None)
    tolerance = smallest.tolerances[key] if key is not None else 0.0
    return arrays | {"tolerance": np.asarray(tolerance)}
