"""What torch raises in the middle of a run: a loss that NaN reaches, a rate beyond its range."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from compare.description.reading import one_line


class TorchRefusedError(Exception):
    """Torch's side cannot do the next step; its text says why."""


@contextmanager
def torchs_own() -> Iterator[None]:
    """Tell what torch raises apart from what anybody else does."""
    try:
        yield
    except (RuntimeError, ValueError, OverflowError, AssertionError) as error:
        raise TorchRefusedError(f"{type(error).__name__}: {one_line(error)}") from error
