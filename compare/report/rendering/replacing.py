"""Put a directory in the place of another: whole or not at all, whenever the process is killed.

The new one is written beside the old one as `.NAME.TAG.new`; then the old one is renamed to
`.NAME.TAG.old`, the new one to NAME, and the old one is deleted. A lock on the new one, which the
system releases with the process, tells a writer at work from one that was killed; what killed ones
left is put right by the next.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: leftovers stay, for nobody can tell whether they are one's
    fcntl = None  # type: ignore[assignment]

LEFT = re.compile(r"\.(?P<name>.+)\.(?P<tag>[0-9a-f]{8})\.(?P<end>new|old)")
MOST = 240  # bytes of a name, beside which there is room for the tag


class AppearedError(Exception):
    """What was not to be replaced has appeared while another was written."""


@contextmanager
def replacing(path: Path, *, over: bool = True) -> Iterator[Path]:
    """Yield a fresh directory beside `path`; rename it into place if the body succeeds.

    Raises:
        AppearedError: something is there by then, and is not to be replaced.
        OSError: it cannot be made or renamed; what was there stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh, old = _beside(path)
    lock = _made(fresh)
    try:
        yield fresh
        if over and path.exists():
            path.rename(old)
        try:
            fresh.rename(path)
        except OSError:
            if over or not path.exists():
                raise
            raise AppearedError(str(path)) from None
    except BaseException:  # Ctrl-C too: what was there stays
        if old.exists() and not path.exists():
            old.rename(path)
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    finally:
        if lock is not None:
            os.close(lock)
    shutil.rmtree(old, ignore_errors=True)


def put_right(folder: Path, known: Collection[str]) -> None:
    """Clean up after writers that were killed in this folder; give back what they had moved.

    Whatever cannot be read or renamed is left alone, and so is what holds other names than the
    known ones.
    """
    if fcntl is None:
        return
    with suppress(OSError):
        found = [LEFT.fullmatch(name) for name in os.listdir(folder)]
        for tag in sorted({m["tag"] for m in found if m}):
            ends = {m["end"]: folder / m[0] for m in found if m and m["tag"] == tag}
            name = next(m["name"] for m in found if m and m["tag"] == tag)
            with suppress(OSError):
                if all(_ours(directory, known) for directory in ends.values()):
                    _put_right(folder / name, ends.get("new"), ends.get("old"))


def _ours(directory: Path, known: Collection[str]) -> bool:
    return not directory.is_symlink() and set(os.listdir(directory)) <= set(known)


def _put_right(path: Path, new: Path | None, old: Path | None) -> None:
    """Finish what a killed writer began, if it came so far as to move the old directory away."""
    if not _abandoned(new or path):
        return
    if old is not None and not path.exists():
        (new or old).rename(path)  # `new` was complete
    for rest in (new, old):
        if rest is not None:
            shutil.rmtree(rest, ignore_errors=True)


def _abandoned(directory: Path) -> bool:
    """Return whether nobody is at work in a directory; True if it is not there."""
    try:
        lock = _locked(directory)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    if lock is not None:
        os.close(lock)
    return True


def _beside(path: Path) -> tuple[Path, Path]:
    if len(os.fsencode(path.name)) > MOST:
        raise OSError(f"its name is longer than {MOST} bytes")
    tag = secrets.token_hex(4)
    new, old = (path.with_name(f".{path.name}.{tag}.{end}") for end in ("new", "old"))
    return new, old


def _made(directory: Path) -> int | None:
    """Make and lock a directory; again if someone took it for an abandoned one in between."""
    while True:
        directory.mkdir()
        lock = _locked(directory)
        if lock is None or directory.exists():
            return lock
        os.close(lock)


def _locked(directory: Path) -> int | None:
    """Return a descriptor that holds a directory's lock; None where the system has none.

    Raises:
        OSError: someone else holds it.
    """
    if fcntl is None:
        return None
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
