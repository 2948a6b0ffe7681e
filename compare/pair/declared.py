"""The inputs of a check as a TOML table declares them: shapes, values, labels, their order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from compare.errors import nearest
from compare.pair.inputs import Labels


class LabelRule(BaseModel):
    """Class labels to draw: of this shape, below the length of an axis."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    shape: tuple[int, ...] = Field(min_length=1)
    below: int = Field(ge=2)


class Declared(BaseModel):
    """Inputs: `shapes` and `labels` to draw from, `values` that are given."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    shapes: dict[str, tuple[int, ...]] = Field(min_length=1)
    values: dict[str, Any] = {}
    labels: dict[str, LabelRule] = {}
    order: tuple[str, ...] = ()
    no_grad: tuple[str, ...] = ()
    structural_zeros: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _inputs_fit(self) -> Declared:
        inputs = (*self.shapes, *self.values, *self.labels)
        for name in inputs:
            if inputs.count(name) > 1:
                raise ValueError(f"'{name}' is in two of [shapes], [values] and [labels]")
        if self.order and sorted(self.order) != sorted(inputs):
            raise ValueError(f"order must name every input once: {', '.join(inputs)}")
        for key, names in (("no_grad", self.no_grad), ("structural_zeros", self.structural_zeros)):
            for name in names:
                if name not in inputs:
                    raise ValueError(
                        f"{key} names '{name}'. {nearest(name, inputs, what='Inputs')}"
                    )
        return self

    @property
    def inputs(self) -> dict[str, Any]:
        """Inputs by name, in the order of forward's arguments, as `compare.check` takes them."""
        found: dict[str, Any] = {n: tuple(s) for n, s in self.shapes.items()}
        found |= {n: Labels(rule.shape, rule.below) for n, rule in self.labels.items()}
        found |= {n: np.array(v) if isinstance(v, list) else v for n, v in self.values.items()}
        return {name: found[name] for name in self.order or found}


def sentences(
    error: ValidationError, model: type[BaseModel], inner: dict[str, type[BaseModel]]
) -> Iterator[str]:
    """Say what is wrong with each key of a table, and which would be right.

    Args:
        error: what pydantic found.
        model: what the table should be.
        inner: the models of the tables in it, by their first key.
    """
    for item in error.errors(include_url=False)[:5]:
        key = ".".join(map(str, item["loc"]))
        if item["type"] == "extra_forbidden":
            known: Iterable[str] = model.model_fields
            if "." in key:
                known = inner.get(key.partition(".")[0], model).model_fields
            hint = nearest(item["loc"][-1], known, what="Keys")
            yield f"key '{key}': there is no such key. {hint}"
        elif item["type"] == "missing":
            yield f"key '{key}' is missing."
        elif item["type"] == "value_error":
            yield f"{f'key {key!r}: ' if key else ''}{item['ctx']['error']}."
        else:
            said = item["msg"].removeprefix("Input ").replace("valid dictionary", "table")
            if item["type"] == "too_short":
                said = "needs at least one value"
            yield f"key '{key}' {said}, received {str(item['input'])[:80]!r}."
