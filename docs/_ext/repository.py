"""The repository's own files as pages: contents in comments, links into the code, the reference."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.matching import patfilter

ROOMS = ("manual", "torch_ref", "compare", "teach", "evidence")
PUBLIC = ("handgrad", "teach.kit")
MODULE = "{name}\n{line}\n\n.. automodule:: {name}\n   :imported-members:\n"
MANUAL = """manual
======

Every layer, loss, optimiser and gate with its derivation: shapes, index form, matrix form, and what
torch does differently.

.. toctree::
   :maxdepth: 1

"""
ROOT = Path(__file__).parents[2]
_TOC = re.compile(r"<!-- toctree\n(.*?)-->", re.DOTALL)
_LANGUAGES = re.compile(r"^.*\(README\.\w+\.md\)\n+", re.MULTILINE)  # pages have a switch


def show_toctrees(app: Any, name: str, source: list[str]) -> None:
    """A comment that begins with `toctree` is a table of contents here, nothing on GitHub.

    A pattern in it stands for the pages that the file does not name.
    """
    source[0] = _LANGUAGES.sub("", source[0])
    tables = _TOC.findall(source[0])
    if not tables:
        return
    folder = posixpath.dirname(name)
    pages = {posixpath.relpath(page, folder or ".") for page in app.env.found_docs} - {name}
    pages -= {line for table in tables for line in table.splitlines()}
    app.env.note_reread()  # new pages may match
    source[0] = _TOC.sub(lambda m: f"```{{toctree}}\n{_expanded(m[1], pages)}\n```", source[0])


def _expanded(table: str, pages: set[str]) -> str:
    lines = []
    for line in table.splitlines():
        lines += sorted(patfilter(pages, line)) if "*" in line else [line]
    return "\n".join(lines)


class LinksIntoTheCode(SphinxPostTransform):
    """Markdown links to modules lead to their highlighted source, those to folders are text."""

    default_priority = 5  # before MyST, which knows pages alone

    def run(self, **kwargs: Any) -> None:
        for node in list(self.document.findall(addnodes.pending_xref)):
            if node["reftype"] != "myst":
                continue
            if node["refdomain"] == "doc":
                if node["reftarget"] not in self.env.all_docs:
                    node.replace_self(self._source(node))
            elif (Path(self.env.doc2path(node["refdoc"])).parent / node["reftarget"]).is_dir():
                node.replace_self(node.children)

    def _source(self, node: Any) -> Any:
        page = f"_modules/{node['reftarget']}"
        if not getattr(self.env, "_viewcode_modules", {}).get(node["reftarget"].replace("/", ".")):
            return node.children
        uri = self.app.builder.get_relative_uri(node["refdoc"], page)
        return nodes.reference("", "", *node.children, refuri=uri, internal=True)


def write_reference(app: Any) -> None:
    """Write docs/api/: a page for the public face, and one for every part of `manual`."""
    parts = sorted(path for path in (ROOT / "manual").glob("[a-z]*") if _says_what_is_public(path))
    names = [f"manual.{path.stem}" for path in parts]
    pages = {name: MODULE.format(name=name, line="=" * len(name)) for name in names}
    pages |= {name: MODULE.format(name=name, line="=" * len(name)) for name in PUBLIC}
    pages["manual"] = MANUAL + "".join(f"   {name}\n" for name in names)
    folder = Path(app.srcdir) / "docs" / "api"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.rst"):
        if old.stem not in pages:
            old.unlink()
    for name, text in pages.items():
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def _says_what_is_public(path: Path) -> bool:
    init = path / "__init__.py" if path.is_dir() else path
    return init.suffix == ".py" and init.exists() and "__all__ = [" in init.read_text("utf-8")


def lessons_first(app: Any, env: Any, names: list[str]) -> None:
    """Begin with what takes longest, so that the readers finish together."""
    names.sort(key=lambda name: (not name.startswith("lessons/"), name))


def lessons_outdated(app: Any, env: Any, added: set, changed: set, removed: set) -> list[str]:
    """Lessons compute with the packages: newer code is a reason to run them again."""
    sources = [f for room in ROOMS for f in (ROOT / room).rglob("*.py")]
    newest = max(file.stat().st_mtime for file in sources) * 1e6  # Sphinx counts microseconds
    lessons = (name for name in env.all_docs if name.startswith("lessons/"))
    return [name for name in lessons if env.all_docs[name] < newest]


def setup(app: Any) -> dict[str, Any]:
    app.connect("builder-inited", write_reference)
    app.connect("env-get-outdated", lessons_outdated)
    app.connect("source-read", show_toctrees)
    app.add_post_transform(LinksIntoTheCode)
    app.connect("env-before-read-docs", lessons_first)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
