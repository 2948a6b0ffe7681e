"""What a report says of networks that are torch in some nodes; names, plants, the command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import compare
from compare.pair.hybrid import chosen, torch_on_both_sides
from compare.running.experiment import prepare
from tests.compare.pair.hybrid_networks import NODES, network


def test_rows_that_compare_torch_with_torch_are_counted() -> None:
    graph = prepare(network()).manual.graph

    assert torch_on_both_sides(graph, ["2"]) == {
        ("2", "output"), ("2", "grad:weight"), ("2", "grad:bias"), ("1", "grad_output"),
    }  # fmt: skip
    assert ("0", "grad_output") not in torch_on_both_sides(graph, ["1", "2"])  # 3 adds to it
    assert ("input", "grad_input") in torch_on_both_sides(graph, ["0"])
    assert torch_on_both_sides(graph, []) == set()
    assert compare.run(network(["2"])).torch_with_torch == 2 * 4


def test_torch_against_itself_differs_by_nothing() -> None:
    outputs = compare.run(network(["all"])).differences.query("quantity == 'output'")

    assert (outputs["max_abs_diff"] == 0).all()
    assert len(outputs) == 2 * len(NODES)


def test_the_report_says_which_layers_were_torch(tmp_path: Path) -> None:
    report = compare.run(network(["4", "2"]))
    path = report.save(tmp_path / "r")
    verdict = json.loads((path / "verdict.json").read_text())

    assert verdict["torch_layers"] == ["2", "4"]
    assert verdict["torch_with_torch"] == report.torch_with_torch > 0
    for text in (
        str(report),
        (path / "summary.md").read_text(),
        (path / "report.html").read_text(),
    ):
        assert "torch in layers 2, 4 on both sides" in text
        assert "no evidence for the hand-written layers" in text
    assert report.nodes[2].manual.startswith("torch.nn.Linear(")
    assert report.nodes[0].manual.startswith("Linear(")
    assert compare.run(path / "config.toml").torch_layers == ("2", "4")  # saved with the rest


def test_the_reason_counts_what_torch_agreed_with_itself_in() -> None:
    for names in (["2"], ["all"]):
        report = compare.run(network(names), steps=1)

        count, total = report.torch_with_torch, len(report.differences)
        assert report.reason.startswith(f"All {total} tensors of 1 step agree; ")
        assert f"{count} of these {total} compare torch with torch" in report.reason
        assert f"{count} of these {total} compare torch with torch" in str(report)


@pytest.mark.parametrize("names", [(), ("1",)])
def test_the_reason_counts_them_beside_tensors_that_are_zero(names: tuple[str, ...]) -> None:
    report = compare.run(
        network(names), init__scheme="constant", init__value=0.0,
        compare__structural_zeros=["*"],
    )  # fmt: skip

    assert report.agrees, report
    assert "more are zero within their tolerance (0.output, 1.output, " in report.reason
    assert ", …), which says nothing of them" in report.reason
    assert ("compare torch with torch." in report.reason) == bool(names)


def test_a_pure_run_says_nothing_of_torch_layers() -> None:
    report = compare.run(network())

    assert report.torch_layers == ()
    assert report.torch_with_torch == 0
    assert "on both sides" not in str(report)


def test_a_plant_that_did_not_run_is_told_and_an_update_still_runs() -> None:
    gone = compare.run(network(["2"]), plant="2.weight.grad*=1.01")
    update = compare.run(network(["2"]), plant="2.weight*=1.01")

    assert "the mistake did not run" in str(gone)
    assert not update.agrees
    assert "did not run" not in str(update)


def test_names_are_checked() -> None:
    graph = prepare(network()).manual.graph

    assert chosen([" 3", "0"], graph, where="") == ("0", "3")
    assert chosen(["all"], graph, where="") == NODES
    with pytest.raises(compare.UserError, match=r"no layer '7'.* Layers: 0, 1, 2, 3, 4"):
        compare.run(network(), torch_layers=["0", "7"])


def test_the_command_line(capsys, monkeypatch, tmp_path) -> None:
    from handgrad.cli import main

    def call(*arguments: str) -> tuple[Any, str, str]:
        monkeypatch.setattr(sys, "argv", ["handgrad", "run", "digits", "--steps", "1", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        return stopped.value.code, *capsys.readouterr()

    monkeypatch.chdir(tmp_path)
    plant = ("--plant", "2.weight.grad*=1.01")
    status, out, _ = call("--torch-layers", "2,3", "--json", *plant)
    assert status == 0
    assert json.loads(out)["torch_layers"] == ["2", "3"]
    assert call("--torch-layers", "0,4", "-q", *plant)[0] == 1
    status, _, err = call("--torch-layers", "2,relu")
    assert status == 2
    assert "no layer 'relu'" in err
