"""Validation errors as sentences: the table, the key, what was received, the nearest names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from compare.description.config import described, settings
from compare.description.config.models import Config
from compare.description.config.network import place
from compare.errors import nearest

TABLES: dict[str, type[BaseModel]] = {
    "data": settings.DataConfig,
    "network": described.NetworkConfig,
    "layers": described.LayerConfig,
    "loss": described.LossConfig,
    "loss.penalties": described.PenaltyConfig,
    "optimizer": described.OptimizerConfig,
    "optimizer.schedule": described.ScheduleConfig,
    "optimizer.groups": described.GroupConfig,
    "train": settings.TrainConfig,
    "train.scaler": settings.ScalerConfig,
    "init": described.InitConfig,
    "compare": settings.CompareConfig,
}
ARRAYS = ("layers", "loss.penalties", "optimizer.groups")


def explain(error: ValidationError, tables: Mapping[str, Any]) -> str:
    """Return one sentence or two for each mistake, five at most."""
    sentences: dict[str, list[str]] = {}
    for item in error.errors(include_url=False):
        where, key, path = _locate(item["loc"], tables)
        said = _say(item, key, path)
        sentences.setdefault(f"{where}{', ' if where and key else ''}{_key(key)}", []).append(said)
    told = [_join(place, list(dict.fromkeys(said))) for place, said in sentences.items()]
    more = f" And {len(told) - 5} more." if len(told) > 5 else ""
    return " ".join(told[:5]) + more


def _locate(loc: Sequence[Any], tables: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the table as its author sees it, the key in it, and the table's dotted path."""
    path, index, rest = "", None, list(loc)
    while rest:
        step = f"{path}.{rest[0]}" if path else str(rest[0])
        if step not in TABLES:
            break
        path, index = step, None
        rest = rest[1:]
        if path in ARRAYS and rest and isinstance(rest[0], int):
            index, rest = rest[0], rest[1:]
    key = str(rest[0]) if rest else ""
    return _table(path, index, tables), key, path


def _table(path: str, index: int | None, tables: Mapping[str, Any]) -> str:
    if not path:
        return ""
    if path not in ARRAYS:
        return f"[{path}]"
    if index is None:
        return f"[[{path}]]"
    if path != "layers":
        return f"[[{path}]] table {index + 1}"
    layer = dict(enumerate(tables.get("layers", ()))).get(index)
    name = layer.get("name") if isinstance(layer, Mapping) else None
    return place(index, str(name or index))


def _key(key: str) -> str:
    return f"key '{key}'" if key else ""


def _say(item: Any, key: str, path: str) -> str:
    if item["type"] == "value_error":
        return str(item["ctx"]["error"])
    if item["type"] == "extra_forbidden":
        return _unknown(key, path, item["input"])
    if item["type"] == "missing":
        return "is missing." if key != "layers" else "at least one [[layers]] table is needed."
    if path in TABLES and not key and item["type"] in ("model_type", "tuple_type"):
        brackets = f"[[{path}]]" if path in ARRAYS else f"[{path}]"
        return f"this must be a table: write {brackets}, received {item['input']!r}."
    wanted = item["msg"].removeprefix("Input ")
    return f"{wanted}, received {item['input']!r}."


def _unknown(key: str, path: str, value: Any) -> str:
    if not path:
        names = [name for name in Config.model_fields if name not in ("name", "summary")]
        text = f"there is no such table. {nearest(key, names, what='Tables')}"
        if isinstance(value, dict | list):
            return text
        return f"{text} A setting is named with its table: optimizer.lr, in Python optimizer__lr."
    fields = [name for name in TABLES[path].model_fields if name != "args"]
    return f"there is no such key. {nearest(key, fields, what='Keys')}"


def _join(place: str, said: list[str]) -> str:
    """Join the alternatives of a union: 'should be a valid integer or 'all', received …'."""
    if len(said) > 1 and all(s.startswith("should be ") for s in said):
        parts = [s.removeprefix("should be ").partition(", received ")[0] for s in said]
        received = said[0].rpartition(", received ")[2]
        said = [f"should be {' or '.join(parts)}, received {received}"]
    text = " ".join(said)
    if not place:
        return text
    return f"{place}{', ' if text.startswith('key') else ': '}{text}"
