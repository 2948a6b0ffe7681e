"""What is installed from a wheel: whole without the checkout, and no harm to other projects."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("manual", "torch_ref", "compare", "teach", "handgrad")
DEPENDENCIES = Path(np.__file__).parents[1]
OFFLINE = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-index")

OWN_TESTS = """
import sys

import compare, evidence, manual, teach, torch_ref

def test_the_modules_are_the_projects_own(pytestconfig):
    assert {m.MINE for m in (compare, evidence, manual, teach, torch_ref)} == {True}
    assert pytestconfig.pluginmanager.hasplugin("handgrad")
    assert not {"torch", "numpy", "pandas"} & set(sys.modules)
"""
USES_FIXTURE = """
def forward(x):
    return x * x, x

def backward(dy, x):
    return 2 * x * dy

def wrong(dy, x):
    return x * dy

def test_right(assert_gradients_agree):
    assert assert_gradients_agree(forward, backward, inputs={"x": (4,)}, cases=["random"]).agrees

def test_wrong(assert_gradients_agree):
    assert_gradients_agree(forward, wrong, inputs={"x": (4,)}, cases=["random"])
"""
COMMANDS = [
    ["list"],
    ["run", "three-rows", "--steps", "2"],
    ["explain", "three-rows"],
    ["trace", "x * y", "x=2", "y=3", "--svg", "graph.svg"],
    ["exercise", "list"],
    ["exercise", "start", "linear"],
    ["certify", "Linear"],
]
DRIVER = """
import contextlib, io, json, sys
from handgrad.__main__ import main

for arguments in json.loads(sys.argv[1]):
    sys.argv = ["handgrad", *arguments]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            main()
        except SystemExit as stopped:
            assert not stopped.code, (arguments, stopped.code)
    assert printed.getvalue().strip(), arguments
import compare
print(compare.__file__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy, offline."""
    top = tmp_path_factory.mktemp("wheel")
    hidden = shutil.ignore_patterns("__pycache__")
    for name in (*PACKAGES, "evidence", "tests"):
        shutil.copytree(ROOT / name, top / "source" / name, ignore=hidden)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, top / "source")
    _done(
        sys.executable, "-m", "pip", "wheel", *OFFLINE, "--no-build-isolation",
        "--wheel-dir", str(top), str(top / "source"),
    )  # fmt: skip
    (built,) = top.glob("handgrad-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """Install the wheel into an environment of its own; return its folder of commands.

    The dependencies are looked up in the folder of those that run this test. What is installed
    there as editable stays behind: it hangs on .pth files, which count in one's own folder alone.
    """
    home = wheel.parent / "environment"
    venv.create(home, with_pip=False)
    _done(sys.executable, "-m", "pip", "--python", str(home), "install", *OFFLINE, str(wheel))
    (folder,) = home.glob("lib/python*/site-packages")
    (folder / "dependencies.pth").write_text(f"{DEPENDENCIES}\n")
    return home / "bin"


def _run(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST_"))}
    environment = {**clean, "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1", "COLUMNS": "200"}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
    )


def _done(*command: str, cwd: Path | None = None) -> str:
    done = _run(*command, cwd=cwd)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def _pytest(installed: Path, project: Path) -> subprocess.CompletedProcess[str]:
    command = [str(installed / "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    return _run(*command, cwd=project)


def test_the_wheel_holds_the_packages_and_their_data(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = {
        f.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for f in (ROOT / package).rglob("*")
        if f.is_file() and "__pycache__" not in f.parts
    }

    assert shipped - names == set()
    assert not {name for name in names if name.startswith(("evidence", "tests"))}


def test_every_command_works_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    import json

    pytest.importorskip("flint", reason="certificates need python-flint")
    (tmp_path / "driver.py").write_text(DRIVER)
    out = _done(
        str(installed / "python"), "-P", "driver.py", json.dumps(COMMANDS), cwd=tmp_path
    )  # fmt: skip

    assert Path(out.strip()).is_relative_to(installed.parent)
    assert (tmp_path / "reports" / "three-rows" / "report.html").is_file()
    assert (tmp_path / "linear.py").is_file()


def test_the_command_is_on_the_path_and_knows_its_version(installed: Path, tmp_path: Path) -> None:
    import handgrad

    out = _done(str(installed / "handgrad"), "--version", cwd=tmp_path)
    module = _done(str(installed / "python"), "-m", "handgrad", "--version", cwd=tmp_path)

    assert out == module == f"handgrad {handgrad.__version__}\n"


def test_what_only_a_checkout_has_is_shown_and_says_what_is_missing(
    installed: Path, tmp_path: Path
) -> None:
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / "commands.py").write_text("raise SystemExit('not ours')")
    shown = _done(str(installed / "handgrad"), "--help")

    for arguments in (["mutate"], ["bench"], ["certify", "--record"]):
        done = _run(str(installed / "python"), "-m", "handgrad", *arguments, cwd=tmp_path)

        assert done.returncode == 2
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1
        command = f"handgrad {' '.join(arguments)}"
        assert done.stderr.startswith(f"handgrad: `{command}` needs the folder evidence/")
        once = f"repository, run `make run` there once, and then `.venv/bin/{command}`"
        assert once in done.stderr
        assert f"│ {arguments[0]} " in shown


def test_a_project_with_modules_of_our_names_runs_its_own_tests(
    installed: Path, tmp_path: Path
) -> None:
    for name in ("compare", "evidence", "manual", "teach", "torch_ref"):
        (tmp_path / f"{name}.py").write_text("MINE = True\n")
    (tmp_path / "test_own.py").write_text(OWN_TESTS)
    done = _pytest(installed, tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_a_project_uses_the_fixture(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "test_gradients.py").write_text(USES_FIXTURE)
    for name in ("teach", "evidence"):  # the fixture does without these
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('not asked for')")
    done = _pytest(installed, tmp_path)

    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "AssertionError: DISAGREE" in done.stdout


def test_the_fixture_names_the_file_that_hides_a_package_of_ours(
    installed: Path, tmp_path: Path
) -> None:
    (tmp_path / "compare.py").write_text("MINE = True\n")
    (tmp_path / "test_gradients.py").write_text(f"import compare\n{USES_FIXTURE}")
    done = _pytest(installed, tmp_path)

    assert done.returncode == 1
    assert "Traceback" not in done.stdout
    assert f"{tmp_path / 'compare.py'} hides handgrad's own package 'compare'" in done.stdout
