"""After the build: every relative address leads somewhere, and nothing is loaded from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from sphinx.util.logging import getLogger

LOADED = {"src", "srcset", "data", "poster", "xlink:href"}
ADDRESS = re.compile(r"""(?:@import |url\()\s*(?!url)['"]?([^)'"]+)""")  # in a style sheet
LEADING = {"prev", "next", "index", "search", "canonical"}


class Page(NamedTuple):
    """What a page loads, where it leads, and the anchors that it has."""

    loaded: set[str]
    links: set[str]
    anchors: set[str]


def read(text: str) -> Page:
    """Read a page as Sphinx writes it: attributes in double quotes, no `<` or `>` in them."""
    page = Page(set(re.findall(r"url\(['\"]?(?!#|data:)([^)'\"]+)", text)), set(), {"", "top"})
    for tag, attributes in re.findall(r"<([a-z]\w*)\s([^<>]*)>", text):
        found = {k: unescape(v) for k, v in re.findall(r'([\w:-]+)="([^"]*)"', attributes)}
        page.anchors.update(found[name] for name in ("id", "name") if name in found)
        page.loaded.update(found[name] for name in LOADED & found.keys())
        if "href" in found and "hreflang" not in found:  # else of another site
            leads = tag == "a" or found.get("rel") in LEADING
            (page.links if leads else page.loaded).add(found["href"])
    return page


def faults(site: Path) -> list[str]:
    """Return what is wrong with the pages and style sheets of a folder, one line each."""
    found = []
    for page in sorted(site.resolve().rglob("*.html")):
        found += [f"{page.relative_to(site.resolve())}: {fault}" for fault in _faults(page)]
    for sheet in sorted(site.rglob("*.css")):
        for address in ADDRESS.findall(sheet.read_text("utf-8")):
            if not _is_here(sheet, address):
                found.append(f"{sheet.relative_to(site)}: loads {address}")
    return found


def _faults(page: Path) -> Iterator[str]:
    for address in sorted(_page(page).loaded):
        if not _is_here(page, address):
            yield f"loads {address}"
    for address in sorted(_page(page).links):
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if not target.is_file():
            yield f"leads nowhere: {address}"
        elif (
            target.suffix == ".html"
            and unquote(parts.fragment) not in _page(target.resolve()).anchors
        ):
            yield f"no such anchor: {address}"


def _is_here(page: Path, address: str) -> bool:
    parts = urlsplit(address)
    if parts.scheme == "data" or address.startswith("#"):
        return True
    return not parts.scheme and not parts.netloc and (page.parent / unquote(parts.path)).is_file()


@cache
def _page(path: Path) -> Page:
    return read(path.read_text("utf-8"))


def check(app: Any, exception: Exception | None) -> None:
    """Warn of each; `make docs` takes warnings for errors."""
    if app.builder.format != "html" or exception is not None:
        return
    for fault in faults(Path(app.outdir)):
        getLogger(__name__).warning(fault)


def setup(app: Any) -> dict[str, Any]:
    app.connect("build-finished", check, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
