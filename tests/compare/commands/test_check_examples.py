"""The coursework examples: every right version agrees, every wrong one does not."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import compare
from compare.commands.check_cli import check as check_command
from compare.pair.loading import load_names

COURSEWORK = Path(__file__).parents[3] / "examples" / "coursework"
LAYERS = {
    "affine": (
        "affine_forward,affine_backward", "affine", {"x": (4, 3), "w": (3, 5), "b": (5,)},
    ),
    "batch_norm": (
        "batchnorm_forward,batchnorm_backward", "batch_norm",
        {"x": (5, 3), "gamma": (3,), "beta": (3,)},
    ),
    "softmax_loss": (
        "softmax_loss", "cross_entropy", {"x": (4, 3), "y": np.array([0, 2, 1, 1])},
    ),
    "rnn_step": (
        "rnn_step_forward,rnn_step_backward", "rnn_step",
        {"x": (4, 3), "prev_h": (4, 5), "Wx": (3, 5), "Wh": (5, 5), "b": (5,)},
    ),
}  # fmt: skip
WRONG = {"affine": "grad:b", "batch_norm": "grad:x", "softmax_loss": "grad:x",
         "rnn_step": "grad:prev_h"}  # fmt: skip


def check(layer: str, version: str, *, reference: bool = True, **options) -> compare.Report:
    names, against, inputs = LAYERS[layer]
    functions = load_names(f"{COURSEWORK / layer / version}.py:{names}")
    known = load_names(f"{COURSEWORK / layer}/reference.py:{against}")[0] if reference else None
    backward = functions[1] if len(functions) > 1 else None
    return compare.check(functions[0], backward, known, inputs, **options)


@pytest.mark.parametrize("reference", [True, False], ids=["torch", "own forward"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("layer", LAYERS)
def test_the_right_version_agrees(layer: str, dtype: str, reference: bool) -> None:
    for seed in range(3):
        report = check(layer, "right", reference=reference, dtype=dtype, seed=seed)

        assert report.agrees, str(report)


@pytest.mark.parametrize("reference", [True, False], ids=["torch", "own forward"])
@pytest.mark.parametrize("layer", LAYERS)
def test_the_wrong_version_does_not_and_its_gradient_is_named(layer: str, reference: bool) -> None:
    report = check(layer, "wrong", reference=reference, shrink=False)

    assert report.verdict == "disagree"
    assert report.first_divergence.quantity == WRONG[layer]


def commands() -> list[list[str]]:
    """Return the README's commands, split into words."""
    text = (COURSEWORK / "README.md").read_text().partition("```sh")[2].partition("```")[0]
    return [shlex.split(command.replace("\\\n", " ")) for command in text.split("\n\n") if command]


@pytest.mark.parametrize("command", commands(), ids=lambda words: Path(words[2]).parent.name)
def test_the_readmes_commands_do_what_it_says(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(COURSEWORK.parents[1])
    app = typer.Typer()
    app.command()(check_command)
    result = CliRunner().invoke(app, [*command[2:], "--out", str(tmp_path / "report")])

    assert command[:2] == ["handgrad", "check"]
    assert result.exit_code == ("wrong.py" in command[2]), result.output


def test_the_readme_shows_every_layer() -> None:
    assert {Path(words[2]).parent.name for words in commands()} == set(LAYERS)
