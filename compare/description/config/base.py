"""What the tables of a configuration share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from compare.description.config.arguments import check_type, construct

Names = Annotated[tuple[str, ...], Field(strict=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Table(BaseModel):
    """One table of the file: every key is known, and nothing is converted silently."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Described(Table):
    """A table whose other keys are the constructor arguments of the class that it names."""

    named_by: ClassVar[str] = "type"
    args: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def registered(cls) -> tuple[str, Mapping[str, Any]]:
        """Return what the table describes, in words, and the classes to choose from."""
        raise NotImplementedError

    @model_validator(mode="before")
    @classmethod
    def _collect(cls, table: Any) -> Any:
        return collected(cls, table)

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.build()
        return self

    def build(self) -> Any:
        """Return the object that the table describes.

        Raises:
            ValueError: there is no such class, or it refuses these arguments.
        """
        kind, classes = self.registered()
        name = getattr(self, self.named_by)
        check_type(kind, name, classes, self.named_by)
        return construct(name, classes[name], self.arguments())

    def arguments(self) -> dict[str, Any]:
        """Return what the constructor is given."""
        return self.args


def collected(cls: type[Table], table: Any) -> Any:
    """Put the keys that a table does not know into its `args`."""
    if not isinstance(table, Mapping):
        return table
    own = {key: value for key, value in table.items() if key in cls.model_fields}
    rest = {key: value for key, value in table.items() if key not in cls.model_fields}
    return {**own, "args": {**as_table(own.get("args")), **rest}}


def as_table(value: Any) -> dict[str, Any]:
    """Return a dictionary's copy; anything else has nothing to say as a table."""
    return dict(value) if isinstance(value, Mapping) else {}


def flat(value: Any) -> Any:
    """Return plain dictionaries and lists, with `args` beside the other keys and no None."""
    if isinstance(value, Table):
        fields = {key: flat(item) for key, item in value if item is not None and key != "args"}
        return {**fields, **flat(getattr(value, "args", {}))}
    if isinstance(value, Mapping):
        return {key: flat(item) for key, item in value.items() if item is not None}
    return [flat(item) for item in value] if isinstance(value, list | tuple) else value
