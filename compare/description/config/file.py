"""Loading: a preset or a TOML file, overrides laid over it, validated as a whole."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from compare.description.config.messages import explain
from compare.description.config.models import Config
from compare.description.config.overrides import override
from compare.description.presets import FOLDER, preset_path, presets
from compare.description.reading import read_toml, toml
from compare.errors import UserError, nearest


def load(
    source: str | Path | Config | Mapping[str, Any], overrides: Mapping[str, Any] | None = None
) -> Config:
    """Return the run that a preset's name or a TOML file's path describes.

    Args:
        source: a preset's name, the path of a `.toml` file, the tables of one, or a `Config`.
        overrides: values by dotted key, such as `{"optimizer.lr": 0.05, "train.steps": 50,
            "layers.0.out_features": 32}`; None takes a key out, back to its default.
            `steps` and `epochs` replace each other, and so do `dataset` and `file`. A new `type`
            of loss, optimizer or schedule, or a new `scheme`, drops the old one's arguments.

    Raises:
        UserError: the file cannot be read, or something in it (or in the overrides) is wrong.
    """
    if isinstance(source, Config):
        name, tables = f"run '{source.name}'", source.as_dict()
    elif isinstance(source, Mapping):
        name, tables = f"run '{source['name']}'", dict(source)
    else:
        path = find(source)
        is_preset = path.parent == FOLDER
        name = f"preset '{path.stem}'" if is_preset else str(path)
        tables = read(path)
    try:
        tables = override(tables, overrides or {})
        config = Config.model_validate(tables)
    except ValidationError as error:
        raise UserError(f"{name}{_with(overrides)}: {explain(error, tables)}") from None
    except ValueError as error:
        raise UserError(f"{name}{_with(overrides)}: {error}") from None
    for key, file in (("data", config.data.file), ("init", config.init.file)):
        if file is not None and not Path(file).exists():
            raise UserError(f"{name}{_with(overrides)}: [{key}], key 'file': there is no {file}.")
    return config


def find(source: str | Path) -> Path:
    """Return the TOML file of a preset's name or a path; a path has a suffix or a separator."""
    text = str(source)
    if isinstance(source, str) and text in presets():
        return preset_path(text)
    path = Path(text)
    if not text:
        raise UserError(f"Nothing was named. {nearest(text, presets(), what='Presets')}")
    if path.is_dir():
        raise UserError(f"{text} is a directory; give a preset's name or a .toml file's path.")
    if path.suffix == ".toml" or path.is_file():
        if not path.exists():
            raise UserError(f"There is no file {text}. {_files_near(path)}")
        return path
    raise UserError(
        f"There is no preset '{text}'. {nearest(text, presets(), what='Presets')} "
        "For a file of your own give its path, ending in .toml."
    )


def read(path: Path) -> dict[str, Any]:
    """Return a TOML file's tables; paths in it start from the file's own folder."""
    tables = read_toml(path)
    tables.setdefault("name", _safe(path.stem))
    for section in ("data", "init"):
        table = tables.get(section)
        if isinstance(table, dict) and isinstance(table.get("file"), str):
            tables[section] = {**table, "file": str(path.parent / table["file"])}
    return tables


def parse_set(text: str) -> tuple[str, Any]:
    """Split `section.key=value`; the value is read as TOML, or else as a plain string.

    >>> parse_set("optimizer.lr=0.05"), parse_set("train.dtype=float32")
    (('optimizer.lr', 0.05), ('train.dtype', 'float32'))
    """
    key, equals, value = text.partition("=")
    key, value = key.strip(), value.strip()
    if not equals or not key or not value:
        raise UserError(f"Cannot read the setting '{text}'. Write section.key=value.")
    try:
        parsed = toml(f"value = {value}")
    except tomllib.TOMLDecodeError:
        return key, value
    return key, parsed["value"] if len(parsed) == 1 else value


def _safe(stem: str) -> str:
    """Return a name that can be a report's directory."""
    kept = "".join(c if c.isalnum() or c in "_.+ -" else "-" for c in stem)
    return kept.lstrip(".+ -")[:100] or "run"


def _with(overrides: Mapping[str, Any] | None) -> str:
    if not overrides:
        return ""
    return f" (with {', '.join(f'{key}={value}' for key, value in overrides.items())})"


def _files_near(path: Path) -> str:
    if not path.parent.is_dir():
        return f"There is no folder {path.parent} either."
    found = sorted(file.name for file in path.parent.glob("*.toml"))
    return nearest(path.name, found, what="TOML files there")
