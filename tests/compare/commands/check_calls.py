"""Arguments of `handgrad check` for the coursework of the examples."""

from __future__ import annotations

from pathlib import Path

COURSEWORK = Path(__file__).parents[3] / "examples" / "coursework"
AFFINE = ["--shape", "x=4,3", "--shape", "w=3,5", "--shape", "b=5"]
PAIR = "affine_forward,affine_backward"


def affine(version: str) -> list[str]:
    folder = COURSEWORK / "affine"
    return [
        f"{folder}/{version}.py:{PAIR}",
        "--reference",
        f"{folder}/reference.py:affine",
        *AFFINE,
    ]
