"""Cases from a seed: each writes what it needs into a folder, and returns a command line."""

from __future__ import annotations

import io
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import tomli_w

from compare.description.catalog import catalog
from compare.description.presets import preset_path, presets
from evidence.faults.nonsense import NUMBERS, TEXTS, VALUES, spoiled_bytes, spoiled_tables

Case = Callable[[Random, Path], list[str]]
SLOW = ("digits-cnn", "digits-lstm", "tied-characters", "data-parallel", "tensor-parallel")
QUICK = tuple(n for n in presets() if n not in SLOW)
SHORT = ("--steps", "2")

TABLE = """
name = "table"
[data]
file = "{file}"
target = ["y"]
[[layers]]
type = "Linear"
in_features = 2
out_features = 2
[loss]
type = "CrossEntropyLoss"
[optimizer]
type = "SGD"
lr = 0.1
"""
PAIR = b"""
import numpy as np
def forward(x, w):
    return x @ w, (x, w)
def backward(dout, cache):
    x, w = cache
    return dout @ w.T, x.T @ dout
"""


def names() -> tuple[str, ...]:
    """Return the names that a configuration may hold."""
    return tuple(entry["name"] for kind in catalog().values() for entry in kind)


def configuration(rng: Random, folder: Path) -> list[str]:
    """A preset's tables with nonsense in them."""
    tables = tomllib.loads(preset_path(rng.choice(QUICK)).read_text("utf-8"))
    tables = spoiled_tables(rng, tables, names())
    (folder / "spoiled.toml").write_text(tomli_w.dumps(tables), "utf-8")
    return ["run", "spoiled.toml", *SHORT, "--out", "r"]


def file(rng: Random, folder: Path) -> list[str]:
    """A file of some kind, cut, changed, or no file at all."""
    kind = rng.choice((*FILES, *FILES, "toml", "py"))
    path = folder / f"spoiled.{kind}"
    _written(rng, path, spoiled_bytes(rng, _valid(rng, kind)))
    if kind == "toml":
        return ["run", path.name, *SHORT, "--out", "r"]
    if kind == "py":
        return rng.choice((
            ["check", f"{path.name}:forward,backward", "--shape", "x=2,3", "--shape", "w=3,2"],
            ["exercise", "grade", path.name, "--timeout", "2"],
        ))  # fmt: skip
    if kind == "npy":
        (folder / "pair.py").write_bytes(PAIR)
        given = ["--value", f"x={path.name}", "--shape", "w=3,2", "--out", "r"]
        return ["check", "pair.py:forward,backward", *given]
    if kind in ("pt", "safetensors"):
        return ["run", "three-rows", "--weights", path.name, *SHORT, "--out", "r"]
    (folder / "table.toml").write_text(TABLE.format(file=path.name), "utf-8")
    return ["run", "table.toml", *SHORT, "--out", "r"]


def _written(rng: Random, path: Path, data: bytes) -> None:
    what = rng.randrange(24)
    if what == 0:
        os.mkfifo(path)
    elif what == 1:
        path.mkdir()
    elif what == 2:
        path.symlink_to(rng.choice(("/dev/zero", "/dev/null", path.name, "/nowhere")))
    else:
        path.write_bytes(data)


def _csv(separator: str) -> bytes:
    lines = ["a b y".replace(" ", separator)]
    lines += [f"{i / 3}{separator}{-i}{separator}{i % 2}" for i in range(12)]
    return "\n".join(lines).encode()


def _npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.arange(24.0).reshape(12, 2), y=np.arange(12) % 2)
    return buffer.getvalue()


def _npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(6.0).reshape(2, 3))
    return buffer.getvalue()


def _parquet() -> bytes:
    import pandas as pd

    buffer = io.BytesIO()
    pd.read_csv(io.BytesIO(_csv(","))).to_parquet(buffer)
    return buffer.getvalue()


def _weights() -> dict[str, np.ndarray]:
    widths = {"0": (4, 3), "2": (4, 4), "4": (2, 4)}
    ones = {f"{k}.weight": np.ones(s, np.float32) for k, s in widths.items()}
    return ones | {f"{k}.bias": np.ones(s[0], np.float32) for k, s in widths.items()}


def _pt() -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save({k: torch.tensor(v) for k, v in _weights().items()}, buffer)
    return buffer.getvalue()


def _safetensors() -> bytes:
    from safetensors.numpy import save

    return save(_weights())


FILES: dict[str, Callable[[], bytes]] = {
    "csv": lambda: _csv(","), "tsv": lambda: _csv("\t"), "npz": _npz, "npy": _npy,
    "parquet": _parquet, "pt": _pt, "safetensors": _safetensors,
}  # fmt: skip


def _valid(rng: Random, kind: str) -> bytes:
    if kind == "toml":
        return preset_path(rng.choice(QUICK)).read_bytes()
    return PAIR if kind == "py" else FILES[kind]()


OPTIONS: dict[str, tuple[str, ...]] = {
    "run": ("--epochs", "--dtype", "--seed", "--mode", "--out", "--set", "--gauge-every",
            "--tolerance", "--weights", "--device", "--threads", "--plant", "--torch-layers",
            "--latex", "-q", "--json"),
    "check": ("--reference", "--shape", "--value", "--no-grad", "--case", "--dtype", "--seed",
              "--out", "--domain", "--purity", "-q", "--json"),
    "explain": ("--step", "--batch", "--dtype", "--json", "--set"),
    "list": ("--json",),
    "trace": ("--json", "--svg", "--upstream", "--seed"),
    "exercise list": ("--json", "--exercises"),
    "exercise start": ("--dir", "--force", "--exercises"),
    "exercise grade": ("--hint", "--solution", "--exercise", "--csv", "--jobs", "--timeout",
                       "--memory", "--seed", "--json"),
}  # fmt: skip
FLAGS = ("--json", "--latex", "-q", "--force", "--hint", "--solution")
GOOD = (
    "float32", "float64", "free", "lockstep", "0", "1", "2", "0.1", "1e-5,1e-8", "x=2,3", "w=3,2",
    "x=[[1,2,3]]", "optimizer.lr=0.1", "train.batch_size=1", "layers.0.bias=false", "cpu",
    "0.weight.grad*=1.01", "all", "r", "pipe", "x=pipe", "x=positive", "note", "linear",
    "0.weight[0,0]",
)  # fmt: skip
FIRST: dict[str, tuple[str, ...]] = {
    "run": (*QUICK, "pair.py"),
    "check": ("pair.py:forward,backward", "pair.py:forward", "pair.py:nothing", "pair.py"),
    "explain": ("three-rows", "students-2-2-1", "Linear", "linear"),
    "trace": ("x*y + tanh(z)", "(x+y)*z", "x**y", "1/0", "exp(exp(exp(x)))", "((((x", "x"),
    "exercise start": ("linear", "tanh"),
    "exercise grade": ("pair.py", "."),
}


def line(rng: Random, folder: Path) -> list[str]:
    """A command with options that fit or do not, and arguments that nobody means."""
    (folder / "pair.py").write_bytes(PAIR)
    os.mkfifo(folder / "pipe")
    command = rng.choice(list(OPTIONS))
    words = command.split()
    if rng.random() < 0.9 and command in FIRST:
        words.append(rng.choice((*FIRST[command], *FIRST[command], _word(rng))))
    if command == "run":
        words += SHORT
    if command == "check" and rng.random() < 0.7:
        words += ["--shape", "x=2,3", "--shape", "w=3,2"]
    for _ in range(rng.randint(0, 3)):
        option = rng.choice(OPTIONS[command])
        words += [option] if option in FLAGS else [option, _word(rng)]
    if rng.random() < 0.2:
        words.append(_word(rng))
    return [word for word in words if "\x00" not in word]


def _word(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.5:
        return rng.choice(GOOD)
    if kind < 0.7:
        return (
            f"{rng.choice(('x', 'optimizer.lr', 'train.seed', 'data.limit'))}={rng.choice(VALUES)}"
        )
    return str(rng.choice((*NUMBERS, *TEXTS)))


CASES: dict[str, tuple[Case, int]] = {
    "configurations": (configuration, 1000), "files": (file, 300), "lines": (line, 200),
}  # fmt: skip


def described(arguments: list[Any]) -> str:
    import shlex

    return shlex.join(map(str, arguments))
