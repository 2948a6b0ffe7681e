"""An executed notebook to a page: prose with equations, highlighted code, what the code showed."""

from __future__ import annotations

import html
import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from compare.errors import UserError
from teach.kit.mathml import to_html
from teach.kit.show import PAGE

TEMPLATES = Path(__file__).parent.parent / "templates"


class Page(NamedTuple):
    """A lesson's place in the ladder."""

    file: str  # 05_students.html
    number: str
    title: str
    lead: str


def page_of(stem: str, notebook: Any) -> Page:
    """Read number, title and first paragraph from the first markdown cell.

    Raises:
        UserError: the lesson does not begin with `# N · Title` and a paragraph.
    """
    cells = [cell.source for cell in notebook.cells[:1] if cell.cell_type == "markdown"]
    found = re.match(r"# (\d+) · (.+?)\n\n(.+?)(?:\n\n|\Z)", "".join(cells), re.DOTALL)
    if found is None:
        raise UserError(
            f"{stem}.py: the first cell must be markdown: '# N · Title', then a paragraph."
        )
    return Page(f"{stem}.html", found[1], found[2].strip(), found[3].strip())


def lesson_html(page: Page, notebook: Any, before: Page | None, after: Page | None) -> str:
    """Return the lesson's page."""
    from markupsafe import Markup

    blocks = [Markup(_block(cell)) for cell in notebook.cells]
    return _render("lesson.html.j2", page=page, blocks=blocks, before=before, after=after)


def index_html(pages: list[Page]) -> str:
    """Return the list of lessons."""
    from markupsafe import Markup

    leads = [Markup(to_html(page.lead)) for page in pages]
    return _render("lessons.html.j2", pages=list(zip(pages, leads, strict=True)))


def _block(cell: Any) -> str:
    if cell.cell_type == "markdown":
        return f'<section class="prose">{to_html(cell.source)}</section>'
    if not cell.source.strip():
        return ""
    shown = "".join(_output(output) for output in cell.get("outputs", []))
    shown = f'<div class="shown">{shown}</div>' if shown else ""
    return f'<section class="cell">{_highlighted(cell.source)}{shown}</section>'


def _output(output: Any) -> str:
    if output.output_type == "stream":
        return f"<pre class='printed'>{html.escape(output.text.rstrip())}</pre>"
    data = output.get("data", {})
    for mime in (PAGE, "text/html", "image/svg+xml"):
        if mime in data:
            return data[mime]
    return f"<pre class='printed'>{html.escape(data.get('text/plain', ''))}</pre>"


def _highlighted(source: str) -> str:
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    marked = highlight(source.strip(), PythonLexer(), HtmlFormatter(nowrap=True)).rstrip("\n")
    return f'<pre class="code" tabindex="0"><code>{marked}</code></pre>'


def _render(template: str, **values: Any) -> str:
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    from compare.report.rendering.html import TEMPLATES as REPORT_TEMPLATES
    from compare.report.rendering.palette import DARK, LIGHT, css_variables

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sheets = (REPORT_TEMPLATES / "report.css", TEMPLATES / "lesson.css")
    style = "".join(sheet.read_text("utf-8") for sheet in sheets)
    environment.globals.update(
        light=Markup(css_variables(LIGHT)), dark=Markup(css_variables(DARK)), css=Markup(style)
    )
    return environment
