"""Files of configurations, for any test of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.compare.description.config_files import Write


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> str:
        path = tmp_path / "net.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write
