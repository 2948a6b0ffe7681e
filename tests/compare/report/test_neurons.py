"""Fully connected networks as neurons: every weight a line, large layers abbreviated."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import pytest

import compare
from compare.description.config import load
from compare.report.rendering.html import report_html
from compare.report.rendering.neurons import MOST, Column, columns_of, neurons_svg

SVG = "{http://www.w3.org/2000/svg}"


def count(columns: list[Column]) -> tuple[int, int]:
    text = neurons_svg(columns, "a & b").replace(
        "<svg ", '<svg xmlns="http://www.w3.org/2000/svg" '
    )
    root = ElementTree.fromstring(text)
    return len(list(root.iter(f"{SVG}circle"))), len(list(root.iter(f"{SVG}line")))


def columns_of_preset(name: str) -> list[Column]:
    return columns_of(load(name, {}).as_dict()["layers"])


@pytest.mark.parametrize(
    "widths", [(2, 4, 1), (2, 2, 1), (2, 3, 4, 1), (2, 4, 5, 1), (3, 4, 4, 2), (1, 1)]
)
def test_every_neuron_is_a_circle_and_every_weight_a_line(widths: tuple[int, ...]) -> None:
    weights = sum(a * b for a, b in pairwise(widths))

    assert count([Column(units) for units in widths]) == (sum(widths), weights)


def test_a_large_layer_shows_a_few_neurons_and_tells_their_number() -> None:
    circles, _ = count([Column(1000, "inputs"), Column(10)])

    assert circles < 2 * MOST
    assert ">1,000<" in neurons_svg([Column(1000, "inputs"), Column(10)], "large")


@pytest.mark.parametrize(
    ("preset", "widths"),
    [("two-hidden-layers", [64, 30, 20, 10]), ("wine", [13, 24, 3]), ("three-rows", [3, 4, 4, 2])],
)
def test_a_configs_chain_is_read(preset: str, widths: list[int]) -> None:
    assert [column.units for column in columns_of_preset(preset)] == widths


@pytest.mark.parametrize("preset", ["residual", "digits-cnn", "maxout", "verses-rnn"])
def test_other_networks_are_not_drawn_as_neurons(preset: str) -> None:
    assert columns_of_preset(preset) == []


def test_a_report_of_such_a_network_shows_its_neurons() -> None:
    page = report_html(compare.run("students-2-4-1", steps=1), plots=[])

    assert page.count('<svg class="neurons"') == 1
    assert page.count("<circle") >= 7
