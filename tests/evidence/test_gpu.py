"""What was run on a GPU is written down as it was, and nothing without one."""

from __future__ import annotations

import pytest
import torch

from evidence.gpu import BEGIN, END, PAGE, main, put, results

JUNIT = """<testsuites><testsuite>
<testcase classname="tests.a" name="right"/>
<testcase classname="tests.a" name="wrong"><failure message="no"/></testcase>
<testcase classname="tests.a" name="broken"><error message="no"/></testcase>
<testcase classname="tests.a" name="left"><skipped/></testcase>
</testsuite></testsuites>"""


def test_counts_and_failures_are_told() -> None:
    text = results(JUNIT, ["Device: X."])

    assert text.splitlines() == [
        "- Device: X.",
        "- 1 of 4 tests passed, 2 failed, 1 were skipped.",
        "- Failed: `tests.a.wrong`",
        "- Failed: `tests.a.broken`",
    ]


def test_results_stand_in_their_place_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert put(page, "- new").count("- new") == 1
    assert put(put(page, "- old"), "- new") == put(page, "- new")
    with pytest.raises(ValueError, match="has no"):
        put("nothing", "- new")


def test_the_page_says_that_nothing_was_run_until_something_was() -> None:
    page = PAGE.read_text(encoding="utf-8")
    said = page[page.index(BEGIN) : page.index(END)]

    assert ("have not been run on a GPU" in said) != ("tests passed" in said)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_without_a_gpu_nothing_is_written(capsys: pytest.CaptureFixture) -> None:
    before = PAGE.read_bytes()

    assert main() == 2
    assert "nothing was run" in capsys.readouterr().out
    assert PAGE.read_bytes() == before
