"""Files of the user's own that have the name of one of our packages."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

HOME = Path(__file__).resolve().parents[1]  # holds handgrad/ and the packages beside it
LIBRARY = ("manual", "torch_ref", "compare")  # what `handgrad.run` and the fixture import
COMMANDS = (*LIBRARY, "teach")  # what the command line imports


class ShadowedError(ImportError):
    """A package of ours cannot be imported, for a file of the user's is found in its place."""


def refuse_shadows(packages: Iterable[str] = LIBRARY) -> None:
    """Import none of these packages; make sure that each is ours.

    Raises:
        ShadowedError: names the file that is found instead, and says what to do.
    """
    for package in packages:
        found = _found(package)
        if found is not None and found.resolve() != HOME / package / "__init__.py":
            raise ShadowedError(_told(package, found))


def _found(package: str) -> Path | None:
    """Return the file that stands for a name, or the folder if there is no such file."""
    module = sys.modules.get(package)
    spec = find_spec(package) if module is None else module.__spec__
    file = getattr(module, "__file__", None) or (spec and spec.origin)
    folders = (spec and spec.submodule_search_locations) or ()
    return Path(file) if file else next(map(Path, folders), None)


def _told(package: str, found: Path) -> str:
    place = f"{found.parent}/" if found.name == "__init__.py" else found
    return (
        f"{place} hides handgrad's own package '{package}': Python finds it first. Rename it, or "
        "move it into a package of your own. Or keep its folder off Python's search path: the "
        "command `handgrad` does not look into the working directory, `python -m` does."
    )
