"""The terminal: its encoding may lack our letters, and Ctrl-C may come at any moment."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

INTERRUPTED = 130
SAID = "handgrad: interrupted before anything was compared.\n"


def forgiving_streams() -> None:
    """Print `?` for what a console's encoding lacks, in place of an exception after the work."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # it may be missing, or not a text stream
            stream.reconfigure(errors="replace")


def interruptible_imports() -> None:
    """Let Ctrl-C end the process at once while a module is imported.

    A KeyboardInterrupt in there becomes whatever a half-loaded module makes of it.
    """
    alone = threading.current_thread() is threading.main_thread()
    if alone and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(number: int, frame: Any) -> None:
    outer = frame
    while outer is not None:
        if outer.f_code.co_filename.startswith("<frozen importlib"):
            os.write(2, SAID.encode())
            os._exit(INTERRUPTED)
        outer = outer.f_back
    signal.default_int_handler(number, frame)
