"""By what a sweep's rows were made: rows of one sweep are of one kind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from compare.commands.sweep.files import contents_of
from compare.errors import UserError

CODE = ("compare", "manual", "torch_ref")


class Made(NamedTuple):
    """The versions of the process that writes, the hash of handgrad's own code, and those of the
    files that no point names by itself: what users' files import, what configurations name.
    """

    versions: str
    code: str
    files: Mapping[str, str]

    def text(self) -> bytes:
        """Return it as it stands in a part."""
        return json.dumps(self._asdict()).encode()

    def refuse_other_code(self) -> None:
        """Refuse a worker with another handgrad.

        Raises:
            UserError: it has.
        """
        if code() != self.code:
            raise UserError(
                "A worker has another handgrad than this process: install the same everywhere, and "
                "start the workers again."
            )

    def differs(self, before: bytes) -> str:
        """Say what is no longer as it was when a part was written; "" if all is."""
        then = json.loads(before or b"{}")
        if then.get("versions") != self.versions:
            return f"its rows are by {then.get('versions', 'another version')}, and this is " \
                   f"{self.versions}"  # fmt: skip
        if then["code"] != self.code:
            return "handgrad's own code has changed since its rows were written"
        now = contents_of(then["files"])
        changed = [file for file, content in then["files"].items() if now[file] != content]
        return f"{', '.join(changed)} has changed since its rows were written" if changed else ""


def made(files: Mapping[str, str]) -> Made:
    """Return by what a sweep is made, here and now."""
    return Made(versions(), code(), files)


@cache
def code() -> str:
    """Return the hash of the sources that find a verdict."""
    from compare.report.provenance import provenance

    found = provenance(code=CODE, reference=(), data={})["code"]
    return "".join(entry["sha256"][:16] for entry in found)


@cache
def versions() -> str:
    """Return what this process runs with."""
    from compare.report.environment import environment

    found = environment("cpu", 1, 0)
    return ", ".join(f"{name} {found[name]}" for name in ("handgrad", "python", "numpy", "torch"))
