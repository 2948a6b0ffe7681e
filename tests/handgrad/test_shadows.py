"""A user's file that has the name of a package of ours is named, and what to do about it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import handgrad
from handgrad.shadows import COMMANDS, ShadowedError, refuse_shadows

ROOT = Path(__file__).parents[2]
PACKAGES = (*COMMANDS, "evidence")


def handgrad_module(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "handgrad", *arguments],
        cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("package", PACKAGES)
def test_python_m_handgrad_names_the_file(tmp_path: Path, package: str) -> None:
    (tmp_path / f"{package}.py").write_text("raise RuntimeError('never imported')")
    arguments = ["mutate", "linear", "--list"] if package == "evidence" else ["list"]
    done = handgrad_module(tmp_path, *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    told = f"handgrad: {tmp_path / package}.py hides handgrad's own package '{package}'"
    assert done.stderr.startswith(told)
    assert "Rename it" in done.stderr


def test_a_file_named_evidence_is_in_no_ones_way_but_evidences(tmp_path: Path) -> None:
    (tmp_path / "evidence.py").write_text("raise RuntimeError('never imported')")

    assert handgrad_module(tmp_path, "list").returncode == 0


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("shape", ["module", "package"])
def test_what_would_be_imported_instead_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, shape: str
) -> None:
    if shape == "package":
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / f"{package}.py").touch()  # beside a package, Python does not look at it
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, package, raising=False)
    place = tmp_path / (f"{package}.py" if shape == "module" else package)

    with pytest.raises(ShadowedError, match=rf"^{place}/? hides .*'{package}'"):
        refuse_shadows([package])


def test_what_was_imported_already_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = ModuleType("compare")
    theirs.__file__ = "/home/ann/thesis/compare.py"
    monkeypatch.setitem(sys.modules, "compare", theirs)
    for name in ("run", "check"):
        monkeypatch.delitem(handgrad.__dict__, name, raising=False)

    with pytest.raises(ImportError, match=r"^/home/ann/thesis/compare\.py hides"):
        _ = handgrad.run


def test_a_folder_of_data_with_such_a_name_hides_nothing(tmp_path: Path) -> None:
    for package in PACKAGES:
        (tmp_path / package).mkdir()

    assert handgrad_module(tmp_path, "list").returncode == 0


def test_our_own_packages_hide_nothing() -> None:
    refuse_shadows(PACKAGES)
