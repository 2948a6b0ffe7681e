"""The plan of the house: imports go one way, no circle, and few rooms at the top."""

from __future__ import annotations

from pathlib import Path

import pytest

import compare
from tests import house

ROOT = Path(__file__).parents[1]
FILES = house.sources(ROOT)
ORDER = house.story(compare.__doc__ or "")
PRODUCT = {"teach", "evidence", "handgrad", "tests"}  # what stands above compare/
CLOSED = {
    "manual": {"torch", "torch_ref", "compare", *PRODUCT},
    "torch_ref": {"manual", "compare", *PRODUCT},
    "compare": PRODUCT,
    "teach": {"evidence", "handgrad", "tests"},
    "evidence": {"handgrad", "tests"},
    "handgrad": {"tests"},
}


def test_no_modules_import_each_other() -> None:
    assert house.circles(FILES) == []


def test_no_package_imports_one_that_is_closed_to_it() -> None:
    assert {file.partition("/")[0] for file in FILES} == set(CLOSED)
    assert house.closed(FILES, CLOSED) == []


def test_the_rooms_of_compare_are_those_of_its_story_and_no_more_than_twelve() -> None:
    assert house.rooms(FILES, "compare") == sorted(ORDER)
    assert len(ORDER) <= 12


def test_a_room_of_compare_imports_from_the_rooms_before_it_alone() -> None:
    assert house.upward(FILES, "compare", ORDER) == []


# ── what the checks must notice ──────────────────────────────────────────────────────────────────
CIRCLES = {
    "at the top": {"a/b.py": "import a.c", "a/c.py": "from a import b"},
    "inside a function": {
        "a/b.py": "from a.c import x",
        "a/c.py": "def f():\n    from a.b import y",
    },
    "by relative names": {"a/b.py": "from .c import x", "a/c.py": "from . import b"},
    "by a name in quotes": {
        "a/b.py": "from importlib import import_module\nimport_module('a.c')",
        "a/c.py": "import a.b",
    },
    "through a third": {"a/b.py": "import a.c", "a/c.py": "import a.d", "a/d.py": "import a.b"},
    "through a face": {
        "a/__init__.py": "from a.b import x\nfrom a.c import y",
        "a/b.py": "from a import y",
        "a/c.py": "from a import x",
    },
    "between packages": {"a/b.py": "from d.e import x", "d/e.py": "from a.b import x"},
    "where types alone are meant on one side": {
        "a/b.py": "if TYPE_CHECKING:\n    import a.d\nelse:\n    import a.c",
        "a/c.py": "import a.b",
    },
}


@pytest.mark.parametrize("case", CIRCLES)
def test_a_circle_is_found(case: str) -> None:
    modules = [house.module(file) for file in CIRCLES[case]]

    assert house.circles(CIRCLES[case]) == [sorted(modules)]


@pytest.mark.parametrize(
    "files",
    [
        {"a/b.py": "import a.c\nimport numpy", "a/c.py": "import numpy"},
        {"a/b.py": "import a.c", "a/c.py": "if TYPE_CHECKING:\n    import a.b"},
        {"a/__init__.py": "from a.b import x", "a/b.py": "from a import y"},
        {"a/b.py": "def f():\n    'import a.c'", "a/c.py": "import a.b"},
    ],
    ids=["one way", "for types", "a face and one module", "in a text"],
)
def test_what_is_no_circle_is_not_found(files: dict[str, str]) -> None:
    assert house.circles(files) == []


@pytest.mark.parametrize(
    "source",
    [
        "import torch",
        "import numpy as np, torch.nn as nn",
        "from torch import nn",
        "def late():\n    from torch.nn import functional",
        "import importlib\nimportlib.import_module('torch.nn')",
        "__import__('torch')",
        "try:\n    import torch\nexcept ImportError:\n    pass",
    ],
)
def test_a_closed_package_is_noticed_however_it_is_imported(source: str) -> None:
    (found,) = house.closed({"manual/layer.py": source}, CLOSED)

    assert found.startswith("manual/layer.py imports torch")


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("torch_ref/side.py", "from manual.graph import Graph"),
        ("compare/report/report.py", "from evidence.mutation.record import quoted"),
        ("compare/pair/hybrid.py", "def f():\n    import teach"),
        ("teach/kit/show.py", "import evidence.bench"),
        ("evidence/bench.py", "from handgrad import run"),
    ],
)
def test_each_package_has_packages_that_are_closed_to_it(file: str, source: str) -> None:
    assert len(house.closed({file: source}, CLOSED)) == 1


UPWARD = {
    "compare.judge.judge -> compare.report.report": "import compare.report.report",
    "compare.judge.judge -> compare.pair.plant": "def f():\n    from ..pair import plant",
    "compare.judge.judge -> compare": "import compare\ncompare.run()",
}


@pytest.mark.parametrize("wanted", UPWARD)
def test_an_import_from_a_later_room_is_found(wanted: str) -> None:
    files = {
        "compare/__init__.py": "", "compare/report/report.py": "", "compare/pair/plant.py": "",
        "compare/judge/judge.py": f"import compare.errors\nimport numpy\n{UPWARD[wanted]}",
        "compare/errors.py": "",
    }  # fmt: skip

    assert house.upward(files, "compare", ORDER) == [wanted]


def test_a_room_that_the_story_does_not_tell_of_is_found() -> None:
    files = {"compare/__init__.py": "", "compare/attic.py": "", "compare/judge/judge.py": ""}

    assert house.rooms(files, "compare") == ["attic", "judge"]
