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
        if (place := _place(package)) is not None and place.resolve() != HOME / package:
            raise ShadowedError(_told(package, place))


def _told(package: str, place: Path) -> str:
    shown = f"{place}.py" if place.with_name(f"{place.name}.py").is_file() else f"{place}/"
    return (
        f"{shown} hides handgrad's own package '{package}': Python finds it first. Rename it, or "
        "move it into a package of your own. Or keep its folder off Python's search path: the "
        "command `handgrad` does not look into the working directory, `python -m` does."
    )


def _place(package: str) -> Path | None:
    """Return the folder of a package, or the path of a module without its suffix."""
    module = sys.modules.get(package)
    spec = find_spec(package) if module is None else module.__spec__
    file = getattr(module, "__file__", None) or (spec and spec.origin)
    if file:
        path = Path(file)
        return path.parent if path.stem == "__init__" else path.with_suffix("")
    folders = spec.submodule_search_locations if spec else None
    return Path(next(iter(folders))) if folders else None
