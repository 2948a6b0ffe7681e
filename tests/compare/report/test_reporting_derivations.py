"""Every row of the page leads to its derivation, with and without script."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from compare.report.rendering.html import notebook_html, report_html
from compare.report.report import Report
from tests.compare.report.report_factory import agreeing

Run = Callable[..., Report]
TABLE = re.compile(r'<table class="sortable" id="tensors">.*?</table>', re.DOTALL)


def rows(page: str) -> list[str]:
    table = TABLE.search(page)
    assert table is not None
    return table[0].partition("<tbody>")[2].split("<tr ")[1:]


def test_every_row_links_to_a_place_inside_the_details_of_its_own_tensor(run: Run) -> None:
    page = report_html(run("three-rows", steps=3), [])

    for row in rows(page):
        layer = re.search(r'data-layer="([^"]*)"', row)
        quantity = re.search(r'href="#(d-\d+)"[^>]*><code>(.*?)</code>', row)
        if "other upstream" in row:  # no step computes it
            assert quantity is None
            continue
        assert layer is not None
        assert quantity is not None
        name = quantity[2].replace("<wbr>", "")
        summary = f"<summary><code>{layer[1]}</code> <code>{name}</code>"
        target = f'<div class="derivation" id="{quantity[1]}" tabindex="-1">'
        begin = page.index(summary)
        assert page.count(target) == 1
        assert begin < page.index(target) < page.index("</details>", begin)


def test_derivations_are_grouped_by_class_and_layer(run: Run) -> None:
    report = run("deep-relu", steps=1)
    page = report_html(report, [])
    section = page.partition('id="h-derivations"')[2].partition("</section>")[0]
    groups = re.findall(r'<details class="group"[^>]*><summary><b>(.*?)</b>', section)
    linear = section.partition("<b>Linear</b>")[2].partition('<details class="group"')[0]

    assert groups == ["Linear", "ReLU", "Loss", "Network input"]
    assert re.findall(r"<h3>(.*?)</h3>", linear) == [str(2 * n) for n in range(12)]
    assert section.count('tabindex="-1"') == len(report.worked)


def test_a_derivation_holds_equation_lines_grad_fn_and_arithmetic(run: Run) -> None:
    report = run("three-rows", steps=3)
    at = next(n for n, w in enumerate(report.worked) if w.quantity == "grad:weight")
    section = report_html(report, []).partition(f'id="d-{at}"')[2].partition("</details>")[0]

    assert "<math" in section
    assert "Linear.grad_params" in section
    assert '<span class="on">' in section
    assert "AddmmBackward0" in section
    assert "Σ_n δ[n," in section
    assert "agree within the tolerance" in section


def test_the_report_keeps_the_first_step_or_that_of_the_first_divergence(run: Run) -> None:
    fine = run("three-rows", steps=3)
    wrong = run("three-rows", steps=3, plant="2.weight.grad*=1.01")

    assert {w.step for w in fine.worked} == {0}
    assert all(w.holds and w.agrees for w in fine.worked)
    parting = [(w.layer, w.quantity) for w in wrong.worked if w.holds is False]
    assert parting == [("2", "grad:weight")]
    assert "the mistake is here" in report_html(wrong, [])
    assert "the mistake is here" not in report_html(fine, [])


def test_the_derivation_of_the_first_divergence_is_open(run: Run) -> None:
    page = report_html(run("three-rows", steps=3, plant="2.weight.grad*=1.01"), [])

    assert re.search(r"<details open><summary><code>2</code> <code>grad:weight</code>", page)
    assert page.count("<details open>") == 1


def test_without_worked_elements_nothing_leads_anywhere() -> None:
    page = report_html(agreeing(steps=3), [])

    assert "h-derivations" not in page
    assert "lead-to" not in page.partition("</style>")[2].partition("<script>")[0]


def test_names_and_texts_are_escaped(run: Run) -> None:
    report = run("three-rows", steps=3)
    hostile = replace(report.worked[0], problem="<script>alert(1)</script>")

    page = report_html(replace(report, worked=(hostile, *report.worked[1:])), [])

    assert "<script>alert" not in page


def test_the_notebook_view_stays_as_small_as_it_was(run: Run) -> None:
    report = run("three-rows", steps=3)

    assert notebook_html(report) == notebook_html(replace(report, worked=()))


def test_code_that_raises_is_reported_and_does_not_stop_the_derivations(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    import compare
    from manual.activations import Sigmoid

    def broken(self: Sigmoid, grad_output: object, cache: object) -> None:
        raise IndexError("out of reach")

    monkeypatch.setattr(Sigmoid, "backward", broken)
    report = compare.run("three-rows", steps=1, drift=False)
    problems = [w for w in report.worked if w.problem]

    assert report.verdict == "disagree"
    aside = report.differences["quantity"].str.startswith("other upstream")
    assert len(report.worked) == len(report.differences) - aside.sum() > 0
    assert any("left no grad_output of '0'" in w.finding for w in problems)
    assert "h-derivations" in report_html(report, [])
