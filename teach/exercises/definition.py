"""exercise.toml: what an exercise is, validated, with errors that name the key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from compare.description.reading import read_toml
from compare.errors import UserError, nearest
from compare.pair.declared import Declared, LabelRule, sentences
from teach.exercises.rules import ALLOWED

BUILT_IN = Path(__file__).parent / "built_in"
FILES = ("exercise.toml", "stub.py", "reference.py", "solution.py")
LEVELS = ("a loss and its slope", "gates", "activations", "a Jacobian", "linear", "losses",
          "batch norm", "a two-layer network", "optimisers", "convolution", "recurrence",
          "attention")  # fmt: skip
MARKER = "# handgrad exercise:"


class WrongVersion(BaseModel):
    """A mistake that grading must catch: the solution with one piece of text replaced.

    `cause` is the kind of cause that the checker must name; `hint` is said, in place of the
    checker's cause, to those who make this very mistake.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    replace: str = Field(min_length=1)
    by: str
    tensor: str
    cause: str = ""
    hint: str = ""


class Definition(Declared):
    """The keys of exercise.toml."""

    title: str = Field(min_length=1)
    level: str = Field(min_length=1)
    place: int = 0
    lesson: int = Field(default=0, ge=0)
    summary: str = Field(min_length=1)
    forward: str
    backward: str
    reference: str = "reference"
    allowed_imports: tuple[str, ...] = ALLOWED
    index_form: dict[str, str]
    wrong: tuple[WrongVersion, ...] = ()

    @field_validator("forward", "backward", "reference")
    @classmethod
    def _identifier(cls, name: str) -> str:
        if not name.isidentifier():
            raise ValueError(f"'{name}' is no name of a function")
        return name

    @model_validator(mode="after")
    def _fits(self) -> Definition:
        wanted = set(self.shapes) - set(self.no_grad)
        if set(self.index_form) != wanted:
            raise ValueError(
                f"[index_form] must have one line per gradient: {', '.join(sorted(wanted))}; "
                f"received {', '.join(sorted(self.index_form)) or 'none'}"
            )
        for version in self.wrong:
            if version.tensor not in wanted:
                raise ValueError(
                    f"[[wrong]] tensor '{version.tensor}'. {nearest(version.tensor, wanted)}"
                )
        return self


@dataclass(frozen=True)
class Exercise:
    """One exercise: its name is its folder's."""

    name: str
    folder: Path
    about: Definition

    def text(self, file: str) -> str:
        return (self.folder / file).read_text(encoding="utf-8")

    @property
    def stub(self) -> str:
        """The stub as a learner gets it: with the line that says which exercise it is."""
        text = self.text("stub.py")
        return text if MARKER in text else f"{MARKER} {self.name}\n{text}"

    @property
    def gradients(self) -> list[str]:
        return [n for n in self.inputs if n in self.about.shapes and n not in self.about.no_grad]

    @property
    def inputs(self) -> dict[str, Any]:
        """Inputs by name, in the order of forward's arguments, as `compare.check` takes them."""
        return self.about.inputs


def read(folder: Path) -> Exercise:
    """Return the exercise in a folder.

    Raises:
        UserError: a file is missing, or exercise.toml is not as it should be.
    """
    for name in FILES:
        if not (folder / name).is_file():
            raise UserError(
                f"The exercise {folder} has no {name}. An exercise is a folder with "
                f"{', '.join(FILES)}."
            )
    path = folder / "exercise.toml"
    try:
        about = Definition.model_validate(read_toml(path))
    except ValidationError as error:
        inner: dict[str, type[BaseModel]] = {"wrong": WrongVersion, "labels": LabelRule}
        raise UserError(f"{path}: {' '.join(sentences(error, Definition, inner))}") from error
    return Exercise(folder.name, folder, about)


def exercises(folder: Path | None = None) -> dict[str, Exercise]:
    """Return the built-in exercises, or a teacher's, by name, in the order of the levels.

    Raises:
        UserError: the folder holds none, or one that is not as it should be.
    """
    root = folder or BUILT_IN
    if not root.is_dir():
        raise UserError(f"--exercises {root}: there is no such folder.")
    folders = [root] if (root / "exercise.toml").is_file() else sorted(
        p for p in root.iterdir() if p.is_dir() and (p / "exercise.toml").is_file()
    )  # fmt: skip
    if not folders:
        raise UserError(
            f"{root} holds no exercise: each is a folder with {', '.join(FILES)} "
            "(docs/exercises.md)."
        )
    found = [read(p) for p in folders]
    return {e.name: e for e in sorted(found, key=_place)}


def _place(exercise: Exercise) -> tuple[int, str, int, str]:
    about = exercise.about
    level = LEVELS.index(about.level) if about.level in LEVELS else len(LEVELS)
    return level, about.level, about.place, exercise.name


def named(name: str, known: dict[str, Exercise]) -> Exercise:
    """Return the exercise of that name.

    Raises:
        UserError: there is none.
    """
    if name not in known:
        raise UserError(f"There is no exercise '{name}'. {nearest(name, known, what='Exercises')}")
    return known[name]
