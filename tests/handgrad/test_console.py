"""The terminal: encodings without our letters, Ctrl-C while modules are loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ASCII = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}


def handgrad(
    *arguments: str, code: str = "", cwd: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess:
    start = ["-c", code] if code else ["-m", "handgrad"]
    return subprocess.run(
        [sys.executable, *start, *arguments],
        cwd=cwd, env=os.environ | environment, capture_output=True, check=False,
    )  # fmt: skip


COMMANDS = ["run three-rows --steps 2 --out r", "explain three-rows", "list"]
IN_TURN = """
import sys
from handgrad.__main__ import main

for command in sys.argv[1:]:
    sys.argv = ["handgrad", *command.split()]
    try:
        main()
    except SystemExit as stopped:
        assert not stopped.code, (command, stopped.code)
    print("\\0")
"""


def test_a_console_that_lacks_our_letters_gets_question_marks(tmp_path: Path) -> None:
    here = os.environ.get("PYTHONPATH", "")
    path = os.pathsep.join(filter(None, (str(ROOT), here)))
    done = handgrad(*COMMANDS, code=IN_TURN, cwd=tmp_path, PYTHONPATH=path, **ASCII)
    *shown, rest = done.stdout.split(b"\0")

    assert (done.returncode, done.stderr.strip(), rest.strip()) == (0, b"", b"")
    assert len(shown) == len(COMMANDS)
    assert all(b"?" in text for text in shown)
    assert done.stdout.isascii()


INTERRUPTED = """
import signal, sys

class Interrupting:
    def find_spec(self, name, *_):
        if name == {name!r}:
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
from handgrad.__main__ import main
main()
"""


@pytest.mark.parametrize("name", ["typer", "torch", "pandas"])
def test_ctrl_c_while_modules_are_loaded_exits_130_without_a_traceback(name: str) -> None:
    done = handgrad("run", "three-rows", "--out", "nowhere", code=INTERRUPTED.format(name=name))

    assert done.returncode == 130
    assert done.stderr == b"handgrad: interrupted before anything was compared.\n"
    assert not (ROOT / "nowhere").exists()


def test_ctrl_c_outside_an_import_is_a_keyboard_interrupt() -> None:
    code = (
        "import signal\nfrom handgrad.console import interruptible_imports\n"
        "interruptible_imports()\ntry: signal.raise_signal(signal.SIGINT)\n"
        "except KeyboardInterrupt: print('raised')"
    )

    assert handgrad(code=code).stdout == b"raised\n"
