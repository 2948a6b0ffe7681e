"""Plant every mistake of `mistakes.toml`, check the pair, and hold the cause against the truth.

python -m evidence.derivations.count [--half tuned|held] [--list] [NAME…]
"""

from __future__ import annotations

import argparse
import inspect
import linecache
import re
import time
import tomllib
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from compare.commands.check.check import check
from compare.diagnose.causes import Cause
from compare.errors import UserError
from evidence.derivations import pairs_of_functions, pairs_of_layers, pairs_of_losses

FILE = Path(__file__).with_name("mistakes.toml")
PAIRS = (pairs_of_layers, pairs_of_losses, pairs_of_functions)
CHECKED = {pair: checked for module in PAIRS for pair, checked in module.CHECKED.items()}
HELPERS = {"conv_columns": ("im2col", "col2im")}
LOOKED_AT = ("row_max", "product", "mse")  # whole, while the search was made
CASES = ("random", "given", "non-square", "ties", "zeros", "one zero per row")  # the telling ones
RIGHT, WRONG, SILENT, UNSEEN = "right", "wrong", "silent", "agrees"


class Mistake(NamedTuple):
    """One way to get a pair wrong; `edits` are what stands there and what is written instead."""

    pair: str
    what: str
    truth: str
    edits: tuple[str, ...]

    @property
    def half(self) -> str:
        """`tuned`, which was looked at while the search was improved, or `held`."""
        if self.pair in LOOKED_AT:
            return "tuned"
        return "held" if zlib.crc32(f"{self.pair}/{self.what}".encode()) % 2 else "tuned"

    def is_right(self, cause: Cause) -> bool:
        """Whether a cause is of a right kind, or says what the truth's pattern asks for."""
        kinds, _, pattern = self.truth.partition("~")
        said = bool(pattern) and re.search(pattern, cause.evidence) is not None
        return cause.kind in kinds.split("|") or said

    def source(self) -> str:
        """Return the pair's functions with the mistake in them."""
        text = source(self.pair)
        for old, new in zip(self.edits[::2], self.edits[1::2], strict=True):
            if text.count(old) < 1:
                raise ValueError(f"{self.pair}, {self.what}: {old!r} is not in the pair")
            text = new.join(text.rsplit(old, 1))  # the backward pass stands last
        return text


class Named(NamedTuple):
    """What became of a mistake."""

    mistake: Mistake
    result: str
    cause: Cause | None
    seconds: float


def mistakes() -> list[Mistake]:
    """Read the table."""
    table = tomllib.loads(FILE.read_text("utf-8"))
    return [
        Mistake(pair, what, truth, tuple(edits))
        for pair, rows in table.items()
        for what, truth, *edits in rows
    ]


def source(pair: str) -> str:
    """Return the functions of a right pair as text."""
    names = (*HELPERS.get(pair, ()), pair, f"{pair}_backward")
    owner = next(module for module in PAIRS if pair in module.CHECKED)
    functions = (getattr(owner, name, None) for name in names)
    return "\n\n".join(inspect.getsource(f) for f in functions if f is not None)


def name(mistake: Mistake) -> Named:
    """Check the pair with its mistake; say whether the cause is right."""
    module = _loaded(mistake)
    reference, inputs, more = CHECKED[mistake.pair]
    backward = getattr(module, f"{mistake.pair}_backward", None)
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            report = check(
                getattr(module, mistake.pair), backward, reference, inputs, shrink=False,
                **{"cases": CASES, **more},
            )  # fmt: skip
        except UserError:  # a loss that raises has no value to go on with
            return Named(mistake, SILENT, None, 0.0)
    seconds = time.perf_counter() - started
    if report.verdict == "agree":
        return Named(mistake, UNSEEN, None, seconds)
    if report.cause is None:
        return Named(mistake, SILENT, None, seconds)
    right = mistake.is_right(report.cause)
    return Named(mistake, RIGHT if right else WRONG, report.cause, seconds)


def _loaded(mistake: Mistake) -> ModuleType:
    """Make a module whose source `inspect` finds."""
    file = f"<{mistake.pair}: {mistake.what}>"
    text = mistake.source()
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    module = ModuleType(file)
    vars(module).update(np=np, __file__=file)
    exec(compile(text, file, "exec"), vars(module))
    return module


def table(found: Sequence[Named]) -> str:
    """Return the counts of both halves."""
    lines = []
    for half in ("tuned", "held"):
        counts = Counter(n.result for n in found if n.mistake.half == half)
        wrong = sum(counts[r] for r in (RIGHT, WRONG, SILENT))
        named = counts[RIGHT] + counts[WRONG]
        seconds = sorted(n.seconds for n in found if n.mistake.half == half)
        if wrong:
            lines.append(
                f"{half}: {wrong} wrong derivations, {named} named ({named / wrong:.1%}), "
                f"{counts[RIGHT]} rightly ({counts[RIGHT] / max(1, named):.1%}); "
                f"{counts[SILENT]} silent, {counts[UNSEEN]} agree; "
                f"median {seconds[len(seconds) // 2]:.2f} s"
            )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Count, from the command line."""
    parser = argparse.ArgumentParser(prog="python -m evidence.derivations.count")
    parser.add_argument("pairs", nargs="*", help="only these pairs")
    parser.add_argument("--half", choices=("tuned", "held"), help="only this half")
    parser.add_argument("--list", action="store_true", help="show every mistake and its cause")
    given = parser.parse_args(arguments)
    found = []
    for named in _named(given.pairs, given.half):
        found.append(named)
        if given.list:
            print(_line(named), flush=True)
    print(table(found))


def _named(only: Sequence[str], half: str | None) -> Iterator[Named]:
    for mistake in mistakes():
        if (not only or mistake.pair in only) and half in (None, mistake.half):
            yield name(mistake)


def _line(named: Named) -> str:
    told = f"{named.cause.kind}: {named.cause.evidence}" if named.cause else ""
    m = named.mistake
    return (
        f"{named.result:7} {m.pair}, {m.what}  [{m.truth}]  {named.seconds:.2f} s\n        {told}"
    )


if __name__ == "__main__":
    main()
