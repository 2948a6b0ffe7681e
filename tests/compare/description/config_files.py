"""A small network's file, and what is told where it is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from compare.description.config import load
from compare.description.data import load as load_data
from compare.description.shapes import check_shapes
from compare.errors import UserError

NETWORK = """
[data]
dataset = "iris"

[[layers]]
name = "hidden"
type = "Linear"
in_features = 4
out_features = 5

[[layers]]
type = "Tanh"

[[layers]]
name = "head"
type = "Linear"
in_features = 5
out_features = 3
"""
Write = Callable[[str], str]


def complaint(source: Any, overrides: dict[str, Any] | None = None) -> str:
    with pytest.raises(UserError) as caught:
        load(source, overrides)
    text = str(caught.value)
    assert "\n" not in text
    return text


def misfit(source: str, overrides: dict[str, Any] | None = None) -> str:
    config = load(source, overrides)
    with pytest.raises(UserError) as caught:
        check_shapes(config, load_data(config.data))
    return str(caught.value)
