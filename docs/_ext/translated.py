"""What Sphinx's own translation leaves out: equations with words in them, the button of an answer,
and the lines that a lesson's code prints.

Sphinx would put a translated equation back as reStructuredText, which Markdown pages are not.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.locale import init
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.i18n import docname_to_domain

from compare.words import said, speak
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


class Printed(SphinxPostTransform):
    """Translate the lines that cells have printed, those that the catalogue has; code stays."""

    default_priority = 900

    def run(self, **kwargs: Any) -> None:
        speak(self.config.language)
        for cell in self.document.findall(nodes.container):
            if "cell_output" in cell.get("classes", []):
                printed = cell.findall(nodes.literal_block)
                for block in (b for b in printed if b.get("language") != "diff"):
                    lines = "\n".join(map(said, block.astext().split("\n")))
                    block[:] = [nodes.Text(lines)]
                    block.rawsource = lines


def setup(app: Any) -> dict[str, Any]:
    app.add_transform(Translated)
    app.add_post_transform(Printed)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
