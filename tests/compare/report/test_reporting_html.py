"""report.html: self-contained, escaped, accessible, and right in what it says."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

import numpy as np
import pytest

from compare.explaining.format import budget, split_common
from compare.report.rendering.directory import FILES
from compare.report.rendering.facts import FAILED, headline, per_tensor, worst_rows
from compare.report.rendering.heat_map import hover
from compare.report.rendering.html import bar_width, notebook_html, report_html
from compare.report.rendering.palette import DARK, LIGHT
from tests.compare.report.report_factory import (
    HOSTILE,
    KINDS,
    agreeing,
    disagreeing,
    free,
    hostile,
    tiny,
)

VOID = {"meta", "br", "hr", "img", "input", "link", "wbr", "source"}


class Page(HTMLParser):
    """Every tag with its attributes, the text, and complaints about nesting."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self.problems: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        self.problems += [f"<{tag}> is never closed" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> closes nothing")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif not self.open or self.open[-1] != "style":
            self.text.append(data)

    def attributes(self, name: str) -> list[str]:
        return [str(attrs[name]) for _, attrs in self.tags if name in attrs]


@cache
def html_of(kind: str) -> str:
    return report_html(KINDS[kind]())


@pytest.fixture(params=KINDS)
def page(request: pytest.FixtureRequest) -> Page:
    return Page(html_of(request.param))


def test_tags_are_balanced_and_ids_unique(page: Page) -> None:
    ids = page.attributes("id")

    assert page.problems == []
    assert len(ids) == len(set(ids))
    assert set(page.attributes("aria-labelledby")) <= set(ids)


def test_the_nesting_check_sees_a_tag_that_is_never_closed() -> None:
    assert Page("<div><p>x</div>").problems


def test_nothing_is_loaded_from_outside(page: Page) -> None:
    assert {attrs.get("src") for tag, attrs in page.tags if tag in ("script", "img")} <= {None}
    assert not [tag for tag, _ in page.tags if tag in ("link", "iframe", "object", "base")]
    beside = {f"{name}/" if name == "plots" else name for name in FILES}
    assert {href for href in page.attributes("href") if href[0] != "#"} <= beside
    assert all(href.startswith("#") for href in page.attributes("xlink:href"))


@pytest.mark.parametrize("kind", KINDS)
def test_styles_load_nothing_from_outside(kind: str) -> None:
    addresses = re.findall(r"url\(([^)]*)\)|@import", html_of(kind))

    assert all(address.startswith("#") for address in addresses)


def test_only_the_pages_own_script_may_run(page: Page) -> None:
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv"))
    digest = base64.b64encode(hashlib.sha256("".join(page.scripts).encode()).digest()).decode()

    assert [tag for tag, _ in page.tags].count("script") == 1
    assert f"script-src 'sha256-{digest}'" in str(policy)
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]


def test_tables_and_pictures_can_be_read_aloud(page: Page) -> None:
    heads = [attrs for tag, attrs in page.tags if tag == "th"]
    plots = [attrs for tag, attrs in page.tags if attrs.get("class") == "plot"]

    assert all(attrs.get("scope") in ("col", "row") for attrs in heads)
    assert all(attrs.get("role") == "img" and attrs.get("aria-label") for attrs in plots)
    assert [tag for tag, _ in page.tags].count("h1") == 1
    assert ("html", {"lang": "en"}) in page.tags


@pytest.mark.parametrize("render", [report_html, notebook_html])
@pytest.mark.parametrize(
    "text", [HOSTILE, '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}", "</style><b>", "'&quot;"]
)
def test_hostile_names_are_shown_and_never_act(render, text: str) -> None:
    found = Page(render(hostile(text)))

    assert found.problems == []
    assert text in "".join(found.text)
    assert "alert(1)" not in "".join(found.scripts)
    assert not [tag for tag, _ in found.tags if tag == "img"]
    assert not [name for _, attrs in found.tags for name in attrs if name.startswith("on")]


@pytest.mark.parametrize("render", [report_html, notebook_html])
def test_code_between_backticks_is_shown_as_code(render) -> None:
    page = render(hostile("try `dx = g * (a < b)`"))

    assert "try <code>dx = g * (a &lt; b)</code>" in page
    assert Page(page).problems == []


@pytest.mark.parametrize("text", ["\x00\x1b[31m", "$x^2$", "#010001", "層 🧪", "\u202e"])
def test_odd_names_do_not_break_the_page(text: str) -> None:
    found = Page(report_html(hostile(text)))

    assert found.problems == []
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e\ud800]", "".join(found.text))


def test_a_path_that_is_not_unicode_does_not_break_the_page() -> None:
    report = replace(tiny(), name="\udcff", config={"data": {"file": "/tmp/\udcff.csv"}})

    report_html(report).encode()


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("agreeing", "AGREE"),
        ("disagreeing", "DISAGREE"),
        ("incomplete", "INCOMPLETE"),
        ("free", "NO VERDICT"),
        ("empty", "INCOMPLETE"),
    ],
)
def test_the_headline_is_the_verdict(kind: str, word: str) -> None:
    found = re.search(r"<h1>.*?<span>(.*?)</span></h1>", html_of(kind), re.DOTALL)

    assert found is not None
    assert found[1] == word
    assert f"<title>{word} · " in html_of(kind)


def test_a_disagreement_is_never_hidden_by_the_mode() -> None:
    assert headline(replace(disagreeing(), mode="free")).word == "DISAGREE"


def test_a_chosen_tolerance_stands_in_the_headline() -> None:
    band = html_of("overridden").partition("<main")[0]

    assert "within a tolerance chosen by the user" in band
    assert "Tolerance overridden" in html_of("overridden")
    assert "chosen by the user" not in html_of("agreeing").partition("<main")[0]


@pytest.mark.parametrize(
    ("kind", "title"),
    [("disagreeing", "Planted mistake"), ("incomplete", "Stopped early"), ("free", "Free run")],
)
def test_what_must_be_known_first_is_a_banner(kind: str, title: str) -> None:
    assert title in html_of(kind)
    assert title not in html_of("agreeing")


def test_the_first_divergence_comes_first_with_everything_about_it() -> None:
    html = html_of("disagreeing")
    start = html.index("First divergence</h2>")
    card = html[start : html.index("</section>", start)]

    assert start < html.index('id="h-ledger"') < html.index('id="h-tensors"')
    for text in ("grad:weight", "Linear", "own", "grad_output", "× 1.01", "dy.T @ x", "dW = dyᵀ x"):
        assert text in card, text
    assert "First divergence</h2>" not in html_of("agreeing")


def test_the_first_divergence_shows_its_own_budget() -> None:
    report = disagreeing()
    used = float(report.differences.query("verdict == 'disagree'").iloc[0]["budget_used"])

    assert budget(used) in html_of("disagreeing").partition('id="h-ledger"')[0]


def test_every_tensor_has_one_row_with_its_worst_numbers() -> None:
    report = disagreeing()
    rows = per_tensor(report.differences)
    table = report.differences.groupby(["layer", "quantity"], sort=False)

    assert [(r.layer, r.quantity) for r in rows] == list(table.groups)
    for row, (_, group) in zip(rows, table, strict=True):
        worst = group.iloc[int(group["budget_used"].argmax())]
        assert (row.budget_used, row.step) == (worst["budget_used"], worst["step"])
        assert row.verdicts == group["verdict"].value_counts().to_dict()
    assert html_of("disagreeing").count(" data-layer=") == len(rows)


def test_a_failure_without_a_number_is_the_worst_of_its_tensor() -> None:
    report = KINDS["troubled"]()
    rows = {(r.layer, r.quantity): r for r in per_tensor(report.differences)}

    assert rows["5", "output"].verdict == "non-finite"
    assert rows["5", "output"].step == 0
    assert rows["6", "output"].verdict == "missing"
    assert {row["verdict"] for row in worst_rows(report, 3)} == {"missing", "non-finite"}


def test_rows_in_any_order_and_with_categories_give_the_same_sums() -> None:
    table = agreeing().differences
    categories = table.astype({"layer": "category", "quantity": "category"})

    assert per_tensor(categories) == per_tensor(table)


def test_rows_carry_what_the_filter_needs() -> None:
    found = Page(html_of("disagreeing"))
    rows = [attrs for tag, attrs in found.tags if tag == "tr" and "data-layer" in attrs]

    assert {row["data-kind"] for row in rows} == {
        *("output", "loss", "grad_output", "grad", "param", "state")
    }
    assert {row["data-verdict"] for row in rows} == {"agree", "disagree"}
    form = next(attrs for tag, attrs in found.tags if tag == "form")
    assert "hidden" in form  # shown by the script; without it every row is there


def test_the_map_shows_every_node_with_its_gravest_verdict() -> None:
    found = Page(html_of("disagreeing"))
    stops = [a for tag, a in found.tags if tag == "a" and str(a.get("title")).startswith("3 ")]

    assert html_of("disagreeing").count("<li>") == len(agreeing().nodes) + 1  # and the loss
    assert [stop["class"] for stop in stops] == ["bad first"]
    assert "disagree, largest budget used" in str(stops[0]["title"])
    assert str(stops[0]["href"])[1:] in found.attributes("id")
    assert '<ol class="map"' not in report_html(replace(agreeing(), mode="check"))


def test_the_map_names_what_feeds_a_node_where_that_is_not_the_one_before() -> None:
    nodes = list(agreeing().nodes)
    nodes[4] = replace(nodes[4], inputs=("1", "3"))
    page = report_html(replace(agreeing(), nodes=tuple(nodes)), [])

    assert '<span class="feeds">1 + 3 →</span>' in page
    assert page.count('class="feeds"') == 1


def test_a_cell_of_the_heat_map_tells_its_value_and_leads_to_its_row() -> None:
    report = KINDS["troubled"]()
    rows = per_tensor(report.differences)
    attribute = next(a for _, a in Page(report_html(report)).tags if "data-hover" in a)
    found = json.loads(str(attribute["data-hover"]))
    label, at = found["labels"][0], found["rows"][0]

    assert label == f"{rows[at].layer} · {rows[at].quantity}"
    assert max(x for x in found["cells"][0] if x) == float(f"{rows[at].budget_used:.2g}")
    assert len(found["cells"]) == len(found["rows"]) == len(found["labels"])
    assert {len(row) for row in found["cells"]} == {len(found["columns"])}
    assert any(-1 in row for row in found["cells"])  # a failure without a number


def test_cells_of_a_check_are_named_by_their_cases() -> None:
    report = replace(agreeing(steps=2), mode="check")
    table = report.differences
    table["layer"] = ["random" if step == 0 else "zeros" for step in table["step"]]
    table = table.drop_duplicates(["layer", "quantity"])
    found = hover(replace(report, differences=table), per_tensor(table))

    assert (found["what"], found["columns"]) == ("case", ["random", "zeros"])
    assert found["rows"][0] == [0, table["quantity"].nunique()]


def test_elements_left_out_are_told() -> None:
    assert "nothing was left out" in html_of("agreeing")
    assert "1,024 elements of" in html_of("troubled")
    assert "Comparing nothing is never a pass" in html_of("empty")


def test_environment_and_configuration_are_shown() -> None:
    html = html_of("agreeing")

    for key, value in agreeing().environment.items():
        assert f"<dt>{key}</dt><dd>{value}</dd>" in html
    assert "momentum = 0.9" in html


def test_absent_plots_say_why() -> None:
    assert "drift of a free run (no free run was asked for)" in html_of("agreeing")
    assert "drift of a free run (" not in html_of("free")


def test_a_run_of_one_step_and_rows_not_judged_render() -> None:
    assert "1 step" in notebook_html(tiny())
    assert "5,740 rows not judged" in notebook_html(free())


def test_both_themes_have_every_colour_and_enough_contrast() -> None:
    def luminance(colour: str) -> float:
        channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(
            channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
        )
        return float(linear @ [0.2126, 0.7152, 0.0722])

    def contrast(a: str, b: str) -> float:
        dark, light = sorted((luminance(a), luminance(b)))
        return (light + 0.05) / (dark + 0.05)

    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert LIGHT.keys() == DARK.keys()
    for theme in (LIGHT, DARK):
        for text in ("ink", "muted", "link", "bad", "good", "warn"):
            assert contrast(theme[text], theme["paper"]) >= 4.5, text
        for text, ground in (("bad", "bad-soft"), ("ink", "warn-soft"), ("ink", "mark")):
            assert contrast(theme[text], theme[ground]) >= 4.5, text
        for band in ("agree", "disagree", "incomplete", "none"):
            assert contrast("#ffffff", theme[band]) >= 7, band
        for i in range(1, 8):
            assert contrast(theme[f"s{i}"], theme["paper"]) >= 3, i


def test_every_colour_that_the_style_uses_is_defined() -> None:
    used = set(re.findall(r"var\(--([\w-]+)\)", html_of("disagreeing")))

    assert used - {"sans", "mono"} <= LIGHT.keys()


@pytest.mark.parametrize(
    ("value", "text", "width"),
    [
        (float("nan"), "–", "0"),
        (0.0, "0 %", "0"),
        (1e-9, "< 0.001 %", "0.0"),
        (2.5e-5, "0.003 %", "0.0"),
        (0.0042, "0.42 %", "40.6"),
        (0.1, "10 %", "75.0"),
        (0.999, "100 %", "100.0"),
        (1.0, "100 %", "100.0"),
        (1.04, "1.04 ×", "100.0"),
        (3.2e9, "3.2e9 ×", "100.0"),
        (float("inf"), "∞", "100.0"),
    ],
)
def test_budgets_read_as_per_cent_up_to_the_limit(value: float, text: str, width: str) -> None:
    assert budget(value) == text
    assert bar_width(value) == width


@pytest.mark.parametrize(
    ("a", "b", "parts"),
    [
        ("0.1234", "0.1239", ("0.123", "4", "9")),
        ("1.5", "1.5", ("1.5", "", "")),
        ("1e-10", "1e-11", ("", "1e-10", "1e-11")),
        ("-1.0", "1.0", ("", "-1.0", "1.0")),
        ("nan", "0.5", ("", "nan", "0.5")),
    ],
)
def test_differing_digits_are_told_apart(a: str, b: str, parts: tuple[str, str, str]) -> None:
    assert split_common(a, b) == parts


def test_failed_rows_are_marked_by_more_than_colour() -> None:
    html = html_of("troubled")

    for verdict in FAILED:
        assert re.search(rf'class="chip bad">[\d,]+ {verdict}<', html), verdict
