"""A lesson's script as the notebook that MyST-NB executes."""

from __future__ import annotations

import re
from typing import Any


def read(text: str) -> Any:
    """Return the notebook of a py:percent script.

    Raises:
        ValueError: the lesson does not begin with `# N · Title` and a paragraph.
    """
    import jupytext

    notebook = jupytext.reads(text, fmt="py:percent")
    first = notebook.cells[0]
    if first.cell_type != "markdown" or not re.match(r"# \d+ · .+\n\n.+", first.source):
        raise ValueError("the first cell must be markdown: '# N · Title', then a paragraph")
    notebook.metadata.kernelspec = {"name": "python3", "language": "python", "display_name": ""}
    notebook.metadata.language_info = {"name": "python", "pygments_lexer": "ipython3"}
    return notebook
