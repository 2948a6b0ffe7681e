"""The last whole table of certificates, as reports quote it."""

from __future__ import annotations

import json
import math
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from compare.errors import UserError
from compare.witness.fingerprint import fingerprint

if TYPE_CHECKING:
    from compare.witness.rows import Certificates

CERTIFIED = ("manual", "compare/witness")
FILE = Path(str(files("compare.witness"))) / "certificates.json"


def record(found: Certificates, file: Path = FILE) -> None:
    """Write down how many digits each class is certified to: the fewest of its rows.

    Raises:
        UserError: something is not certified.
    """
    if not found.certified:
        raise UserError("--record: something is not certified, so nothing was written.")
    digits: dict[str, int] = {}
    for row in found.rows:
        name = row.name.partition("(")[0]
        if name.isidentifier():
            whole = math.floor(row.digits)
            digits[name] = min(digits.get(name, whole), whole)
    file.write_text(
        json.dumps({"sources": fingerprint(*CERTIFIED), "digits": digits}, indent=2) + "\n"
    )


@cache
def certified_digits(file: Path = FILE) -> dict[str, int]:
    """Return the digits by class; nothing if the code is not what was certified."""
    found = json.loads(file.read_text()) if file.exists() else {}
    return found["digits"] if found.get("sources") == fingerprint(*CERTIFIED) else {}
