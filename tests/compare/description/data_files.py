"""Data sets loaded from settings or files, and what is told of unusable ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compare.description.config import DataConfig
from compare.description.data import Dataset, load
from compare.errors import UserError


def loaded(**settings: Any) -> Dataset:
    return load(DataConfig(**settings))


def written(folder: Path, text: str, name: str = "table.csv") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def complaint(**settings: Any) -> str:
    with pytest.raises(UserError) as caught:
        loaded(**settings)
    text = str(caught.value)
    assert "\n" not in text
    return text
