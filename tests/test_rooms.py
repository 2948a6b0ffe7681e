"""The three rooms: who may import whom."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "manual": {"torch", "torch_ref", "compare", "tests"},
    "torch_ref": {"manual", "compare", "tests"},
    "compare": {"tests"},
}


def imported(source: str) -> Iterator[str]:
    """Yield the top name of every module that the source imports, wherever it does so."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name.split(".")[0] for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.split(".")[0]
            case ast.Call(args=[ast.Constant(value=str(module)), *_]) if _imports(node.func):
                yield module.split(".")[0]


def _imports(function: ast.expr) -> bool:
    return ast.unparse(function) in ("__import__", "importlib.import_module", "import_module")


def trespasses(room: str, source: str) -> set[str]:
    return FORBIDDEN[room] & set(imported(source))


@pytest.mark.parametrize("room", FORBIDDEN)
def test_no_file_imports_from_a_room_closed_to_it(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))

    assert files
    assert {str(f): t for f in files if (t := trespasses(room, f.read_text("utf-8")))} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import torch",
        "import numpy as np, torch.nn as nn",
        "from torch import nn",
        "def late():\n    from torch.nn import functional",
        "import importlib\nimportlib.import_module('torch.nn')",
        "__import__('torch')",
    ],
)
def test_the_check_sees_every_way_to_import(source: str) -> None:
    assert trespasses("manual", source) == {"torch"}


def test_torch_ref_may_not_import_the_hand_written_side() -> None:
    assert trespasses("torch_ref", "from manual.graph import Graph\nimport torch") == {"manual"}
