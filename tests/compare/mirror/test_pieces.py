"""A NumPy port, piece by piece: right ones agree, and a mistake is found where it stands."""

from __future__ import annotations

import pytest

import compare
from compare.report.report import Report
from tests.compare.mirror.pieces import RIGHT, WRONG, ported, twin


def mirrored(pieces: dict) -> Report:
    example = ported()
    return compare.mirror(example.module, example.args, twin=pieces)


def test_a_port_of_every_module_agrees() -> None:
    report = mirrored(RIGHT)

    assert report.verdict == "agree", str(report)
    assert {n.name for n in report.nodes if "given" in n.manual} == set(RIGHT)


@pytest.mark.parametrize("path", RIGHT)
def test_a_port_of_one_module_agrees(path: str) -> None:
    assert mirrored({path: RIGHT[path]}).verdict == "agree"


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_piece_is_found_where_it_stands(name: str) -> None:
    report = mirrored(twin(name))

    assert report.verdict == "disagree"
    assert report.first_divergence is not None
    assert report.first_divergence.layer == WRONG[name].path
    assert report.first_divergence.own_or_inherited == "own"
