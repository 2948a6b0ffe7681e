"""`import handgrad`: everything is there, and nothing is loaded before it is used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import compare
import handgrad

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", sorted(set(handgrad.__all__) - {"__version__"}))
def test_the_face_gives_what_compare_gives(name: str) -> None:
    assert getattr(handgrad, name) is getattr(compare, name)
    assert name in dir(handgrad)


def test_the_face_names_everything_that_compare_does() -> None:
    assert set(handgrad.__all__) == {*compare.__all__, "__version__"}


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        _ = handgrad.train  # type: ignore[attr-defined]


def test_a_run_from_the_face() -> None:
    assert handgrad.run("three-rows", steps=1).agrees


@pytest.mark.parametrize(
    "statement", ["import handgrad; handgrad.__version__", "import handgrad.plugin"]
)
def test_importing_the_face_loads_no_package_but_itself(statement: str) -> None:
    code = (
        f"import sys; {statement}\n"
        "closed = {'compare', 'manual', 'torch_ref', 'teach', 'evidence'}\n"
        "closed |= {'torch', 'pandas', 'numpy'}\n"
        "found = closed & {m.partition('.')[0] for m in sys.modules}\n"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
