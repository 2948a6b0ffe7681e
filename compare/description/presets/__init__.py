"""Presets: runs that come along, one TOML file each."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def presets() -> list[str]:
    """Return the names of all presets."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def preset_path(name: str) -> Path:
    """Return the TOML file of a preset."""
    return FOLDER / f"{name}.toml"
