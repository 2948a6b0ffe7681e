"""A suite: one table of reference pairs, read from TOML."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, field_validator

from compare.description.reading import read_toml
from compare.errors import UserError, nearest
from compare.pair.declared import Declared, LabelRule, sentences
from compare.pair.loading import Named, named

COURSE = Path(__file__).with_name("course.toml")
FORWARD = "forward"  # as a reference: the candidate's own forward


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class Wanted(Declared):
    """The keys of one table: a function, what it is given, and what it must agree with."""

    check: Names = Field(min_length=1)
    reference: Names = ()
    init: dict[str, Any] = {}
    domain: dict[str, str] = {}
    purity: Literal["note", "fail"] = "note"
    resize: bool | None = None
    dtype: Literal["float64", "float32"] = "float64"
    rtol: float | None = Field(default=None, gt=0, lt=1)
    cases: Names = ()

    @field_validator("check")
    @classmethod
    def _pairs(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            if not 1 <= len(named(text)) <= 2:
                raise ValueError(f"'{text}' must be FORWARD,BACKWARD or one NAME")
        return texts


@dataclass(frozen=True)
class Function:
    """One function of a suite; references in files stand with their whole path."""

    name: str
    wanted: Wanted
    references: tuple[str, ...]

    @property
    def spellings(self) -> list[tuple[Named, ...]]:
        """Under which names people write it: forward and backward, or one name."""
        return [tuple(named(text)) for text in self.wanted.check]


def read(path: Path) -> list[Function]:
    """Return a suite's functions, in the order of the file.

    Raises:
        UserError: the file cannot be read, or a table of it is not as it should be.
    """
    tables = read_toml(path)
    if not tables:
        raise UserError(f"{path} holds no table: write one for each function, [affine] and so on.")
    return [_function(path, name, table) for name, table in tables.items()]


def _function(path: Path, name: str, table: Any) -> Function:
    if not isinstance(table, dict):
        raise UserError(f"{path}: '{name}' stands outside a table; write [FUNCTION] above it.")
    try:
        wanted = Wanted.model_validate(table)
    except ValidationError as error:
        inner: dict[str, type[BaseModel]] = {"labels": LabelRule}
        raise UserError(f"{path}, [{name}]: {' '.join(sentences(error, Wanted, inner))}") from error
    except UserError as error:
        raise UserError(f"{path}, [{name}]: {error}") from error
    return Function(name, wanted, tuple(_beside(path, text) for text in wanted.reference))


def _beside(path: Path, reference: str) -> str:
    """Return a reference whose file, if it names one, is found from the suite's folder."""
    where, colon, name = reference.rpartition(":")
    if not colon and reference != FORWARD:
        raise UserError(
            f"{path}: the reference '{reference}' must be FILE.py:NAME, MODULE:NAME, or "
            f"'{FORWARD}' for the submission's own forward."
        )
    return f"{path.parent / where}:{name}" if where.endswith(".py") else reference


def chosen(functions: list[Function], names: list[str]) -> list[Function]:
    """Return the functions of these names; all if none is named.

    Raises:
        UserError: there is no such function.
    """
    known = {function.name: function for function in functions}
    for name in names:
        if name not in known:
            raise UserError(f"--function {name}: {nearest(name, known, what='Functions')}")
    return [known[name] for name in names] or functions
