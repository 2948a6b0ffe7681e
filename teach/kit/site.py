"""Run every lesson and render the site: `python -m teach.kit.site`, or `make lessons`.

The site is built beside the old one and swapped in whole; a lesson that fails leaves the old site
as it was.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from compare.errors import UserError
from teach.kit.diff import LESSONS
from teach.kit.pages import Page, index_html, lesson_html, page_of

MARK = "handgrad lessons</title>"  # in the index of every site


def lesson_files(folder: Path = LESSONS) -> list[Path]:
    """Return the lessons in the order of the ladder."""
    return sorted(folder.glob("[0-9][0-9]_*.py"))


def build(files: Sequence[Path], target: Path, *, progress: bool = True) -> Path:
    """Execute the lessons and write the site.

    Raises:
        UserError: a needed package is missing, or a lesson failed; nothing is written then.
    """
    if not files:
        raise UserError("There are no lessons to build.")
    _check_replaceable(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".lessons-", dir=target.parent))
    try:
        _write(fresh, files, _executed_all(files, progress))
        _swap(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target / "index.html"


def _executed_all(files: Sequence[Path], progress: bool) -> list[Any]:
    """Run the lessons, a few at once; say which is done, and how long it took."""
    done: list[str] = []

    def run(file: Path) -> Any:
        start = time.perf_counter()
        notebook = executed(file)
        done.append(file.name)
        if progress:
            seconds = time.perf_counter() - start
            print(f"[{len(done)}/{len(files)}] {file.name}, {seconds:.1f} s", flush=True)
        return notebook

    if progress:
        print(f"Running {len(files)} lessons ...", flush=True)
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        try:
            return list(pool.map(run, files))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def executed(file: Path) -> Any:
    """Run a lesson as a notebook, from top to bottom, in a process of its own.

    Raises:
        UserError: a cell raised, or wrote a warning; the text names the lesson and the error.
    """
    try:
        import jupytext
        from nbclient import NotebookClient
        from nbclient.exceptions import CellExecutionError
    except ImportError as error:
        raise UserError(
            f"Building the lessons needs {error.name}. Install it: pip install 'handgrad[lessons]'"
        ) from None
    notebook = jupytext.read(file, fmt="py:percent")
    page_of(file.stem, notebook)
    where = {"metadata": {"path": str(file.resolve().parents[1])}}
    environment = os.environ | {"PYTHONPATH": str(LESSONS.parent), "OMP_NUM_THREADS": "1"}
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources=where,
        extra_arguments=["--IPKernelApp.log_level=40"],
    )
    try:
        asyncio.run(client.async_execute(env=environment))
    except CellExecutionError as error:
        raise UserError(f"{file.name} failed: {error.ename}: {error.evalue}") from None
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                raise UserError(f"{file.name} wrote to stderr: {output.text.strip()}")
    return notebook


def _write(folder: Path, files: Sequence[Path], notebooks: Sequence[Any]) -> None:
    import nbformat

    pages = [page_of(f.stem, n) for f, n in zip(files, notebooks, strict=True)]
    around: list[Page | None] = [None, *pages, None]
    for i, (page, notebook) in enumerate(zip(pages, notebooks, strict=True)):
        text = lesson_html(page, notebook, around[i], around[i + 2])
        (folder / page.file).write_text(text, "utf-8")
        nbformat.write(notebook, folder / page.file.replace(".html", ".ipynb"))
    (folder / "index.html").write_text(index_html(pages), "utf-8")


def _check_replaceable(target: Path) -> None:
    """Refuse to replace anything but an empty folder or an earlier site."""
    if not target.exists():
        return
    names = [entry.name for entry in target.iterdir()] if target.is_dir() else [target.name]
    ours = all(name.endswith((".html", ".ipynb")) for name in names)
    index = target / "index.html"
    if names and not (ours and index.exists() and MARK in index.read_text("utf-8", "replace")):
        raise UserError(f"{target} holds other things than lessons; name another folder.")


def _swap(fresh: Path, target: Path) -> None:
    fresh.chmod(0o755)
    old = fresh.with_name(fresh.name + "-old")
    if target.exists():
        target.rename(old)
    try:
        fresh.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m teach.kit.site", description="Run the lessons and render the site."
    )
    parser.add_argument(
        "lessons", nargs="*", type=Path, help="lesson scripts; all if none is named"
    )
    parser.add_argument("--out", type=Path, default=LESSONS / "_site", help="where the site goes")
    options = parser.parse_args(arguments)
    try:
        print(f"Open {build(options.lessons or lesson_files(), options.out)}")
    except UserError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
