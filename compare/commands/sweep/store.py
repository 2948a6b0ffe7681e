"""The rows on disk: Parquet parts, each written whole or not at all.

A part is two files of one number: the tensors' rows first, then the runs' rows. It counts once the
second is there, so a process that is killed at any moment leaves complete parts alone. Its pages
have checksums, and its head says by what it was made.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from compare.commands.sweep.file import Sweep, read
from compare.commands.sweep.made import Made
from compare.commands.sweep.rows import schemas
from compare.description.reading import one_line
from compare.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

PARTS, FILE, MADE = "parts", "sweep.toml", b"handgrad"
PART = re.compile(r"\d{6,}\.(runs|tensors)\.parquet")
OURS = {PARTS, FILE, "verdict.json", "report.html", "lock"}
ROWS = 2000  # runs of a part at most
SHARE = 0.01  # of the time so far, and a second: so much work is lost at most when it is killed


class Store:
    """A sweep's directory, and what is to be written into it.

    Args:
        directory: there already with `resume` or `force` alone.
        sweep: whose it is.
        made: by what its rows are made.
        resume: go on with what is there.
        force: replace it.

    Raises:
        UserError: it is there already, belongs to another sweep, is in use, or cannot be written.
    """

    def __init__(
        self, directory: Path, sweep: Sweep, made: Made, *, resume: bool = False,
        force: bool = False,
    ) -> None:  # fmt: skip
        self.directory, self.sweep, self.made = directory, sweep, made
        self.parts = directory / PARTS
        runs, tensors = schemas(sweep)
        self.runs, self.tensors = (s.with_metadata({MADE: made.text()}) for s in (runs, tensors))
        self._waiting: tuple[list[dict], list[dict]] = ([], [])
        self._begun = self._written = monotonic()
        if directory.exists() and not (directory.is_dir() and not any(directory.iterdir())):
            self._take_over(resume, force)
        with self._told():
            self.parts.mkdir(parents=True, exist_ok=True)
            self._lock = self._locked()
            _write(directory / FILE, sweep.as_toml().encode())
        self._tidy()
        self._number = max(map(_number, self._found("runs")), default=0)

    def _take_over(self, resume: bool, force: bool) -> None:
        """Go on with what is there, or take it away."""
        place = self.directory
        begun = (place / FILE).is_file()
        rows = self.parts.is_dir() and any(self.parts.iterdir())
        if not place.is_dir() or (rows and not begun) or self._foreign():
            raise UserError(
                f"{place} is there and is not a sweep's directory alone: choose another with --out."
            )
        if not begun:
            return  # killed before it had written anything
        if not (resume or force):
            raise UserError(
                f"{place} holds a sweep already. --resume goes on with it, --force replaces it, "
                "--out DIR leaves it."
            )
        if resume:
            self._refuse_other()
            return
        self._lock = self._locked()
        for name in sorted(OURS - {"lock"}):  # the parts before the file that makes it a sweep
            path = place / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        os.close(self._lock) if self._lock is not None else None

    def _foreign(self) -> set[str]:
        """Return what no sweep has written."""
        found = {entry.name.removesuffix(".tmp") for entry in self.directory.iterdir()} - OURS
        parts = self.parts.iterdir() if self.parts.is_dir() else ()
        return found | {p.name for p in parts if not PART.fullmatch(p.name.removesuffix(".tmp"))}

    def _refuse_other(self) -> None:
        from pyarrow import parquet

        before = read(self.directory / FILE)
        now, then = self.sweep.model_dump(), before.model_dump()
        if other := [name for name in now if name != "name" and now[name] != then[name]]:
            raise UserError(
                f"--resume: {self.directory} holds a sweep with another {' and '.join(other)}. Its "
                f"file is {self.directory / FILE}; --force replaces it, --out DIR leaves it."
            )
        for path in self._found("runs"):
            with self._reading(path):
                head = parquet.read_schema(path).metadata or {}
            if told := self.made.differs(head.get(MADE, b"")):
                raise UserError(f"--resume: {self.directory}: {told}. --force starts anew.")

    def _locked(self) -> int | None:
        """Hold the directory while this process lives, where the system can do that."""
        try:
            import fcntl
        except ImportError:  # Windows
            return None
        held = os.open(self.directory / "lock", os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(held)
            raise UserError(f"Another sweep is writing into {self.directory}.") from None
        return held

    def close(self) -> None:
        """Write what waits, and let the directory go."""
        try:
            self.flush()
        finally:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def _tidy(self) -> None:
        """Take away what is half done: a killed process leaves that; its points are done again."""
        runs, tensors = ({_number(p) for p in self._found(kind)} for kind in ("runs", "tensors"))
        halves = [*self.directory.glob("*.tmp"), *self.parts.glob("*.tmp")]
        for path in [*halves, *self._found("runs"), *self._found("tensors")]:
            if path.suffix == ".tmp" or _number(path) not in runs & tensors:
                path.unlink()

    def _found(self, kind: str) -> list[Path]:
        return sorted(self.parts.glob(f"*.{kind}.parquet"))

    def add(self, run: dict, tensors: Sequence[dict]) -> None:
        """Take a point's rows; they are written soon."""
        self._waiting[0].append(run)
        self._waiting[1].extend(tensors)
        now = monotonic()
        due = self._written + max(1.0, SHARE * (now - self._begun))
        if len(self._waiting[0]) >= ROWS or now >= due:
            self.flush()

    def flush(self) -> None:
        """Write what waits as one part.

        Raises:
            UserError: it cannot be written; all parts before stay as they are.
        """
        runs, tensors = self._waiting
        if not runs:
            return
        with self._told():
            self._part("tensors", tensors, self.tensors)
            self._part("runs", runs, self.runs)
        self._number += 1
        self._waiting, self._written = ([], []), monotonic()

    def _part(self, kind: str, rows: list[dict], schema: pa.Schema) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        sink = pa.BufferOutputStream()
        table = pa.Table.from_pylist(rows, schema)
        parquet.write_table(table, sink, compression="zstd", write_page_checksum=True)
        name = f"{self._number + 1:06d}.{kind}.parquet"
        _write(self.parts / name, sink.getvalue())

    def _told(self) -> Any:
        return _Told(self)

    def keys(self) -> Iterator[tuple[str, int]]:
        """Yield key and number of every point that has its row.

        Raises:
            UserError: a part cannot be read.
        """
        for batch in self.batches("runs", ["key", "point"]):
            yield from zip(batch["key"].to_pylist(), batch["point"].to_pylist(), strict=True)

    def batches(self, kind: str, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows of all parts, some at a time.

        Raises:
            UserError: a part cannot be read.
        """
        for path in self._found(kind):
            with self._reading(path):
                yield from self._dataset([path], kind).to_batches(columns=columns)

    def dataset(self, kind: str) -> Any:
        """Return all parts of a kind, runs or tensors, as one table that is read when asked."""
        return self._dataset(self._found(kind), kind)

    def _dataset(self, paths: list[Path], kind: str) -> Any:
        from pyarrow import dataset

        checked = dataset.ParquetFragmentScanOptions(page_checksum_verification=True)
        layout = dataset.ParquetFileFormat(default_fragment_scan_options=checked)
        schema = self.runs if kind == "runs" else self.tensors
        return dataset.dataset(list(map(str, paths)), schema=schema, format=layout)

    def table(self, kind: str) -> pa.Table:
        """Return all rows of a kind.

        Raises:
            UserError: a part cannot be read.
        """
        import pyarrow as pa

        schema = self.runs if kind == "runs" else self.tensors
        return pa.Table.from_batches(list(self.batches(kind)), schema)

    @contextmanager
    def _reading(self, path: Path) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except (OSError, pa.ArrowException) as error:
            raise UserError(
                f"{path} is damaged ({one_line(error)[:200]}). Delete it, and --resume does its "
                "points again."
            ) from None


class _Told:
    """Turn what the disk says into a sentence."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __enter__(self) -> None: ...

    def __exit__(self, _: Any, error: BaseException | None, __: Any) -> None:
        if not isinstance(error, OSError):
            return
        place = self.store.directory
        rows = sum(len(batch) for batch in self.store.batches("runs", ["point"]))
        raise UserError(
            f"{place} cannot be written ({error.strerror or error}). {rows:,} rows are there and "
            "whole; make room (or permissions), then go on with --resume."
        ) from error


def _write(path: Path, content: Any) -> None:
    """Write a file whole or not at all."""
    fresh = path.with_name(f"{path.name}.tmp")
    try:
        with open(fresh, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except OSError:
        with suppress(OSError):
            fresh.unlink()
        raise


def _number(path: Path) -> int:
    return int(path.name.partition(".")[0])
