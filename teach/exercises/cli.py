"""`handgrad exercise list`, `start`, `grade`, `progress` and `verify`."""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from compare.commands.progress import bars
from compare.commands.spoken import Lang, Spoken, SpokenGroup
from compare.words import _

if TYPE_CHECKING:
    from teach.exercises.definition import Exercise
    from teach.exercises.grade import Grade

ALL_RIGHT, NOT_YET, UNUSABLE = 0, 1, 2

exercise = typer.Typer(
    cls=SpokenGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Derive gradients by hand: exercises with the forward pass given, and a grader.",
    epilog="Example: handgrad exercise start linear, then handgrad exercise grade linear.py",
)

Folder = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="A folder of your own exercises (docs/exercises.md)."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print as JSON.")]


@exercise.callback()
def exercises_in(lang: Lang = None) -> None:
    """Let `--lang` stand before the command as well."""


@exercise.command("list", cls=Spoken)
def list_exercises(exercises: Folder = None, as_json: AsJson = False, lang: Lang = None) -> None:
    """List the exercises, from the first to the last, and what each teaches."""
    from teach.exercises.definition import exercises as known
    from teach.exercises.show import listing

    found = known(exercises)
    if as_json:
        rows = [
            {"name": e.name, "level": e.about.level, "title": e.about.title,
             "learned": e.about.summary, "gradients": [f"d{n}" for n in e.gradients]}
            for e in found.values()
        ]  # fmt: skip
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        print(listing(found))


@exercise.command(cls=Spoken, epilog="Example: handgrad exercise start linear --dir homework")
def start(
    name: Annotated[str, typer.Argument(help="An exercise (see `handgrad exercise list`).")],
    directory: Annotated[
        Path, typer.Option("--dir", help="Where to put the file; made if it is not there.")
    ] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    exercises: Folder = None,
    lang: Lang = None,
) -> None:
    """Write a file with the forward pass, and `backward` to fill in."""
    from compare.description.reading import write as write_file
    from compare.errors import UserError
    from teach.exercises.definition import exercises as known
    from teach.exercises.definition import named

    found = named(name, known(exercises))
    path = directory / f"{name}.py"
    if path.exists() and not force:
        raise UserError(
            f"{path} is there already, and may hold your work. Choose another folder with --dir, "
            "or overwrite it with --force."
        )
    if directory.exists() and not directory.is_dir():
        raise UserError(f"--dir {directory} is no folder. Name a folder; it is made if needed.")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_file(path, found.stub)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}.") from error
    more = f" --exercises {quote(str(exercises))}" if exercises else ""
    file = quote(str(path))
    told = _("{path}: {title}. Fill in {backward}, then:")
    print(told.format(path=path, title=_(found.about.title), backward=found.about.backward))
    print(f"  handgrad exercise grade {file}{more}")
    again = _("(again for more: --hint --hint)")
    print(f"  handgrad exercise grade {file}{more} --hint    {again}")


@exercise.command(
    cls=Spoken,
    epilog="Example: handgrad exercise grade linear.py --hint · "
    "handgrad exercise grade homework/ --csv grades.csv --jobs 4",
)
def grade(
    path: Annotated[
        Path, typer.Argument(metavar="FILE_OR_DIR", help="A submission, or a folder of them.")
    ],
    hint: Annotated[
        int,
        typer.Option(
            "--hint", count=True, show_default=False, metavar="",
            help="Which tensor to look at; twice: what its mistake looks like; three times: its "
            "gradient in index form.",
        ),
    ] = 0,
    solution: Annotated[
        bool, typer.Option("--solution", help="Print the solution with its derivation.")
    ] = False,
    name: Annotated[
        str | None, typer.Option("--exercise", help="Which exercise, if the marker line is gone.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write one row per submission of a folder.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Submissions at a time; one per CPU if not given.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds that one submission may compute.")
    ] = 20.0,
    memory: Annotated[
        int, typer.Option(min=256, help="Megabytes that one may use, where that can be limited.")
    ] = 2048,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Seed of the inputs. If not given: 0; for a folder drawn."),
    ] = None,
    exercises: Folder = None,
    as_json: AsJson = False,
    lang: Lang = None,
) -> None:  # fmt: skip
    """Judge backward, gradient by gradient; a folder: every submission, in a process of its own.

    Exit status: 0 all right, 1 not yet, 2 unusable input.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # NumPy's and torch's: arrays are small here
    from compare.errors import UserError
    from teach.exercises.definition import exercises as known
    from teach.exercises.definition import named

    found = known(exercises)
    if name is not None:
        named(name, found)
    if path.is_dir():
        if hint or solution:
            raise UserError("--hint and --solution are for one file, not for a folder.")
        how = {"name": name, "timeout": timeout, "memory": memory * 2**20}
        raise typer.Exit(_grade_folder(path, exercises, csv, jobs, seed, how, as_json=as_json))
    if csv is not None:
        raise UserError(f"--csv is for a folder of submissions; {path} is none.")
    if not path.is_file():
        raise UserError(f"There is no file or folder {path}.")
    raise typer.Exit(
        _grade_file(
            path, found, name, seed or 0, timeout, memory, hint, solution, as_json,
            remembered=exercises is None,
        )
    )  # fmt: skip


def _grade_file(
    path: Path, known: dict[str, Exercise], name: str | None, seed: int, timeout: float,
    memory: int, hint: int, solution: bool, as_json: bool, *, remembered: bool,
) -> int:  # fmt: skip
    from compare.errors import UserError
    from teach.exercises.grade import RIGHT
    from teach.exercises.grade import UNUSABLE as NO_USE
    from teach.exercises.grade import grade as graded
    from teach.exercises.show import shown

    result = graded(path, known, name=name, seed=seed, timeout=timeout, memory=memory * 2**20)
    if result.status == NO_USE:
        raise UserError(result.message)
    if as_json:
        print(json.dumps(result.as_dict(hint), indent=2, ensure_ascii=False))
    else:
        print(shown(result, known[result.exercise], hint))
        if solution:
            print(f"\n{known[result.exercise].text('solution.py').rstrip()}")
    if remembered:
        _remember(result)
    return ALL_RIGHT if result.status == RIGHT else NOT_YET


def _remember(result: Grade) -> None:
    """Add the grade to the learner's progress; that it cannot be written spoils no grade."""
    from datetime import date

    from teach.exercises.progress import VARIABLE, place, remember

    path = place()
    try:
        told = remember(result, path, date.today()) if path else ""
    except OSError as error:
        told = _(
            "Your progress is not remembered: {path}: {error}. Name another file with the "
            "environment variable {variable}, or set it to nothing."
        ).format(path=path, error=error.strerror or error, variable=VARIABLE)
    if told:
        print(told, file=sys.stderr)


def _grade_folder(
    path: Path, exercises: Path | None, csv: Path | None, jobs: int | None, seed: int | None,
    how: dict, *, as_json: bool,
) -> int:  # fmt: skip
    from compare.report.rendering.spreadsheet import check_writable, write_rows
    from teach.exercises.folder import grade_folder, random_seed
    from teach.exercises.grade import RIGHT
    from teach.exercises.show import summary
    from teach.exercises.table import COLUMNS, cells

    if csv is not None:
        check_writable(csv)
    seed = random_seed() if seed is None else seed
    with bars(show=not as_json and sys.stderr.isatty()) as advance:
        grades: list[Grade] = grade_folder(
            path, exercises, seed=seed, jobs=jobs, progress=partial(advance, _("grading")), **how
        )
    if csv is not None:
        write_rows(csv, COLUMNS, map(cells, grades))
    if as_json:
        print(json.dumps([g.as_dict() for g in grades], indent=2, ensure_ascii=False))
    else:
        print(summary(grades, seed))
        if csv is not None:
            print("\n" + _("Grades: {csv}").format(csv=csv))
    return ALL_RIGHT if all(g.status == RIGHT for g in grades) else NOT_YET


@exercise.command(
    cls=Spoken, epilog="Example: handgrad exercise progress · handgrad exercise progress --reset"
)
def progress(
    reset: Annotated[bool, typer.Option("--reset", help="Forget all of it.")] = False,
    as_json: AsJson = False,
    lang: Lang = None,
) -> None:
    """Show which exercises you have tried and solved, lesson by lesson."""
    from compare.errors import UserError
    from teach.exercises import progress as kept
    from teach.exercises.definition import exercises as known

    path = kept.place()
    if path is None:
        raise UserError(f"{kept.VARIABLE} is set to nothing, so nothing is remembered.")
    if reset:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"{path} cannot be removed: {error.strerror or error}.") from error
        print(_("Forgotten: {path}").format(path=path))
        return
    tried = kept.read(path)
    print(kept.as_json(tried, known()) if as_json else kept.shown(tried, known(), path))


@exercise.command(cls=Spoken, epilog="Example: handgrad exercise verify my_exercises")
def verify(
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="A folder of exercises; the built-in ones if not given.",
                       show_default=False),
    ] = None,
    as_json: AsJson = False,
    lang: Lang = None,
) -> None:  # fmt: skip
    """Check exercises: the solution passes, the stub is empty, each wrong version is caught."""
    from teach.exercises.definition import exercises as known
    from teach.exercises.show import verified_table
    from teach.exercises.verify import verified

    rows = []
    found = known(directory)
    with bars(show=not as_json and sys.stderr.isatty()) as advance:
        for number, one in enumerate(found.values(), 1):
            rows += verified(one)
            advance(_("verifying"), number, len(found))
    if as_json:
        print(json.dumps([row._asdict() for row in rows], indent=2, ensure_ascii=False))
    else:
        print(verified_table(rows))
    raise typer.Exit(ALL_RIGHT if all(row.passed for row in rows) else NOT_YET)
