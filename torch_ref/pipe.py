"""Messages between two Python processes, whatever their versions of Python and NumPy.

A message is its length in eight bytes, then a pickle of plain values; arrays in it are their dtype,
shape and bytes, because NumPy's own pickles name modules that moved between its versions.
"""

from __future__ import annotations

import pickle
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np

__all__ = ["array", "receive", "send"]


def send(stream: BinaryIO, message: Any) -> None:
    """Write one message."""
    found = BytesIO()
    _Pickler(found, protocol=4).dump(message)
    content = found.getvalue()
    stream.write(len(content).to_bytes(8, "big") + content)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """Read one message.

    Raises:
        EOFError: the other side closed the stream.
    """
    return pickle.loads(_exactly(stream, int.from_bytes(_exactly(stream, 8), "big")))


def array(dtype: str, shape: tuple, content: bytes) -> np.ndarray:
    """Return the array that was sent; it can be written into."""
    return np.frombuffer(content, dtype).reshape(shape).copy()


def _exactly(stream: BinaryIO, size: int) -> bytes:
    found = stream.read(size)
    if len(found) < size:
        raise EOFError("the stream ended")
    return found


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return array, (value.dtype.str, value.shape, value.tobytes())
        if isinstance(value, np.generic):
            return type(value.item()), (value.item(),)
        return NotImplemented
