"""A user's files: what is too large, no file, or no TOML, is refused before it is read."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from compare.description.reading import LARGEST_TEXT, read_toml, refuse_large, toml, write
from compare.errors import UserError


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "[" * 10**5,
        "x = " + "{a=" * 10**5,
        "a." * 10**5 + "a = 1",
        "[" + "a." * 10**5 + "]",
    ],
)
def test_toml_that_nests_without_end_is_refused_at_once(text: str) -> None:
    with pytest.raises(tomllib.TOMLDecodeError):
        toml(text)


def test_ordinary_toml_is_read() -> None:
    text = '["data"]\nfile = "a.b.c.d.csv"\nx = [1.0, 2.0]\n[a.b."c d"]\ny = {z.w = 1}\n'

    assert toml(text) == tomllib.loads(text)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system")
def test_a_pipe_is_refused_and_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(UserError, match="no regular file"):
        read_toml(tmp_path / "pipe")

    with pytest.raises(OSError, match="no regular file"):
        write(tmp_path / "pipe", "text")


def test_a_large_file_is_refused_by_its_size(tmp_path: Path) -> None:
    with (tmp_path / "large.toml").open("wb") as file:
        file.truncate(LARGEST_TEXT + 1)

    with pytest.raises(UserError, match="1,048,577 bytes; at most 1,048,576"):
        read_toml(tmp_path / "large.toml")
    refuse_large(tmp_path / "large.toml", "it")
