"""The sweep file: a job, what is fixed, what is varied, what is drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Annotated, Any
from zlib import crc32

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from compare.description.reading import read_toml
from compare.errors import UserError, nearest
from compare.pair.declared import sentences

DISTRIBUTIONS = ("choice", "uniform", "log_uniform", "integers")
MOST = 1_000_000  # draws, and values of one key
POINTS = 10_000_000  # of a sweep


class Random(BaseModel):
    """How many draws, from which seed, and each key's distribution."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    draws: Annotated[int, Field(ge=1, le=MOST)] = 1
    seed: Annotated[int, Field(ge=0)] = 0
    keys: dict[str, dict[str, list[Any]]] = {}

    @model_validator(mode="before")
    @classmethod
    def _collect(cls, table: Any) -> Any:
        if not isinstance(table, Mapping) or "keys" in table:
            return table
        own = {key: table[key] for key in ("draws", "seed") if key in table}
        rest = {key: value for key, value in table.items() if key not in own}
        return {**own, "keys": dict(_distributions(rest))}

    @field_validator("keys")
    @classmethod
    def _usable(cls, keys: dict[str, dict[str, list[Any]]]) -> dict[str, dict[str, list[Any]]]:
        for key, distribution in keys.items():
            if len(distribution) != 1:
                raise ValueError(f"'{key}': give one distribution, received {len(distribution)}")
            for name, numbers in distribution.items():
                _refuse(key, name, numbers)
        return keys

    @model_validator(mode="after")
    def _said(self) -> Random:
        if self.draws > 1 and not self.keys:
            raise ValueError("there are draws, and no key to draw: add optimizer.lr = "
                             "{log_uniform = [1e-4, 1e-1]} or the like")  # fmt: skip
        return self

    def points(self) -> list[dict[str, Any]]:
        """Return the draws; what was drawn twice stands once. A key's draws are its own."""
        columns = {key: self._drawn(key) for key in self.keys}
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return list({repr(row): row for row in rows}.values())

    def _drawn(self, key: str) -> list[Any]:
        from scipy import stats

        rng = np.random.default_rng([self.seed, crc32(key.encode())])
        (name, given), = self.keys[key].items()  # fmt: skip
        if name == "choice":
            return [given[i] for i in rng.integers(len(given), size=self.draws)]
        low, high = given
        if name == "integers":
            return rng.integers(low, high, size=self.draws, endpoint=True).tolist()
        scaled = stats.loguniform if name == "log_uniform" else stats.uniform
        drawn = scaled(low, high) if name == "log_uniform" else scaled(low, high - low)
        return [float(x) for x in drawn.rvs(size=self.draws, random_state=rng)]


class Sweep(BaseModel):
    """What is swept: the points are every combination of the grid with every draw."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Annotated[str, Field(pattern=r"^[\w][\w+., -]{0,99}$")] = "sweep"
    job: str = "run"
    base: dict[str, Any] = {}
    grid: dict[str, Annotated[list[Any], Field(min_length=1, max_length=MOST)]] = {}
    random: Random = Field(default_factory=Random)

    @field_validator("base", mode="before")
    @classmethod
    def _flat_base(cls, table: Any) -> Any:
        return dict(_flat(table)) if isinstance(table, Mapping) else table

    @field_validator("grid", mode="before")
    @classmethod
    def _flat_grid(cls, table: Any) -> Any:
        return dict(_flat(table)) if isinstance(table, Mapping) else table

    @model_validator(mode="after")
    def _check(self) -> Sweep:
        draws = self.random.draws if self.random.keys else 1
        if (points := math.prod(map(len, self.grid.values())) * draws) > POINTS:
            raise ValueError(f"{points:,} points are more than {POINTS:,}: give fewer values, or "
                             "draw from them in [random]")  # fmt: skip
        for key, values in self.grid.items():
            texts = [repr(value) for value in values]
            if len(set(texts)) < len(texts):
                twice = next(text for n, text in enumerate(texts) if text in texts[:n])
                raise ValueError(f"[grid] {key} lists {twice} twice")
        for key in [*self.grid, *self.random.keys]:
            told = "[grid] and [random]" if key in self.grid and key in self.random.keys else ""
            told = told or ("[base] and among what is swept" if key in self.base else "")
            if told:
                raise ValueError(f"'{key}' stands in {told}: give it once")
        return self

    @property
    def axes(self) -> list[str]:
        """The keys that vary, in the order of the file."""
        return [*self.grid, *self.random.keys]

    def points(self) -> Iterator[dict[str, Any]]:
        """Yield what each point sets, the draws fastest."""
        draws = self.random.points() if self.random.keys else [{}]
        for values in product(*self.grid.values()):
            cell = dict(zip(self.grid, values, strict=True))
            yield from (cell | draw for draw in draws)

    def __len__(self) -> int:
        draws = len(self.random.points()) if self.random.keys else 1
        return math.prod(map(len, self.grid.values())) * draws

    def one_by_one(self) -> Iterator[dict[str, Any]]:
        """Yield the first point, and it again with every other value that an axis can have."""
        first = next(self.points())
        yield first
        for key, values in self.grid.items():
            yield from (first | {key: value} for value in values[1:])
        for key, distribution in self.random.keys.items():
            ends = next(iter(distribution.values()))
            yield from (first | {key: value} for value in ends if value != first[key])

    def as_toml(self) -> str:
        """Return the file again, with every path whole."""
        import tomli_w

        tables: dict[str, Any] = {"name": self.name, "job": self.job}
        tables |= {"base": self.base} if self.base else {}
        tables |= {"grid": self.grid} if self.grid else {}
        if self.random.keys:
            fixed = {"draws": self.random.draws, "seed": self.random.seed}
            tables["random"] = fixed | self.random.keys
        return tomli_w.dumps(tables)


def read(path: Path) -> Sweep:
    """Return the sweep of a TOML file.

    Raises:
        UserError: it cannot be read, or something in it is wrong.
    """
    tables = read_toml(path)
    stem = "".join(c if c.isalnum() or c in "_.+ -" else "-" for c in path.stem)
    return described({"name": stem.strip("-. ")[:100] or "sweep", **tables}, str(path))


def described(tables: Mapping[str, Any], where: str = "sweep") -> Sweep:
    """Return the sweep that tables describe.

    Raises:
        UserError: something in them is wrong.
    """
    try:
        return Sweep.model_validate(dict(tables))
    except ValidationError as error:
        told = " ".join(sentences(error, Sweep, {"random": Random}))
        raise UserError(f"{where}: {told}") from None


def _flat(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted keys: `[grid] train.seed = …` nests a table, and stands for `train.seed`."""
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _distributions(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if not isinstance(value, Mapping):
            raise ValueError(
                f"'{above}{key}' is no distribution: write {above}{key} = {{choice = [1, 2]}}. "
                f"Beside these there are draws and seed"
            )
        if any(isinstance(inner, Mapping) for inner in value.values()):
            yield from _distributions(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _refuse(key: str, name: str, numbers: list[Any]) -> None:
    """Refuse what cannot be drawn from."""
    if name not in DISTRIBUTIONS:
        hint = nearest(name, DISTRIBUTIONS, what="Distributions").rstrip(".")
        raise ValueError(f"'{key}': there is no distribution '{name}'. {hint}, such as "
                         f"{key} = {{choice = [1, 2]}}")  # fmt: skip
    if name == "choice":
        if not numbers:
            raise ValueError(f"'{key}': choice has nothing to choose from")
        return
    kinds = (int,) if name == "integers" else (int, float)
    if len(numbers) != 2 or not all(type(n) in kinds and math.isfinite(n) for n in numbers):
        whole = "two whole numbers" if name == "integers" else "two numbers"
        raise ValueError(f"'{key}': {name} takes {whole}, [from, to]; received {numbers}")
    low, high = numbers
    if low >= high or (name == "log_uniform" and low <= 0):
        least = "0 < from < to" if name == "log_uniform" else "from < to"
        raise ValueError(f"'{key}': {name} = {numbers}: {least} is needed")
