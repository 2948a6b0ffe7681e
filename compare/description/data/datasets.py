"""The data sets that come along: scikit-learn's small ones, and the course's own."""

from __future__ import annotations

import csv
import inspect
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from compare.description.data.dataset import INPUT, Table
from compare.errors import UserError, nearest

HERE = Path(__file__).parent


class Source(NamedTuple):
    summary: str
    read: Callable[..., Table]
    inputs: tuple[str, ...] = (INPUT,)


def make(name: str, args: dict[str, Any]) -> Table:
    """Return a data set by name; `args` are the settings of a generated one."""
    check(name, args)
    try:
        table = DATASETS[name].read(**args)
    except (MemoryError, ValueError, OverflowError) as error:
        raise UserError(f"Data set '{name}' cannot be made with {args}: {error}.") from None
    return table._replace(name=name, summary=DATASETS[name].summary)


def check(name: str, args: dict[str, Any]) -> None:
    """Raise a ValueError unless the data set exists and takes these settings."""
    if name not in DATASETS:
        raise ValueError(f"key 'dataset': unknown data set '{name}'. {nearest(name, DATASETS)}")
    settings = settings_of(name)
    for key, value in args.items():
        if key not in settings:
            raise ValueError(f"key '{key}': '{name}' has no such setting. {_takes(settings)}")
        least = 0 if key == "seed" else 1
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"key '{key}': needs an integer of at least {least}, got {value!r}.")


def settings_of(name: str) -> Mapping[str, Any]:
    """Return the parameters of a generated data set; none for the others."""
    return inspect.signature(DATASETS[name].read).parameters if name in DATASETS else {}


def inputs_of(name: str) -> tuple[str, ...]:
    """Return the names of a data set's inputs."""
    return DATASETS[name].inputs if name in DATASETS else (INPUT,)


def _takes(settings: Any) -> str:
    if not settings:
        return "It takes none beside those of [data]."
    return f"It takes: {', '.join(settings)}."


def random_regression(n: int = 64, d_in: int = 1000, d_out: int = 10, seed: int = 0) -> Table:
    """Standard-normal features and targets, as in the 20-line network."""
    rng = np.random.default_rng(seed)
    features, labels = rng.standard_normal((n, d_in)), rng.standard_normal((n, d_out))
    return Table("", "", features, _numbered("x", d_in), labels, _numbered("y", d_out))


def random_classification(n: int = 300, d_in: int = 2, classes: int = 3, seed: int = 0) -> Table:
    """Normal clouds of unit width around centres three times as far apart."""
    rng = np.random.default_rng(seed)
    centres = 3 * rng.standard_normal((classes, d_in))
    labels = np.arange(n) % classes
    features = centres[labels] + rng.standard_normal((n, d_in))
    return Table("", "", features, _numbered("x", d_in), labels, ("class",), _numbered("", classes))


def characters(context: int = 8) -> Table:
    """The first stanzas of Jabberwocky: each character after the `context` before it."""
    windows, alphabet = _windows("jabberwocky.txt", context + 1)
    return _text(windows[:, :-1], windows[:, -1], alphabet)


def verses(context: int = 16) -> Table:
    """The Walrus and the Carpenter: after each of `context` characters in a row, the next one."""
    windows, alphabet = _windows("walrus.txt", context + 1)
    return _text(windows[:, :-1], windows[:, 1:], alphabet)


def adding(n: int = 512, length: int = 10, seed: int = 0) -> Table:
    """Rows of numbers from 0 to 1, two of which are marked: one in each half. Target: their sum."""
    rng = np.random.default_rng(seed)
    half, every = max(length // 2, 1), np.arange(n)
    if length < 2:
        raise ValueError("length must be at least 2: two numbers are added")
    numbers, marks = rng.random((n, length)), np.zeros((n, length))
    marks[every, rng.integers(0, half, n)] = 1
    marks[every, rng.integers(half, length, n)] = 1
    sums = (numbers * marks).sum(axis=1)
    features = np.stack([numbers, marks], axis=2)  # (n, length, 2)
    return Table("", "", features, _numbered("x", 2 * length), sums, ("sum",))


def temporal_order(n: int = 512, length: int = 16, seed: int = 0) -> Table:
    """Rows of random symbols, of different lengths, in which X or Y stands at two places.

    The classes are XX, XY, YX and YY. A row of `sequence` (n, length, 6) has a 1 per symbol (a, b,
    c, d, X, Y), and zeros beyond its end; it has half of `length` to `length` symbols.
    """
    rng = np.random.default_rng(seed)
    half, every = max(length // 2, 2), np.arange(n)
    if length < 4:
        raise ValueError("length must be at least 4: the shortest row has half of it")
    lengths = rng.integers(half, length + 1, n)
    symbols, classes = rng.integers(0, 4, (n, length)), rng.integers(0, 2, (n, 2))
    first = rng.integers(0, lengths // 2)
    second = rng.integers(lengths // 2, lengths)
    symbols[every, first], symbols[every, second] = 4 + classes.T
    inside = np.arange(length) < lengths[:, None]
    sequence = np.eye(6)[symbols] * inside[:, :, None]
    names = (*_numbered("x", 6 * length), "length")
    columns = names, classes @ (2, 1), ("order",), ("XX", "XY", "YX", "YY")
    return Table("", "", {"sequence": sequence, "lengths": lengths}, *columns)


def reversal(n: int = 512, length: int = 5, symbols: int = 8, seed: int = 0) -> Table:
    """Rows of symbols, and the same backwards: what is read, what was written before, what comes.

    `shifted` is the target one place later, after a start symbol: number `symbols`.
    """
    rows = np.random.default_rng(seed).integers(0, symbols, (n, length))
    backwards = np.ascontiguousarray(rows[:, ::-1])
    shifted = np.concatenate([np.full((n, 1), symbols), backwards[:, :-1]], axis=1)
    names = (*_numbered("read", length), *_numbered("before", length))
    columns = names, backwards, ("next",), _numbered("", symbols)
    return Table("", "", {"source": rows, "shifted": shifted}, *columns)


def _windows(file: str, length: int) -> tuple[np.ndarray, str]:
    """Return all runs of so many characters of a text, as numbers, and its alphabet."""
    text = (HERE / file).read_text(encoding="utf-8")
    alphabet = sorted(set(text))
    codes = np.array([alphabet.index(c) for c in text], dtype=np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(codes, length).copy()
    return windows, "".join(alphabet)


def _text(features: np.ndarray, following: np.ndarray, alphabet: str) -> Table:
    names = _numbered("c", features.shape[1]), ("next",), tuple(map(repr, alphabet))
    return Table("", "", features, names[0], following, *names[1:], alphabet)


def copy_task(n: int = 1024, bits: int = 3, length: int = 2, seed: int = 0) -> Table:
    """Sequences of random bits between two flags, then silence: the target is the sequence."""
    rng = np.random.default_rng(seed)
    symbols = rng.integers(0, 2, (n, length, bits)).astype(np.float64)
    features = np.zeros((n, 2 * length + 2, bits + 2))
    features[:, 0, bits] = 1  # the sequence begins
    features[:, 1 : length + 1, :bits] = symbols
    features[:, length + 1, bits + 1] = 1  # it ends, and is to be said
    labels = symbols.reshape(n, -1)
    return Table("", "", features, (), labels, _numbered("bit", labels.shape[1]))


def _numbered(prefix: str, count: int) -> tuple[str, ...]:
    return tuple(f"{prefix}{i}" for i in range(count))


def _course(file: str, targets: int, classes: tuple[str, ...] | None = None) -> Table:
    with (HERE / file).open(newline="", encoding="utf-8") as lines:
        header, *rows = csv.reader(lines)
    values = np.array(rows, dtype=np.float64)
    features, labels = values[:, :-targets], values[:, -targets:]
    if classes is not None:
        labels = labels[:, 0].astype(np.int64)
    names = tuple(header)
    return Table("", "", features, names[:-targets], labels, names[-targets:], classes)


def _students() -> Table:
    return _course("students.csv", targets=1, classes=("fails", "passes"))


def _three_rows() -> Table:
    return _course("three_rows.csv", targets=2)


def _sklearn(loader: str, **options: Any) -> Callable[[], Table]:
    def read() -> Table:
        import sklearn.datasets as collection

        bunch = getattr(collection, loader)(**options)
        names = bunch.get("target_names")
        classes = None if names is None else tuple(str(name) for name in names)
        target = ("progression",) if classes is None else ("class",)
        features = np.asarray(bunch.data, dtype=np.float64)
        feature_names = tuple(str(name) for name in bunch.feature_names)
        return Table("", "", features, feature_names, bunch.target, target, classes)

    return read


def _digits() -> Table:
    """As `load_digits`, but scikit-learn is not imported, which takes longer than a training."""
    (package,) = find_spec("sklearn").submodule_search_locations  # type: ignore[union-attr,misc]
    rows = np.loadtxt(Path(package) / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    names = tuple(f"pixel_{row}_{column}" for row in range(8) for column in range(8))
    labels = rows[:, -1].astype(np.int64)
    return Table("", "", rows[:, :-1], names, labels, ("class",), _numbered("", 10))


def _digit_pixels() -> Table:
    digits = _digits()
    pixels = digits.features / 16
    return digits._replace(
        features=pixels, labels=pixels, target_names=digits.feature_names, classes=None
    )


DATASETS: dict[str, Source] = {
    "digits": Source("1,797 handwritten digits of 8x8 pixels (0 to 16), 10 classes", _digits),
    "digit_pixels": Source(
        "The same digits without their classes: 64 pixels from 0 to 1, as features and targets",
        _digit_pixels,
    ),
    "iris": Source("150 flowers, 4 lengths and widths in cm, 3 species", _sklearn("load_iris")),
    "wine": Source("178 wines, 13 chemical measurements, 3 growers", _sklearn("load_wine")),
    "breast_cancer": Source(
        "569 cell images, 30 measurements, malignant (0) or benign (1)",
        _sklearn("load_breast_cancer"),
    ),
    "diabetes": Source(
        "442 patients, 10 measurements, disease progression a year later (regression)",
        _sklearn("load_diabetes", scaled=False),
    ),
    "students": Source(
        "40 made-up students: hours of learning and sleep, pass or fail (synthetic)", _students
    ),
    "three_rows": Source("The course's three rows for the 3-4-4-2 network", _three_rows),
    "characters": Source(
        "Jabberwocky (Carroll, 1871), character by character: the next one after `context`",
        characters,
    ),
    "verses": Source(
        "The Walrus and the Carpenter (Carroll, 1871): each of `context` characters and the next",
        verses,
    ),
    "adding": Source(
        "Two marked numbers in a row of `length`: their sum (n, length, seed; regression)", adding
    ),
    "temporal_order": Source(
        "X or Y twice in rows of different lengths: in which order? (n, length, seed)",
        temporal_order,
        ("sequence", "lengths"),
    ),
    "reversal": Source(
        "Rows of symbols backwards, for an encoder and a decoder (n, length, symbols, seed)",
        reversal,
        ("source", "shifted"),
    ),
    "copy_task": Source(
        "Random symbols between two flags, to be said again in silence (n, bits, length, seed)",
        copy_task,
    ),
    "random_regression": Source(
        "Normal noise on both sides, as in the 20-line network (n, d_in, d_out, seed)",
        random_regression,
    ),
    "random_classification": Source(
        "Normal clouds around random centres (n, d_in, classes, seed)", random_classification
    ),
}
