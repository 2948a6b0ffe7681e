"""The site: README, guides, lessons (executed), and the reference from the docstrings.

`make docs` builds it. The source folder is the repository itself, so that its Markdown reads the
same here and on GitHub.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
KERNEL = HERE.parent / "build" / "ipython"  # the lessons' own: without what a user's starts with
(KERNEL / "profile_default").mkdir(parents=True, exist_ok=True)
(KERNEL / "profile_default" / "ipython_kernel_config.py").write_text(
    "c.IPKernelApp.log_level = 40\nc.HistoryManager.enabled = False\n"
)
os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent), "IPYTHONDIR": str(KERNEL)}

project = "handgrad"
author = "the handgrad authors"
language = "en"
root_doc = "README"
include_patterns = [
    "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/*.md", "docs/api/*.rst",
    "lessons/README.md", "lessons/[0-9]*.py",
]  # fmt: skip
TRANSLATED = [
    "README.md",
    "docs/learners.md",
    "docs/exercises.md",
    "docs/trace.md",
    "docs/errata.md",
    "docs/history.md",
    "lessons/README.md",
    "lessons/[0-9]*.py",
]
if tags.has("gettext"):  # type: ignore[name-defined]  # noqa: F821
    include_patterns = TRANSLATED
    suppress_warnings = ["myst.xref_missing", "toc", "image"]  # of pages left out
exclude_patterns = [".*", "build", "reports", "docs/_*", "docs/locale"]

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "katex",
    "theme",
    "check",
    "derivations",
    "repository",
    "translated",
]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
nb_custom_formats = {".py": ["lessons.read", {}]}
nb_execution_mode = "force"
nb_execution_timeout = 300
nb_execution_show_tb = True
nb_output_stderr = "error"
nb_merge_streams = True

autodoc_default_options = {
    "members": True,
    "member-order": "bysource",
    "exclude-members": "becomes",  # a class of another page
}
autodoc_inherit_docstrings = False  # an override without its own is left out
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
default_role = "literal"
napoleon_numpy_docstring = False

gettext_compact = False  # a catalogue for each page
gettext_location = False  # line numbers would change with every edit
locale_dirs = ["docs/locale"]


def setup(app):  # type: ignore[no-untyped-def]
    """What the lessons print is in the site's language, which `-D language=vi` may have said."""
    app.connect("config-inited", _speak)


def _speak(app, config):  # type: ignore[no-untyped-def]
    from teach.kit.words import _

    os.environ.update(LANGUAGE=config.language)
    config.nb_code_prompt_show = config.nb_code_prompt_hide = _("Preparations")


html_theme = "furo"
pygments_style = "friendly"
pygments_dark_style = "github-dark"
html_title = "handgrad"
html_show_copyright = False
html_math_renderer = "katex"
html_static_path = ["_static"]
templates_path = ["_templates"]
html_sidebars = {  # Furo's own, and the languages
    "**": [
        "sidebar/brand.html",
        "sidebar/search.html",
        "languages.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}
html_theme_options = {"source_view_link": "", "top_of_page_buttons": []}
