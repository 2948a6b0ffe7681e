"""The site: lessons are executed, equations set, addresses followed; what is wrong fails."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sphinx", reason="the docs extra is not installed")
pytest.importorskip("py_mini_racer", reason="the docs extra is not installed")

from babel.messages.pofile import read_po
from markdown_it import MarkdownIt

from docs._ext import check, derivations, katex, lessons, readme, words

ROOT = Path(__file__).parents[2]
LESSON = """# %% [markdown]
# # 1 · A lesson
#
# What is learnt, with $x^2$ and a [link](https://example.org).

# %% tags=["hide-input"]
from teach.kit import code_diff, figure, same, table

# %%
def before(x):
    return x

def after(x):
    return x * 2

same("two", VALUE, 2.0)
table({"a": [1.5], "b": ["`code`"]})
code_diff(before, after)
with figure("A line", xlabel="x", ylabel="y") as axes:
    axes.plot([0, 1], [1, 2], label="line")
"""


def build(folder: Path, lesson: str, front: str = "Text.") -> subprocess.CompletedProcess:
    (folder / "lessons").mkdir()
    (folder / "lessons" / "01_first.py").write_text(lesson, "utf-8")
    contents = "<!-- toctree\n\nlessons/*\n-->"
    (folder / "README.md").write_text(f"# Front\n\n{front}\n\n{contents}\n", "utf-8")
    patterns = "include_patterns=README.md,lessons/*.py"
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", "docs",
               "-D", patterns, str(folder), str(folder / "site" / "en")]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    done = build(folder, LESSON.replace("VALUE", "2.0"))
    assert done.returncode == 0, done.stderr
    return folder / "site" / "en"


def test_a_lesson_shows_equations_code_tables_diffs_and_figures(site: Path) -> None:
    text = (site / "lessons" / "01_first.html").read_text("utf-8")

    for part in ('class="katex"', "tag_hide-input", "<table", "highlight-diff", "<svg", "var(--s1",
                 "same: two, one number: bit for bit", "<figcaption>A line"):  # fmt: skip
        assert part in text, part
    assert "lessons/01_first.html" in (site / "index.html").read_text("utf-8")


def test_a_page_loads_nothing_from_anywhere_and_a_planted_fault_is_found(site: Path) -> None:
    assert check.faults(site) == []

    (site / "extra.html").write_text(
        '<script src="https://cdn.example/katex.js"></script><a href="gone.html">x</a>'
        '<a href="index.html#gone">x</a><a href="https://example.org">fine</a>'
    )
    (site / "extra.css").write_text("@import url(//fonts.example/a.css);")
    found = "\n".join(check.faults(site))
    for part in ("loads https://cdn", "nowhere: gone", "anchor: index.html#gone", "loads //fonts"):
        assert part in found
    assert len(found.splitlines()) == 4


def test_a_wrong_number_an_unknown_command_and_a_dead_link_fail_the_build(tmp_path: Path) -> None:
    wrong = LESSON.replace("VALUE", "2.0000000000000004").replace("x^2", r"\foo")
    done = build(tmp_path, wrong, front="[here](lessons/02_gone.py)")

    assert done.returncode != 0
    assert "AssertionError" in done.stderr
    assert "2.0000000000000004" in done.stderr
    assert r"Undefined control sequence: \foo" in done.stderr
    assert "02_gone" in done.stderr


def test_a_page_leads_to_itself_in_the_other_language_where_both_are_built(site: Path) -> None:
    page = (site / "lessons" / "01_first.html").read_text("utf-8")

    assert 'href="../../vi/lessons/01_first.html"' in page
    assert "none" in (site / "_static" / "languages.css").read_text("utf-8")  # one of them is not


def test_the_vietnamese_readme_is_made_from_its_catalogue_block_by_block() -> None:
    text = (ROOT / "README.vi.md").read_text("utf-8")
    english = readme.CONTENTS.sub("", (ROOT / "README.md").read_text("utf-8"))

    assert text == readme.readme("vi"), "run: python -m docs._ext.readme"
    assert [t.type for t in MarkdownIt().parse(text)] == [
        t.type for t in MarkdownIt().parse(english)
    ]


def marks(text: str) -> tuple[list[str], list[str]]:
    """Return the inline code and formulas, and the links' targets, in no order."""
    codes = r"(`+).+?\1|(?<![\\$])\$[^$]+\$"
    return sorted(m[0] for m in re.finditer(codes, text)), sorted(re.findall(r"\]\([^)]*\)", text))


def test_a_translation_keeps_code_formulas_and_links() -> None:
    for file in sorted((ROOT / "docs" / "locale").rglob("*.po")):
        with file.open("rb") as source:
            for words in read_po(source):
                if words.string:
                    assert marks(words.string) == marks(str(words.id)), f"{file.name}: {words.id}"
                assert not (words.id and words.fuzzy), f"{file.name}: fuzzy: {words.id}"


def test_an_equation_is_set_with_mathml_for_screen_readers() -> None:
    assert "<math" in katex.rendered(r"\frac{\partial J}{\partial W}", True)

    with pytest.raises(ValueError, match="foo"):
        katex.rendered(r"\foo{x}", False)


def test_a_lesson_without_a_title_is_refused() -> None:
    with pytest.raises(ValueError, match="N · Title"):
        lessons.read("# %%\nx = 1\n")


def test_derivations_keep_their_lines_and_prose_is_no_markup() -> None:
    shapes = ["Shapes: x (N, I)", "Index form:", "    dx = dy W", "", "    dW = dyᵀ x"]
    arguments = ["Args:", "    a, b,", "        c: three"]
    lines = ["A *product* of `W` and x_.", "", *shapes, "", *arguments]

    assert derivations.to_rst(lines) == [
        r"A \*product\* of ``W`` and x\_.", "",
        ".. code-block:: text", "   :class: derivation", "",
        "   Shapes: x (N, I)", "   Index form:", "       dx = dy W", "", "       dW = dyᵀ x", "",
        "Args:", "    a, b, c: three", "",
    ]  # fmt: skip


def test_translators_get_headings_captions_axes_and_marked_words() -> None:
    code = """
table({"Learn": x, f"{n}": y})
with figure("A line", xlabel="step", width=3) as axes:
    axes.plot([0], label="own")
neurons([2, 1], "Two")
print(_("so {n}").format(n=1), "not this")
"""

    assert asked(code) == ["A line", "Learn", "Two", "own", "so {n}", "step"]


def asked(code: str, file: str = "") -> list[str]:
    source = io.BytesIO(code.encode())
    source.name = file  # type: ignore[attr-defined]
    return sorted(message for _, _, message, _ in words.extract(source, (), (), {}))


def test_translators_get_what_a_lesson_says_and_phrases_with_numbered_slots() -> None:
    code = """
print(f"after {n} steps: {x:.3f}", y)
raise ValueError(f"{a} is no {b}; see it")
same("the sum of rows", "dout * x.sum(0)", "np.sum of it")
same("ReLU's Jacobian", "K classes", "coupled: Adam", "X @ W1")
"""

    assert asked(code) == []
    assert asked(code, "lessons/01_descent.py") == [
        "K classes", "ReLU's Jacobian", "after {0} steps: {1} {2}", "coupled: Adam",
        "the sum of rows", "{0} is no {1}; see it",
    ]  # fmt: skip
    assert "{0} is no {1}; see it" in asked(code, "teach/exercises/grade.py")
