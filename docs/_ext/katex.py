"""Equations set by KaTeX while the site is built: the pages need no script for them."""

from __future__ import annotations

import atexit
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.util import logging

ROW = re.compile(r".*?\\\\(?=\s)", re.DOTALL)  # fractions would touch those of the next one
KATEX = Path(__file__).parents[1] / "_static" / "katex" / "katex.min.js"
_set: dict[tuple[str, bool], str] = {}  # what the writers, which are forks, find ready
_log = logging.getLogger(__name__)


def rendered(tex: str, display: bool) -> str:
    """Return one equation as HTML, with MathML for screen readers.

    Raises:
        ValueError: KaTeX does not know a command, or the equation is not well formed.
    """
    if r"\begin{aligned}" in tex:
        tex = ROW.sub(lambda row: row[0] + "[1.3em]" if r"\frac" in row[0] else row[0], tex)
    options = json.dumps({"displayMode": display, "throwOnError": True})
    letters = "['unknownSymbol', 'symbolNotInFont']"  # ướ
    strict = f"{{strict: fault => {letters}.includes(fault) ? 'ignore' : 'error'}}"
    call = f"katex.renderToString({json.dumps(tex)}, Object.assign({options}, {strict}))"
    found = _engine().eval(f"try {{ {call} }} catch (error) {{ 'error ' + error.message }}")
    if found.startswith("error "):
        raise ValueError(found.removeprefix("error "))
    return found


@cache
def _engine() -> Any:
    from py_mini_racer import MiniRacer

    engine = MiniRacer()
    atexit.register(engine.close)  # left open, it may never let the process end
    engine.eval(KATEX.read_text("utf-8"))
    return engine


def set_all(app: Any, env: Any) -> None:
    """Set every equation once, before Sphinx forks its writers: V8 does not survive a fork."""
    if app.builder.format != "html":
        return
    for name in sorted(env.found_docs):
        for node in env.get_doctree(name).findall(_is_math):
            _html(node)


def _is_math(node: Any) -> bool:
    return isinstance(node, nodes.math | nodes.math_block)


def _html(node: Any) -> str:
    key = (node.astext().strip(), isinstance(node, nodes.math_block))
    if key not in _set:
        try:
            _set[key] = rendered(*key)
        except ValueError as error:
            _log.warning("%s: %s", error, key[0], location=node, type="katex")
            _set[key] = ""
    return _set[key]


def inline(writer: Any, node: Any) -> None:
    writer.body.append(f'<span class="math">{_html(node)}</span>')
    raise nodes.SkipNode


def block(writer: Any, node: Any) -> None:
    writer.body.append(f'<div class="math" tabindex="0">{_html(node)}</div>')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, Any]:
    app.add_html_math_renderer("katex", (inline, None), (block, None))
    app.connect("env-updated", set_all)
    app.add_css_file("katex/katex.min.css")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
