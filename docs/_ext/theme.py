"""The project's colours on the site, light and dark, whichever way the theme is chosen."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sphinx.locale import _

from compare.report.rendering.palette import DARK, LIGHT, css_variables

LANGUAGES = {"en": "English", "vi": "Tiếng Việt"}  # with a folder of docs/_site each

# What Furo and MyST-NB write into pages without asking for a translation; sphinx.po has them.
UNASKED = (
    "Skip to content", "Contents", "Menu", "Expand", "Light mode", "Dark mode",
    "Auto light/dark, in light mode", "Auto light/dark, in dark mode",
    "Toggle Light / Dark / Auto color theme", "Toggle site navigation sidebar",
    "Toggle table of contents sidebar", "Toggle hidden content", "Toggle navigation of ",
)  # fmt: skip
BEFORE = r'aria-label="|<title>|#furo-main-content">\s*'
TEXT = re.compile(f"({BEFORE})({'|'.join(map(re.escape, UNASKED))})")

# Furo says in body[data-theme] what the reader chose: light, dark, or auto. A drawing that brings
# its own colours along follows the page's, too.
SHEET = """
body, body[data-theme] svg {{ {light} }}
@media not print {{
  body[data-theme="dark"], body[data-theme="dark"] svg {{ {dark} }}
  @media (prefers-color-scheme: dark) {{
    body:not([data-theme="light"]), body:not([data-theme="light"]) svg {{ {dark} }}
  }}
}}
"""


def write_colours(app: Any) -> None:
    if app.builder.format != "html":
        return
    folder = Path(app.outdir) / "_static"
    folder.mkdir(parents=True, exist_ok=True)
    sheet = SHEET.format(light=css_variables(LIGHT), dark=css_variables(DARK))
    (folder / "colours.css").write_text(sheet, "utf-8")


def show_languages(app: Any, exception: Exception | None = None) -> None:
    """Show the switch of languages where all of their sites have been built, side by side."""
    if app.builder.format != "html" or exception is not None:
        return
    sites = [Path(app.outdir).parent / language for language in LANGUAGES]
    built = [site / "_static" for site in sites if (site / "README.html").exists()]
    rule = "" if len(built) == len(LANGUAGES) else ".languages { display: none; }\n"
    for folder in {*built, Path(app.outdir) / "_static"}:
        (folder / "languages.css").write_text(rule, "utf-8")


def tell_languages(app: Any, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    context["languages"] = LANGUAGES


def ask_for_all(app: Any) -> None:
    """Translate in every page what its templates say in English whatever the language is."""
    if app.builder.format != "html" or app.config.language == "en":
        return
    render = app.builder.templates.render

    def spoken(template: str, context: dict[str, Any]) -> str:
        page = render(template, context)
        return TEXT.sub(lambda found: found[1] + _(found[2]), page)

    app.builder.templates.render = spoken


def front_page(app: Any, exception: Exception | None) -> None:
    """README.html also answers as index.html, where servers and people look first."""
    if app.builder.format == "html" and exception is None:
        page = (Path(app.outdir) / "README.html").read_text("utf-8")
        (Path(app.outdir) / "index.html").write_text(page, "utf-8")


def setup(app: Any) -> dict[str, Any]:
    app.connect("builder-inited", write_colours)
    app.connect("builder-inited", show_languages)
    app.connect("builder-inited", ask_for_all)
    app.connect("html-page-context", tell_languages)
    app.connect("build-finished", front_page, priority=400)
    app.connect("build-finished", show_languages, priority=400)
    app.add_css_file("colours.css")
    app.add_css_file("site.css")
    app.add_css_file("languages.css")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
