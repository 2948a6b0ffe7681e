"""Standard output whose reader may go away, as in `handgrad run | head`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any


class Unbroken:
    """A stream that swallows what nobody reads: the exit status stays that of the verdict."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return int(self._stream.write(text))
        except BrokenPipeError:
            self._swallow()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._swallow()

    def _swallow(self) -> None:
        """Let everything that is still to be written go nowhere, at exit too."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def unbroken(stream: Any) -> Iterator[None]:
    """Print to this stream even after its reader has gone."""
    if stream is None:
        yield
        return
    steady = Unbroken(stream)
    with redirect_stdout(steady):  # type: ignore[type-var]
        try:
            yield
        finally:
            steady.flush()
