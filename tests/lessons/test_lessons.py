"""The lessons run as plain scripts, and the site that they render to."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from compare.errors import UserError
from teach.kit.mathml import to_html, to_mathml
from teach.kit.site import LESSONS, build, lesson_files

pytest.importorskip("jupytext", reason="the lessons extra is not installed")

RIGHT = """# %% [markdown]
# # {number} · A lesson
#
# What is learnt, with $x^2$.
#
# $$\\begin{{aligned}} a &= \\sigma'(z) \\\\ b &= 2 \\end{{aligned}}$$

# %%
from teach.kit import code_diff, figure, same, table

class Before:
    def f(self, x):
        return x

class After:
    def f(self, x):
        return x * 2

same("two", {value}, 2.0)
table({{"a": [1.5], "b": ["`code`"]}})
code_diff(Before, After)
with figure("A line", xlabel="x", ylabel="y") as axes:
    axes.plot([0, 1], [1, 2], label="line")
"""


@pytest.mark.parametrize("lesson", lesson_files(), ids=lambda file: file.stem)
def test_a_lesson_runs_as_a_script_and_its_assertions_hold(lesson: Path, capsys) -> None:
    runpy.run_path(str(lesson), run_name="__main__")

    assert "same: " in capsys.readouterr().out


@pytest.mark.parametrize("lesson", lesson_files(), ids=lambda file: file.stem)
def test_every_equation_of_a_lesson_becomes_mathml(lesson: Path) -> None:
    import jupytext

    cells = jupytext.read(lesson, fmt="py:percent").cells
    page = "".join(to_html(cell.source) for cell in cells if cell.cell_type == "markdown")

    assert "<math" in page
    assert "$" not in page


@pytest.mark.parametrize("lesson", lesson_files(), ids=lambda file: file.stem)
def test_a_lesson_ends_with_what_changed_and_what_torch_does(lesson: Path) -> None:
    headings = re.findall(r"^# ## (.+)$", lesson.read_text("utf-8"), re.MULTILINE)

    assert headings[-2:] == ["What changed in the code", "What torch now does for you"]


def test_a_lesson_is_a_plain_script_in_a_process_of_its_own() -> None:
    command = [sys.executable, "-W", "error", str(LESSONS / "08_students.py")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=LESSONS.parent, check=False,
                          env={"PYTHONPATH": str(LESSONS.parent), "PATH": ""})  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("course") / "lessons"
    folder.mkdir()
    files = [folder / "01_first.py", folder / "02_second.py"]
    for number, file in enumerate(files, start=1):
        file.write_text(RIGHT.format(number=number, value="2.0"), "utf-8")
    return build(files, folder / "_site", progress=False).parent


class References(HTMLParser):
    """Every address that a page names, and whether following it takes a click."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src", "srcset", "data", "xlink:href", "action"):
                (self.links if tag == "a" else self.loaded).append(value or "")


def test_a_page_loads_nothing_from_anywhere(site: Path) -> None:
    for page in site.glob("*.html"):
        text = page.read_text("utf-8")
        references = References(text)

        assert all(address.startswith("#") for address in references.loaded), page
        assert all((site / address).exists() for address in references.links), page
        assert "<script" not in text
        assert "@import" not in text
        assert not re.search(r"url\((?!#)", text)


def test_pages_show_equations_code_tables_diffs_and_figures(site: Path) -> None:
    text = (site / "01_first.html").read_text("utf-8")

    for part in ("<math", 'class="code"', "<table", 'class="diff"', "+        return x * 2", "<svg",
                 "var(--s1)", "same: two, one number: bit for bit"):  # fmt: skip
        assert part in text, part
    assert '<a rel="next" href="02_second.html">' in text
    assert (site / "01_first.ipynb").exists()
    assert "1 · A lesson" in re.sub(r"<[^>]+>", "", text)
    assert '<a href="02_second.html">' in (site / "index.html").read_text("utf-8")


def test_a_wrong_number_fails_the_build_and_leaves_the_old_site(site: Path) -> None:
    before = {file.name: file.read_bytes() for file in site.iterdir()}
    wrong = site.parent / "03_wrong.py"
    wrong.write_text(RIGHT.format(number=3, value="2.0000000000000004"), "utf-8")

    with pytest.raises(UserError, match=r"03_wrong.py failed: AssertionError: two"):
        build([wrong], site, progress=False)
    assert {file.name: file.read_bytes() for file in site.iterdir()} == before
    assert [f.name for f in site.parent.iterdir() if f.name.startswith(".lessons")] == []


@pytest.mark.parametrize("mine", ["thesis.txt", "index.html"])
def test_a_folder_that_is_no_site_is_not_replaced(tmp_path: Path, mine: str) -> None:
    (tmp_path / mine).write_text("mine")

    for target in (tmp_path, tmp_path / mine):
        with pytest.raises(UserError, match="other things"):
            build(lesson_files()[:1], target, progress=False)
    assert (tmp_path / mine).read_text() == "mine"


def test_an_equation_that_mathml_does_not_know_is_refused() -> None:
    with pytest.raises(UserError, match="foo"):
        to_mathml(r"\foo{x}")


def test_a_lesson_without_a_title_is_refused(tmp_path: Path) -> None:
    nameless = tmp_path / "01_nameless.py"
    nameless.write_text("# %%\nx = 1\n")

    with pytest.raises(UserError, match="N · Title"):
        build([nameless], tmp_path / "site", progress=False)
