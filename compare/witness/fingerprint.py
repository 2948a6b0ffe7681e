"""A fingerprint of sources: what was measured of them holds for these sources alone."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path

SOURCES = (".py", ".toml")


@cache
def fingerprint(*places: str) -> str:
    """Return 16 hexadecimal digits that change with any source of these packages and modules.

    Args:
        places: such as `manual` (a package, whole) or `compare/judge/judge.py`.
    """
    found = hashlib.sha256()
    for place in places:
        package, _, rest = place.partition("/")
        root = Path(str(files(package))) / rest
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            if path.suffix in SOURCES:
                found.update(path.relative_to(root.parent).as_posix().encode())
                found.update(path.read_bytes())
    return found.hexdigest()[:16]
