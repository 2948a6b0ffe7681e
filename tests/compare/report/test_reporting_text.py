"""The report in a terminal and in a pull request."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import numpy as np
import pytest

from compare.report.rendering.html import report_html
from compare.report.rendering.terminal import show, terminal_text
from compare.report.rendering.text import summary_markdown
from compare.report.rendering.verdict import verdict_dict
from compare.report.report import Report
from tests.compare.report.report_factory import HOSTILE, KINDS, agreeing, disagreeing, hostile, tiny


@pytest.mark.parametrize("kind", KINDS)
def test_a_terminal_shows_the_verdict_first_in_at_most_30_lines(kind: str) -> None:
    report = KINDS[kind]()
    lines = terminal_text(report).splitlines()

    word = "NO VERDICT" if kind == "free" else report.verdict.upper()
    assert lines[0].startswith(f"{word}: ")
    assert len(lines) <= 30
    assert report.reason in lines[1:3]
    assert lines[1] == report.reason or lines[1].startswith("grad:weight in layer ")


def test_a_disagreement_is_told_with_place_values_and_owner() -> None:
    report = disagreeing()
    first = report.first_divergence
    assert first is not None

    for text in (terminal_text(report), summary_markdown(report)):
        assert "First divergence" in text
        assert repr(first.manual) in text
        assert repr(first.torch) in text
        assert first.worst_index in text
        assert "own" in text
        assert "× 1.01" in text
    assert "last agreed: step 0, layer 3, grad_output" in terminal_text(report)


def test_own_and_inherited_read_differently() -> None:
    for text in (terminal_text, summary_markdown):
        own, inherited = text(unexplained(disagreeing())), text(unexplained(KINDS["troubled"]()))

        assert "upstream gradient, still disagrees" in own
        assert "upstream gradient, agrees" in inherited


def unexplained(report: Report) -> Report:
    assert report.first_divergence is not None
    return replace(report, first_divergence=replace(report.first_divergence, explanation=""))


def test_the_difference_told_is_that_of_the_element_shown() -> None:
    report = disagreeing()
    first = report.first_divergence
    assert first is not None
    wider = replace(report, first_divergence=replace(first, max_abs_diff=123.0))

    assert f"|diff| {abs(first.manual - first.torch):.3g}\n" in terminal_text(wider)
    assert "|diff| inf\n" in terminal_text(KINDS["troubled"]())


def test_counts_are_told() -> None:
    text = terminal_text(agreeing())

    assert "5,740 tensors (13,224,820 elements) compared over 140 steps" in text
    assert "agree 5,740, vacuous 0, disagree 0, non-finite 0, missing 0" in text
    assert "1,024 elements left out" in terminal_text(KINDS["troubled"]())
    assert "not judged 5,740" in terminal_text(KINDS["free"]())


def test_the_counts_come_last() -> None:
    blocks = terminal_text(disagreeing()).split("\n\n")

    assert [block.split()[0] for block in blocks] == ["DISAGREE:", "First", "Worst", "5,740"]
    assert blocks[-1].splitlines()[1].startswith("agree 5,320, vacuous 0, disagree 420")


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("kind", ["disagreeing", "troubled", "tiny"])
def test_a_table_fits_the_width_and_no_number_is_split(kind: str, width: int) -> None:
    report = KINDS[kind]()
    narrow, wide = (terminal_text(report, w).splitlines() for w in (width, 1000))
    numbers = set(re.findall(r"-?\d[\d.e+-]*", " ".join(wide)))

    assert max(map(len, narrow)) <= width
    assert set(re.findall(r"-?\d[\d.e+-]*", " ".join(narrow))) <= numbers
    head = next(line for line in narrow if "quantity" in line)
    assert ("manual" in head, "|diff|" in head, "budget used" in head) == (width > 80, True, True)


def test_colour_marks_the_verdict_and_the_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    def printed(**environment: str) -> str:
        terminal = io.StringIO()
        terminal.isatty = lambda: True  # type: ignore[method-assign]
        monkeypatch.setattr("sys.stdout", terminal)
        for name in ("NO_COLOR", "TERM"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {"TERM": "xterm", "COLUMNS": "200", **environment}.items():
            monkeypatch.setenv(name, value)
        show(disagreeing())
        return terminal.getvalue()

    coloured = printed()

    assert re.search(r"\x1b\[1;31mDISAGREE: digits", coloured)
    assert re.search(r"\x1b\[31m +0 .*disagree", coloured)
    assert "\x1b[1;31m" not in printed(NO_COLOR="1")
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured).strip() == terminal_text(disagreeing(), 200)


def test_what_is_compared_at_some_steps_only_is_said() -> None:
    table = agreeing().differences
    kept = (table["layer"] != "3") | (table["quantity"] != "grad:bias") | (table["step"] % 10 == 0)
    report = replace(agreeing(), differences=table[kept])

    assert (
        "compared over 140 steps; 3.grad:bias at 14 of 140 steps only; lockstep\n"
        in terminal_text(report)
    )
    assert "3.grad:bias at 14 of 140 steps only" in summary_markdown(report)
    assert "but 3.grad:bias at 14 of 140 steps only" in report_html(report)
    assert verdict_dict(report)["compared_at_some_steps"] == [
        {"layer": "3", "quantity": "grad:bias", "steps": 14, "of": 140}
    ]
    assert "only" not in terminal_text(agreeing())


def test_an_assertion_names_tensor_and_cause_in_its_first_line() -> None:
    with pytest.raises(AssertionError) as raised:
        disagreeing().assert_agrees()

    first = str(raised.value).splitlines()[0]
    assert first.startswith("DISAGREE: digits: grad:weight in layer 3: manual is torch × 1.01")


def test_a_report_has_a_short_repr() -> None:
    assert repr(agreeing()) == "<Report digits: agree, 5,740 tensors, 140 steps>"


def test_one_is_singular() -> None:
    report = replace(tiny(), differences=tiny().differences.iloc[:1])

    assert "\n1 tensor (70 elements)" in terminal_text(report)


def test_the_worst_rows_come_worst_first() -> None:
    lines = terminal_text(agreeing()).splitlines()
    shares = [float(m[1]) for line in lines if (m := re.search(r"([\d.]+) %$", line))]

    assert len(shares) == 5
    assert shares == sorted(shares, reverse=True)


def test_each_tensor_is_among_the_worst_once() -> None:
    worst = terminal_text(disagreeing()).split("Worst tensors")[1].splitlines()[2:7]

    assert [line.split()[2] for line in worst[:3]] == [
        *("grad:weight", "param:weight", "state:weight:momentum_buffer")
    ]
    assert ["disagree" in line for line in worst] == [True] * 3 + [False] * 2


def test_a_chosen_tolerance_and_a_planted_mistake_are_told() -> None:
    for text in (terminal_text(KINDS["overridden"]()), summary_markdown(KINDS["overridden"]())):
        assert "within a tolerance chosen by the user" in text.splitlines()[0]
        assert "rtol = 0.001" in text
    assert "3.weight.grad*=1.01" in terminal_text(disagreeing())


@pytest.mark.parametrize("text", ["a\nb", "\x1b[31mred", "\x00", "x" * 500])
def test_a_terminal_gets_no_control_characters_and_no_extra_lines(text: str) -> None:
    lines = terminal_text(hostile(text)).split("\n")

    assert len(lines) <= 30
    assert not re.search(r"[\x00-\x1f]", "".join(lines))


@pytest.mark.parametrize("kind", KINDS)
def test_every_markdown_table_is_rectangular(kind: str) -> None:
    tables = re.findall(r"(?:^\|.*\|\n?)+", summary_markdown(KINDS[kind]()), re.MULTILINE)

    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(widths) == 1, table


@pytest.mark.parametrize(
    "text", [HOSTILE, "a|b", "`x`", "**b**", "[l](http://x)", "a\n\n# b", "@me"]
)
def test_hostile_names_do_not_act_as_markdown(text: str) -> None:
    found = summary_markdown(hostile(text))
    prose = re.sub(r"`[^`\n]*`", "", found)  # nothing acts inside a code span

    assert "<script" not in prose
    assert "**b**" not in prose
    assert "[l](" not in prose
    assert "@me" not in prose
    assert not re.search(r"^# b", found, re.MULTILINE)


def test_markdown_without_judged_rows_has_no_worst_table() -> None:
    report = KINDS["free"]()

    assert np.isnan(report.differences["budget_used"]).all()
    assert "Worst tensors" not in summary_markdown(report)
    assert "Every tensor" in summary_markdown(report)


def test_a_long_table_is_cut_and_says_so() -> None:
    report = agreeing(steps=1)
    table = report.differences.assign(layer=[f"layer{i % 41}.{i}" for i in range(41)])
    many = replace(report, differences=table.loc[np.repeat(table.index, 1)])

    assert "more are in differences.csv" not in summary_markdown(many)
    longer = table.loc[np.repeat(table.index, 2)].reset_index(drop=True)
    longer["layer"] = [f"l{i}" for i in range(len(longer))]
    assert "22 more are in differences.csv" in summary_markdown(replace(report, differences=longer))
