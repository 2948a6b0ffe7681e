"""The command line: exit statuses, messages without tracebacks, nothing half-written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import typer

import handgrad as handgrad_package
from compare.commands.checkout import checkout
from compare.description.config.file import presets
from compare.errors import UserError
from handgrad.cli import app, main


def handgrad(
    *arguments: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["handgrad", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    out, err = capsys.readouterr()
    return int(stopped.value.code or 0), out, err


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: handgrad(*arguments, capsys=capsys, monkeypatch=monkeypatch)


def test_a_run_that_agrees_exits_0_and_leaves_a_report(call) -> None:
    status, out, _ = call("run", "three-rows", "--steps", "3")

    assert status == 0
    assert out.startswith("AGREE")
    assert "reports/three-rows/report.html" in out
    files = {p.name for p in Path("reports/three-rows").iterdir()}
    assert {"report.html", "summary.md", "differences.csv", "verdict.json", "config.toml",
            "initial_weights.safetensors"} <= files  # fmt: skip


def test_a_planted_mistake_exits_1_and_names_step_layer_and_tensor(call) -> None:
    status, out, _ = call(
        "run", "digits", "--steps", "2", "--plant", "2.weight.grad*=1.01", "--json", "--out", "r"
    )
    verdict = json.loads(out)

    assert status == 1
    assert verdict["verdict"] == "disagree"
    first = verdict["first_divergence"]
    assert (first["step"], first["layer"], first["quantity"]) == (0, "2", "grad:weight")
    assert first["own_or_inherited"] == "own"
    assert json.loads(Path("r/verdict.json").read_text()) == verdict
    assert verdict["planted"] == "2.weight.grad*=1.01"


def test_json_holds_what_other_tools_rely_on(call) -> None:
    status, out, _ = call("run", "iris", "--steps", "2", "--json", "--dtype", "float32")
    verdict = json.loads(out)

    assert status == 0
    assert {"verdict", "compared_tensors", "compared_elements", "steps", "worst",
            "first_divergence", "config", "environment"} <= verdict.keys()  # fmt: skip
    assert verdict["steps"] == 2
    assert verdict["first_divergence"] is None
    assert set(verdict["worst"]) >= {"step", "layer", "quantity", "budget_used"}
    assert verdict["config"]["train"]["dtype"] == "float32"


def test_the_saved_configuration_repeats_the_run_byte_for_byte(call, monkeypatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    monkeypatch.setattr("compare.report.provenance.command_line", lambda: "handgrad run …")
    call("run", "iris", "--steps", "3", "--set", "optimizer.lr=0.05", "--out", "one", "-q")
    status, out, _ = call("run", "one/config.toml", "--out", "two", "-q")

    assert (status, out) == (0, "")
    for name in ("differences.csv", "verdict.json", "report.html", "initial_weights.safetensors"):
        assert Path("one", name).read_bytes() == Path("two", name).read_bytes()


BAD = {
    "an unknown preset": (["run", "dig"], "Did you mean 'digits'"),
    "no such file": (["run", "nothere.toml"], "no file nothere.toml"),
    "zero steps": (["run", "digits", "--steps", "0"], "steps"),
    "an unknown key": (["run", "digits", "--set", "optimizer.lrr=1"], "'lr'"),
    "an unknown section": (["run", "digits", "--set", "optimiser.lr=1"], "'optimizer'"),
    "an unreadable setting": (["run", "digits", "--set", "nonsense"], "section.key=value"),
    "a batch beyond the data": (["run", "digits", "--set", "train.batch_size=5000"], "1797"),
    "an unknown dtype": (["run", "digits", "--dtype", "float8"], "float32"),
    "an unknown mode": (["run", "digits", "--mode", "loose"], "lockstep"),
    "a bad tolerance": (["run", "digits", "--tolerance", "3"], "RTOL,ATOL"),
    "a plant at no layer": (["run", "digits", "--plant", "9.weight.grad*=2"], "2.weight.grad"),
    "an unreadable plant": (["run", "digits", "--plant", "2.weight.grad"], "TARGET OP NUMBER"),
    "a plant of no number": (["run", "digits", "--plant", "2.weight.grad*=x"], "not a number"),
    "a missing weights file": (["run", "digits", "--weights", "w.safetensors"], "w.safetensors"),
    "shapes that do not fit": (
        ["run", "digits", "--set", "layers.2.in_features=63"], "in_features",
    ),
    "too few classes": (["run", "digits", "--set", "layers.4.out_features=9"], "9"),
    "an unwritable directory": (["run", "digits", "--out", "file/report"], "file"),
    "a penalty on nothing": (
        ["run", "svm", "--set", 'loss.penalties.0.parameters=["9.*"]'], "names no parameter",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_exits_2_with_one_paragraph_and_writes_nothing(call, case: str) -> None:
    Path("file").write_text("not a directory")
    arguments, message = BAD[case]
    status, out, err = call(*arguments)

    assert status == 2
    assert message in err
    assert err.startswith("handgrad: ")
    assert len(err.strip().splitlines()) == 1
    assert "Traceback" not in out + err
    assert [p.name for p in Path().iterdir()] == ["file"]


def test_a_loss_that_fails_is_told_with_the_shapes_of_output_and_target(call) -> None:
    status, _, err = call(
        "mirror", "torch.nn:Identity", "--input", "3,6,7", "--loss", "CrossEntropyLoss",
        "--target", "18:7",
    )  # fmt: skip

    assert status == 2
    assert "The loss cannot be computed of the output of Identity" in err
    assert "shape (3, 6, 7)" in err
    assert "the target, a tensor of shape (18,)" in err


def test_a_directory_that_is_no_report_is_never_replaced(call) -> None:
    Path("thesis").mkdir()
    Path("thesis/chapter1.tex").write_text("precious")
    status, _, err = call("run", "three-rows", "--steps", "1", "--out", "thesis")

    assert status == 2
    assert "thesis" in err
    assert Path("thesis/chapter1.tex").read_text() == "precious"


INTERRUPTED_AT_STEP_3 = """
import signal
from contextlib import contextmanager
from compare.commands import progress

@contextmanager
def bars(**_):
    yield lambda what, done, total: done == 3 and signal.raise_signal(signal.SIGINT)

progress.bars = bars
from handgrad.__main__ import main
main()
"""


def test_ctrl_c_reports_the_steps_so_far_as_incomplete_and_exits_130(tmp_path: Path) -> None:
    out = tmp_path / "r"
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_AT_STEP_3, "run", "three-rows", "--out", str(out)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    verdict = json.loads((out / "verdict.json").read_text())
    assert (verdict["verdict"], verdict["steps"]) == ("incomplete", 3)
    assert done.stdout.startswith("INCOMPLETE")


def test_list_names_every_kind_and_every_preset(call) -> None:
    status, out, _ = call("list", "--json")
    entries = json.loads(out)

    assert status == 0
    assert set(entries) == {
        "layers", "gates", "activations", "losses", "optimizers", "networks", "datasets", "presets",
    }  # fmt: skip
    assert [item["name"] for item in entries["presets"]] == presets()
    assert all(item["summary"] for items in entries.values() for item in items)


LIGHT = """
import sys
from handgrad.cli import main

for words in ("--help", "list", "run --help", "certify --help"):
    sys.argv = ["handgrad", *words.split()]
    try:
        main()
    except SystemExit as stopped:
        assert not stopped.code, (words, stopped.code)
    loaded = {name.partition(".")[0] for name in sys.modules}
    found = {"torch", "pandas", "sklearn", "matplotlib", "scipy", "evidence"} & loaded
    assert not found, (words, found)
"""


def test_help_and_list_load_neither_torch_nor_pandas_nor_evidence() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIGHT],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["bench", "mutate"])
def test_a_command_of_evidence_is_summed_up_in_its_own_words(name: str) -> None:
    from evidence.commands import app as evidence

    shown, own = (
        cast(Any, typer.main.get_command(which)).commands[name].help for which in (app, evidence)
    )

    assert shown == own.partition("\n")[0]


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["mutate", "--help"], "--rules"),
        (["mutate", "--help"], "default: (one per CPU)"),
        (["bench", "--help"], "--false-alarms"),
        (["mutate", "linear", "--only", "constant", "--list"], "manual/linear.py"),
    ],
)
def test_a_command_of_evidence_works_in_a_checkout(call, arguments: list[str], shown: str) -> None:
    status, out, _ = call(*arguments)

    assert status == 0
    assert shown in out


@pytest.mark.parametrize(
    ("command", "shown"),
    [("sweep", "[grid] and [random]."), ("sweep", "[default: one per CPU]"),
     ("check", "[default: rounding]"), ("mirror", "[default: as it comes]"),
     ("bench", "[default: float64,float32]")],
)  # fmt: skip
def test_help_shows_words_in_brackets(call, monkeypatch, command: str, shown: str) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    status, out, _ = call(command, "--help")

    assert status == 0
    assert shown in out
    assert "\\[" not in out


def test_without_a_checkout_the_message_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"`handgrad mutate` needs the folder evidence/"):
        checkout("handgrad mutate", tmp_path)


def test_the_version_is_the_packages(call) -> None:
    status, out, _ = call("--version")

    assert (status, out) == (0, f"handgrad {handgrad_package.__version__}\n")


def test_completion_knows_the_commands_and_the_presets(tmp_path: Path) -> None:
    def completed(words: str) -> str:
        told = {"_HANDGRAD_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": "2"}
        return subprocess.run(
            [sys.executable, "-c", "import sys; sys.argv[0] = 'handgrad'\n"
             "from handgrad.__main__ import main; main()"],
            cwd=Path(__file__).parents[2], env={**os.environ, **told}, capture_output=True,
            text=True, check=True,
        ).stdout  # fmt: skip

    assert completed("handgrad run iri").split() == ["iris"]
    assert "--false-alarms" in completed("handgrad bench --")
