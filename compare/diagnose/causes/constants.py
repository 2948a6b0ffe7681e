"""Names for a fitted number: which size or setting it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from compare.diagnose.causes.cause import BATCH, CLASSES, Context


class Named(NamedTuple):
    """A number with its meaning; a lower `rank` is the simpler guess."""

    value: float
    label: str
    kind: str
    rank: int


PLAIN = [
    *(Named(v, "", "factor 2", 0) for v in (2.0, 0.5)),
    *(Named(v, "", "factor 2", 1) for v in (4.0, 0.25)),
]
SHARES = ("β", "alpha", "momentum")  # of what is kept in a running average
KINDS = {BATCH: "batch size", CLASSES: "number of classes"}


def names_of(number: float, uncertainty: float, context: Context) -> list[Named]:
    """Return what this number may be, simplest first; the sign is looked at by itself.

    A number near 1 has no name: nothing would be told by it.
    """
    if abs(abs(number) - 1) <= uncertainty:
        return [Named(-1.0, "", "sign", 0)] if number < 0 else []
    near = max(uncertainty, 1e-12)
    found = [n for n in _known(context) if abs(n.value - abs(number)) <= near * n.value]
    found.sort(key=lambda n: (n.rank, abs(n.value - abs(number))))
    kept = {n.kind: n for n in reversed([n for n in found if n.rank <= found[0].rank + 1])}
    return sorted(kept.values(), key=lambda n: (n.rank, n.kind == "factor 2"))


def _known(context: Context) -> Iterator[Named]:
    yield from PLAIN
    sizes = {label: n for label, n in context.sizes.items() if n > 1}
    for label, n in sizes.items():
        yield from _of_size(label, n, KINDS.get(label, "size"))
    for label, n in sizes.items():
        for other, m in sizes.items():
            if label < other:
                text = f"{label} times {other}"
                yield Named(n * m, text, "sizes", 1)
                yield Named(1 / (n * m), f"1 / ({text})", "sizes", 1)
                yield Named(n / m, f"{label} / {other}", "sizes", 2)
                yield Named(m / n, f"{other} / {label}", "sizes", 2)
                yield from (x for x in _of_size(text, n * m, "sizes") if x.kind == "n − 1")
    for label, c in context.constants.items():
        if c > 0 and abs(c - 1) > 1e-6:
            yield Named(c, label, "setting", 0)
            yield Named(1 / c, f"1 / {label}", "setting", 0)
            if c < 1:
                yield Named(1 - c, f"1 − {label}", "setting", 1)
                yield Named(1 / (1 - c), f"1 / (1 − {label})", "setting", 1)
            if c < 1 and label.startswith(SHARES):
                yield Named(c / (1 - c), f"{label} / (1 − {label})", "setting", 1)
                yield Named((1 - c) / c, f"(1 − {label}) / {label}", "setting", 1)
                yield Named(1 + c, f"1 + {label}", "setting", 1)
                yield Named((1 + c) / (1 - c), f"(1 + {label}) / (1 − {label})", "setting", 1)
                yield Named(1 / (1 - c) ** 2, f"1 / (1 − {label})²", "setting", 1)


def _of_size(label: str, n: int, kind: str) -> Iterator[Named]:
    yield Named(n, label, kind, 0)
    yield Named(1 / n, f"1 / {label}", kind, 0)
    yield Named(n * n, f"{label} squared", kind, 1)
    yield Named(n**0.5, f"√{label}", kind, 1)
    yield Named(n**-0.5, f"1 / √{label}", kind, 1)
    for c, text in ((2.0, "2 ×"), (0.5, "½ ×")) if n > 3 else ():  # else of many meanings
        yield Named(c * n, f"{text} {label}", kind, 2)
        yield Named(c / n, f"{text} 1 / {label}", kind, 2)
    if n > 3:  # 3/2 is a number of many meanings
        yield Named(n / (n - 1), f"N / (N − 1) with N = {label}", "n − 1", 0)
        yield Named((n - 1) / n, f"(N − 1) / N with N = {label}", "n − 1", 0)
        yield Named(n / (n + 1), f"N / (N + 1) with N = {label}", "n − 1", 1)
        yield Named((n + 1) / n, f"(N + 1) / N with N = {label}", "n − 1", 1)


def told(number: float, names: list[Named]) -> str:
    """Return the number with its meanings: `0.015625 = 1 / the batch size`."""
    meanings = [n.label for n in names if n.label]
    text = f"{number:.6g}"
    if not meanings:
        return text
    return f"{text} = {'−' if number < 0 else ''}{' = '.join(meanings)}"
