"""What grading costs: `python -m teach.exercises.timing` prints a table of CPU-seconds.

Every exercise's solution and foreseen mistakes are graded as a learner would, each by a command of
its own, with all hints: Python's start and torch's import are in it, and the submission's process.
Bytecode is kept from one command to the next, as Python does unless it is told not to.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from teach.exercises.definition import Exercise, exercises
from teach.exercises.progress import VARIABLE

MOST = 3.0  # CPU-seconds that grading one submission may take


class Cost(NamedTuple):
    """CPU-seconds of the solution, and of the mistake that takes longest."""

    solution: float
    mistake: float

    @property
    def worst(self) -> float:
        return max(self)


def cost(exercise: Exercise, folder: Path) -> Cost:
    """Grade an exercise's solution and its mistakes, one after the other."""
    text = exercise.text("solution.py")
    wrong = [text.replace(version.replace, version.by) for version in exercise.about.wrong]
    path = folder / f"{exercise.name}.py"
    return Cost(
        _seconds(text, exercise, path), max((_seconds(w, exercise, path) for w in wrong), default=0)
    )


def _seconds(source: str, exercise: Exercise, path: Path) -> float:
    """Return the least of up to three: other programs on the machine can only add to it."""
    path.write_text(source, "utf-8")
    tried = [_once(exercise, path)]
    while min(tried) > MOST and len(tried) < 3:
        tried.append(_once(exercise, path))
    return min(tried)


def _once(exercise: Exercise, path: Path) -> float:
    command = [sys.executable, "-m", "handgrad", "exercise", "grade", str(path), "--hint"]
    command += ["--hint", "--hint", "--exercise", exercise.name]
    before = _spent()
    subprocess.run(command, stdout=subprocess.DEVNULL, env=_environment(), check=False)
    return _spent() - before


def _environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return kept | {VARIABLE: ""}


def _torch() -> float:
    before = _spent()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return _spent() - before


def _spent() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Print the table; return 1 if an exercise takes longer than it may."""
    known = exercises()
    width = max(map(len, known))
    print(f"import torch, alone: {min(_torch() for _ in range(3)):.2f} CPU-seconds")
    print(f"{'exercise':<{width}}  solution  slowest mistake   (CPU-seconds, at most {MOST:g})")
    worst = 0.0
    with TemporaryDirectory() as folder:
        for name, found in known.items():
            one = cost(found, Path(folder))
            worst = max(worst, one.worst)
            mark = "" if one.worst <= MOST else "  too long"
            print(f"{name:<{width}}  {one.solution:8.2f}  {one.mistake:15.2f}{mark}", flush=True)
    return int(worst > MOST)


if __name__ == "__main__":
    sys.exit(main())
