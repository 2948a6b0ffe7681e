"""What Sphinx's own translation leaves out: equations with words in them, the button of an answer.

Sphinx would put a translated equation back as reStructuredText, which Markdown pages are not.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.locale import init
from sphinx.transforms import SphinxTransform
from sphinx.util.i18n import docname_to_domain

from teach.kit.words import _


class Translated(SphinxTransform):
    """Replace them; the rest is left to Sphinx's Locale, which comes next."""

    default_priority = 19

    def apply(self, **kwargs: Any) -> None:
        folders = [self.env.srcdir / folder for folder in self.config.locale_dirs]
        domain = docname_to_domain(self.env.docname, self.config.gettext_compact)
        catalogue, _found = init(folders, self.config.language, domain)
        for node in self.document.findall(nodes.math_block):
            text = node.rawsource or node.astext()
            node.rawsource = catalogue.gettext(text) if text else ""
            node[:] = [nodes.Text(node.rawsource)]
        for node in self.document.findall(nodes.raw):
            shown = node.astext().replace("<summary>Answer<", f"<summary>{_('Answer')}<")
            node[:] = [nodes.Text(shown)]


def setup(app: Any) -> dict[str, Any]:
    app.add_transform(Translated)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
